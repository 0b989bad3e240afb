// The queue of models outside the core, with threads of the test's own as runners.
#include "engine/call_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

namespace headrace {
namespace {

constexpr int64_t kSecond = 1'000'000;

CallOptions waiting() { return {.admission = Admission::kWait}; }

std::vector<uint64_t> ids_of(const CallBatch& batch) {
  std::vector<uint64_t> ids;
  for (const Slot& slot : batch.batch.slots) ids.push_back(slot.request);
  return ids;
}

TEST(CallQueue, BatchesWhatWaits) {
  CallQueue queue({.max_batch = 4});
  const auto first = queue.submit(1, nullptr, {}), second = queue.submit(2, nullptr, {});
  const auto third = queue.submit(3, nullptr, {});
  const auto batch = queue.next(0);
  ASSERT_TRUE(batch);
  // A turn is a quarter of a batch, so that none of them waits for all of another.
  EXPECT_EQ(ids_of(*batch), (std::vector<uint64_t>{first->id(), second->id(), third->id(), second->id()}));
  queue.finish(*batch, {});
  EXPECT_EQ(first->state(), Call::State::kDone);
  EXPECT_EQ(second->state(), Call::State::kDone);
  EXPECT_EQ(third->state(), Call::State::kPending);  // two of its items are still to come
  const auto rest = queue.next(0);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->batch.slots.size(), 2u);
  EXPECT_EQ(rest->batch.slots[0].index, 1);
  queue.finish(*rest, {});
  EXPECT_EQ(third->state(), Call::State::kDone);
  const ModelMetrics metrics = queue.metrics();
  EXPECT_EQ(metrics.requests, 3);
  EXPECT_EQ(metrics.sequences, 6);
  EXPECT_EQ(metrics.batches, 2);
  EXPECT_EQ(metrics.queued_tokens, 0);
  EXPECT_EQ(metrics.running_tokens, 0);
}

TEST(CallQueue, NothingComesInTime) {
  CallQueue queue({});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(queue.next(20'000));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(20));
}

TEST(CallQueue, WaitsForCompanyButNotForLong) {
  CallQueue queue({.max_batch = 4, .max_wait_us = 100'000});
  (void)queue.submit(1, nullptr, {});
  EXPECT_FALSE(queue.next(20'000));
  const auto start = std::chrono::steady_clock::now();
  const auto alone = queue.next(kSecond);
  ASSERT_TRUE(alone);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(50));
  queue.finish(*alone, {});
  for (int i = 0; i < 4; ++i) (void)queue.submit(1, nullptr, {});
  const auto full = queue.next(0);  // a full batch waits for nobody
  ASSERT_TRUE(full);
  EXPECT_EQ(full->batch.slots.size(), 4u);
}

TEST(CallQueue, AFailedPartEndsItsCallAlone) {
  CallQueue queue({.max_batch = 8});
  const auto bad = queue.submit(12, nullptr, waiting()), good = queue.submit(1, nullptr, waiting());
  std::vector<std::shared_ptr<Call>> ended;
  for (;;) {
    const auto batch = queue.next(0);
    if (!batch) break;
    std::vector<std::pair<size_t, Error>> failed;
    for (size_t i = 0; i < batch->batch.slots.size(); ++i)
      if (batch->batch.slots[i].request == bad->id() && batch->batch.slots[i].index == 3)
        failed.emplace_back(i, Error(ErrorKind::kInternal, "as asked", "code"));
    queue.finish(*batch, failed);
  }
  EXPECT_EQ(good->state(), Call::State::kDone);
  ASSERT_EQ(bad->state(), Call::State::kFailed);
  EXPECT_EQ(bad->error().code(), "code");
  EXPECT_EQ(queue.metrics().failed, 1);
}

TEST(CallQueue, RefusesWhatWouldWaitTooLong) {
  CallQueue queue({.max_batch = 4, .queue_budget_us = 50'000});
  for (int i = 0; i < 3; ++i) {  // it learns that it does about 400 items a second
    (void)queue.submit(4, nullptr, waiting());
    const auto batch = queue.next(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    queue.finish(*batch, {});
  }
  int refused = 0;
  for (int i = 0; i < 200; ++i) {
    const auto call = queue.submit(1, nullptr, {});
    if (call->state() != Call::State::kFailed) continue;
    EXPECT_EQ(call->error().kind(), ErrorKind::kOverloaded);
    EXPECT_GT(call->error().retry_after_ms(), 0);
    ++refused;
  }
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 200);
  EXPECT_EQ(queue.metrics().refused, refused);
}

TEST(CallQueue, ExpiresWhatIsTooLate) {
  CallQueue queue({});
  auto completions = std::make_shared<CompletionQueue>();
  const auto late = queue.submit(1, nullptr, {.timeout_us = 1000, .completions = completions});
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  EXPECT_FALSE(queue.next(0));
  ASSERT_EQ(late->state(), Call::State::kFailed);
  EXPECT_EQ(late->error().kind(), ErrorKind::kDeadline);
  EXPECT_EQ(completions->drain(), std::vector<uint64_t>{late->id()});
}

TEST(CallQueue, CancelsQueuedAndRunning) {
  CallQueue queue({.max_batch = 1});
  const auto running = queue.submit(1, nullptr, {}), queued = queue.submit(1, nullptr, {});
  const auto batch = queue.next(0);
  queue.cancel(running->id());
  queue.cancel(queued->id());
  queue.cancel(queued->id());  // no effect
  EXPECT_EQ(running->error().kind(), ErrorKind::kCancelled);
  queue.finish(*batch, {});
  EXPECT_EQ(running->state(), Call::State::kFailed);
  EXPECT_FALSE(queue.next(0));
  EXPECT_EQ(queue.metrics().cancelled, 2);
}

TEST(CallQueue, ClosingFailsOrDrains) {
  CallQueue now({}), drained({});
  const auto lost = now.submit(1, nullptr, {});
  now.close(false, 0);
  EXPECT_EQ(lost->error().kind(), ErrorKind::kCancelled);
  EXPECT_FALSE(now.next(kSecond));
  EXPECT_TRUE(now.closed());
  EXPECT_THROW((void)now.submit(1, nullptr, {}), Error);

  const auto kept = drained.submit(3, nullptr, {});
  std::thread runner([&] {
    while (const auto batch = drained.next(10 * kSecond)) drained.finish(*batch, {});
  });
  drained.close(true, 10 * kSecond);
  runner.join();
  EXPECT_EQ(kept->state(), Call::State::kDone);
}

TEST(CallQueue, RefusesBadOptions) {
  EXPECT_THROW(CallQueue({.max_batch = 0}), Error);
  EXPECT_THROW(CallQueue({.max_wait_us = -1}), Error);
  CallQueue queue({});
  EXPECT_THROW((void)queue.submit(0, nullptr, {}), Error);
  EXPECT_THROW((void)queue.submit(int64_t{1} << 40, nullptr, {}), Error);
}

// Every accepted call ends, whatever submits, runs, fails, cancels and closes meanwhile.
TEST(CallQueue, ManyThreadsLoseNothing) {
  CallQueue queue({.max_batch = 16, .max_wait_us = 200});
  std::atomic<int> payloads{0}, ended{0}, refused{0};
  const auto payload = [&]() -> std::shared_ptr<void> {
    payloads.fetch_add(1);
    return {&payloads, [](void* p) { static_cast<std::atomic<int>*>(p)->fetch_sub(1); }};
  };
  std::vector<std::thread> runners, callers;
  for (int i = 0; i < 2; ++i)
    runners.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(i));
      while (!queue.closed()) {
        const auto batch = queue.next(kSecond);
        if (!batch) continue;
        std::vector<std::pair<size_t, Error>> failed;
        if (random() % 8 == 0) failed.emplace_back(0, Error(ErrorKind::kInternal, "as asked"));
        queue.finish(*batch, failed);
      }
    });
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(100 + i));
      for (int k = 0; k < 1000; ++k) {
        const auto call = queue.submit(1 + static_cast<int64_t>(random() % 20), payload(), waiting());
        if (random() % 10 == 0) queue.cancel(call->id());
        while (!queue.wait(*call, kSecond)) {
        }
        if (call->state() == Call::State::kFailed && call->error().kind() == ErrorKind::kOverloaded)
          refused.fetch_add(1);
        ended.fetch_add(1);
      }
    });
  for (std::thread& thread : callers) thread.join();
  queue.close(true, 10 * kSecond);
  for (std::thread& thread : runners) thread.join();
  EXPECT_EQ(ended.load(), 3000);
  EXPECT_EQ(refused.load(), 0);
  EXPECT_EQ(payloads.load(), 0);
}

TEST(CallQueue, TellsEventLoopsOncePerBatch) {
  CallQueue queue({.max_batch = 8});
  auto completions = std::make_shared<CompletionQueue>();
  std::vector<uint64_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(queue.submit(1, nullptr, {.completions = completions})->id());
  const auto batch = queue.next(0);
  queue.finish(*batch, {});
  pollfd ready{completions->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 1);
  EXPECT_EQ(completions->drain(), ids);
  EXPECT_EQ(poll(&ready, 1, 0), 0);
}

}  // namespace
}  // namespace headrace
