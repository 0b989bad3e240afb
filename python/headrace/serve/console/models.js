// The table of models. Its rows stay while their figures change, so that nothing moves under the reader's hand.
import {confirmed, make} from "./elements.js";
import {compact, count, decimal, rate, share} from "./format.js";
import {ask} from "./server.js";
import {onLanguage, say, unsay} from "./strings.js";

const COLUMNS = [
  ["model", ""], ["task", ""], ["state", ""], ["version_", "number"], ["precision", ""], ["parameters", "number"],
  ["dimensions", "number"], ["longest", "number"], ["requests", "number"], ["tokensNow", "number"], ["actions", "actions"],
];

const DRIFTED = 0.25; // a population stability index above which much has changed

class Row {
  constructor(table, id) {
    this.table = table;
    this.cells = Object.fromEntries(COLUMNS.map(([name, kind]) => [name, say(make("td", {class: kind}), name, {}, "data-label")]));
    this.base = make("small");
    this.cells.model.append(make("b", {title: id}, id), this.base);
    this.pill = make("span", {class: "pill"});
    this.drift = make("span", {class: "pill drift", hidden: true});
    this.cells.state.append(this.pill, " ", this.drift);
    this.task = make("span");
    this.cells.task.append(this.task);
    this.version = say(make("select", {class: "small"}), "chooseVersion", {name: id}, "aria-label");
    this.load = make("button", {type: "button", class: "small", "data-do": "load", say: "load", on: {click: () => table.load(this)}});
    this.unload = make("button", {type: "button", class: "small quiet", "data-do": "unload", say: "unload", on: {click: () => table.unload(this)}});
    this.cells.actions.append(make("div", {class: "row end"}, this.version, this.load, this.unload));
    this.element = make("tr", {"data-model": id}, ...Object.values(this.cells));
    this.id = id;
    this.pending = false;
  }

  show(model, versions, speed) {
    const state = this.pending ? "loading" : model.state;
    this.pill.className = `pill ${state}`;
    say(this.pill, state, () => ({share: share(model.share)}));
    const drift = Math.max(model.drift?.input_tokens ?? 0, model.drift?.output ?? 0);
    this.drift.hidden = drift <= DRIFTED;
    say(this.drift, "drift", () => ({index: decimal(drift)}));
    say(this.drift, "driftWhat", () => ({input: decimal(model.drift?.input_tokens), output: decimal(model.drift?.output)}), "title");
    if (model.task) say(this.task, model.task);
    else this.task.textContent = "–";
    const {cells} = this, base = model.base ?? model.parent; // of an adapter: what it adapts
    this.text(this.base, base ? ` \u2190 ${base}` : "");
    this.text(cells.version_, model.version ?? "–");
    this.text(cells.precision, model.precision || "–");
    this.text(cells.parameters, model.parameters ? compact(model.parameters) : "–");
    this.text(cells.dimensions, model.task === "embed" ? count(model.dimensions) : "–");
    this.text(cells.longest, model.max_tokens ? count(model.max_tokens) : "–");
    this.text(cells.requests, count(model.requests));
    this.text(cells.tokensNow, model.tokens === undefined ? "–" : rate(speed));
    this.actions(model, versions);
  }

  text(cell, text) {
    if (cell.textContent !== text) cell.textContent = text;
  }

  actions(model, versions) {
    const isServed = model.state === "ready", may = model.may?.includes("manage");
    const wanted = (versions ?? []).join(" ");
    if (this.version.dataset.versions !== wanted) {
      this.version.dataset.versions = wanted;
      this.version.replaceChildren(...(versions ?? []).map((name) => make("option", {value: name}, name)));
      if (model.version) this.version.value = model.version;
    }
    this.version.hidden = !may || !versions || versions.length < 2;
    this.load.hidden = !may || versions === undefined;
    this.unload.hidden = !may || !isServed;
    const isSame = isServed && (this.version.hidden || this.version.value === model.version);
    say(this.load, isSame ? "reloadModel" : "load");
    this.load.classList.toggle("quiet", isSame);
    this.load.disabled = this.unload.disabled = this.version.disabled = this.pending || model.state === "loading";
  }
}

export class ModelTable {
  // onChange: called when a model was loaded or unloaded.
  constructor(element, message, onChange) {
    this.message = message;
    this.onChange = onChange;
    this.rows = new Map();
    this.loadable = new Map(); // name -> versions, of what the key may load
    this.models = [];
    this.speeds = new Map();
    this.body = make("tbody");
    this.empty = make("tr", {class: "empty"}, make("td", {colspan: COLUMNS.length, say: "noModels"}));
    const heads = COLUMNS.map(([name, kind]) => make("th", {scope: "col", class: kind, say: name}));
    element.append(make("thead", {}, make("tr", {}, ...heads)), this.body);
    this.table = element;
    onLanguage(() => this.show(this.models, this.speeds));
  }

  async readLoadable() {
    try {
      const {data} = await ask("GET", "v1/admin/models");
      this.loadable = new Map(data.data.map(({id, versions}) => [id, versions]));
    } catch {
      this.loadable = new Map(); // then there are no buttons
    }
    this.show(this.models, this.speeds);
  }

  show(models, speeds) {
    this.models = models;
    this.speeds = speeds;
    const served = new Set(models.map(({id}) => id));
    const others = [...this.loadable.keys()].filter((id) => !served.has(id));
    const all = [...models, ...others.map((id) => ({id, state: "unloaded", may: ["manage"]}))];
    const known = new Set(all.map(({id}) => id));
    for (const [id, row] of this.rows) {
      if (!known.has(id)) {
        row.element.remove();
        this.rows.delete(id);
      }
    }
    let last = null;
    for (const model of all) {
      if (!this.rows.has(model.id)) {
        const row = new Row(this, model.id);
        this.rows.set(model.id, row);
        if (last) last.after(row.element);
        else this.body.prepend(row.element);
      }
      last = this.rows.get(model.id).element;
      this.rows.get(model.id).show(model, this.loadable.get(model.id), speeds.get(model.id));
    }
    this.table.classList.toggle("managed", all.some(({may}) => may?.includes("manage")));
    if (all.length === 0) this.body.append(this.empty);
    else this.empty.remove();
  }

  async load(row) {
    const parameters = row.version.hidden ? {} : {parameters: {version: row.version.value}};
    await this.work(row, "load", parameters, "loaded");
  }

  async unload(row) {
    if (await confirmed("unloadQuestion", {name: row.id}, "unload")) await this.work(row, "unload", {}, "unloadedNow");
  }

  async work(row, what, body, done) {
    row.pending = true;
    this.tell("", what === "load" ? "loadingNow" : done, {name: row.id});
    this.show(this.models, this.speeds);
    try {
      await ask("POST", `v2/repository/models/${encodeURIComponent(row.id)}/${what}`, body);
      this.tell("good", done, {name: row.id});
    } catch (error) {
      unsay(this.message);
      this.message.className = "notice bad";
      this.message.textContent = error.message;
    }
    row.pending = false;
    await this.readLoadable();
    this.onChange();
  }

  tell(kind, key, values) {
    this.message.hidden = false;
    this.message.className = `notice ${kind}`;
    say(this.message, key, values);
  }
}
