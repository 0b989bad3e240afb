// A line plot of the last five minutes as SVG: a head with what is now, lines that break where nothing is known, and
// the values of any moment under the pointer.
import {make, svg} from "./elements.js";
import {SPAN} from "./series.js";
import {say, t} from "./strings.js";
import {seconds as time} from "./format.js";

const HEIGHT = 132, TOP = 8, BOTTOM = 20, LEFT = 48, RIGHT = 8;

// The least of 1, 2, 5 times a power of ten that is not below.
function rounded(top) {
  const power = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= top * 0.999);
}

export class Plot {
  // lines: {name: key of a sample, say: its string}; least: the axis reaches at least so far.
  constructor(title, lines, format, least) {
    this.title = title;
    this.lines = lines;
    this.format = format;
    this.least = least;
    this.samples = [];
    this.width = 300;
    this.pointer = null;
    this.values = lines.map(() => make("b"));
    this.when = make("small");
    const legend = lines.map((line, i) => make("span", {class: `line-${i + 1}`},
      ...(lines.length > 1 ? [make("i"), make("small", {say: line.say})] : []), this.values[i]));
    this.picture = svg("svg", {role: "img", height: HEIGHT});
    this.element = make("figure", {class: "plot", id: `plot-${lines[0].name}`},
      make("figcaption", {}, make("span", {class: "title", say: title}), this.when),
      make("div", {class: "legend"}, ...legend), this.picture);
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(([entry]) => {
      this.width = Math.max(entry.contentRect.width, 160);
      this.draw(this.samples);
    }).observe(this.picture);
  }

  point(event) {
    this.pointer = event && event.clientX - this.picture.getBoundingClientRect().left;
    this.draw(this.samples);
  }

  draw(samples) {
    this.samples = samples;
    const now = samples.at(-1)?.time ?? 0, inner = this.width - LEFT - RIGHT, depth = HEIGHT - TOP - BOTTOM;
    const values = this.lines.flatMap((line) => samples.map((sample) => sample[line.name] ?? 0));
    const top = rounded(Math.max(this.least, ...values));
    const x = (at) => LEFT + inner * (1 - (now - at) / SPAN), y = (value) => TOP + depth * (1 - value / top);
    const parts = [0, 0.5, 1].flatMap((share) => [
      svg("line", {class: "grid", x1: LEFT, x2: LEFT + inner, y1: y(top * share), y2: y(top * share)}),
      svg("text", {x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end"}, this.format(top * share)),
    ]);
    for (const minutes of [4, 2, 0]) {
      const label = minutes ? t("minutes", {n: minutes}) : t("now");
      parts.push(svg("text", {x: x(now - minutes * 60), y: HEIGHT - 4, "text-anchor": minutes ? "middle" : "end"}, label));
    }
    this.lines.forEach((line, i) => {
      const {path, area} = this.shapes(samples, line.name, x, y);
      if (i === 0) parts.push(svg("path", {class: "area line-1", d: area}));
      parts.push(svg("path", {class: `line line-${i + 1}`, d: path}));
    });
    const shown = this.nearest(samples, now, inner);
    if (this.pointer !== null && shown) {
      parts.push(svg("line", {class: "pointer", x1: x(shown.time), x2: x(shown.time), y1: TOP, y2: TOP + depth}));
    }
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.picture.replaceChildren(...parts);
    this.tell(shown, now);
  }

  // A line for each run of known values, and the area below; a value alone is a dot.
  shapes(samples, name, x, y) {
    let path = "", area = "", begin = null;
    samples.forEach((sample, i) => {
      const value = sample[name];
      if (value === undefined || value === null) return;
      const point = `${x(sample.time).toFixed(1)} ${y(value).toFixed(1)}`;
      if (begin === null) {
        begin = x(sample.time);
        path += `M${point}h0`;
        area += `M${begin.toFixed(1)} ${y(0)}L${point}`;
      } else {
        path += `L${point}`;
        area += `L${point}`;
      }
      const next = samples[i + 1]?.[name];
      if (next === undefined || next === null) {
        area += `L${x(sample.time).toFixed(1)} ${y(0)}Z`;
        begin = null;
      }
    });
    return {path, area};
  }

  nearest(samples, now, inner) {
    if (this.pointer === null) return samples.at(-1);
    const at = now - SPAN * (1 - (this.pointer - LEFT) / inner);
    return samples.reduce((best, sample) => (Math.abs(sample.time - at) < Math.abs(best.time - at) ? sample : best), samples[0]);
  }

  tell(shown, now) {
    const texts = this.lines.map((line) => this.format(shown?.[line.name]));
    texts.forEach((text, i) => { this.values[i].textContent = text; });
    const isPast = this.pointer !== null && shown && now - shown.time >= 1;
    this.when.textContent = isPast ? t("ago", {time: time(Math.round(now - shown.time))}) : "";
    const told = () => ({title: t(this.title), values: this.lines.map((line, i) => `${t(line.say)} ${texts[i]}`).join(", ")});
    say(this.picture, "plotOf", told, "aria-label");
  }
}
