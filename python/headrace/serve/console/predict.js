// Try a function or a model of tensors: an item as JSON, and the answer as it comes.
import {make} from "./elements.js";
import {taskPanel} from "./panel.js";
import {ask} from "./server.js";

const MOST = 2000; // numbers in an example

// Zeros in the shape of one item; -1 is any size.
function zeros(shape, fill) {
  if (!shape.length) return fill;
  return Array.from({length: Math.max(1, shape[0])}, () => zeros(shape.slice(1), fill));
}

export function predictPanel(model) {
  const show = (result, data) =>
    result.append(make("pre", {tabindex: "0"}, make("code", {}, JSON.stringify(data.output, null, 1))));
  const panel = taskPanel(model, "v1/predict", {input: {say: "item", kind: "json", value: "\"mill\"", rows: 8}}, {}, show);
  const area = panel.querySelector("textarea"), first = area.value;
  ask("GET", `v2/models/${model.id}`).then(({data}) => {
    const tensors = data.inputs.filter(({name, datatype}) => name !== "input" || datatype !== "BYTES");
    const size = tensors.reduce((sum, {shape}) => sum + shape.slice(1).reduce((all, one) => all * Math.max(1, one), 1), 0);
    if (!tensors.length || size > MOST || area.value !== first) return;
    area.value = JSON.stringify(Object.fromEntries(tensors.map(({name, datatype, shape}) =>
      [name, zeros(shape.slice(1), datatype === "BYTES" ? "" : 0)])));
  }, () => {}); // the example stays
  return panel;
}
