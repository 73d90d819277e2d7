// The chat page: shows what the sandbox tells by server-sent events, and does what a person can do.

import { drawKeyboard, foldKeyboard, showKeyboard } from "./keyboard.js";
import { isFollowed, started } from "./link.js";
import { drawn, element, gist } from "./messages.js";
import { say, showStatus } from "./status.js";

const base = document.body.dataset.base;
const by = (id) => document.getElementById(id);
const chats = new Map(); // chat id -> {name, user, messages: Map, keyboard, asked, blocked, unread}
let bot = {};
let commands = {};
let current = null;

// ---- what a person does ----

async function act(action, body) {
  const answer = await fetch(`${base}/api/people/${current.name}/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const result = await answer.json();
  if (!answer.ok) toast(result.error.message);
  return answer.ok ? result : null;
}

function says(text, replying = false) {
  if (text.trim()) act("says", { text, replying });
}

async function press(button, message, data) {
  button.setAttribute("aria-busy", "true");
  const result = await act("presses", { message_id: message.message_id, data });
  button.removeAttribute("aria-busy");
  if (result && !result.answered) toast("The bot did not answer the button.");
}

async function pay(button, invoice) {
  button.setAttribute("aria-busy", "true");
  const result = await act("pays", invoice);
  button.removeAttribute("aria-busy");
  if (result && !result.answer) toast("The bot did not answer in time; nothing was paid.");
}

// ---- the page ----

let atEnd = true; // a reader who scrolled up is left where they are

function follow() {
  by("log").scrollTop = by("log").scrollHeight;
}

const acts = { says, press, pay, loaded: () => atEnd && follow() };

function showMessage(message) {
  const stay = atEnd || !message.from.is_bot;
  const known = by("log").querySelector(`[data-testid="message-${message.message_id}"]`);
  by("log").querySelector(".empty")?.remove();
  if (known) known.replaceWith(drawn(message, acts));
  else by("log").append(drawn(message, acts));
  if (stay) follow();
}

function showEmpty() {
  const look = { type: "button", className: "solid", text: "Start", testid: "start-button" };
  const start = element("button", { ...look, onclick: startsUp });
  const note = isFollowed() ? "You came by a link." : "No messages here yet.";
  by("log").append(element("div", { className: "empty" }, element("p", { text: note }), start));
}

function startsUp() {
  says(started());
  showBlocked();
}

function showPlaceholder() {
  by("input").placeholder = current.asked?.placeholder || current.keyboard?.input_field_placeholder || "Message";
}

function showAsked() {
  const question = current.asked && current.messages.get(current.asked.message_id);
  by("asked").hidden = !question || !canWrite();
  by("asked-text").textContent = question ? gist(question) : "";
  showKeyboard(canWrite() && !question);
  showPlaceholder();
  if (question) by("input").focus();
}

function dismissAsked() {
  current.asked = null;
  showAsked();
}

// Whoever came by a link into a chat that he knows has but the Start button there, as in Telegram's clients.
const isLinked = () => isFollowed() && current.messages.size > 0 && !current.blocked;
const canWrite = () => !current.blocked && !isLinked();

function showBlocked() {
  by("composer").hidden = !canWrite();
  by("linked").hidden = !isLinked();
  by("blocked").hidden = !current.blocked;
  by("block").hidden = current.blocked;
  by("block").setAttribute("aria-pressed", String(current.blocked));
  drawKeyboard(current.keyboard, says);
  showAsked();
}

function showCommands() {
  const list = commands[current.user.language_code] || commands[""] || [];
  const pick = (name) => { toggleCommands(false); says(`/${name}`); };
  by("commands").replaceChildren(...list.map(({ command, description }) => element("li", {}, element(
    "button", { type: "button", testid: `command-${command}`, onclick: () => pick(command) },
    element("span", { className: "slash", text: `/${command}` }),
    element("span", { className: "what", text: description }),
  ))));
  by("menu").hidden = !list.length;
}

function toggleCommands(open = by("commands").hidden) {
  by("commands").hidden = !open;
  by("menu").setAttribute("aria-expanded", String(open));
}

function preview(chat) {
  const last = [...chat.messages.values()].at(-1);
  if (chat.blocked) return "blocked the bot";
  if (!last) return "no messages yet";
  return gist(last);
}

function showPeople() {
  const shades = ["one", "two", "three"];
  by("people").replaceChildren(...[...chats.values()].map((chat, index) => {
    const first = chat.user.first_name;
    const tab = element(
      "button", { type: "button", className: "person", testid: `person-${chat.name}`, onclick: () => choose(chat) },
      element("span", { className: `avatar ${shades[index % 3]}`, text: first[0] }),
      element("span", { className: "name", text: first }),
      chat.unread ? element("span", { className: "unread", text: chat.unread, testid: `unread-${chat.name}` })
        : element("span", { className: "tongue", text: chat.user.language_code || "" }),
      element("span", { className: "last", text: preview(chat) }),
    );
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", String(chat === current));
    tab.title = `${chat.name}, id ${chat.user.id}`;
    return tab;
  }));
}

function choose(chat) {
  current = chat;
  chat.unread = 0;
  history.replaceState(null, "", `${location.search}#${chat.name}`);
  by("log").replaceChildren(...[...chat.messages.values()].map((message) => drawn(message, acts)));
  if (!chat.messages.size) showEmpty();
  showPeople();
  showBlocked();
  showCommands();
  toggleCommands(false);
  follow();
}

let toastTimer = 0;
function toast(text) {
  by("toast").textContent = text;
  by("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { by("toast").hidden = true; }, 4000);
}

function alertBox(text) {
  by("alert-text").textContent = text;
  if (!by("alert").open) by("alert").showModal();
}

let actionTimer = 0;
function showAction(action) {
  const [verb, what] = action.split("_"); // upload_photo, choose_sticker, typing
  by("bot-note").textContent = what ? `${verb.replace(/e$/, "")}ing ${what}…` : "typing…";
  clearTimeout(actionTimer);
  actionTimer = setTimeout(calm, 5000);
}

function calm() {
  by("bot-note").textContent = bot.username ? `@${bot.username}` : "bot";
}

// ---- what the sandbox tells ----

const told = {
  state(event) {
    const before = current?.name || location.hash.slice(1);
    ({ bot, commands } = event);
    chats.clear();
    for (const chat of event.chats) {
      const messages = new Map(chat.messages.map((message) => [message.message_id, message]));
      chats.set(chat.user.id, { ...chat, messages, unread: 0 });
    }
    by("bot-name").textContent = bot.first_name;
    by("bot-avatar").textContent = bot.first_name[0];
    calm();
    showStatus(event.status);
    const all = [...chats.values()];
    const isNew = (chat) => isFollowed() && !chat.messages.size;
    choose(all.find((chat) => chat.name === before) || all.find(isNew) || all[0]);
  },
  message({ message }, chat) {
    const isNew = !chat.messages.has(message.message_id);
    chat.messages.set(message.message_id, message);
    if (chat === current) showMessage(message);
    else if (isNew && message.from.is_bot) chat.unread += 1;
    if (isNew && message.from.is_bot && chat === current) calm();
    showPeople();
  },
  deleted({ message_id: id }, chat) {
    chat.messages.delete(id);
    if (chat === current) by("log").querySelector(`[data-testid="message-${id}"]`)?.remove();
    showPeople();
  },
  keyboard({ keyboard }, chat) {
    chat.keyboard = keyboard;
    if (chat === current) { drawKeyboard(keyboard, says); foldKeyboard(false); showAsked(); follow(); }
  },
  asked({ asked }, chat) {
    chat.asked = asked;
    if (chat === current) { showAsked(); follow(); }
  },
  blocked({ blocked }, chat) {
    chat.blocked = blocked;
    if (chat === current) showBlocked();
    showPeople();
  },
  toast({ text, alert }, chat) {
    if (chat === current && text) (alert ? alertBox : toast)(text);
  },
  action({ action }, chat) {
    if (chat === current) showAction(action);
  },
  commands(event) {
    commands = event.commands;
    if (current) showCommands();
  },
  status({ status }) {
    showStatus(status);
  },
};

function listen() {
  const changes = new EventSource(`${base}/api/changes`);
  changes.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    told[event.kind]?.(event, chats.get(event.chat_id));
  };
  changes.onerror = () => {
    say("bad", "The sandbox is away. Trying again.");
    if (changes.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

// ---- the composer ----

function grow() {
  const input = by("input");
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + 2}px`;
}

function submit(event) {
  event.preventDefault();
  says(by("input").value, Boolean(current.asked));
  by("input").value = "";
  grow();
  by("input").focus();
}

by("composer").addEventListener("submit", submit);
by("input").addEventListener("input", grow);
by("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
});
by("menu").addEventListener("click", () => toggleCommands());
by("keyboard-toggle").addEventListener("click", () => foldKeyboard());
by("asked-dismiss").addEventListener("click", dismissAsked);
by("start").addEventListener("click", startsUp);
by("block").addEventListener("click", () => act("blocks", { blocked: true }));
by("unblock").addEventListener("click", () => act("blocks", { blocked: false }));
document.addEventListener("keydown", (event) => { if (event.key === "Escape") toggleCommands(false); });
by("log").addEventListener("scroll", ({ target: log }) => {
  atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 120;
});
new ResizeObserver(() => atEnd && follow()).observe(by("log"));
listen();
