// Numbers and times as the language of the page writes them.
import {currentLanguage} from "./strings.js";

const formats = new Map();
function format(options) {
  const key = currentLanguage() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(currentLanguage(), options));
  return formats.get(key);
}

export const count = (n) => (n === undefined || n === null ? "–" : format({}).format(n));
// 22.6M, 2257万
export const compact = (n) =>
  n === undefined || n === null ? "–" : format({notation: "compact", maximumSignificantDigits: 3}).format(n);
// A rate: few digits, and none for nothing.
export const rate = (n) => (n === undefined || n === null ? "–" : n >= 10_000 ? compact(n)
  : format({maximumFractionDigits: n >= 100 ? 0 : n >= 10 ? 1 : 2}).format(n));
export const decimal = (n) => (n === undefined || n === null ? "–" : format({maximumFractionDigits: 2}).format(n));
export const share = (n) => format({style: "percent", maximumFractionDigits: 1}).format(n ?? 0);
export const score = (n) => (n !== 0 && Math.abs(n) < 0.01 ? n.toPrecision(2)
  : format({minimumFractionDigits: 3, maximumFractionDigits: 3}).format(n));

export function seconds(s) {
  if (s === undefined || s === null) return "–";
  const [value, unit] = s >= 1 ? [s, "s"] : [s * 1000, "ms"];
  return `${format({maximumFractionDigits: value >= 100 ? 0 : value >= 10 ? 1 : 2}).format(value)} ${unit}`;
}

export const day = (time) =>
  new Intl.DateTimeFormat(currentLanguage(), {dateStyle: "medium"}).format(new Date(time * 1000));
