// From counts that grow to what happened each second, over the last five minutes.
export const SPAN = 300; // seconds
const WINDOW = 5; // seconds over which quantiles and the models' speeds are taken: one second alone has too few requests
const GAP = 4; // seconds without an answer, after which lines break: the page was hidden, or the server away

// The quantile of a histogram, straight within its bucket; null without a count.
export function quantile(bounds, counts, share) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (total <= 0) return null;
  let left = share * total;
  for (let i = 0; i < bounds.length; i += 1) {
    if (left <= counts[i]) {
      const low = i > 0 ? bounds[i - 1] : 0;
      return low + ((bounds[i] - low) * left) / counts[i];
    }
    left -= counts[i];
  }
  return bounds.at(-1); // above what is told apart
}

const sum = (models, name) => models.reduce((total, model) => total + (model[name] ?? 0), 0);

export class Series {
  constructor() {
    this.samples = [];
    this.answers = []; // of the last WINDOW
    this.speeds = new Map(); // model -> tokens a second
  }

  push(status) {
    this.samples.push(this.sample(status));
    this.samples = this.samples.filter(({time}) => time >= status.time - SPAN && time <= status.time);
  }

  sample(status) {
    const last = this.answers.at(-1);
    const isNew = !last || status.http.requests < last.http.requests; // another server
    if (isNew || status.time - last.time > GAP || status.time <= last.time) { // or its clock was set
      this.answers = [status];
      this.speeds.clear();
      return {time: status.time};
    }
    this.answers.push(status);
    while (this.answers.length > 2 && status.time - this.answers[0].time > WINDOW) this.answers.shift();
    const first = this.answers[0];
    const seconds = Math.max(status.time - last.time, 0.001);
    this.speeds = new Map(this.grown(first, status, status.time - first.time).map(({id, speed}) => [id, speed]));
    return {
      time: status.time,
      requests: (status.http.requests - last.http.requests) / seconds,
      failed: (status.http.failed - last.http.failed) / seconds,
      tokens: sum(this.grown(last, status, seconds), "speed"),
      queued: sum(status.models, "queued_tokens"),
      ...this.latency(first, status),
    };
  }

  // Tokens a second of each model; one that was loaded anew counts from nothing.
  grown(before, after, seconds) {
    const old = new Map(before.models.map((model) => [model.id, model.tokens ?? 0]));
    return after.models.map(({id, tokens = 0}) => {
      const since = old.get(id) ?? tokens;
      return {id, speed: (tokens < since ? tokens : tokens - since) / Math.max(seconds, 0.001)};
    });
  }

  latency(before, after) {
    const {bounds, counts} = after.http.latency_seconds;
    const grown = counts.map((n, i) => n - before.http.latency_seconds.counts[i]);
    return {p50: quantile(bounds, grown, 0.5), p99: quantile(bounds, grown, 0.99)};
  }
}
