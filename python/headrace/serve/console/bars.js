// Try classify, rerank and fill-mask: names with scores, as bars.
import {make} from "./elements.js";
import {score} from "./format.js";
import {taskPanel} from "./panel.js";
import {drawn, PictureField} from "./pictures.js";
import {ask} from "./server.js";
import {say} from "./strings.js";

// rows: [label, score]. Scores between 0 and 1 stand as they are, others between their least and their greatest.
export function bars(rows) {
  const scores = rows.map(([, value]) => value);
  const isShare = scores.every((value) => value >= 0 && value <= 1);
  const low = isShare ? 0 : Math.min(...scores), high = isShare ? 1 : Math.max(...scores);
  return make("ol", {class: "bars"}, ...rows.map(([label, value]) => {
    const bar = make("span", {class: "bar"});
    bar.style.width = `${Math.max(2, (100 * (value - low)) / (high - low || 1))}%`;
    return make("li", {}, make("span", {class: "name", title: label}, label), make("span", {class: "track"}, bar),
      make("b", {}, score(value)));
  }));
}

const showLabels = (result, data) => data.data.forEach(({labels}) =>
  result.append(bars(labels.map((label) => [label.label, label.score]))));

function picturePanel(model) {
  const field = new PictureField();
  const show = (result, data) => {
    if (field.bitmap) result.append(drawn(field.bitmap, []));
    showLabels(result, data);
  };
  return taskPanel(model, "v1/classify", {images: field}, {top_k: 8}, show);
}

export function classifyPanel(model) {
  const value = "The old mill is a good place, and the water runs well.";
  const room = make("div", {}, taskPanel(model, "v1/classify", {input: {say: "text", kind: "area", value}}, {}, showLabels));
  ask("GET", `v1/models/${model.id}`).then(({data}) => {
    if (data.modalities?.includes("image")) room.replaceChildren(picturePanel(model));
  }, () => {}); // a text can be typed
  return room;
}

export function rerankPanel(model) {
  const show = (result, data, {documents}) =>
    result.append(bars(data.results.map((row) => [documents[row.index], row.relevance_score])));
  const documents = ["The water of the river turns the wheel.", "Paris is the capital of France.",
    "A wheel in the mill turns the stone.", "Maria Smith plays the violin."].join("\n");
  return taskPanel(model, "v1/rerank", {
    query: {say: "query", kind: "line", value: "What turns the wheel of the mill?"},
    documents: {say: "documents", kind: "lines", value: documents, rows: 6},
  }, {}, show);
}

export function fillMaskPanel(model) {
  const show = (result, data) => data.data.forEach(({candidates}, i) => {
    if (data.data.length > 1) result.append(say(make("p", {class: "caption"}), "place", {n: i + 1}));
    result.append(bars(candidates.map((candidate) => [candidate.text.trim() || "␣", candidate.score])));
  });
  const value = "The [MASK] turns the wheel of the mill.";
  return taskPanel(model, "v1/fill-mask", {input: {say: "maskedText", kind: "area", value, rows: 3}}, {top_k: 8}, show);
}
