// The panels in which models are tried: one for each model, chosen by its task.
import {make} from "./elements.js";
import {say, t, onLanguage} from "./strings.js";
import {chatPanel} from "./chat.js";
import {embedPanel} from "./similarity.js";
import {classifyPanel, fillMaskPanel, rerankPanel} from "./bars.js";
import {predictPanel} from "./predict.js";
import {answerPanel, tagPanel} from "./spans.js";

const PANELS = {
  generate: chatPanel, embed: embedPanel, classify: classifyPanel, rerank: rerankPanel, tag: tagPanel, answer: answerPanel,
  fill_mask: fillMaskPanel, predict: predictPanel,
};

export class TryIt {
  constructor(element) {
    this.panels = new Map(); // model and task -> panel; they stay in the page, hidden, with what was typed
    this.models = [];
    this.choice = make("select", {id: "try-model", on: {change: () => this.show()}});
    this.empty = make("p", {class: "empty", say: "noneToTry"});
    this.room = make("div");
    this.label = make("label", {class: "chooser"}, make("span", {say: "model"}), this.choice);
    element.append(this.label, this.room, this.empty);
    onLanguage(() => this.list());
  }

  offer(models) {
    const usable = models.filter((model) => model.task && model.task !== "pipeline" && ["ready", "unloaded"].includes(model.state)
      && model.may.includes("infer"));
    const named = (list) => list.map(({id, task}) => `${id} ${task}`).join();
    if (named(usable) === named(this.models) && this.panels.size) return;
    this.models = usable;
    this.list();
    this.show();
  }

  list() {
    const chosen = this.choice.value;
    this.choice.replaceChildren(...this.models.map(({id, task}) => make("option", {value: id}, `${id} · ${t(task)}`)));
    if (this.models.some(({id}) => id === chosen)) this.choice.value = chosen;
  }

  show() {
    const model = this.models.find(({id}) => id === this.choice.value);
    this.label.hidden = !model;
    this.empty.hidden = Boolean(model);
    const key = model && `${model.id} ${model.task}`;
    if (model && !this.panels.has(key)) {
      const made = PANELS[model.task]?.(model) ?? say(make("p", {class: "empty"}), "noPanel");
      this.panels.set(key, made);
      this.room.append(made);
    }
    for (const [name, panel] of this.panels) panel.hidden = name !== key;
  }
}
