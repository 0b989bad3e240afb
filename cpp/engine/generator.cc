#include "engine/generator.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/cpu.h"
#include "engine/served.h"

namespace headrace {
namespace {

constexpr int64_t kCacheBytes = int64_t{2} << 30;
constexpr size_t kMaxStops = 16, kMaxStopBytes = 512;

// Streams share completion queues with the engine's tickets: their numbers must never meet.
std::atomic<uint64_t> next_stream{uint64_t{1} << 62};

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

Error cancelled() { return Error(ErrorKind::kCancelled, "the request was cancelled"); }

}  // namespace

Generator::Generator(std::unique_ptr<LanguageModel> model, std::shared_ptr<Tokenizer> tokenizer,
                     const GeneratorOptions& options, Draft draft)
    : owner_pid_(getpid()),
      model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      pool_(options.threads > 0 ? options.threads : available_cpus()),
      seeds_(std::random_device{}()) {
  // As exact as the matrices unless asked otherwise: bf16 changes less than they do.
  kv_ = options.kv.value_or(info().precision == "f32" ? KvType::kF32 : KvType::kBf16);
  const int64_t block_bytes = model_->cache_block_bytes(kv_);
  const int64_t longest = std::max(info().max_tokens, config().stretched);
  context_ = options.context > 0 ? std::min(options.context, longest) : info().max_tokens;
  int64_t blocks = options.cache_tokens > 0 ? divide_up(options.cache_tokens, kCacheBlock)
                                            : std::max<int64_t>(1, kCacheBytes / block_bytes);
  if (options.cache_tokens == 0)
    blocks = std::min(blocks, divide_up(context_, kCacheBlock) * options.max_sequences);
  context_ = std::min(context_, blocks * kCacheBlock);
  model_->reserve({.step_tokens = options.step_tokens,
                   .step_wanted = options.speculation == 0
                                      ? std::min(options.max_sequences, options.step_tokens)
                                      : options.step_tokens,
                   .context = context_,
                   .blocks = blocks,
                   .kv = kv_,
                   .threads = pool_.threads()});
  static_assert(kCacheBlock == KvBlocks::kBlockTokens);
  blocks_ = std::make_unique<KvBlocks>(blocks, seeds_());
  scheduler_ = std::make_unique<GenerationScheduler>(
      GenerationLimits{.step_tokens = options.step_tokens,
                       .max_sequences = std::min(options.max_sequences, options.step_tokens),
                       .max_queue_tokens = options.max_queue_tokens,
                       .speculation = options.speculation},
      *blocks_);
  samplers_.resize(static_cast<size_t>(pool_.threads()));
  if (draft.model) add_draft(std::move(draft), options, blocks);
  thread_ = std::thread([this] { loop(); });
}

Generator::~Generator() { close(); }

void Generator::check(std::span<const int32_t> prompt, const GenerateOptions& options) const {
  headrace::check(options.sampling, info().vocabulary);
  const auto invalid = [](std::string message, std::string code = {}) {
    throw Error(ErrorKind::kInvalidArgument, std::move(message), std::move(code));
  };
  if (prompt.empty()) invalid("the prompt has no tokens: give some text");
  for (const int32_t id : prompt)
    if (id < 0 || id >= info().vocabulary)
      invalid(concat("token id ", id, ": must be between 0 and ", info().vocabulary - 1));
  const auto tokens = static_cast<int64_t>(prompt.size());
  if (options.max_tokens < 0) invalid(concat("max_tokens=", options.max_tokens, ": must be at least 1"));
  if (tokens >= context_)
    invalid(concat("the prompt has ", tokens, " tokens; the context holds ", context_,
                   ", the answer included: shorten it"),
            "context_length_exceeded");
  if (tokens + options.max_tokens > context_)
    invalid(concat("the prompt has ", tokens, " tokens and max_tokens=", options.max_tokens,
                   "; together the context holds ", context_, ": ask for at most ", context_ - tokens),
            "context_length_exceeded");
  if (options.min_tokens < 0 || (options.max_tokens > 0 && options.min_tokens > options.max_tokens))
    invalid(concat("min_tokens=", options.min_tokens, ": must be between 0 and max_tokens"));
  if (options.stop.size() > kMaxStops)
    invalid(concat(options.stop.size(), " stop strings: at most ", kMaxStops));
  for (const std::string& stop : options.stop)
    if (stop.empty() || stop.size() > kMaxStopBytes)
      invalid(concat("a stop string of ", stop.size(), " bytes: must have 1 to ", kMaxStopBytes));
  for (const int32_t id : options.stop_ids)
    if (id < 0 || id >= info().vocabulary)
      invalid(concat("stop token id ", id, ": must be between 0 and ", info().vocabulary - 1));
}

std::shared_ptr<Stream> Generator::submit(std::span<const int32_t> prompt, const GenerateOptions& options) {
  check(prompt, options);
  auto stream = std::make_shared<Stream>();
  stream->id_ = next_stream.fetch_add(1);
  stream->prompt_tokens_ = static_cast<int64_t>(prompt.size());
  stream->options_ = options;
  stream->stops_ = StopStrings(options.stop);
  stream->decoder_.emplace(tokenizer_->stream_decoder(true));
  if (options.sampling.repetition_penalty != 1.0f) stream->counts_.add_prompt(prompt);
  if (options.max_tokens == 0) stream->options_.max_tokens = context_ - stream->prompt_tokens_;
  const int64_t now = now_us();
  const std::lock_guard lock(mutex_);
  if (stop_) throw Error(ErrorKind::kCancelled, "the model is closed");
  const uint64_t variant = choose_adapter(*stream);
  const auto refused =
      scheduler_->submit({.id = stream->id_,
                          .tenant = options.tenant,
                          .variant = variant,
                          .prompt = prompt,
                          .max_tokens = stream->options_.max_tokens,
                          .priority = options.priority,
                          .arrival_us = now,
                          .deadline_us = options.timeout_us > 0 ? now + options.timeout_us : 0});
  if (refused) {
    ++metrics_.refused;
    throw Error(*refused);
  }
  ++metrics_.requests;
  streams_.emplace(stream->id_, stream);
  work_.notify_one();
  return stream;
}

void Generator::cancel(uint64_t stream) {
  const std::lock_guard lock(mutex_);
  if (!streams_.contains(stream)) return;
  to_cancel_.push_back(stream);
  work_.notify_one();
}

bool Generator::wait(const Stream& stream, int64_t timeout_us) {
  std::unique_lock lock(mutex_);
  return news_.wait_for(lock, std::chrono::microseconds(timeout_us), [&] { return stream.has_news(); });
}

GeneratorMetrics Generator::metrics() const {
  const std::lock_guard lock(mutex_);
  GeneratorMetrics metrics = metrics_;
  metrics.preemptions = scheduler_->preemptions();
  metrics.running = static_cast<int64_t>(scheduler_->running());
  metrics.waiting = static_cast<int64_t>(scheduler_->waiting());
  metrics.queued_tokens = scheduler_->queued_tokens();
  metrics.cache_blocks = blocks_->counts().blocks;
  metrics.cache_bytes = metrics.cache_blocks * model_->cache_block_bytes(kv_);
  metrics.cache_used = blocks_->counts().used;
  metrics.cache_cached = blocks_->counts().cached;
  metrics.cache_evictions = blocks_->counts().evictions;
  return metrics;
}

void Generator::close() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    work_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

bool Generator::made_here() const { return getpid() == owner_pid_; }

void Generator::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stop_ || !streams_.empty(); });
    if (stop_) break;
    drop_cancelled();
    if (drafter_) guess(lock);
    scheduler_->next_step(now_us(), spans_, expired_);
    for (const uint64_t id : expired_) {
      ++metrics_.expired;
      fail(id, Error(ErrorKind::kDeadline, "the request's time was over before its text was"));
    }
    stepping_.clear();
    for (const GenerationSpan& span : spans_) stepping_.push_back(streams_.at(span.id));
    lock.unlock();
    wake();
    const int64_t start = now_us();
    if (!spans_.empty()) run_step();
    const double seconds = static_cast<double>(now_us() - start) * 1e-6;
    lock.lock();
    metrics_.step_seconds += seconds;
    step_error_ ? fail_step() : deliver();
    lock.unlock();
    wake();
    lock.lock();
  }
  while (!streams_.empty()) fail(streams_.begin()->first, cancelled());
  lock.unlock();
  wake();
}

// The processor cannot fail; a device can, and then its texts end, and nobody else's.
void Generator::run_step() {
  step_error_.reset();
  try {
    compute();
    sample();
  } catch (const Error& error) {
    step_error_ = error;
  }
}

void Generator::fail_step() {
  for (const GenerationSpan& span : spans_) {
    scheduler_->finish(span.id);
    ++metrics_.failed;
    fail(span.id, *step_error_);
  }
}

void Generator::drop_cancelled() {
  for (const uint64_t id : to_cancel_)
    if (scheduler_->finish(id)) {
      ++metrics_.cancelled;
      fail(id, cancelled());
    }
  to_cancel_.clear();
}

void Generator::deliver() {
  ++metrics_.steps;
  metrics_.row_cost = row_cost_.share();
  scheduler_->set_row_share(metrics_.row_cost);
  scheduler_->set_tokens_per_second(reading_speed_);
  for (size_t i = 0; i < spans_.size(); ++i) {
    const GenerationSpan& span = spans_[i];
    Stream& stream = *stepping_[i];
    const auto count = static_cast<int64_t>(span.tokens.size());
    stream.cached_tokens_.store(scheduler_->cached_tokens(span.id), std::memory_order_relaxed);
    metrics_.prompt_tokens += span.position < stream.prompt_tokens_ ? count : 0;
    metrics_.proposed_tokens += static_cast<int64_t>(span.proposed.size());
    const Masked* const masked = span.samples && stream.options_.mask ? &masked_[i] : nullptr;
    drawn_.clear();
    for (const Sampled& sampled : sampled_[i])
      if (sampled.token >= 0) drawn_.push_back(sampled.token);
    const int64_t accepted = std::max<int64_t>(0, static_cast<int64_t>(drawn_.size()) - 1);
    if (drafter_ && span.is_suggested) drafter_->observe(span.id, std::ssize(span.proposed), accepted);
    scheduler_->advance(span.id, count + accepted, drawn_);
    if (!span.samples) continue;
    const bool is_sound = drawn_.size() == sampled_[i].size() && !(masked && masked->error);
    if (!drawn_.empty())
      deliver_tokens(stream, std::span(sampled_[i]).first(drawn_.size()), masked && masked->is_complete);
    if (is_sound || stream.ended()) continue;
    scheduler_->finish(span.id);
    ++metrics_.failed;
    const Error not_finite(ErrorKind::kInternal,
                           "the model gave numbers that are not finite: its weights may be damaged");
    fail(span.id, masked && masked->error ? *masked->error : not_finite);
  }
}

// Tokens of a stream, in order, until one ends it; to whoever waits.
void Generator::deliver_tokens(Stream& stream, std::span<Sampled> sampled, bool is_complete) {
  StreamNews news;
  for (size_t i = 0; i < sampled.size(); ++i) {
    // All but the last were proposed.
    const int64_t accepted = i + 1 < sampled.size();
    metrics_.accepted_tokens += accepted;
    stream.accepted_.fetch_add(accepted, std::memory_order_relaxed);
    if (!add_token(stream, std::move(sampled[i]), is_complete && accepted == 0, news)) continue;
    scheduler_->finish(stream.id_);
    return end(stream, std::move(news));
  }
  notify(stream, std::move(news));
}

// A token to its text; true if it is the last one.
bool Generator::add_token(Stream& stream, Sampled sampled, bool is_complete, StreamNews& news) {
  const GenerateOptions& options = stream.options_;
  const int32_t token = sampled.token;
  const int64_t generated = stream.generated_.load(std::memory_order_relaxed) + 1;
  stream.generated_.store(generated, std::memory_order_relaxed);
  ++metrics_.generated_tokens;
  const auto is_one_of = [&](std::span<const int32_t> ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  const bool is_end = (!options.ignore_eos && is_one_of(end_ids())) || is_one_of(options.stop_ids);
  if (!is_end) news.text += stream.stops_.push(stream.decoder_->push(token));
  news.tokens.push_back(std::move(sampled));
  if (is_end || is_complete || stream.stops_.found())
    news.finish_reason = "stop";
  else if (generated == options.max_tokens)
    news.finish_reason = "length";
  if (news.finish_reason.empty()) return false;
  if (stream.stops_.found()) return true;
  news.text += stream.stops_.push(stream.decoder_->finish());
  if (stream.stops_.found())
    news.finish_reason = "stop";
  else
    news.text += stream.stops_.finish();
  return true;
}

void Generator::end(Stream& stream, StreamNews news) {
  metrics_.cached_tokens += stream.cached_tokens();
  if (drafter_) {
    drafter_->forget(stream.id_);
    metrics_.draft_blocks = drafter_->used_blocks();
  }
  if (stream.options_.mask) ended_masks_.push_back(std::move(stream.options_.mask));
  notify(stream, std::move(news));
  streams_.erase(stream.id_);  // whoever called holds it
}

void Generator::fail(uint64_t id, const Error& error) {
  const auto at = streams_.find(id);
  if (at == streams_.end()) return;
  const std::shared_ptr<Stream> stream = at->second;
  StreamNews news;
  news.error = error;
  end(*stream, std::move(news));
}

void Generator::notify(Stream& stream, StreamNews news) {
  stream.add(std::move(news));
  const std::shared_ptr<CompletionQueue>& queue = stream.options_.completions;
  if (!queue) {
    news_.notify_all();
    return;
  }
  queue->push(stream.id_);
  if (std::find(to_wake_.begin(), to_wake_.end(), queue) == to_wake_.end()) to_wake_.push_back(queue);
}

void Generator::wake() {
  for (const auto& queue : to_wake_) queue->wake();
  to_wake_.clear();
  ended_masks_.clear();
}

}  // namespace headrace
