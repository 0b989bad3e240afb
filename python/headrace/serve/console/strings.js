// Every word of the page, in English and in Chinese, and what puts them into elements so that a switch finds them again.
const en = {
  otherLanguage: "中文", switchLanguage: "Switch to Chinese", skip: "Skip to content", sections: "Sections",
  live: "Live", liveSpan: "last 5 minutes", models: "Models", try: "Try it", keys: "Keys and limits", reference: "API",
  ready: "ready", loading: "loading", trial: "on trial, {share}", shadow: "shadow, {share}", draining: "draining", failed: "failed", unloaded: "not loaded", unreachable: "unreachable",
  version: "headrace {version}", asKey: "key {name}", noKey: "no keys required",
  noMetrics: "This key does not have the scope metrics, so there are no figures here.",
  reload: "Sign in again",
  lost: "The server cannot be reached; trying again.",

  requestRate: "Requests a second", answered: "all", notAnswered: "refused or failed", latency: "Latency", p50: "p50", p99: "p99",
  tokenRate: "Tokens a second", tokens: "tokens", queuedTokens: "Queued tokens", queued: "queued", now: "now",
  ago: "{time} ago", minutes: "−{n} min", plotOf: "{title}: {values}",

  model: "Model", version_: "Version", task: "Task", precision: "Precision", parameters: "Parameters", dimensions: "Dimensions",
  longest: "Longest text", state: "State", requests: "Requests", tokensNow: "Tokens/s", actions: "Actions",
  drift: "drift {index}", driftWhat: "Population stability index: input lengths {input}, outputs {output}. Above 0.25 they are not what they were.",
  noModels: "No model is served.", load: "Load", reloadModel: "Reload", unload: "Unload", chooseVersion: "Version to load of {name}",
  unloadQuestion: "Stop serving {name}? What is under way is finished first.",
  loaded: "{name} is served.", unloadedNow: "{name} is not served any more.", loadingNow: "{name} is being loaded …",

  pipeline: "pipeline", generate: "chat", embed: "embed", classify: "classify", rerank: "rerank", tag: "tag", answer: "answer", fill_mask: "fill mask", predict: "predict", item: "Item, as JSON", picture: "Picture",
  boxesFound: "{n} found with a score of {least} or more",
  noneToTry: "There is no model that can be tried with this key.", noPanel: "There is nothing to try for this task yet.",
  run: "Run", running: "Running …", took: "{time}", tookTokens: "{time}, {tokens} tokens", command: "The same with curl",
  copy: "Copy", copied: "Copied", marked: "Marked", error: "Error {status}",
  resultHere: "The result appears here.",

  message: "Message", send: "Send", stop: "Stop", clear: "New conversation", temperature: "Temperature", maxTokens: "Max tokens",
  chatEmpty: "Ask {name} something. Enter sends, Shift+Enter begins a new line.",
  chatTook: "{tokens} tokens in {time}, the first after {first}, {rate} tokens/s", stopped: "stopped",
  conversation: "Conversation",

  texts: "Texts, one a line", text: "Text", query: "Query", documents: "Documents, one a line", question: "Question",
  context: "Context", maskedText: "Text with the model's mask token", similarity: "Similarity (cosine)",
  noEntities: "No entities were found.", noAnswer: "There is no answer in the text.", place: "Place {n}",
  tooMany: "Only the first {n} lines are compared.",

  masking: "Masking", maskingWhat: "personal data, found and taken out", mode: "What stands in its place", found: "Found",
  modeMask: "a label: [EMAIL]", modeHash: "a keyed code: [EMAIL:9f86…]", modeReversible: "a number, to put it back: <EMAIL_1>", modeDrop: "nothing",
  nothingFound: "Nothing was found.", afterMasking: "Masked", standsFor: "What the placeholders stand for",
  kind_email: "e-mail", kind_phone: "telephone", kind_card: "card", kind_iban: "IBAN", kind_ip: "IP address",
  kind_cn_resident_id: "Chinese resident ID", kind_cn_mobile: "Chinese mobile", kind_cn_uscc: "Chinese company code", kind_passport: "passport", kind_hk_id: "Hong Kong ID",
  kind_macau_id: "Macau ID", kind_tw_id: "Taiwan ID", kind_hk_macau_permit: "Hong Kong/Macau permit", kind_cn_plate: "Chinese number plate", kind_cn_address: "Chinese address",

  newKey: "New key", name: "Name", tenant: "Tenant", scopes: "Scopes", moreScopes: "For single models, such as infer:minilm",
  expires: "Expires", limits: "Limits", created: "Created", never: "never", noLimits: "no limits", create: "Create key",
  inferWhat: "run models", manageWhat: "load and unload", metricsWhat: "read figures", auditWhat: "read the audit log",
  adminWhat: "everything, and keys", requests_per_minute: "Requests a minute", tokens_per_minute: "Tokens a minute",
  tokens_per_day: "Tokens a day", days: "{n} days", oneDay: "1 day", oneYear: "1 year", nameHint: "as in lists and records",
  tenantHint: "the same as the name", unlimited: "unlimited",
  active: "active", expired: "expired", revoked: "revoked", revoke: "Revoke", id: "Id", yours: "yours",
  revokeQuestion: "Revoke the key {name}? Whoever uses it is refused within 5 seconds.",
  revokeOwn: "Revoke {name}? It is the key of this page: you will be signed out.",
  keyOnce: "This is the key. It is shown only now and kept nowhere: copy it.", done: "Done", noKeys: "There is no key yet.",
  perMinute: "{n} requests/min", tokensPerMinute: "{n} tokens/min", tokensPerDay: "{n} tokens/day", cancel: "Cancel",
};

const zh = {
  otherLanguage: "English", switchLanguage: "切换到英文", skip: "跳到正文", sections: "栏目",
  live: "实时", liveSpan: "最近 5 分钟", models: "模型", try: "试用", keys: "密钥与限额", reference: "接口文档",
  ready: "就绪", loading: "加载中", trial: "试运行 {share}", shadow: "影子 {share}", draining: "即将停止", failed: "失败", unloaded: "未加载", unreachable: "无法连接",
  version: "headrace {version}", asKey: "密钥 {name}", noKey: "无需密钥",
  noMetrics: "此密钥没有 metrics 权限，因此不显示统计数据。",
  reload: "重新登录",
  lost: "无法连接服务器，正在重试。",

  requestRate: "每秒请求数", answered: "全部", notAnswered: "拒绝或失败", latency: "延迟", p50: "p50", p99: "p99",
  tokenRate: "每秒词元数", tokens: "词元", queuedTokens: "排队词元数", queued: "排队", now: "现在",
  ago: "{time}前", minutes: "−{n} 分钟", plotOf: "{title}：{values}",

  model: "模型", version_: "版本", task: "任务", precision: "精度", parameters: "参数量", dimensions: "维度",
  longest: "最长文本", state: "状态", requests: "请求数", tokensNow: "词元/秒", actions: "操作",
  drift: "漂移 {index}", driftWhat: "群体稳定性指数（PSI）：输入长度 {input}，输出 {output}。高于 0.25 表示分布已明显变化。",
  noModels: "当前没有模型在服务。", load: "加载", reloadModel: "重新加载", unload: "卸载", chooseVersion: "选择 {name} 要加载的版本",
  unloadQuestion: "停止服务 {name}？进行中的请求会先处理完。",
  loaded: "{name} 已在服务。", unloadedNow: "{name} 已停止服务。", loadingNow: "正在加载 {name} …",

  pipeline: "流水线", generate: "对话", embed: "向量", classify: "分类", rerank: "重排", tag: "实体标注", answer: "抽取问答", fill_mask: "掩码填空", predict: "预测", item: "输入项（JSON）", picture: "图片",
  boxesFound: "得分不低于 {least} 的目标：{n} 个",
  noneToTry: "此密钥没有可以试用的模型。", noPanel: "此任务暂无试用面板。",
  run: "运行", running: "运行中 …", took: "{time}", tookTokens: "{time}，{tokens} 个词元", command: "等价的 curl 命令",
  copy: "复制", copied: "已复制", marked: "已选中", error: "错误 {status}",
  resultHere: "结果将显示在这里。",

  message: "消息", send: "发送", stop: "停止", clear: "新对话", temperature: "温度", maxTokens: "最多词元",
  chatEmpty: "向 {name} 提问。按 Enter 发送，Shift+Enter 换行。",
  chatTook: "{time} 内生成 {tokens} 个词元，首个用时 {first}，{rate} 词元/秒", stopped: "已停止",
  conversation: "对话内容",

  texts: "文本，每行一条", text: "文本", query: "查询", documents: "文档，每行一条", question: "问题",
  context: "上下文", maskedText: "含模型掩码标记的文本", similarity: "相似度（余弦）",
  noEntities: "没有找到实体。", noAnswer: "文本中没有答案。", place: "第 {n} 处",
  tooMany: "只比较前 {n} 行。",

  masking: "脱敏", maskingWhat: "识别并去除个人信息", mode: "替换方式", found: "识别结果",
  modeMask: "标签：[EMAIL]", modeHash: "带密钥的编码：[EMAIL:9f86…]", modeReversible: "可还原的编号：<EMAIL_1>", modeDrop: "删除",
  nothingFound: "没有发现个人信息。", afterMasking: "脱敏后", standsFor: "占位符对应的原文",
  kind_email: "电子邮箱", kind_phone: "电话", kind_card: "银行卡", kind_iban: "IBAN", kind_ip: "IP 地址",
  kind_cn_resident_id: "居民身份证", kind_cn_mobile: "手机号", kind_cn_uscc: "统一社会信用代码", kind_passport: "护照", kind_hk_id: "香港身份证",
  kind_macau_id: "澳门身份证", kind_tw_id: "台湾身份证", kind_hk_macau_permit: "港澳通行证", kind_cn_plate: "车牌", kind_cn_address: "地址",

  newKey: "新建密钥", name: "名称", tenant: "租户", scopes: "权限", moreScopes: "单个模型的权限，例如 infer:minilm",
  expires: "到期", limits: "限额", created: "创建", never: "永不", noLimits: "不限", create: "创建密钥",
  inferWhat: "运行模型", manageWhat: "加载与卸载", metricsWhat: "读取统计", auditWhat: "读取审计日志",
  adminWhat: "全部权限，含密钥", requests_per_minute: "每分钟请求数", tokens_per_minute: "每分钟词元数",
  tokens_per_day: "每天词元数", days: "{n} 天", oneDay: "1 天", oneYear: "1 年", nameHint: "用于列表和记录",
  tenantHint: "与名称相同", unlimited: "不限",
  active: "有效", expired: "已过期", revoked: "已吊销", revoke: "吊销", id: "编号", yours: "当前",
  revokeQuestion: "吊销密钥 {name}？使用者将在 5 秒内被拒绝。",
  revokeOwn: "吊销 {name}？这是本页面使用的密钥，吊销后您将退出登录。",
  keyOnce: "这是密钥原文，只显示这一次，服务器不保存：请立即复制。", done: "完成", noKeys: "还没有密钥。",
  perMinute: "{n} 请求/分钟", tokensPerMinute: "{n} 词元/分钟", tokensPerDay: "{n} 词元/天", cancel: "取消",
};

export const words = {en, zh};
const remembered = () => {
  try {
    return localStorage.getItem("headrace-language");
  } catch {
    return null; // the browser keeps nothing for this page
  }
};
let language = words[remembered()] ? remembered() : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";

export const currentLanguage = () => language;

export const t = (key, values = {}) => (words[language][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

// What stands in which element: attribute -> key and values. Values may be a function, so that numbers follow the language.
const said = new WeakMap();

function write(element) {
  for (const [attribute, [key, values]] of said.get(element)) {
    const text = t(key, typeof values === "function" ? values() : values);
    if (attribute !== "text") element.setAttribute(attribute, text);
    else if (element.textContent !== text) element.textContent = text;
  }
}

export function say(element, key, values, attribute = "text") {
  const known = said.get(element) ?? new Map();
  known.set(attribute, [key, values]);
  said.set(element, known);
  element.dataset.said = "";
  write(element);
  return element;
}

// Takes the words away: what stands in the element is no string of ours any more.
export function unsay(element) {
  said.delete(element);
  delete element.dataset.said;
}

const listeners = [];
export const onLanguage = (listener) => listeners.push(listener);

export function setLanguage(code) {
  language = code;
  try {
    localStorage.setItem("headrace-language", code);
  } catch { /* as above */ }
  document.documentElement.lang = code === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-said]")) write(element);
  for (const listener of listeners) listener();
}

// The page's own elements name their strings in the markup.
export function sayMarkup() {
  for (const element of document.querySelectorAll("[data-say]")) say(element, element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) {
    say(element, element.dataset.sayLabel, undefined, "aria-label");
  }
  setLanguage(language);
}
