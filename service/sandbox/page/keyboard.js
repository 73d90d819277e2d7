// The keyboard that the bot put below the composer: open until it is folded away, and away while a reply is written.

import { element, rows } from "./messages.js";

const place = document.getElementById("keyboard");
const toggle = document.getElementById("keyboard-toggle");
let isOpen = true;

export function drawKeyboard(keyboard, says) {
  const make = (button) => {
    const text = button.text ?? button;
    return element("button", { type: "button", text, testid: "keyboard-button", onclick: () => says(text) });
  };
  place.replaceChildren(...rows(keyboard?.keyboard || [], make));
}

export function showKeyboard(isWanted) {
  const isThere = isWanted && place.childElementCount > 0;
  toggle.hidden = !isThere;
  toggle.setAttribute("aria-expanded", String(isOpen));
  place.hidden = !isThere || !isOpen;
}

export function foldKeyboard(isFolded = isOpen) {
  isOpen = !isFolded;
  showKeyboard(!toggle.hidden);
}
