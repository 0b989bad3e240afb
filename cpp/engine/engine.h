// Owns the threads. Requests come in from any thread, one loop thread forms batches and runs them, finished
// tickets go out through completion queues or wait().
//
//   submit: check, tokenise (on the caller's thread) -> scheduler -> | loop: next_batch -> forward -> finish
//   | -> ticket
//
// One engine holds any number of models; they share its threads and take turns, a batch at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/threads.h"
#include "batch/batch.h"
#include "batch/request.h"
#include "engine/metrics.h"
#include "engine/ticket.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace headrace {

struct EngineOptions {
  int threads = 0;                       // compute threads; 0: every processor the process may use
  int64_t queue_budget_us = 500'000;     // work that would have to wait longer than this is refused
  int64_t max_batch_tokens = 512;        // raised to a model's longest sequence where that is more
  int64_t max_request_tokens = 1 << 20;  // one request's ids, answers and bookkeeping stay within this
};

// One text, or two that the model reads together.
struct TextInput {
  std::string_view text;
  std::optional<std::string_view> pair = std::nullopt;
};

// A picture as pixels, or as the planes [3, height, width] that a model's transform would make of it.
struct PictureInput {
  Picture picture;
  const float* planes = nullptr;  // then picture has the size alone, which is the model's
};

struct SubmitOptions {
  bool truncate = false;  // cut what is longer than the model allows, instead of refusing it
  Priority priority = Priority::kInteractive;
  Admission admission = Admission::kRefuse;
  int64_t timeout_us = 0;  // 0: none
  // What is too long is cut into windows that share so many tokens of the text (of a pair: of its second),
  // each a sequence of its own; see Ticket::windows. For submit of TextInput only.
  std::optional<int64_t> stride = std::nullopt;
  int64_t window_tokens = 0;  // the longest window, special tokens included; 0: as long as the model allows
  // Stands before every text, as a part of it; a list of ids takes none. For submit of texts to a model that
  // embeds.
  std::string_view prompt = {};
  const char* argument = "input";                // what the caller's list is called, for messages
  const char* first_argument = "input";          // and what the first text of its pairs is called
  std::shared_ptr<CompletionQueue> completions;  // null: the caller uses wait()
};

class Engine {
 public:
  explicit Engine(const EngineOptions& options);
  ~Engine();  // as close(false); only in the process that made it, see made_here()
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Loads the model directory and makes it known as `name`. Throws what load_model and
  // Tokenizer::from_file throw, and kInvalidArgument when the name is taken or is not
  // [A-Za-z0-9][A-Za-z0-9._-]{0,127}. Other models keep running. Files in memory are let go of as soon as
  // they are read.
  void add(const std::string& name, ModelPath directory, const LoadOptions& options = {});
  // The same for a model made otherwise; it answers to `name` with that tokenizer.
  void add(const std::string& name, std::unique_ptr<Tokenizer> tokenizer, std::unique_ptr<Model> model);
  // Requests still queued fail with kCancelled; a batch that runs is finished. Throws kNotFound.
  void remove(const std::string& name);

  std::vector<std::string> names() const;
  ModelInfo info(const std::string& name) const;  // throws kNotFound
  // Throws kUnsupported where the model reads no texts.
  std::shared_ptr<Tokenizer> tokenizer(const std::string& name) const;
  ModelMetrics metrics(const std::string& name) const;
  int threads() const { return pool_.threads(); }

  // Queues texts, or sequences of ids (which get no special tokens added). Throws kNotFound (no such model),
  // kInvalidArgument (no sequences; an empty or over-long one, code "context_length_exceeded"; not UTF-8; an
  // id outside the vocabulary), kCancelled (the engine is closed). A full queue does not throw: the ticket
  // comes back failed with kOverloaded, and the completion queue does not hear of it.
  std::shared_ptr<Ticket> submit(const std::string& name, std::span<const std::string_view> texts,
                                 const SubmitOptions& options);
  std::shared_ptr<Ticket> submit(const std::string& name, std::span<const std::vector<int32_t>> ids,
                                 const SubmitOptions& options);
  // The same for pairs and for windows. Of a pair that is too long the second text is cut; a first text that
  // leaves the second no room is kInvalidArgument too.
  std::shared_ptr<Ticket> submit(const std::string& name, std::span<const TextInput> inputs,
                                 const SubmitOptions& options);

  // Pictures, made into patches on the caller's thread. Throws kInvalidArgument besides (a model that sees
  // none, code "wrong_input"; a picture that cannot be brought to its size).
  std::shared_ptr<Ticket> submit(const std::string& name, std::span<const PictureInput> pictures,
                                 const SubmitOptions& options);

  // What the model's own preprocessing makes of a picture: planes [3, height, width] to be submitted later,
  // so that many large ones need not be in memory at a time. Throws what submit throws of a picture.
  std::vector<float> prepare(const std::string& name, const Picture& picture) const;

  // Checks texts as submit without truncation would, and queues nothing: for callers about to send them in
  // portions.
  void check(const std::string& name, std::span<const std::string_view> texts,
             std::string_view prompt = {}) const;

  // Withdraws a ticket: it fails with kCancelled, and what of it is queued never runs. No effect when it is
  // finished.
  void cancel(const std::string& name, uint64_t ticket);
  // Waits until the ticket is finished or timeout_us passed; true if finished.
  bool wait(const Ticket& ticket, int64_t timeout_us);

  // False in a forked child: it has the memory but none of the threads, so the engine can neither run nor be
  // destroyed there (a condition variable with waiters that are gone is waited for without end). Leave it
  // alone.
  bool made_here() const;

  // Refuses new requests; with drain, finishes the queued ones first, else they fail with kCancelled.
  // Idempotent.
  void close(bool drain);

 private:
  struct Served;
  struct RunningBatch;

  void check_name(const std::string& name) const;
  std::shared_ptr<Served> find(const std::string& name) const;
  // Throws kInvalidArgument, code "wrong_input", where the model reads no texts.
  void check_reads(const Served& served) const;
  std::shared_ptr<Ticket> start_ticket(const Served& served, const SubmitOptions& options) const;
  bool refuse_uncounted(Served& served, Ticket& ticket, size_t sequences, int64_t likely_tokens);
  int64_t likely_tokens(const Served& served, size_t bytes) const;
  bool encode_masked(const Served& served, size_t index, std::string_view text, const SubmitOptions& options,
                     std::vector<int32_t>& ids) const;
  void add_windows(const Served& served, size_t index, const TextInput& input, const SubmitOptions& options,
                   Ticket& ticket) const;
  int32_t count_prompt(const Served& served, std::string_view prompt, bool special) const;
  static int64_t next_start(const Ticket& ticket);
  void fill_up(const Served& served, Ticket& ticket) const;
  void end_sequence(const Served& served, Ticket& ticket) const;
  void limit_queue(Served& served) const;
  std::shared_ptr<Ticket> enqueue(Served& served, std::shared_ptr<Ticket> ticket,
                                  const SubmitOptions& options);
  void loop();
  std::shared_ptr<Served> next_served();
  bool start_batch(Served& served, RunningBatch& running);
  void gather(const Served& served, RunningBatch& running);
  void run_batch(Served& served, RunningBatch& running);
  void fail_damaged(Served& served, const Slot& slot);
  void finish_batch(Served& served, RunningBatch& running);
  void finish(const std::shared_ptr<Ticket>& ticket, std::optional<Error> error);
  void fail_all(Served& served, const Error& error);
  void wake_waiters();

  const EngineOptions options_;
  const int owner_pid_;  // threads do not survive fork(): a child must make its own engine
  ThreadPool pool_;      // used by the loop thread only

  mutable std::mutex mutex_;
  std::condition_variable work_;      // the loop waits here
  std::condition_variable finished_;  // wait() and close() wait here
  // Guarded by mutex_, as is everything in Served but its tokenizer and model.
  std::map<std::string, std::shared_ptr<Served>, std::less<>> served_;
  std::string last_served_;  // whose turn it was
  std::vector<std::shared_ptr<CompletionQueue>> to_wake_;
  bool closing_ = false;             // no new requests
  bool stop_ = false;                // the loop ends
  RunningBatch* running_ = nullptr;  // that is out, or null
  std::thread thread_;               // last: it starts when all else is there
};

}  // namespace headrace
