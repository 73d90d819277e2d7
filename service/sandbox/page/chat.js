// The chat page: shows what the sandbox tells by server-sent events, and does what a person can do.
// Whatever the bot sends is put on the page as text, never as HTML.
"use strict";

const base = document.body.dataset.base;
const by = (id) => document.getElementById(id);
const chats = new Map(); // chat id -> {name, user, messages: Map, keyboard, blocked, unread}
let bot = {};
let commands = {};
let current = null;

function element(tag, { className, text, testid, ...rest } = {}, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (testid) made.dataset.testid = testid;
  Object.assign(made, rest);
  made.append(...children);
  return made;
}

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

function says(text) {
  if (text.trim()) act("says", { text });
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

// ---- messages ----

const WRAPPERS = {
  bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code", pre: "pre",
};

function wrapped(entity, source, message) {
  const { type, offset, length, url } = entity;
  const covered = source.slice(offset, offset + length);
  if (type === "text_link" || type === "url") return link(url || covered);
  if (type === "bot_command" && message.from.is_bot) {
    return element("button", { type: "button", className: "command", testid: "command-link", onclick: () => says(covered) });
  }
  if (type === "spoiler") {
    return element("span", { className: "spoiler", onclick: (event) => event.currentTarget.classList.add("shown") });
  }
  if (type === "blockquote") return element("span", { className: "quote" });
  return element(WRAPPERS[type] || "span");
}

function link(url) {
  const anchor = element("a", { rel: "noopener noreferrer", target: "_blank" });
  if (url.startsWith("https://t.me/$")) {
    anchor.href = "#";
    anchor.onclick = (event) => { event.preventDefault(); pay(anchor, { link: url }); };
  } else if (/^(https?|tg|mailto):/i.test(url)) {
    anchor.href = url;
  }
  return anchor;
}

function rich(source, entities, message) {
  const edges = new Set([0, source.length]);
  for (const { offset, length } of entities) edges.add(offset).add(offset + length);
  const cuts = [...edges].filter((edge) => edge <= source.length).sort((one, other) => one - other);
  const line = element("div", { className: "text" });
  for (let index = 0; index + 1 < cuts.length; index += 1) {
    const [start, end] = [cuts[index], cuts[index + 1]];
    let inner = document.createTextNode(source.slice(start, end));
    const covering = entities.filter(({ offset, length }) => offset <= start && end <= offset + length);
    for (const entity of covering.sort((one, other) => one.length - other.length)) {
      const outer = wrapped(entity, source, message);
      outer.append(inner);
      inner = outer;
    }
    line.append(inner);
  }
  return line;
}

function price({ currency, total_amount: amount }) {
  return currency === "XTR" ? `${amount} Stars` : `${(amount / 100).toFixed(2)} ${currency}`;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function bytes(size) {
  return size < 1024 ? `${size} B` : size < 1048576 ? `${(size / 1024).toFixed(1)} KB` : `${(size / 1048576).toFixed(1)} MB`;
}

function attachments(message) {
  const shown = [];
  if (message.photo) {
    const file = `${base}/files/${message.photo.at(-1).file_id}`;
    shown.push(element("img", { className: "photo", src: file, alt: message.caption || "photo", testid: "photo", onload: follow }));
  }
  if (message.document) {
    const { file_id: id, file_name: name, file_size: size } = message.document;
    shown.push(element(
      "a", { className: "document", href: `${base}/files/${id}`, download: name, testid: "document" },
      element("span", { className: "icon", text: "↓" }),
      element("span", { className: "file", text: name }),
      element("span", { className: "size", text: bytes(size) }),
    ));
  }
  if (message.invoice) {
    shown.push(element(
      "div", { className: "invoice", testid: "invoice" },
      element("strong", { text: message.invoice.title }),
      element("span", { className: "text", text: message.invoice.description }),
      element("div", { className: "price", text: price(message.invoice) }),
    ));
  }
  return shown;
}

function inlineButton(button, message) {
  const look = { text: button.text, testid: "inline-button" };
  if (button.url && button.url.startsWith("https://t.me/$")) {
    return element("button", { ...look, type: "button", onclick: (event) => pay(event.currentTarget, { link: button.url }) });
  }
  if (button.url) return Object.assign(link(button.url), { textContent: button.text });
  if (button.pay) {
    const paying = (event) => pay(event.currentTarget, { message_id: message.message_id });
    return element("button", { ...look, type: "button", testid: "pay-button", onclick: paying });
  }
  if (button.callback_data) {
    return element("button", { ...look, type: "button", onclick: (event) => press(event.currentTarget, message, button.callback_data) });
  }
  return element("span", { ...look, className: "dull", title: "The sandbox does not act on this kind of button" });
}

function rows(lines, make) {
  return lines.map((line) => element("div", { className: "row" }, ...line.map(make)));
}

function service(message) {
  if (message.successful_payment) return `You paid ${price(message.successful_payment)}`;
  if (message.refunded_payment) return `${price(message.refunded_payment)} came back`;
  return null;
}

function drawn(message) {
  const testid = `message-${message.message_id}`;
  const note = service(message);
  if (note) return element("div", { className: "service", text: note, testid });
  const source = message.text ?? message.caption ?? "";
  const bubble = element("div", { className: "bubble" }, ...attachments(message));
  if (source) bubble.append(rich(source, message.entities || message.caption_entities || [], message));
  const when = (message.edit_date ? "edited " : "") + clock(message.edit_date || message.date);
  bubble.append(element("span", { className: "when", text: when }));
  const made = element("article", { className: "message", testid }, bubble);
  made.dataset.from = message.from.is_bot ? "bot" : "person";
  const keyboard = message.reply_markup?.inline_keyboard;
  if (keyboard) made.append(element("div", { className: "rows" }, ...rows(keyboard, (one) => inlineButton(one, message))));
  return made;
}

// ---- the page ----

function atEnd() {
  const log = by("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 120;
}

function follow() {
  by("log").scrollTop = by("log").scrollHeight;
}

function showMessage(message) {
  const stay = atEnd() || !message.from.is_bot;
  const known = by("log").querySelector(`[data-testid="message-${message.message_id}"]`);
  by("log").querySelector(".empty")?.remove();
  if (known) known.replaceWith(drawn(message));
  else by("log").append(drawn(message));
  if (stay) follow();
}

function showEmpty() {
  const start = element("button", { type: "button", className: "solid", text: "Start", testid: "start-button", onclick: () => says("/start") });
  by("log").append(element("div", { className: "empty" }, element("p", { text: "No messages here yet." }), start));
}

function showKeyboard() {
  const lines = current.keyboard?.keyboard || [];
  const make = (button) => {
    const text = button.text ?? button;
    return element("button", { type: "button", text, testid: "keyboard-button", onclick: () => says(text) });
  };
  by("keyboard").replaceChildren(...rows(lines, make));
  by("keyboard").hidden = !lines.length || current.blocked;
  by("input").placeholder = current.keyboard?.input_field_placeholder || "Message";
}

function showBlocked() {
  by("composer").hidden = current.blocked;
  by("blocked").hidden = !current.blocked;
  by("block").hidden = current.blocked;
  by("block").setAttribute("aria-pressed", String(current.blocked));
  showKeyboard();
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
  return service(last) || last.text || last.caption || last.invoice?.title || last.document?.file_name || "photo";
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
    tab.title = `@${chat.name}, id ${chat.user.id}`;
    return tab;
  }));
}

function choose(chat) {
  current = chat;
  chat.unread = 0;
  history.replaceState(null, "", `#${chat.name}`);
  by("log").replaceChildren(...[...chat.messages.values()].map(drawn));
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
  by("bot-note").textContent = action === "typing" ? "typing…" : `${action.replace("_", "ing ").replace("uploading", "sending")}…`;
  clearTimeout(actionTimer);
  actionTimer = setTimeout(calm, 5000);
}

function calm() {
  by("bot-note").textContent = bot.username ? `@${bot.username}` : "bot";
}

// ---- the status line, in plain words ----

function trouble({ last_error_message: error, last_error_date: date }) {
  const known = {
    "Connection refused": "the bot cannot be reached",
    "Read timeout expired": "the bot took too long",
    "Webhook connection closed": "the bot hung up",
  };
  const words = known[error] || error.replace("Wrong response from the webhook:", "the bot answered");
  return `${words} (${new Date(date * 1000).toLocaleTimeString()})`;
}

function showStatus(status) {
  const waiting = status.pending_update_count;
  const updates = waiting === 1 ? "1 update waits" : `${waiting} updates wait`;
  let [state, words] = ["good", "The bot has taken every update."];
  if (!status.url) [state, words] = ["waiting", waiting ? `${updates} for the bot to ask.` : "No webhook is set; the bot has to ask for updates."];
  else if (waiting && status.last_error_message) [state, words] = ["bad", `${updates}: ${trouble(status)}. Trying again.`];
  else if (waiting) [state, words] = ["waiting", `${updates} for the bot.`];
  else if (status.last_error_message) words = `The bot has taken every update. Last trouble: ${trouble(status)}.`;
  by("status").dataset.state = state;
  by("status").textContent = words;
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
    calm();
    showStatus(event.status);
    const all = [...chats.values()];
    choose(all.find((chat) => chat.name === before) || all[0]);
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
    if (chat === current) { showKeyboard(); follow(); }
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
    by("status").dataset.state = "bad";
    by("status").textContent = "The sandbox is away. Trying again.";
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
  says(by("input").value);
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
by("block").addEventListener("click", () => act("blocks", { blocked: true }));
by("unblock").addEventListener("click", () => act("blocks", { blocked: false }));
document.addEventListener("keydown", (event) => { if (event.key === "Escape") toggleCommands(false); });
listen();
