// Runs one language model for many requests at once.
//
//   submit -> scheduler -> | loop thread: next_step -> LanguageModel::step -> sample -> text | -> Stream
//
// Tokens go to their streams after every step; an event loop is woken once a step, not once a token.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/threads.h"
#include "batch/generation_scheduler.h"
#include "batch/kv_blocks.h"
#include "engine/drafter.h"
#include "engine/stream.h"
#include "models/language_model.h"
#include "models/sampler.h"
#include "text/tokenizer.h"

namespace headrace {

struct GeneratorOptions {
  int threads = 0;           // 0: every processor the process may use
  int64_t context = 0;       // the longest sequence; 0: the model's own, as far as the cache holds it
  int64_t cache_tokens = 0;  // 0: what 2 GiB hold, at least one whole context
  std::optional<KvType> kv;  // none: f32 beside matrices of f32, else bf16
  int64_t step_tokens = 256;
  int64_t max_sequences = 64;
  int64_t max_queue_tokens = 65536;
  int64_t speculation = kAdaptiveSpeculation;  // GenerationLimits::speculation
};

struct GeneratorMetrics {
  int64_t requests = 0, refused = 0, cancelled = 0, expired = 0, failed = 0;
  int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  int64_t proposed_tokens = 0, accepted_tokens = 0;  // accepted: of the generated ones
  int64_t steps = 0, preemptions = 0;
  int64_t running = 0, waiting = 0, queued_tokens = 0;
  int64_t cache_blocks = 0, cache_used = 0, cache_cached = 0, cache_evictions = 0;
  int64_t cache_bytes = 0;                    // of all blocks
  double step_seconds = 0;                    // spent in steps
  double row_cost = 0;                        // RowCost::share()
  int64_t draft_steps = 0, draft_blocks = 0;  // blocks in use
  double draft_seconds = 0;
};

// A model that guesses for another one; its tokenizer tells whether they have the same tokens.
struct Draft {
  std::unique_ptr<LanguageModel> model;
  std::shared_ptr<Tokenizer> tokenizer;
};

class Generator {
 public:
  // Throws kInvalidArgument for a draft of other tokens, or where nothing is to be proposed.
  Generator(std::unique_ptr<LanguageModel> model, std::shared_ptr<Tokenizer> tokenizer,
            const GeneratorOptions& options, Draft draft = {});
  ~Generator();  // as close()
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  const ModelInfo& info() const { return model_->info(); }
  const std::shared_ptr<Tokenizer>& tokenizer() const { return tokenizer_; }
  const LanguageConfig& config() const { return model_->config(); }
  std::span<const int32_t> end_ids() const { return model_->config().end_ids; }
  int64_t context() const { return context_; }
  // What the cache of keys and values takes, used or not.
  int64_t cache_bytes() const { return model_->cache_bytes(); }
  KvType kv() const { return kv_; }
  int threads() const { return pool_.threads(); }

  // Queues a prompt. Throws kInvalidArgument (an option out of its range; an empty prompt, an id outside the
  // vocabulary; more tokens than the context holds, code "context_length_exceeded"), kOverloaded with
  // retry_after_ms, kCancelled (closed).
  std::shared_ptr<Stream> submit(std::span<const int32_t> prompt, const GenerateOptions& options);

  // The stream ends with kCancelled before the next step. No effect when it has ended.
  void cancel(uint64_t stream);
  // Waits until the stream has news, or timeout_us passed; true if it has.
  bool wait(const Stream& stream, int64_t timeout_us);

  // Makes the adapter of that directory known by that name, in the place of an earlier one. Throws what
  // Adapter::load throws. Requests that run go on with the one that they began with.
  void add_adapter(const std::string& name, const std::string& directory);
  void remove_adapter(const std::string& name);  // throws kNotFound

  GeneratorMetrics metrics() const;

  // Streams that have not ended end with kCancelled.
  void close();

  // See Engine::made_here.
  bool made_here() const;

 private:
  void check(std::span<const int32_t> prompt, const GenerateOptions& options) const;
  // Returns what no other adapter has.
  uint64_t choose_adapter(Stream& stream) const;
  void add_draft(Draft draft, const GeneratorOptions& options, int64_t blocks);
  void guess(std::unique_lock<std::mutex>& lock);
  void loop();
  void run_step();
  void drop_cancelled();
  void compute();
  void sample();
  // A text whose next tokens are drawn, and its first row of logits.
  struct Drawing {
    size_t span, first_row;
  };
  void keep_form(const Stream& stream, GenerationSpan& span);
  void draw(const Drawing& one, Sampler& sampler);
  void fill_mask(size_t span);
  bool goes_on(const Drawing& one);
  void deliver();
  void deliver_tokens(Stream& stream, std::span<Sampled> sampled, bool is_complete);
  bool add_token(Stream& stream, Sampled sampled, bool is_complete, StreamNews& news);
  void end(Stream& stream, StreamNews news);
  void fail(uint64_t id, const Error& error);
  void fail_step();
  void notify(Stream& stream, StreamNews news);
  void wake();

  const int owner_pid_;
  std::unique_ptr<LanguageModel> model_;
  std::shared_ptr<Tokenizer> tokenizer_;
  ThreadPool pool_;  // the loop thread's
  int64_t context_ = 0;
  KvType kv_ = KvType::kF32;

  mutable std::mutex mutex_;
  std::condition_variable work_, news_;
  // Guarded by mutex_, as what is below it.
  std::unique_ptr<KvBlocks> blocks_;
  std::unique_ptr<GenerationScheduler> scheduler_;
  std::unordered_map<uint64_t, std::shared_ptr<Stream>> streams_;
  std::vector<uint64_t> to_cancel_;
  struct Named {
    std::shared_ptr<const Adapter> adapter;
    uint64_t number;  // no two that were ever added have the same
  };
  std::unordered_map<std::string, Named> adapters_;
  uint64_t adapters_added_ = 0;
  GeneratorMetrics metrics_;
  std::mt19937_64 seeds_;
  bool stop_ = false;

  // The step that runs; the loop thread's.
  std::vector<GenerationSpan> spans_;
  std::optional<Error> step_error_;  // what the device said
  std::vector<uint64_t> expired_;
  std::vector<int32_t> ids_;
  std::vector<StepSpan> steps_;
  std::vector<std::shared_ptr<Stream>> stepping_;  // by span
  std::vector<std::vector<Sampled>> sampled_;      // by span: what was drawn, one after another
  std::vector<int32_t> drawn_;                     // the same of one span, ids alone
  RowCost row_cost_;
  double reading_speed_ = 0;  // tokens a second of the last steps that read prompts; 0: none did
  // Of streams with a mask, by span.
  struct Masked {
    std::vector<uint32_t> allowed;
    bool is_complete = false;
    std::optional<Error> error;
  };
  std::vector<Masked> masked_;
  std::unique_ptr<Drafter> drafter_;  // may be null
  std::vector<Answering> answering_;
  std::vector<DraftText> draft_texts_;
  std::vector<Drafter::Guess> guesses_;
  std::vector<std::shared_ptr<TokenMask>>
      ended_masks_;  // let go of where no lock is held: they may wait for Python
  std::vector<float> logits_;
  std::vector<Sampler> samplers_;  // by thread
  std::vector<std::shared_ptr<CompletionQueue>> to_wake_;

  std::thread thread_;  // last: it starts when all else is there
};

}  // namespace headrace
