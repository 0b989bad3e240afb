// Try a function or a model of tensors: an item as JSON, and the answer as it comes. One that takes a file takes a picture, which is
// shown with the boxes that the answer has.
import {make} from "./elements.js";
import {taskPanel} from "./panel.js";
import {boxesOf, drawn, foundList, PictureField} from "./pictures.js";
import {ask} from "./server.js";

const MOST = 2000; // numbers in an example

// Zeros in the shape of one item; -1 is any size.
function zeros(shape, fill) {
  if (!shape.length) return fill;
  return Array.from({length: Math.max(1, shape[0])}, () => zeros(shape.slice(1), fill));
}

const asJson = (output) => make("pre", {tabindex: "0"}, make("code", {}, JSON.stringify(output, null, 1)));

function itemPanel(model) {
  const show = (result, data) => result.append(asJson(data.output));
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

function filePanel(model, name, labels) {
  const field = new PictureField();
  const show = (result, data) => {
    const found = boxesOf(data.output, labels);
    result.append(...(found ? [drawn(field.bitmap, found), ...foundList(found)] : [asJson(data.output)]));
  };
  return taskPanel(model, "v1/predict", {picture: field}, {}, show, ({picture}) => ({input: {[name]: picture}}));
}

export function predictPanel(model) {
  const room = make("div", {}, itemPanel(model));
  ask("GET", `v1/models/${model.id}`).then(({data}) => {
    if (data.files?.length === 1 && data.inputs === 1)
      room.replaceChildren(filePanel(model, data.files[0], data.labels ?? []));
  }, () => {}); // an item can be typed
  return room;
}
