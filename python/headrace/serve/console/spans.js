// Try tag and answer: places in a text, marked there. Places count code points, JavaScript's strings do not.
import {make} from "./elements.js";
import {bars} from "./bars.js";
import {score} from "./format.js";
import {taskPanel} from "./panel.js";

export const HUES = 6;

// The text with marks; spans: {start, end, kind, hue, score}, of which one that begins within another is left out.
export function marked(text, spans) {
  const points = Array.from(text), parts = [];
  let end = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    if (span.start < end) continue;
    parts.push(points.slice(end, span.start).join(""));
    const label = span.kind ? [make("small", {}, span.kind)] : [];
    parts.push(make("mark", {class: `hue-${span.hue}`, title: span.score === undefined ? undefined : score(span.score)},
      points.slice(span.start, span.end).join(""), ...label));
    end = span.end;
  }
  return make("p", {class: "marked"}, ...parts, points.slice(end).join(""));
}

export function tagPanel(model) {
  const hues = new Map();
  const hue = (kind) => {
    if (!hues.has(kind)) hues.set(kind, hues.size % HUES);
    return hues.get(kind);
  };
  const show = (result, data, {input}) => {
    const [{entities}] = data.data;
    result.append(marked(input, entities.map((entity) => ({...entity, kind: entity.label, hue: hue(entity.label)}))));
    if (!entities.length) result.append(make("p", {class: "empty", say: "noEntities"}));
  };
  const value = "Maria Smith runs the mill by the river in Paris.";
  return taskPanel(model, "v1/tag", {input: {say: "text", kind: "area", value}}, {}, show);
}

export function answerPanel(model) {
  const show = (result, data, {context}) => {
    result.append(marked(context, data.best ? [{...data.best, hue: 0}] : []));
    if (!data.best) result.append(make("p", {class: "empty", say: "noAnswer"}));
    result.append(bars(data.answers.map((span) => [span.text || "∅", span.score])));
  };
  const context = "The mill by the river was built by Maria Smith. Its wheel is turned by the water of the headrace, "
    + "which leaves the river above the weir.";
  return taskPanel(model, "v1/answer", {
    question: {say: "question", kind: "line", value: "What turns the wheel?"},
    context: {say: "context", kind: "area", value: context, rows: 6},
  }, {top_k: 3}, show);
}
