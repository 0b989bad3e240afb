#include "engine/call_queue.h"

#include <algorithm>
#include <chrono>

#include "engine/clock.h"
#include "engine/speed.h"

namespace headrace {
namespace {

using std::chrono::microseconds;

SchedulerLimits limits_of(const CallQueueOptions& options) {
  if (options.max_batch < 1 || options.max_batch > 1 << 16)
    throw Error(ErrorKind::kInvalidArgument,
                concat("max_batch=", options.max_batch, ": must be between 1 and 65536"));
  if (options.max_wait_us < 0 || options.max_wait_us > 10'000'000)
    throw Error(ErrorKind::kInvalidArgument, concat("max_wait of ", options.max_wait_us,
                                                    " microseconds: must be between 0 and 10 seconds"));
  SchedulerLimits limits;
  limits.max_batch_tokens = options.max_batch;
  limits.max_batch_sequences = options.max_batch;
  return limits;
}

}  // namespace

CallQueue::CallQueue(const CallQueueOptions& options)
    : options_(options),
      scheduler_(limits_of(options)),
      max_queue_items_(scheduler_.limits().max_queue_tokens) {}

std::shared_ptr<Call> CallQueue::submit(int64_t items, std::shared_ptr<void> payload,
                                        const CallOptions& options) {
  // A quarter of a million slots of bookkeeping: above what a request needs.
  constexpr int64_t kMaxItems = 1 << 18;
  if (items < 1 || items > kMaxItems)
    throw Error(ErrorKind::kInvalidArgument,
                concat("the request has ", items, " items: must be between 1 and ", kMaxItems));
  auto call = std::make_shared<Call>();
  call->items_ = items;
  call->payload_ = std::move(payload);
  call->completions_ = options.completions;
  call->id_ = next_ticket_id();
  const std::vector<int32_t> lengths(static_cast<size_t>(items), 1);
  {
    const std::lock_guard lock(mutex_);
    if (closing_) throw Error(ErrorKind::kCancelled, "the model was removed, or its engine closed");
    call->arrival_us_ = now_us();
    // What runs now is also waited for; without it the budget would be overdrawn by up to a batch.
    scheduler_.set_max_queue_tokens(std::max<int64_t>(1, max_queue_items_ - scheduler_.running_tokens()));
    if (scheduler_.queued_requests() == 0) ripe_us_ = call->arrival_us_ + options_.max_wait_us;
    std::optional<Error> full = scheduler_.submit({
        .id = call->id_,
        .lengths = lengths,
        .priority = options.priority,
        .admission = options.admission,
        .arrival_us = call->arrival_us_,
        .deadline_us = options.timeout_us > 0 ? call->arrival_us_ + options.timeout_us : 0,
    });
    if (full) {
      ++metrics_.refused;
      call->error_ = *std::move(full);
      call->state_.store(Call::State::kFailed, std::memory_order_release);
      return call;
    }
    calls_.emplace(call->id_, call);
    ++metrics_.requests;
  }
  work_.notify_one();
  return call;
}

// mutex_ is held.
bool CallQueue::may_start(int64_t now) const {
  if (scheduler_.queued_requests() == 0) return false;
  return options_.max_wait_us == 0 || now >= ripe_us_ || closing_ ||
         scheduler_.queued_tokens() >= options_.max_batch;
}

// mutex_ is held.
void CallQueue::expire(const std::vector<uint64_t>& expired, Ended& ended) {
  for (const uint64_t id : expired) {
    const auto found = calls_.find(id);
    if (found == calls_.end()) continue;
    ++metrics_.expired;
    end(found->second,
        Error(ErrorKind::kDeadline,
              "the request's timeout passed before it could run; allow more time or send less "
              "at once"),
        ended);
    calls_.erase(found);
  }
  if (!expired.empty()) wake_waiters();
}

std::optional<CallBatch> CallQueue::next(int64_t timeout_us) {
  Ended ended;
  std::unique_lock lock(mutex_);
  const int64_t until = now_us() + timeout_us;
  for (;;) {
    const int64_t now = now_us();
    if (stop_) return std::nullopt;
    if (may_start(now)) {
      CallBatch out;
      out.start_us = now;
      scheduler_.next_batch(now, out.batch, expired_);
      expire(expired_, ended);
      if (out.batch.empty()) continue;  // all that was queued had expired
      ripe_us_ = now;                   // whoever is left has waited for a whole batch already
      for (const Slot& slot : out.batch.slots) {
        const std::shared_ptr<Call>& call = out.calls.emplace_back(calls_.find(slot.request)->second);
        call->start_us_ = now;
        if (slot.index == 0) metrics_.queue_seconds.add(us_to_seconds(now - call->arrival_us_));
      }
      // A notification may have been for more than this batch took.
      if (scheduler_.queued_requests() > 0) work_.notify_one();
      return out;
    }
    if (now >= until) return std::nullopt;
    const bool waits_for_company = scheduler_.queued_requests() > 0;
    const int64_t wake = waits_for_company ? std::min(until, ripe_us_) : until;
    work_.wait_for(lock, microseconds(wake - now));
  }
}

void CallQueue::finish(const CallBatch& batch, const std::vector<std::pair<size_t, Error>>& failed) {
  Ended ended;
  const std::lock_guard lock(mutex_);
  const int64_t items = batch.batch.tokens;
  const int64_t now = now_us();
  const double elapsed = us_to_seconds(std::max<int64_t>(1, now - batch.start_us));
  ++metrics_.batches;
  metrics_.forward_seconds.add(elapsed);
  metrics_.batch_tokens.add(static_cast<double>(items));
  metrics_.batch_sequences.add(static_cast<double>(items));
  for (const auto& [slot, error] : failed) {
    const auto found = calls_.find(batch.batch.slots[slot].request);
    if (found == calls_.end()) continue;
    scheduler_.cancel(found->first);
    ++metrics_.failed;
    end(found->second, error, ended);
    calls_.erase(found);
  }
  if (failed.size() < batch.batch.slots.size()) {
    const auto answered = static_cast<int64_t>(batch.batch.slots.size() - failed.size());
    metrics_.sequences += answered;
    metrics_.tokens += answered;
    max_queue_items_ = observe_speed(items, elapsed, options_.queue_budget_us, metrics_, scheduler_);
  }
  scheduler_.finish(batch.batch, completed_);
  for (const uint64_t id : completed_) {
    const auto found = calls_.find(id);
    if (found == calls_.end()) continue;
    metrics_.compute_seconds.add(us_to_seconds(now - found->second->start_us_));
    end(found->second, std::nullopt, ended);
    calls_.erase(found);
  }
  wake_waiters();
}

// mutex_ is held.
void CallQueue::end(const std::shared_ptr<Call>& call, std::optional<Error> error, Ended& ended) {
  ended.push_back(call);
  const bool failed = error.has_value();
  call->error_ = std::move(error);
  call->state_.store(failed ? Call::State::kFailed : Call::State::kDone, std::memory_order_release);
  if (!call->completions_) return;
  call->completions_->push(call->id_);
  if (std::find(to_wake_.begin(), to_wake_.end(), call->completions_) == to_wake_.end())
    to_wake_.push_back(call->completions_);
}

// mutex_ is held. Wakes every event loop that has news, once, and everyone in wait() and close().
void CallQueue::wake_waiters() {
  for (const auto& completions : to_wake_) completions->wake();
  to_wake_.clear();
  finished_.notify_all();
}

void CallQueue::cancel(uint64_t id) {
  Ended ended;
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  scheduler_.cancel(id);
  ++metrics_.cancelled;
  end(found->second, Error(ErrorKind::kCancelled, "the request was cancelled"), ended);
  calls_.erase(found);
  wake_waiters();
}

bool CallQueue::wait(const Call& call, int64_t timeout_us) {
  std::unique_lock lock(mutex_);
  return finished_.wait_for(lock, microseconds(timeout_us),
                            [&] { return call.state() != Call::State::kPending; });
}

void CallQueue::close(bool drain, int64_t timeout_us) {
  Ended ended;
  {
    std::unique_lock lock(mutex_);
    closing_ = true;
    work_.notify_all();  // those who wait for company go now
    if (drain) finished_.wait_for(lock, microseconds(timeout_us), [&] { return stop_ || calls_.empty(); });
    stop_ = true;
    for (const auto& [id, call] : calls_) {
      scheduler_.cancel(id);
      ++metrics_.cancelled;
      end(call, Error(ErrorKind::kCancelled, "the model was removed before this request ran"), ended);
    }
    calls_.clear();
    wake_waiters();
  }
  work_.notify_all();
}

bool CallQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

ModelMetrics CallQueue::metrics() const {
  const std::lock_guard lock(mutex_);
  ModelMetrics found = metrics_;
  found.queued_tokens = scheduler_.queued_tokens();
  found.running_tokens = scheduler_.running_tokens();
  return found;
}

}  // namespace headrace
