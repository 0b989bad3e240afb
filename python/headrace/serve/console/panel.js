// What the panels of all tasks but chat share: fields, a button, the result, the time it took, the curl command.
import {copyButton, make} from "./elements.js";
import {count, seconds} from "./format.js";
import {ask, curl} from "./server.js";
import {say} from "./strings.js";

export const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// An error as the server wrote it.
export function showError(element, error) {
  const head = error.status ? say(make("b"), "error", {status: error.status}) : "";
  element.replaceChildren(make("p", {class: "notice bad", role: "alert"}, head, " ", error.status ? error.message : String(error)));
}

// The command that asks what `body()` says.
export class Command {
  constructor(path, body, isStreamed = false) {
    this.text = make("code");
    this.shown = make("pre", {tabindex: "0"}, this.text);
    this.update = () => {
      try {
        this.text.textContent = curl(path, body(), isStreamed);
      } catch (error) {
        this.text.textContent = String(error); // what is typed is no JSON yet
      }
    };
    const copy = copyButton(() => this.text.textContent, this.shown);
    this.element = make("details", {class: "command", on: {toggle: this.update}},
      make("summary", {say: "command"}), make("div", {class: "code"}, this.shown, copy));
  }
}

// fields: name -> {say, kind: "line" | "area" | "lines" | "json" | "choice", value}, of a choice also `options`: value -> what is
// said; a picture is a PictureField (pictures.js). show(result, data, values) draws the answer; asked(values) is what of the body they
// are. A panel of no model has only a task.
export function taskPanel(model, path, fields, more, show, asked = (values) => values) {
  const inputs = Object.entries(fields).map(([name, field]) => {
    if (field.kind === "picture") return [name, field, field.input];
    if (field.kind === "choice") {
      const choices = Object.entries(field.options).map(([value, key]) => make("option", {value, say: key}));
      return [name, field, make("select", {name}, ...choices)];
    }
    const isArea = field.kind !== "line";
    const input = make(isArea ? "textarea" : "input", {name, value: field.value, spellcheck: "false",
      ...(isArea ? {rows: field.rows ?? 5} : {type: "text"})});
    return [name, field, input];
  });
  const value = (field, input, isShown) => {
    if (field.kind === "picture") return isShown ? field.shown : field.data;
    return field.kind === "lines" ? lines(input.value) : field.kind === "json" ? JSON.parse(input.value) : input.value;
  };
  const values = (isShown) => Object.fromEntries(inputs.map(([name, field, input]) => [name, value(field, input, isShown)]));
  const body = (isShown = false) => ({model: model.id, ...asked(values(isShown)), ...more});
  const run = make("button", {type: "submit", say: "run"});
  const took = make("span", {class: "took", role: "status"});
  const result = make("div", {class: "result", "aria-live": "polite"}, make("p", {class: "empty", say: "resultHere"}));
  const command = new Command(path, () => body(true));
  const form = make("form", {}, ...inputs.map(([, field, input]) =>
    make("label", {}, make("span", {say: field.say}), input)), make("div", {class: "row"}, run, took));
  const submit = async () => {
    if (run.disabled) return;
    run.disabled = true;
    say(run, "running");
    try {
      await Promise.all(Object.values(fields).map((field) => field.ready));
      const given = values();
      const answer = await ask("POST", path, body());
      const tokens = answer.data.usage?.total_tokens;
      say(took, tokens === undefined ? "took" : "tookTokens", () => ({time: seconds(answer.seconds), tokens: count(tokens)}));
      result.replaceChildren();
      show(result, answer.data, given);
    } catch (error) {
      say(took, "took", {time: ""});
      showError(result, error);
    }
    run.disabled = false;
    say(run, "run");
    command.update();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("input", command.update);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
  });
  return make("div", {class: "panel", "data-task": model.task, "data-panel": model.id ?? model.task},
    make("div", {class: "two"}, form, result), command.element);
}
