// A pool that runs the tiles of one operation on a few threads.
//
//   ThreadPool pool(2);
//   pool.parallel_for(tiles, [&](int64_t tile, int thread) { ... });
//
// Work is taken one tile at a time rather than split in fixed shares: on a shared host a thread may lose its
// core for milliseconds, and the others then take what it has not begun. The caller works too and returns
// when every tile is done, whether or not a sleeping thread ever woke. Idle threads spin for a bounded time,
// then sleep in the kernel.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace headrace {

// Asks the scheduler to let the calling thread, and threads it starts later, run soon after they wake: for
// threads that have little to do and must do it at once, such as an event loop beside compute threads. Takes
// nobody's share of the processor (a short slice under EEVDF: Linux 6.12, sched_setattr(2)). False where the
// system knows no such wish.
bool prefer_latency();

class ThreadPool {
 public:
  // threads: how many run tiles, the caller included; at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(tile, thread) for every tile in [0, tiles), in no set order; thread is in [0, threads()) and
  // no two concurrent calls share it. body must not throw. One caller at a time; tiles < 2^31.
  template <typename Body>
  void parallel_for(int64_t tiles, const Body& body) {
    if (tiles <= 0) return;
    if (workers_.empty() || tiles == 1) {
      for (int64_t tile = 0; tile < tiles; ++tile) body(tile, 0);
      return;
    }
    run(
        tiles,
        [](const void* context, int64_t tile, int thread) {
          (*static_cast<const Body*>(context))(tile, thread);
        },
        &body);
  }

 private:
  using Call = void (*)(const void* context, int64_t tile, int thread);

  void run(int64_t tiles, Call call, const void* context);
  void work(int thread);
  void take_tiles(uint32_t job, int thread);

  // The job at hand. A worker reads these only after it has taken a tile, and the caller changes them only
  // when no tile is out, so they never change under a reader.
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> context_{nullptr};

  // High half: the job's number. Low half: tiles not yet taken; taking one is a compare-and-swap, so a worker
  // that slept through a job cannot take a tile of the next one unawares.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int> left_{0};    // tiles not yet finished
  alignas(64) std::atomic<int> signal_{0};  // changes with every job; what sleeping workers wait on
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace headrace
