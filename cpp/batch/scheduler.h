// Who runs now. Pure logic: no threads, no clock, no tensors; one caller at a time.
//
//   submit -> [queue of requests] -> next_batch -> (running) -> finish -> completed
//                 |        |
//              cancel   deadline passed: expired
//
// Order. A request's key is arrival_us + priority * aging_us; the smallest key is next, ties go by
// submission. So a kBatch request yields to interactive ones that arrive up to 2 * aging_us after it and to
// none later: nobody starves.
//
// Sharing. A request of 2,048 sequences must not hold up those behind it for its whole length, so requests
// of the same priority take turns, as in round robin with credit (deficit round robin: Shreedhar & Varghese
// 1996, here with debt instead of saving, so that a sequence longer than a turn needs no waiting first). A
// turn is worth a quarter of a batch's tokens; after it the request goes behind all who wait, with the key
// it would have had by arriving now. A newcomer thus waits for at most one turn of each request before it.
// Chosen over charging each token to a virtual clock because that needs an estimate of the machine's speed,
// and lets several large requests together still delay a newcomer by their whole length.
//
// Filling. A batch takes sequences in that order while they fit its token and sequence budgets. One that
// does not fit may be passed over by smaller ones behind it, by at most kLookAhead requests in a batch, and
// never in two batches in a row: the second time the batch closes in front of it.
//
// Admission. The limit is on tokens, and so on time. A request is refused (kOverloaded) when it would have
// to wait for more than max_queue_tokens, counting at most one turn of every queued request (of requests no
// longer than a turn: all their tokens); if it is longer than a turn itself, also when all refusable queued
// tokens and its own exceed the limit. So one large request does not get all small ones refused, and large
// ones cannot pile up. An empty queue refuses nobody.
//
// Deadlines. A kRefuse request whose last sequence would start too late is refused as well, by the measured
// speed and counting only what is sure to run before the batch it starts in: what is left of the turn of each
// request of its priority or a higher one, and its own other sequences, in as many batches at once as ever
// ran. What runs now is not counted, nor further turns of others; nor is the luck of passing over others.
//
// Costs, n queued requests: submit, cancel and each slot O(log n); next_batch and finish allocate nothing
// once the caller's vectors have grown.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "batch/batch.h"
#include "batch/request.h"

namespace headrace {

struct SchedulerLimits {
  int64_t max_batch_tokens = 1024;
  int64_t max_batch_sequences = 256;
  int64_t max_queue_tokens = 16384;
  int64_t aging_us = 1'000'000;  // one level of priority is worth this much waiting
};

class Scheduler {
 public:
  static constexpr int kLookAhead = 8;

  // Throws kInvalidArgument when a limit is out of its range.
  explicit Scheduler(const SchedulerLimits& limits);

  // Queues a request, or says why not: kOverloaded with retry_after_ms when the queue is full (see Admission
  // above) or its deadline is nearer than its turn. Refusals are returned because they come by the thousand,
  // when there is no time to unwind. Throws kInvalidArgument: no sequences, a length outside [1,
  // max_batch_tokens], an id that is still known.
  [[nodiscard]] std::optional<Error> submit(const Request& request);

  // What submit is sure to say to any kRefuse request of at least `least_tokens` (1 or more), before they are
  // counted; none when it depends. `likely_tokens` goes into the time to come back at, and no further.
  std::optional<Error> refusal_of_any(int64_t least_tokens, int64_t likely_tokens) const;

  // Forgets a request: its queued sequences never run, and finish() will not report it. True when it was
  // known and neither completed, expired nor cancelled. Its id is free again once no sequence of it runs.
  bool cancel(uint64_t id);

  // Fills `batch` (cleared first; empty when nothing is queued). `expired` (cleared first) receives the
  // requests whose deadline is at or before now_us while sequences of theirs are queued; they are dropped
  // whole, even if some sequences ran. Several batches may run at a time.
  void next_batch(int64_t now_us, Batch& batch, std::vector<uint64_t>& expired);

  // A batch from next_batch ran. `completed` (cleared first) receives the requests that have no sequence
  // left, queued or running.
  void finish(const Batch& batch, std::vector<uint64_t>& completed);

  // Changes the limit for later submissions; what is queued stays. At least 1.
  void set_max_queue_tokens(int64_t tokens);
  // The measured speed of one batch, for deadlines and retry_after_ms; 0 or less: unknown.
  void set_tokens_per_second(double rate) { tokens_per_second_ = rate; }

  int64_t queued_tokens() const { return queued_tokens_; }
  size_t queued_requests() const { return queue_.size(); }
  int64_t running_tokens() const { return running_tokens_; }
  const SchedulerLimits& limits() const { return limits_; }

 private:
  struct Entry {
    uint64_t id = 0;
    std::vector<int32_t> lengths;
    size_t next = 0;            // lengths[next..] are queued
    int64_t queued_tokens = 0;  // sum of lengths[next..]
    int32_t longest = 0;        // the largest of lengths
    int64_t running = 0;        // sequences in batches that have not finished
    int64_t least_turn = 0;     // of its turn, what will run before a newcomer of its priority, at least
    int64_t credit = 0;         // tokens left of its turn; at or below 0 the turn is over
    Priority priority = Priority::kInteractive;
    int64_t priority_us = 0;  // priority * aging_us
    int64_t key_us = 0;
    uint64_t order = 0;  // breaks ties; renewed with each turn
    int64_t deadline_us = 0;
    bool refusable = true;
    bool passed_over = false;  // by the latest batch that reached it
    bool dropped = false;      // cancelled or expired; kept only until its running sequences finish

    bool queued() const { return !dropped && next < lengths.size(); }
  };
  struct ByKey {
    bool operator()(const Entry* a, const Entry* b) const {
      return a->key_us != b->key_us ? a->key_us < b->key_us : a->order < b->order;
    }
  };
  struct ByDeadline {
    bool operator()(const Entry* a, const Entry* b) const {
      return a->deadline_us != b->deadline_us ? a->deadline_us < b->deadline_us : a->id < b->id;
    }
  };
  using Queue = std::set<Entry*, ByKey>;

  void check(const Request& request) const;
  std::optional<Error> refusal(const Entry& entry, int64_t tokens, int64_t arrival_us) const;
  std::optional<Error> too_late(const Entry& entry, int64_t tokens, int64_t arrival_us) const;
  int64_t least_round_tokens(Priority lowest) const;
  int64_t excess_tokens(int64_t tokens, int64_t turn) const;
  Error overloaded(int64_t excess_tokens) const;
  int64_t retry_after_ms(int64_t excess_tokens) const;
  int64_t turn_of(const Entry& entry, int64_t tokens) const;
  void expire(int64_t now_us, std::vector<uint64_t>& expired);
  bool fits(const Entry& entry, const Batch& batch) const;
  void take(Entry& entry, Batch& batch);
  Queue::iterator end_turn(Queue::iterator at, int64_t now_us);
  void leave_queue(Entry& entry);
  void drop(Entry& entry);
  void count_turn(Entry& entry);
  void count_queued(Entry& entry, int64_t tokens);  // entry.queued_tokens := tokens, and all sums with it

  SchedulerLimits limits_;
  int64_t turn_tokens_;
  double tokens_per_second_ = 0;
  uint64_t next_order_ = 0;
  int64_t queued_tokens_ = 0;                              // of all queued sequences
  int64_t refusable_tokens_ = 0;                           // of those of kRefuse requests
  int64_t round_tokens_ = 0;                               // one turn of every queued request, at most
  std::array<int64_t, kPriorities> least_round_tokens_{};  // what is left of it, at least, by priority
  int64_t running_tokens_ = 0;
  int64_t running_batches_ = 0;
  int64_t most_running_batches_ = 1;             // at once, so far
  std::unordered_map<uint64_t, Entry> entries_;  // its nodes never move
  Queue queue_;                                  // entries that have queued sequences
  std::set<Entry*, ByDeadline> deadlines_;       // those of them that have a deadline
};

}  // namespace headrace
