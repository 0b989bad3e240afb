// Try chat: a conversation, each answer shown as it is written.
import {make} from "./elements.js";
import {count, rate, seconds} from "./format.js";
import {Command, showError} from "./panel.js";
import {events} from "./server.js";
import {say} from "./strings.js";

const PATH = "v1/chat/completions";

class Chat {
  constructor(model) {
    this.model = model;
    this.messages = [];
    this.abort = null;
    this.log = make("div", {class: "log", role: "log", tabindex: "0", label: "conversation"});
    this.empty = say(make("p", {class: "empty"}), "chatEmpty", {name: model.id});
    this.log.append(this.empty);
    this.text = make("textarea", {rows: 2, value: "What is a mill race?", label: "message"});
    this.temperature = make("input", {type: "number", min: 0, max: 2, step: 0.1, value: "0.7"});
    this.limit = make("input", {type: "number", min: 1, max: 8192, step: 1, value: "256"});
    this.send = make("button", {type: "submit", say: "send"});
    this.stop = make("button", {type: "button", class: "danger", say: "stop", hidden: true, on: {click: () => this.abort?.abort()}});
    this.clear = make("button", {type: "button", class: "quiet", say: "clear", on: {click: () => this.forget()}});
    this.took = make("span", {class: "took", role: "status"});
    this.command = new Command(PATH, () => this.body([...this.messages, ...this.typed()]), true);
    this.form = make("form", {on: {input: this.command.update}}, this.text, make("div", {class: "row"},
      this.send, this.stop,
      make("label", {class: "inline"}, make("span", {say: "temperature"}), this.temperature),
      make("label", {class: "inline"}, make("span", {say: "maxTokens"}), this.limit), this.clear));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    this.text.addEventListener("keydown", (event) => {
      // Enter that chooses among an input method's characters does not send.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.ask();
      }
    });
    this.element = make("div", {class: "panel chat", "data-task": "generate", "data-panel": model.id},
      this.log, this.took, this.form, this.command.element);
  }

  typed() {
    const content = this.text.value.trim();
    return content ? [{role: "user", content}] : [];
  }

  body(messages) {
    const settings = {temperature: Number(this.temperature.value), max_tokens: Number(this.limit.value)};
    return {model: this.model.id, messages, ...settings, stream: true, stream_options: {include_usage: true}};
  }

  forget() {
    this.abort?.abort();
    this.messages = [];
    this.log.replaceChildren(this.empty);
    say(this.took, "took", {time: ""});
  }

  bubble(role, text) {
    const made = make("div", {class: `bubble ${role}`}, text);
    this.empty.remove();
    this.log.append(made);
    this.log.scrollTop = this.log.scrollHeight;
    return made;
  }

  async ask() {
    const typed = this.typed();
    if (!typed.length || this.abort) return;
    this.bubble("user", typed[0].content);
    const asked = [...this.messages, ...typed], reply = this.bubble("assistant waiting", "");
    const body = this.body(asked);
    this.text.value = "";
    const abort = new AbortController();
    this.busy(abort);
    try {
      const written = await this.read(body, reply, abort.signal);
      this.messages = [...asked, {role: "assistant", content: written}];
    } catch (error) {
      if (abort.signal.aborted) {
        this.messages = reply.textContent ? [...asked, {role: "assistant", content: reply.textContent}] : this.messages;
        reply.append(" ", make("small", {say: "stopped"}));
      } else {
        showError(reply, error);
        this.text.value ||= typed[0].content;
        this.log.scrollTop = this.log.scrollHeight;
      }
    }
    reply.classList.remove("waiting");
    this.busy(null);
    this.command.update();
  }

  async read(body, reply, signal) {
    const start = performance.now(), text = document.createTextNode("");
    let first = null, tokens = 0;
    reply.append(text);
    for await (const event of events(PATH, body, signal)) {
      if (event.usage) tokens = event.usage.completion_tokens;
      const piece = event.choices[0]?.delta.content;
      if (!piece) continue;
      first ??= performance.now();
      reply.classList.remove("waiting");
      const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
      text.data += piece;
      if (atEnd) this.log.scrollTop = this.log.scrollHeight; // who reads further up is left there
    }
    const end = performance.now(), whole = (end - start) / 1000;
    const writing = Math.max((end - (first ?? end)) / 1000, 0.001);
    say(this.took, "chatTook", () => ({tokens: count(tokens), time: seconds(whole),
      first: seconds(((first ?? end) - start) / 1000), rate: rate(Math.max(tokens - 1, 0) / writing)}));
    return text.data;
  }

  busy(abort) {
    this.abort = abort;
    this.send.hidden = Boolean(abort);
    this.stop.hidden = !abort;
    if (abort) say(this.took, "took", {time: ""});
  }
}

export const chatPanel = (model) => new Chat(model).element;
