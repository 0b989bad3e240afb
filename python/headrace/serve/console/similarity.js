// Try embed: texts to a matrix of similarities, as a heat map.
import {make} from "./elements.js";
import {score} from "./format.js";
import {taskPanel} from "./panel.js";
import {say} from "./strings.js";

const MOST = 40; // lines that are compared

function cosine(a, b) {
  let product = 0, ofA = 0, ofB = 0;
  for (let i = 0; i < a.length; i += 1) {
    product += a[i] * b[i];
    ofA += a[i] * a[i];
    ofB += b[i] * b[i];
  }
  return product / (Math.sqrt(ofA * ofB) || 1);
}

function cell(value) {
  const warmth = Math.min(Math.max(value, 0), 1);
  const kind = warmth > 0.8 ? "strong" : warmth > 0.55 ? "middle" : "";
  const made = make("td", {class: kind}, value.toFixed(2));
  made.style.setProperty("--warmth", `${Math.round(warmth * 100)}%`);
  made.title = score(value);
  return made;
}

function show(result, data, {input}) {
  const vectors = data.data.slice(0, MOST).map((row) => row.embedding);
  const heads = vectors.map((_, i) => make("th", {scope: "col", title: input[i]}, String(i + 1)));
  const rows = vectors.map((a, i) => make("tr", {},
    make("th", {scope: "row", title: input[i]}, make("i", {}, String(i + 1)), make("span", {}, input[i])),
    ...vectors.map((b) => cell(cosine(a, b)))));
  result.append(make("p", {class: "caption", say: "similarity"}), make("div", {class: "scroll"},
    make("table", {class: "heat"}, make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...rows))));
  if (data.data.length > MOST) result.append(say(make("p", {class: "caption"}), "tooMany", {n: MOST}));
}

export function embedPanel(model) {
  const value = ["A mill wheel turns in the river.", "Water drives the wheel of the mill.", "The river is high after the rain.",
    "She plays the violin in an orchestra.", "A string quartet by Haydn."].join("\n");
  return taskPanel(model, "v1/embeddings", {input: {say: "texts", kind: "lines", value, rows: 8}}, {}, show);
}
