#include "base/threads.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <chrono>
#include <thread>
#include <vector>

namespace headrace {
namespace {

TEST(ThreadPool, runs_every_tile_once) {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t tiles : {0, 1, 2, 3, 100, 1000}) {
      std::vector<std::atomic<int>> count(static_cast<size_t>(tiles));
      pool.parallel_for(tiles, [&](int64_t tile, int thread) {
        ASSERT_GE(thread, 0);
        ASSERT_LT(thread, threads);
        count[static_cast<size_t>(tile)].fetch_add(1);
      });
      for (const auto& c : count) EXPECT_EQ(c.load(), 1);
    }
  }
}

TEST(ThreadPool, no_two_calls_share_a_thread_number) {
  ThreadPool pool(4);
  std::atomic<int> inside[4] = {};
  for (int round = 0; round < 200; ++round)
    pool.parallel_for(50, [&](int64_t, int thread) {
      ASSERT_EQ(inside[thread].fetch_add(1), 0);
      inside[thread].fetch_sub(1);
    });
}

TEST(ThreadPool, results_are_visible_when_it_returns) {
  ThreadPool pool(3);
  for (int round = 0; round < 2000; ++round) {
    int values[16] = {};
    pool.parallel_for(16, [&](int64_t tile, int) { values[tile] = round + static_cast<int>(tile); });
    for (int i = 0; i < 16; ++i) ASSERT_EQ(values[i], round + i);
  }
}

TEST(ThreadPool, wakes_after_a_pause_long_enough_to_sleep) {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> sum = 0;
    pool.parallel_for(8, [&](int64_t tile, int) { sum.fetch_add(static_cast<int>(tile)); });
    EXPECT_EQ(sum.load(), 28);
  }
}

TEST(Threads, a_wish_for_latency_changes_no_priority) {
  std::thread([] {
    const int before = getpriority(PRIO_PROCESS, 0);
    prefer_latency();
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
  }).join();
}

}  // namespace
}  // namespace headrace
