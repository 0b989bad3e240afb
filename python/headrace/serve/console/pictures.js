// Pictures: chosen from a file, sent in base64, and shown with the boxes that a model found in them.
import {make} from "./elements.js";
import {score} from "./format.js";
import {say} from "./strings.js";

const LEAST = 0.25; // the score of a box that is drawn
const MOST = 12; // rows in the list beside them
// Okabe and Ito's colours, which are told apart by those who do not see every colour; draw_boxes has the same.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];

// A field of taskPanel, of the kind "picture". `ready` is settled once a file that was chosen has been read.
export class PictureField {
  constructor() {
    this.kind = "picture";
    this.say = "picture";
    this.data = this.name = "";
    this.bitmap = null;
    this.ready = Promise.resolve();
    this.input = make("input", {type: "file", name: "picture", accept: "image/*", required: "",
      on: {change: () => (this.ready = this.read(this.input.files[0]))}});
  }

  async read(file) {
    this.data = this.name = "";
    this.bitmap = null;
    if (!file) return;
    const url = await new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.addEventListener("load", () => resolve(reader.result));
      reader.addEventListener("error", () => reject(reader.error));
      reader.readAsDataURL(file);
    });
    this.data = url.slice(url.indexOf(",") + 1);
    this.name = file.name;
    // What is no picture to the browser is sent all the same: the model says what it takes.
    this.bitmap = await createImageBitmap(file).catch(() => null);
    this.input.dispatchEvent(new Event("input", {bubbles: true})); // the command has the name now
  }

  // What stands for the data where nobody wants to read megabytes.
  get shown() {
    return this.name && `base64 of ${this.name}`;
  }
}

// The boxes of an answer with `boxes` [n, 4] in pixels, `scores` and `classes` [n], best first; null where it has none.
export function boxesOf(output, labels) {
  if (!Array.isArray(output?.boxes) || !Array.isArray(output.scores)) return null;
  const found = output.boxes.map((box, i) => ({box, score: output.scores[i], place: output.classes?.[i] ?? 0}));
  return found.filter((each) => each.place >= 0 && each.score >= LEAST).sort((one, other) => other.score - one.score)
    .map((each) => ({...each, label: labels[each.place] ?? String(each.place)}));
}

export function drawn(bitmap, found) {
  const canvas = make("canvas", {class: "picture", role: "img", width: bitmap?.width ?? 0, height: bitmap?.height ?? 0});
  say(canvas, "boxesFound", {n: found.length, least: score(LEAST)}, "aria-label");
  if (!bitmap) return canvas;
  const pen = canvas.getContext("2d");
  const side = Math.max(canvas.width, canvas.height), line = Math.max(2, Math.round(side / 300));
  const size = Math.max(12, Math.round(side / 45));
  pen.drawImage(bitmap, 0, 0);
  pen.lineWidth = line;
  pen.font = `${size}px sans-serif`;
  pen.textBaseline = "top";
  for (const {box: [left, top, right, bottom], label, score: value, place} of [...found].reverse()) {
    const text = `${label} ${value.toFixed(2)}`, over = Math.min(size + line, Math.max(0, top));
    pen.strokeStyle = pen.fillStyle = COLOURS[place % COLOURS.length];
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.fillRect(left - line / 2, top - over, pen.measureText(text).width + 2 * line, size + line);
    pen.fillStyle = "#000";
    pen.fillText(text, left + line / 2, top - over + line / 2);
  }
  return canvas;
}

export function foundList(found) {
  const caption = say(make("p", {class: "caption"}), "boxesFound", {n: found.length, least: score(LEAST)});
  const rows = found.slice(0, MOST).map(({label, score: value}) => make("li", {}, make("b", {}, label), " ", score(value)));
  return [caption, make("ol", {class: "found"}, ...rows)];
}
