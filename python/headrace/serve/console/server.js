// What the page asks the server: JSON, or a stream of events; and the curl command that asks the same.
// Credentials in the page's own address must not stand in those that it asks: fetch() refuses them.
const base = new URL("./", location.href);
base.username = base.password = base.search = base.hash = "";

export const address = (path) => new URL(path, base).href;

export class ServerError extends Error {
  constructor(status, body) {
    const error = body?.error;
    super((typeof error === "string" ? error : error?.message) ?? `HTTP ${status}`);
    this.status = status;
    this.code = error?.code ?? null;
  }
}

function options(method, body, signal) {
  const sent = body === undefined ? {} : {headers: {"content-type": "application/json"}, body: JSON.stringify(body)};
  return {method, signal, cache: "no-store", ...sent};
}

async function failure(answer) {
  const text = await answer.text();
  try {
    return new ServerError(answer.status, JSON.parse(text));
  } catch {
    return new ServerError(answer.status, {error: text.slice(0, 1000) || answer.statusText});
  }
}

// The answer's data, and the seconds until it was there.
export async function ask(method, path, body, signal) {
  const start = performance.now();
  const answer = await fetch(address(path), options(method, body, signal));
  if (!answer.ok) throw await failure(answer);
  const data = await answer.json();
  return {data, seconds: (performance.now() - start) / 1000};
}

// The events of a streamed answer, each as data.
export async function* events(path, body, signal) {
  const answer = await fetch(address(path), options("POST", body, signal));
  if (!answer.ok) throw await failure(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const text = part.replace(/^data: /, "");
      if (text === "[DONE]") return;
      const data = JSON.parse(text);
      if (data.error) throw new ServerError(500, data);
      yield data;
    }
  }
}

// Set once it is known whether requests need a key.
let needsKey = false;
export const setNeedsKey = (value) => { needsKey = value; };

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(path, body, isStreamed) {
  const parts = [isStreamed ? "curl -N" : "curl", address(path), "-H 'content-type: application/json'"];
  if (needsKey) parts.push('-H "authorization: Bearer $KEY"');
  return `${parts.join(" ")} \\\n  -d ${quoted(JSON.stringify(body))}`;
}
