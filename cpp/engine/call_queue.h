// The queue in front of a model that is not the core's own: a function, a session of another runtime, a
// worker process. Who runs it asks for batches and tells how they ended; order, turns, admission, deadlines
// and counting are those of every other model (batch/scheduler.h, with an item as a token).
//
//   submit -> [scheduler] -> next -> (a runner, any thread or process) -> finish -> call
//
// It has no thread of its own. Any number of runners may ask at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "batch/batch.h"
#include "batch/scheduler.h"
#include "engine/metrics.h"
#include "engine/ticket.h"

namespace headrace {

struct CallQueueOptions {
  int64_t max_batch = 32;             // items that run together at most
  int64_t max_wait_us = 0;            // how long a batch that is not full waits for more
  int64_t queue_budget_us = 500'000;  // work that would have to wait longer than this is refused
};

// One submitted request: some items, and what its maker hung onto it.
class Call {
 public:
  enum class State : int { kPending, kDone, kFailed };

  uint64_t id() const { return id_; }
  int64_t items() const { return items_; }
  State state() const { return state_.load(std::memory_order_acquire); }
  // Set once state() is kFailed.
  const Error& error() const { return *error_; }
  // The maker's own; the queue never looks at it.
  const std::shared_ptr<void>& payload() const { return payload_; }

 private:
  friend class CallQueue;

  uint64_t id_ = 0;
  int64_t items_ = 0;
  int64_t arrival_us_ = 0;
  int64_t start_us_ = 0;  // of the batch it is in
  std::shared_ptr<void> payload_;
  std::optional<Error> error_;
  std::atomic<State> state_{State::kPending};     // the last thing written: it publishes error_
  std::shared_ptr<CompletionQueue> completions_;  // may be null: someone waits in CallQueue::wait
};

struct CallOptions {
  Priority priority = Priority::kInteractive;
  Admission admission = Admission::kRefuse;
  int64_t timeout_us = 0;  // 0: none
  std::shared_ptr<CompletionQueue> completions;
};

// What a runner was given. Calls that were cancelled meanwhile are still in it; their ends tell nobody.
struct CallBatch {
  Batch batch;
  std::vector<std::shared_ptr<Call>> calls;  // by slot
  int64_t start_us = 0;
};

class CallQueue {
 public:
  // Throws kInvalidArgument when an option is out of its range.
  explicit CallQueue(const CallQueueOptions& options);
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  // Queues a call of items >= 1. Throws kInvalidArgument (no items) and kCancelled (closed). A full queue
  // does not throw: the call comes back failed with kOverloaded, and the completion queue does not hear of
  // it.
  std::shared_ptr<Call> submit(int64_t items, std::shared_ptr<void> payload, const CallOptions& options);

  // Waits for a batch; none after close(), or when timeout_us passed.
  std::optional<CallBatch> next(int64_t timeout_us);
  // The batch ended. failed: slots that did, each with its error, which ends its whole call.
  void finish(const CallBatch& batch, const std::vector<std::pair<size_t, Error>>& failed);

  // Withdraws a call: it fails with kCancelled, and what of it is queued never runs.
  void cancel(uint64_t id);
  // Waits until the call is finished or timeout_us passed; true if finished.
  bool wait(const Call& call, int64_t timeout_us);

  // Refuses new calls; with drain, waits until the queued ones are finished, up to timeout_us, else they fail
  // with kCancelled. Idempotent. Runners get nothing more.
  void close(bool drain, int64_t timeout_us);
  bool closed() const;

  ModelMetrics metrics() const;

 private:
  // Calls that have ended, to be let go of once mutex_ is free: their payloads may need a lock (the Python
  // interpreter's) whose owner waits for this one.
  using Ended = std::vector<std::shared_ptr<Call>>;

  bool may_start(int64_t now) const;
  void end(const std::shared_ptr<Call>& call, std::optional<Error> error, Ended& ended);
  void expire(const std::vector<uint64_t>& expired, Ended& ended);
  void wake_waiters();

  const CallQueueOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable work_;      // runners wait here
  std::condition_variable finished_;  // wait() and close() wait here
  // All below is guarded by mutex_.
  Scheduler scheduler_;
  ModelMetrics metrics_;
  std::unordered_map<uint64_t, std::shared_ptr<Call>> calls_;  // queued or running
  std::vector<std::shared_ptr<CompletionQueue>> to_wake_;
  std::vector<uint64_t> expired_, completed_;
  int64_t max_queue_items_;
  int64_t ripe_us_ = 0;  // when what waits has waited long enough to go without company
  bool closing_ = false;
  bool stop_ = false;
};

}  // namespace headrace
