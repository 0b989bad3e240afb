// Elements made in one line: make("td", {class: "number"}, "3", make("b", {}, "4")).
// Options are attributes, but `say` (a key of strings.js), `on` (listeners) and what is a property: value, hidden, disabled.
import {say} from "./strings.js";

const PROPERTIES = new Set(["value", "hidden", "disabled", "checked", "textContent"]);

export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (name === "say") say(element, value);
    else if (name === "label") say(element, value, undefined, "aria-label");
    else if (name === "on") Object.entries(value).forEach(([event, heard]) => element.addEventListener(event, heard));
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A button that copies what `text()` gives; where the browser lends no clipboard, the text is marked in `shown` instead.
export function copyButton(text, shown) {
  const button = make("button", {type: "button", class: "quiet small", say: "copy"});
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      say(button, "copied");
    } catch {
      getSelection().selectAllChildren(shown);
      say(button, "marked");
    }
    setTimeout(() => say(button, "copy"), 2000);
  });
  return button;
}

// Asks before something that cannot be taken back; true for yes.
export function confirmed(key, values, yes) {
  const question = say(make("p"), key, values);
  const dialog = make("dialog", {}, make("form", {method: "dialog"}, question, make("div", {class: "row end"},
    make("button", {value: "no", class: "quiet", say: "cancel"}),
    make("button", {value: "yes", class: "danger", say: yes}))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes");
  }));
}
