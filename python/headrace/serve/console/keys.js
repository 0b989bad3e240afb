// Keys and their limits, for the scope admin: a list, a form for a new one, and the one time that its text is shown.
import {confirmed, copyButton, make} from "./elements.js";
import {compact, day} from "./format.js";
import {showError} from "./panel.js";
import {ask} from "./server.js";
import {onLanguage, say, t} from "./strings.js";

const PATH = "v1/admin/keys";
const SCOPES = ["infer", "manage", "metrics", "audit", "admin"];
const LIMITS = {requests_per_minute: "perMinute", tokens_per_minute: "tokensPerMinute", tokens_per_day: "tokensPerDay"};
const DAY = 86_400;
const LIFETIMES = [[null, "never"], [1, "oneDay"], [7, "days"], [30, "days"], [90, "days"], [365, "oneYear"]];
const COLUMNS = ["name", "scopes", "tenant", "limits", "state", "created", "expires", "actions"];

export class KeyRoom {
  constructor(element) {
    this.keys = [];
    this.own = null;
    this.isOpen = false;
    this.body = make("tbody");
    this.message = make("div");
    this.made = make("div", {role: "status"});
    const heads = COLUMNS.map((name) => make("th", {scope: "col", say: name, class: name === "actions" ? "actions" : ""}));
    const table = make("table", {id: "key-table", class: "cards managed"}, make("thead", {}, make("tr", {}, ...heads)), this.body);
    element.append(this.made, make("div", {class: "scroll"}, table), this.message, this.form());
    onLanguage(() => this.draw());
  }

  // Reads the list when it is first seen; own: the id of the page's key.
  open(own) {
    this.own = own;
    if (!this.isOpen) this.read();
    this.isOpen = true;
  }

  async read() {
    try {
      this.keys = (await ask("GET", PATH)).data.data;
      this.message.replaceChildren();
    } catch (error) {
      showError(this.message, error);
    }
    this.draw();
  }

  draw() {
    const order = {active: 0, expired: 1, revoked: 2};
    const sorted = [...this.keys].sort((a, b) => order[a.state] - order[b.state] || b.created - a.created);
    const rows = sorted.map((key) => this.row(key));
    if (!rows.length) rows.push(make("tr", {class: "empty"}, make("td", {colspan: COLUMNS.length, say: "noKeys"})));
    this.body.replaceChildren(...rows);
  }

  row(key) {
    const limits = Object.entries(key.limits).map(([name, n]) => t(LIMITS[name], {n: compact(n)}));
    const own = key.id === this.own ? [" ", make("small", {class: "pill", say: "yours"})] : [];
    const cells = {
      name: [make("b", {title: key.name}, key.name), ...own, make("small", {class: "id"}, key.id)],
      scopes: key.scopes.map((scope) => make("code", {class: "chip"}, scope)),
      tenant: [key.tenant],
      limits: limits.length ? limits.map((text) => make("span", {class: "limit"}, text)) : [make("small", {say: "noLimits"})],
      state: [make("span", {class: `pill ${key.state}`, say: key.state})],
      created: [day(key.created)],
      expires: [key.expires ? day(key.expires) : t("never")],
      actions: key.state === "revoked" ? [] : [make("button", {type: "button", class: "small quiet", say: "revoke",
        on: {click: () => this.revoke(key)}})],
    };
    return make("tr", {"data-key": key.id, class: key.state}, ...COLUMNS.map((name) =>
      say(make("td", {class: name === "actions" ? "actions" : ""}, ...cells[name]), name, {}, "data-label")));
  }

  async revoke(key) {
    const question = key.id === this.own ? "revokeOwn" : "revokeQuestion";
    if (!(await confirmed(question, {name: key.name}, "revoke"))) return;
    try {
      await ask("DELETE", `${PATH}/${encodeURIComponent(key.id)}`);
      await this.read();
    } catch (error) {
      showError(this.message, error);
    }
  }

  form() {
    const field = (key, input) => make("label", {}, make("span", {say: key}), input);
    const input = (name, placeholder, options = {}) =>
      say(make("input", {name, type: "text", autocomplete: "off", ...options}), placeholder, {}, "placeholder");
    const number = {type: "number", min: 1, step: 1};
    const boxes = SCOPES.map((scope) => make("label", {class: "check"},
      make("input", {type: "checkbox", name: "scope", value: scope, checked: scope === "infer"}),
      make("code", {}, scope), make("small", {say: `${scope}What`})));
    const lifetimes = LIFETIMES.map(([days, key]) => say(make("option", {value: days === null ? "" : days}), key, {n: days}));
    const more = make("input", {name: "more", type: "text", autocomplete: "off", spellcheck: "false"});
    const wrong = make("div");
    const form = make("form", {id: "new-key", autocomplete: "off"},
      make("div", {class: "fields"},
        field("name", input("name", "nameHint", {required: "", maxlength: 64})),
        field("tenant", input("tenant", "tenantHint", {maxlength: 64})),
        field("expires", make("select", {name: "lifetime"}, ...lifetimes))),
      make("fieldset", {}, make("legend", {say: "scopes"}), ...boxes, field("moreScopes", more)),
      make("fieldset", {}, make("legend", {say: "limits"}), make("div", {class: "fields"},
        ...Object.keys(LIMITS).map((name) => field(name, input(name, "unlimited", number))))),
      wrong, make("div", {class: "row"}, make("button", {type: "submit", say: "create"})));
    const room = make("details", {class: "new-key"}, make("summary", {say: "newKey"}), form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const {data} = await ask("POST", PATH, wanted(new FormData(form)));
        wrong.replaceChildren();
        form.reset();
        room.open = false;
        this.reveal(data);
        await this.read();
      } catch (error) {
        showError(wrong, error);
      }
    });
    return room;
  }

  reveal({name, key}) {
    const text = make("code", {id: "key-text"}, key);
    this.made.replaceChildren(make("div", {class: "notice good"}, make("p", {}, make("b", {}, name), " · ", make("span", {say: "keyOnce"})),
      make("div", {class: "code"}, make("pre", {tabindex: "0"}, text), copyButton(() => key, text)),
      make("div", {class: "row"}, make("button", {type: "button", class: "quiet", say: "done",
        on: {click: () => this.made.replaceChildren()}}))));
    this.made.scrollIntoView({block: "nearest"});
  }
}

function wanted(form) {
  const days = form.get("lifetime"), tenant = form.get("tenant").trim();
  const limits = Object.keys(LIMITS).filter((name) => form.get(name)).map((name) => [name, Number(form.get(name))]);
  return {
    name: form.get("name").trim(),
    scopes: [...form.getAll("scope"), ...form.get("more").split(/[\s,]+/).filter(Boolean)],
    ...(tenant ? {tenant} : {}),
    ...(days ? {lifetime_seconds: Number(days) * DAY} : {}),
    ...(limits.length ? {limits: Object.fromEntries(limits)} : {}),
  };
}
