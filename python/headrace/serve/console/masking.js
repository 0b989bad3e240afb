// Try masking: what is found is marked by its kind, and beside it stands the text without it.
import {copyButton, make} from "./elements.js";
import {taskPanel} from "./panel.js";
import {HUES, marked} from "./spans.js";
import {say} from "./strings.js";

// One colour for what is alike, so that six are enough.
const GROUPS = [
  ["email"], ["phone", "cn_mobile"], ["card", "iban", "cn_uscc"], ["cn_resident_id", "passport", "hk_id", "macau_id", "tw_id",
    "hk_macau_permit"], ["ip", "cn_plate"], ["cn_address"],
];
const MODES = {mask: "modeMask", hash: "modeHash", reversible: "modeReversible", drop: "modeDrop"};
const EXAMPLE = "Write to maria.lopez@example.com or call +44 20 7946 0958; card 4111 1111 1111 1111, from 192.168.10.24.\n"
  + "联系人手机 138 0013 8000，身份证 11010519491231002X，车牌京A12345，住址北京市朝阳区建国路88号2号楼301室。";

const hue = (kind) => Math.max(0, GROUPS.findIndex((group) => group.includes(kind))) % HUES;

function mapped(mapping) {
  const rows = Object.entries(mapping).map(([placeholder, value]) =>
    make("tr", {}, make("th", {scope: "row"}, make("code", {}, placeholder)), make("td", {}, value)));
  return make("table", {class: "mapping"}, make("tbody", {}, ...rows));
}

export function maskingPanel() {
  const show = (result, data, {input}) => {
    const [{text, findings, mapping}] = data.data;
    const spans = findings.map(({kind, start, end}) => ({start, end, hue: hue(kind)}));
    result.append(make("p", {class: "caption", say: "found"}));
    result.append(marked(input, spans));
    result.querySelectorAll("mark").forEach((mark, i) => mark.append(say(make("small"), `kind_${findings[i].kind}`)));
    if (!findings.length) result.append(make("p", {class: "empty", say: "nothingFound"}));
    const masked = make("pre", {class: "masked", tabindex: "0"}, text);
    result.append(make("p", {class: "caption", say: "afterMasking"}), make("div", {class: "code"}, masked, copyButton(() => text, masked)));
    if (Object.keys(mapping).length) result.append(make("p", {class: "caption", say: "standsFor"}), mapped(mapping));
  };
  return taskPanel({task: "masking"}, "v1/mask", {
    input: {say: "text", kind: "area", value: EXAMPLE, rows: 6},
    mode: {say: "mode", kind: "choice", options: MODES},
  }, {}, show);
}
