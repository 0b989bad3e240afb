// The page's beginning, and its clock: one question a second, and none while nobody looks.
import {make} from "./elements.js";
import {rate, seconds} from "./format.js";
import {KeyRoom} from "./keys.js";
import {maskingPanel} from "./masking.js";
import {ModelTable} from "./models.js";
import {Plot} from "./plots.js";
import {ask, setNeedsKey, ServerError} from "./server.js";
import {Series} from "./series.js";
import {currentLanguage, onLanguage, say, sayMarkup, setLanguage, unsay} from "./strings.js";
import {TryIt} from "./try.js";

const POLL = 1000, SLOWEST = 10_000; // milliseconds
const byId = (id) => document.getElementById(id);

sayMarkup();
byId("language").addEventListener("click", () => setLanguage(currentLanguage() === "en" ? "zh" : "en"));

const series = new Series();
const plots = [
  new Plot("requestRate", [{name: "requests", say: "answered"}, {name: "failed", say: "notAnswered"}], rate, 1),
  new Plot("latency", [{name: "p50", say: "p50"}, {name: "p99", say: "p99"}], seconds, 0.005),
  new Plot("tokenRate", [{name: "tokens", say: "tokens"}], rate, 10),
  new Plot("queuedTokens", [{name: "queued", say: "queued"}], rate, 10),
];
byId("plots").append(...plots.map((plot) => plot.element));
const draw = () => plots.forEach((plot) => plot.draw(series.samples));
onLanguage(draw);

const tryIt = new TryIt(byId("panels"));
const models = new ModelTable(byId("model-table"), byId("model-message"), () => poll());
byId("masking-room").append(maskingPanel());
const keys = new KeyRoom(byId("key-room"));
let wait = POLL, timer = 0, asking = false, isFirst = true, hasMetrics = true;

function showState(state) {
  byId("state").className = `pill ${state}`;
  say(byId("state"), state);
}

const mayMask = (key) => !key || ["infer", "admin"].some((scope) => key.scopes.includes(scope));

function show(status) {
  setNeedsKey(status.keys.required);
  series.push(status);
  draw();
  models.show(status.models, series.speeds);
  tryIt.offer(status.models);
  showState(status.state);
  say(byId("version"), "version", {version: status.version});
  say(byId("who"), status.key ? "asKey" : "noKey", {name: status.key?.name});
  byId("masking").hidden = byId("masking-link").hidden = !mayMask(status.key);
  const isAdmin = status.keys.kept && Boolean(status.key?.scopes.includes("admin"));
  byId("keys").hidden = byId("keys-link").hidden = !isAdmin;
  if (isAdmin) keys.open(status.key.id);
}

// For a key without the scope metrics: what it may use, without figures.
async function showListed() {
  const {data} = await ask("GET", "v1/models");
  const listed = data.data.map((model) => ({...model, state: "ready", may: ["infer"]}));
  const may = (id) => (models.loadable.has(id) ? ["infer", "manage"] : ["infer"]);
  models.show(listed.map((model) => ({...model, may: may(model.id)})), series.speeds);
  tryIt.offer(listed);
  setNeedsKey(true);
  showState("ready");
}

function withoutMetrics() {
  hasMetrics = false;
  byId("no-metrics").hidden = false;
  byId("plots").hidden = true;
}

function showFailure(error) {
  const notice = byId("notice");
  notice.hidden = false;
  if (error instanceof ServerError) {
    unsay(notice);
    notice.replaceChildren(error.message);
    if (error.status === 401) {
      notice.append(" ", make("button", {type: "button", class: "small", say: "reload", on: {click: () => location.reload()}}));
    }
  } else {
    say(notice, "lost");
  }
  showState("unreachable");
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  try {
    if (hasMetrics) {
      show((await ask("GET", "v1/status")).data);
      wait = POLL;
    } else {
      await showListed();
      wait = SLOWEST;
    }
    byId("notice").hidden = true;
  } catch (error) {
    if (hasMetrics && error.status === 403) {
      withoutMetrics();
      wait = 0;
    } else {
      showFailure(error);
      wait = Math.min(2 * Math.max(wait, POLL), SLOWEST);
    }
  }
  asking = false;
  if (isFirst && wait) {
    isFirst = false;
    models.readLoadable();
  }
  if (!document.hidden) timer = setTimeout(poll, wait);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : poll()));
draw();
poll();
