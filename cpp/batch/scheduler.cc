#include "batch/scheduler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace headrace {
namespace {

constexpr int64_t kTurnsPerBatch = 4;
constexpr int64_t kUnknownSpeedRetryMs = 1000;
constexpr int64_t kMaxRetryMs = 60'000;

void check_limit(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    throw Error(ErrorKind::kInvalidArgument,
                concat(name, "=", value, ": must be between ", low, " and ", high));
  }
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  check_limit("max_batch_tokens", limits.max_batch_tokens, 1, kMax);
  check_limit("max_batch_sequences", limits.max_batch_sequences, 1, kMax);
  check_limit("max_queue_tokens", limits.max_queue_tokens, 1, std::numeric_limits<int64_t>::max());
  check_limit("aging_us", limits.aging_us, 0, int64_t{1} << 50);
  turn_tokens_ = std::max<int64_t>(1, limits.max_batch_tokens / kTurnsPerBatch);
}

void Scheduler::check(const Request& request) const {
  if (request.lengths.empty() || request.lengths.size() > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorKind::kInvalidArgument,
                concat("a request of ", request.lengths.size(), " sequences: must have at least one"));
  }
  for (const int32_t length : request.lengths) {
    if (length < 1 || length > limits_.max_batch_tokens) {
      throw Error(ErrorKind::kInvalidArgument,
                  concat("a sequence of ", length, " tokens: must have between 1 and ",
                         limits_.max_batch_tokens, ", the tokens of a batch"));
    }
  }
  if (entries_.contains(request.id)) {
    throw Error(ErrorKind::kInvalidArgument,
                concat("request ", request.id, " is already known: ids must be unique"));
  }
}

// The most a request with `tokens` queued can take in one turn: its last sequence may overdraw the credit.
int64_t Scheduler::turn_of(const Entry& entry, int64_t tokens) const {
  return std::min(tokens, turn_tokens_ + entry.longest - 1);
}

int64_t Scheduler::retry_after_ms(int64_t excess_tokens) const {
  if (!(tokens_per_second_ > 0)) return kUnknownSpeedRetryMs;
  const double ms = std::ceil(static_cast<double>(excess_tokens) / tokens_per_second_ * 1000.0);
  return static_cast<int64_t>(std::clamp(ms, 1.0, static_cast<double>(kMaxRetryMs)));
}

Error Scheduler::overloaded(int64_t excess_tokens) const {
  const int64_t wait_ms = retry_after_ms(excess_tokens);
  return Error(ErrorKind::kOverloaded,
               concat("the queue holds ", queued_tokens_, " tokens, and at most ", limits_.max_queue_tokens,
                      " may wait: try again in ", wait_ms, " ms"),
               {}, wait_ms);
}

// Of every queued request of priority `lowest` or a higher one.
int64_t Scheduler::least_round_tokens(Priority lowest) const {
  const auto end = least_round_tokens_.begin() + static_cast<std::ptrdiff_t>(lowest) + 1;
  return std::accumulate(least_round_tokens_.begin(), end, int64_t{0});
}

// By how much a request of `tokens`, `turn` of them in one turn, is more than may wait; <= 0: it is not.
int64_t Scheduler::excess_tokens(int64_t tokens, int64_t turn) const {
  // Differences, not sums: max_queue_tokens may be as large as int64 allows.
  const int64_t by_turns = round_tokens_ - (limits_.max_queue_tokens - turn);
  if (tokens <= turn || refusable_tokens_ == 0) return by_turns;
  return std::max(by_turns, refusable_tokens_ - (limits_.max_queue_tokens - tokens));
}

std::optional<Error> Scheduler::refusal(const Entry& entry, int64_t tokens, int64_t arrival_us) const {
  if (!entry.refusable || queue_.empty()) return std::nullopt;
  const int64_t excess = excess_tokens(tokens, turn_of(entry, tokens));
  if (excess > 0) return overloaded(excess);
  return too_late(entry, tokens, arrival_us);
}

std::optional<Error> Scheduler::too_late(const Entry& entry, int64_t tokens, int64_t arrival_us) const {
  if (entry.deadline_us == 0 || !(tokens_per_second_ > 0)) return std::nullopt;
  const int64_t before = least_round_tokens(entry.priority) + tokens - limits_.max_batch_tokens;
  const double rate = tokens_per_second_ * static_cast<double>(most_running_batches_);
  const double wait_ms = static_cast<double>(before) / rate * 1e3;
  const double allowed_ms = static_cast<double>(entry.deadline_us - arrival_us) * 1e-3;
  if (wait_ms <= std::max(0.0, allowed_ms)) return std::nullopt;
  const double excess = (wait_ms - allowed_ms) * 1e-3 * tokens_per_second_;
  const int64_t retry_ms = retry_after_ms(static_cast<int64_t>(std::min(excess, 1e15)));
  return Error(ErrorKind::kOverloaded,
               concat("what waits takes ", static_cast<int64_t>(std::min(std::ceil(wait_ms), 1e15)),
                      " ms, and the request has only ", static_cast<int64_t>(std::max(0.0, allowed_ms)),
                      " ms: allow more time, or try again in ", retry_ms, " ms"),
               {}, retry_ms);
}

std::optional<Error> Scheduler::refusal_of_any(int64_t least_tokens, int64_t likely_tokens) const {
  if (queue_.empty()) return std::nullopt;
  const int64_t least_turn = std::min(least_tokens, turn_tokens_);
  if (excess_tokens(least_turn, least_turn) <= 0) return std::nullopt;
  const int64_t likely = std::max(least_tokens, likely_tokens);
  return overloaded(excess_tokens(likely, std::min(likely, turn_tokens_)));
}

std::optional<Error> Scheduler::submit(const Request& request) {
  check(request);
  Entry fresh;
  fresh.id = request.id;
  fresh.lengths.assign(request.lengths.begin(), request.lengths.end());
  fresh.longest = *std::max_element(fresh.lengths.begin(), fresh.lengths.end());
  fresh.credit = turn_tokens_;
  fresh.priority = request.priority;
  fresh.priority_us = static_cast<int64_t>(request.priority) * limits_.aging_us;
  fresh.key_us = request.arrival_us + fresh.priority_us;
  fresh.order = next_order_++;
  fresh.deadline_us = request.deadline_us;
  fresh.refusable = request.admission == Admission::kRefuse;
  const int64_t tokens = std::accumulate(fresh.lengths.begin(), fresh.lengths.end(), int64_t{0});
  if (std::optional<Error> full = refusal(fresh, tokens, request.arrival_us)) return full;

  Entry& entry = entries_.emplace(request.id, std::move(fresh)).first->second;
  queue_.insert(&entry);
  if (entry.deadline_us != 0) deadlines_.insert(&entry);
  count_queued(entry, tokens);
  return std::nullopt;
}

// While it has credit it goes on, and so at least its next sequence runs.
void Scheduler::count_turn(Entry& entry) {
  const bool goes_on = entry.queued_tokens > 0 && entry.credit > 0;
  const int64_t least =
      goes_on ? std::min(entry.queued_tokens, std::max<int64_t>(entry.credit, entry.lengths[entry.next])) : 0;
  least_round_tokens_[static_cast<size_t>(entry.priority)] += least - entry.least_turn;
  entry.least_turn = least;
}

void Scheduler::count_queued(Entry& entry, int64_t tokens) {
  const int64_t change = tokens - entry.queued_tokens;
  queued_tokens_ += change;
  if (entry.refusable) refusable_tokens_ += change;
  round_tokens_ += turn_of(entry, tokens) - turn_of(entry, entry.queued_tokens);
  entry.queued_tokens = tokens;
  count_turn(entry);
}

void Scheduler::leave_queue(Entry& entry) {
  queue_.erase(&entry);
  if (entry.deadline_us != 0) deadlines_.erase(&entry);
  count_queued(entry, 0);
}

void Scheduler::drop(Entry& entry) {
  if (entry.queued()) leave_queue(entry);
  entry.dropped = true;
  if (entry.running > 0) return;
  const uint64_t id = entry.id;  // a copy: erase must not read its key from the node it frees
  entries_.erase(id);
}

bool Scheduler::cancel(uint64_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.dropped) return false;
  drop(found->second);
  return true;
}

void Scheduler::expire(int64_t now_us, std::vector<uint64_t>& expired) {
  while (!deadlines_.empty() && (*deadlines_.begin())->deadline_us <= now_us) {
    Entry& entry = **deadlines_.begin();
    expired.push_back(entry.id);
    drop(entry);
  }
}

bool Scheduler::fits(const Entry& entry, const Batch& batch) const {
  return batch.tokens + entry.lengths[entry.next] <= limits_.max_batch_tokens;
}

void Scheduler::take(Entry& entry, Batch& batch) {
  const int32_t length = entry.lengths[entry.next];
  batch.slots.push_back({entry.id, static_cast<int32_t>(entry.next), length});
  batch.tokens += length;
  ++entry.next;
  ++entry.running;
  entry.credit -= length;
  entry.passed_over = false;
  count_queued(entry, entry.queued_tokens - length);
}

// Puts the request behind all who wait and grants it the next turn. Returns the one to look at next.
Scheduler::Queue::iterator Scheduler::end_turn(Queue::iterator at, int64_t now_us) {
  const auto following = std::next(at);
  auto node = queue_.extract(at);
  Entry& entry = *node.value();
  entry.key_us = std::max(entry.key_us, now_us + entry.priority_us);
  entry.order = next_order_++;
  entry.credit += turn_tokens_;
  count_turn(entry);
  const auto put = queue_.insert(std::move(node)).position;
  // Those between `following` and its new place come first; if there are none, it is its own successor.
  return following == queue_.end() ? put : (ByKey()(*put, *following) ? put : following);
}

void Scheduler::next_batch(int64_t now_us, Batch& batch, std::vector<uint64_t>& expired) {
  batch.clear();
  expired.clear();
  expire(now_us, expired);
  int passed = 0;
  auto at = queue_.begin();
  while (at != queue_.end() && batch.tokens < limits_.max_batch_tokens &&
         static_cast<int64_t>(batch.slots.size()) < limits_.max_batch_sequences) {
    Entry& entry = **at;
    if (entry.credit <= 0) {
      at = end_turn(at, now_us);
    } else if (fits(entry, batch)) {
      take(entry, batch);
      if (!entry.queued()) {
        ++at;
        leave_queue(entry);
      }
    } else {
      if (entry.passed_over || passed == kLookAhead) break;
      ++passed;
      entry.passed_over = true;
      ++at;
    }
  }
  running_tokens_ += batch.tokens;
  if (batch.empty()) return;
  most_running_batches_ = std::max(most_running_batches_, ++running_batches_);
}

void Scheduler::finish(const Batch& batch, std::vector<uint64_t>& completed) {
  completed.clear();
  running_tokens_ -= batch.tokens;
  if (!batch.empty()) --running_batches_;
  for (const Slot& slot : batch.slots) {
    const auto found = entries_.find(slot.request);
    if (found == entries_.end() || found->second.running == 0) {
      throw Error(ErrorKind::kInternal,
                  concat("sequence ", slot.index, " of request ", slot.request, " finished but never ran"));
    }
    Entry& entry = found->second;
    if (--entry.running > 0 || entry.queued()) continue;
    if (!entry.dropped) completed.push_back(entry.id);
    entries_.erase(found);
  }
}

void Scheduler::set_max_queue_tokens(int64_t tokens) {
  limits_.max_queue_tokens = std::max<int64_t>(1, tokens);
}

}  // namespace headrace
