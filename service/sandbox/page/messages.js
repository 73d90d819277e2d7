// How one message looks. Whatever the bot sends is put on the page as text, never as HTML.
//
// `acts` is what a person can do from within a message: says, press, pay, loaded (a picture has its size now).

const base = document.body.dataset.base;

export function element(tag, { className, text, testid, ...rest } = {}, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (testid) made.dataset.testid = testid;
  Object.assign(made, rest);
  made.append(...children);
  return made;
}

const WRAPPERS = {
  bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code", pre: "pre",
};

function wrapped(entity, source, message, acts) {
  const { type, offset, length, url } = entity;
  const covered = source.slice(offset, offset + length);
  if (type === "text_link" || type === "url") return link(url || covered, acts);
  if (type === "bot_command" && message.from.is_bot) {
    const onclick = () => acts.says(covered);
    return element("button", { type: "button", className: "command", testid: "command-link", onclick });
  }
  if (type === "spoiler") {
    return element("span", { className: "spoiler", onclick: (event) => event.currentTarget.classList.add("shown") });
  }
  if (type === "blockquote") return element("span", { className: "quote" });
  return element(WRAPPERS[type] || "span");
}

function link(url, acts) {
  const anchor = element("a", { rel: "noopener noreferrer", target: "_blank" });
  if (url.startsWith("https://t.me/$")) {
    anchor.href = "#";
    anchor.onclick = (event) => { event.preventDefault(); acts.pay(anchor, { link: url }); };
  } else if (/^(https?|tg|mailto):/i.test(url)) {
    anchor.href = url;
  }
  return anchor;
}

function rich(source, entities, message, acts) {
  const edges = new Set([0, source.length]);
  for (const { offset, length } of entities) edges.add(offset).add(offset + length);
  const cuts = [...edges].filter((edge) => edge <= source.length).sort((one, other) => one - other);
  const line = element("div", { className: "text" });
  for (let index = 0; index + 1 < cuts.length; index += 1) {
    const [start, end] = [cuts[index], cuts[index + 1]];
    let inner = document.createTextNode(source.slice(start, end));
    const covering = entities.filter(({ offset, length }) => offset <= start && end <= offset + length);
    for (const entity of covering.sort((one, other) => one.length - other.length)) {
      const outer = wrapped(entity, source, message, acts);
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
  if (size < 1024) return `${size} B`;
  return size < 1024 ** 2 ? `${(size / 1024).toFixed(1)} KB` : `${(size / 1024 ** 2).toFixed(1)} MB`;
}

function attachments(message, acts) {
  const shown = [];
  if (message.photo) {
    const file = `${base}/files/${message.photo.at(-1).file_id}`;
    const alt = message.caption || "photo";
    shown.push(element("img", { className: "photo", src: file, alt, testid: "photo", onload: acts.loaded }));
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
      element("span", { text: message.invoice.description }),
      element("div", { className: "price", text: price(message.invoice) }),
    ));
  }
  return shown;
}

function inlineButton(button, message, acts) {
  const look = { text: button.text, testid: "inline-button" };
  if (button.url && button.url.startsWith("https://t.me/$")) {
    return element("button", { ...look, type: "button", onclick: (event) => acts.pay(event.currentTarget, { link: button.url }) });
  }
  if (button.url) return Object.assign(link(button.url, acts), { textContent: button.text });
  if (button.pay) {
    const paying = (event) => acts.pay(event.currentTarget, { message_id: message.message_id });
    return element("button", { ...look, type: "button", testid: "pay-button", onclick: paying });
  }
  if (button.callback_data) {
    const onclick = (event) => acts.press(event.currentTarget, message, button.callback_data);
    return element("button", { ...look, type: "button", onclick });
  }
  return element("span", { ...look, className: "dull", title: "The sandbox does not act on this kind of button" });
}

export function rows(lines, make) {
  return lines.map((line) => element("div", { className: "row" }, ...line.map(make)));
}

export function service(message) {
  if (message.successful_payment) return `You paid ${price(message.successful_payment)}`;
  if (message.refunded_payment) return `${price(message.refunded_payment)} came back`;
  return null;
}

// A message in a few words.
export function gist(message) {
  return service(message) || message.text || message.caption || message.invoice?.title || message.document?.file_name
    || "photo";
}

function repliedTo(question) {
  const name = element("strong", { text: question.from.first_name });
  return element("div", { className: "replied", testid: "replied" }, name, element("span", { text: gist(question) }));
}

export function drawn(message, acts) {
  const testid = `message-${message.message_id}`;
  const note = service(message);
  if (note) return element("div", { className: "service", text: note, testid });
  const source = message.text ?? message.caption ?? "";
  const bubble = element("div", { className: "bubble" }, ...attachments(message, acts));
  if (message.reply_to_message) bubble.prepend(repliedTo(message.reply_to_message));
  if (source) bubble.append(rich(source, message.entities || message.caption_entities || [], message, acts));
  const when = (message.edit_date ? "edited " : "") + clock(message.edit_date || message.date);
  bubble.append(element("span", { className: "when", text: when }));
  const made = element("article", { className: "message", testid }, bubble);
  made.dataset.from = message.from.is_bot ? "bot" : "person";
  const keyboard = message.reply_markup?.inline_keyboard;
  if (keyboard) {
    made.classList.add("keyed");
    made.append(element("div", { className: "rows" }, ...rows(keyboard, (one) => inlineButton(one, message, acts))));
  }
  return made;
}
