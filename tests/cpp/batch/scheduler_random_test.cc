// Random histories against a plain model of what must hold: no sequence lost or run twice, budgets kept,
// waits bounded, every request ends exactly once, counters consistent.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <random>

#include "base/error.h"
#include "batch/scheduler.h"

namespace headrace {
namespace {

struct Known {
  std::vector<int32_t> lengths;
  std::vector<int> runs;  // how often each sequence was in a batch
  int64_t deadline_us = 0;
  int64_t unfinished = 0;  // sequences that have not finished
  int64_t batches_waited = 0;
  int64_t wait_limit = 0;  // batches
  bool ended = false;      // completed, expired or cancelled

  int64_t queued_tokens() const {
    int64_t tokens = 0;
    for (size_t i = 0; i < runs.size() && !ended; ++i) tokens += runs[i] == 0 ? lengths[i] : 0;
    return tokens;
  }
};

class History {
 public:
  History(uint32_t seed, bool one_priority) : random_(seed), one_priority_(one_priority) {
    limits_.max_batch_tokens = pick(1, 64);
    limits_.max_batch_sequences = pick(1, 12);
    limits_.max_queue_tokens = pick(1, 600);
    limits_.aging_us = pick(0, 300);
    scheduler_ = std::make_unique<Scheduler>(limits_);
    if (pick(0, 1) == 0) scheduler_->set_tokens_per_second(static_cast<double>(pick(1, 10'000'000)));
  }

  void run(int events) {
    for (int i = 0; i < events && !testing::Test::HasFatalFailure(); ++i) {
      now_us_ += pick(0, 10);
      switch (pick(0, 9)) {
        case 0:
          cancel();
          break;
        case 1:
        case 2:
        case 3:
          finish();
          break;
        case 4:
        case 5:
        case 6:
          tick();
          break;
        default:
          submit();
      }
      check_counters();
    }
    drain();
  }

 private:
  int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  void submit() {
    const int64_t large = pick(0, 9) == 0 ? 40 : 3;
    Known fresh;
    fresh.lengths.resize(static_cast<size_t>(pick(1, large)));
    for (int32_t& length : fresh.lengths)
      length = static_cast<int32_t>(
          pick(1, pick(0, 3) ? (limits_.max_batch_tokens + 3) / 4 : limits_.max_batch_tokens));
    fresh.runs.resize(fresh.lengths.size());
    fresh.unfinished = static_cast<int64_t>(fresh.lengths.size());
    fresh.deadline_us = pick(0, 3) == 0 ? now_us_ + pick(-5, 200) : 0;
    Request request;
    request.id = next_id_++;
    request.lengths = fresh.lengths;
    request.priority = one_priority_ ? Priority::kNormal : static_cast<Priority>(pick(0, 2));
    request.admission = pick(0, 4) == 0 ? Admission::kWait : Admission::kRefuse;
    request.arrival_us = now_us_;
    request.deadline_us = fresh.deadline_us;
    // Every two batches hold more than a batch's tokens between them (or all sequences one may have); what
    // stands before a newcomer is one turn of each queued request.
    const int64_t sequences = queued_sequences();
    const int64_t turns = static_cast<int64_t>(scheduler_->queued_requests());
    fresh.wait_limit = 4 * (turns + 1) + sequences / limits_.max_batch_sequences + Scheduler::kLookAhead + 4;
    const bool empty = scheduler_->queued_requests() == 0;
    const int64_t tokens = std::accumulate(fresh.lengths.begin(), fresh.lengths.end(), int64_t{0});
    const auto sure = scheduler_->refusal_of_any(pick(1, tokens), tokens);
    if (const auto full = scheduler_->submit(request)) {
      ASSERT_EQ(full->kind(), ErrorKind::kOverloaded);
      ASSERT_EQ(request.admission, Admission::kRefuse);
      ASSERT_FALSE(empty) << "an empty queue refuses nobody";
      ASSERT_GE(full->retry_after_ms(), 1);
      return;
    }
    ASSERT_FALSE(sure && request.admission == Admission::kRefuse) << "what was sure to be refused was taken";
    known_[request.id] = fresh;
  }

  void cancel() {
    const uint64_t id = static_cast<uint64_t>(pick(0, static_cast<int64_t>(next_id_) + 1));
    const auto found = known_.find(id);
    const bool expected = found != known_.end() && !found->second.ended;
    ASSERT_EQ(scheduler_->cancel(id), expected);
    if (expected) end(found->second);
  }

  void end(Known& request) {
    ASSERT_FALSE(request.ended) << "a request ends once";
    request.ended = true;
  }

  void tick() {
    Batch batch;
    std::vector<uint64_t> expired;
    const size_t queued = scheduler_->queued_requests();
    scheduler_->next_batch(now_us_, batch, expired);
    for (const uint64_t id : expired) {
      Known& request = known_.at(id);
      ASSERT_NE(request.deadline_us, 0);
      ASSERT_LE(request.deadline_us, now_us_);
      ASSERT_GT(request.queued_tokens(), 0);
      end(request);
    }
    ASSERT_EQ(batch.empty(), queued == expired.size()) << "work is queued and nothing runs";
    int64_t tokens = 0;
    for (const Slot& slot : batch.slots) {
      Known& request = known_.at(slot.request);
      ASSERT_FALSE(request.ended);
      ASSERT_EQ(request.lengths.at(static_cast<size_t>(slot.index)), slot.length);
      ASSERT_EQ(++request.runs[static_cast<size_t>(slot.index)], 1);
      tokens += slot.length;
      if (request.deadline_us != 0) {
        ASSERT_GT(request.deadline_us, now_us_);
      }
    }
    ASSERT_EQ(batch.tokens, tokens);
    ASSERT_LE(batch.tokens, limits_.max_batch_tokens);
    ASSERT_LE(static_cast<int64_t>(batch.slots.size()), limits_.max_batch_sequences);
    if (one_priority_) check_waits();
    if (!batch.empty()) running_.push_back(batch);
  }

  void check_waits() {
    for (auto& [id, request] : known_) {
      if (request.ended || request.runs[0] > 0) continue;
      ASSERT_LE(++request.batches_waited, request.wait_limit) << "request " << id;
    }
  }

  void finish() {
    if (running_.empty()) return;
    const size_t at = static_cast<size_t>(pick(0, static_cast<int64_t>(running_.size()) - 1));
    std::vector<uint64_t> expected;
    for (const Slot& slot : running_[at].slots) {
      Known& request = known_.at(slot.request);
      if (--request.unfinished == 0 && !request.ended) {
        expected.push_back(slot.request);
        end(request);
      }
    }
    std::vector<uint64_t> completed;
    scheduler_->finish(running_[at], completed);
    ASSERT_EQ(completed, expected);
    running_.erase(running_.begin() + static_cast<ptrdiff_t>(at));
  }

  int64_t queued_sequences() const {
    int64_t count = 0;
    for (const auto& [id, request] : known_)
      for (const int runs : request.runs) count += !request.ended && runs == 0;
    return count;
  }

  void check_counters() {
    int64_t queued = 0;
    size_t requests = 0;
    for (const auto& [id, request] : known_) {
      queued += request.queued_tokens();
      requests += request.queued_tokens() > 0;
    }
    int64_t running = 0;
    for (const Batch& batch : running_) running += batch.tokens;
    ASSERT_EQ(scheduler_->queued_tokens(), queued);
    ASSERT_EQ(scheduler_->queued_requests(), requests);
    ASSERT_EQ(scheduler_->running_tokens(), running);
  }

  void drain() {
    while (!testing::Test::HasFatalFailure() && (scheduler_->queued_requests() > 0 || !running_.empty())) {
      now_us_ += 1;
      tick();
      finish();
    }
    check_counters();
    for (const auto& [id, request] : known_) ASSERT_TRUE(request.ended) << "request " << id << " was lost";
  }

  std::mt19937 random_;
  bool one_priority_;
  SchedulerLimits limits_;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<uint64_t, Known> known_;
  std::deque<Batch> running_;
  uint64_t next_id_ = 0;
  int64_t now_us_ = 0;
};

TEST(SchedulerRandom, keeps_its_promises_in_any_history) {
  for (uint32_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    History(seed, seed % 2 == 0).run(300);
    if (HasFatalFailure()) return;
  }
}

TEST(SchedulerRandom, a_large_request_delays_small_ones_by_a_turn_not_by_its_length) {
  SchedulerLimits limits;
  Scheduler scheduler(limits);
  const std::vector<int32_t> large(2048, 40);
  const std::vector<int32_t> small = {12};
  Batch batch;
  std::vector<uint64_t> expired;
  std::vector<uint64_t> completed;
  for (uint64_t id = 0; id < 3; ++id) {
    ASSERT_FALSE(
        scheduler.submit({.id = id, .lengths = large, .admission = Admission::kWait, .arrival_us = 0}));
  }
  uint64_t small_id = 100;
  bool large_done = false;
  for (int64_t step = 1; !large_done && step < 1000; ++step) {
    ASSERT_FALSE(scheduler.submit({.id = ++small_id, .lengths = small, .arrival_us = step}));
    scheduler.next_batch(step, batch, expired);
    scheduler.finish(batch, completed);
    ASSERT_EQ(std::count(completed.begin(), completed.end(), small_id), 1) << "step " << step;
    large_done = std::count(completed.begin(), completed.end(), 2u) == 1;
  }
  EXPECT_TRUE(large_done);
}

TEST(SchedulerRandom, a_flood_of_small_requests_does_not_starve_a_large_one) {
  SchedulerLimits limits;
  limits.max_queue_tokens = 4096;
  Scheduler scheduler(limits);
  const std::vector<int32_t> large(64, 32);  // 8 turns
  const std::vector<int32_t> small = {16};
  ASSERT_FALSE(scheduler.submit({.id = 0, .lengths = large, .priority = Priority::kBatch, .arrival_us = 0}));
  Batch batch;
  std::vector<uint64_t> expired;
  std::vector<uint64_t> completed;
  uint64_t id = 1;
  int64_t now_us = 0;
  for (int batches = 0; batches < 10'000; ++batches, now_us += 20'000) {
    while (!scheduler.submit({.id = id++, .lengths = small, .arrival_us = now_us})) continue;
    scheduler.next_batch(now_us, batch, expired);
    scheduler.finish(batch, completed);
    if (std::count(completed.begin(), completed.end(), 0u) == 1) {
      // Each turn waits two levels of aging (2 s) and a queue (4 batches of 20 ms).
      EXPECT_LE(now_us, 8 * 2'200'000);
      return;
    }
  }
  FAIL() << "the large request never completed";
}

}  // namespace
}  // namespace headrace
