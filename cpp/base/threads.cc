#include "base/threads.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

namespace headrace {
namespace {

// Long enough to cover the serial gap between two operations of a forward pass, short enough that an idle
// pool gives its cores back before anyone notices.
constexpr auto kSpin = std::chrono::microseconds(30);

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// What sched_setattr(2) takes (its first version, 48 bytes). linux/sched/types.h has it too, but not beside
// sched.h.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes);
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};

// Spins until done() or for kSpin; true if done.
template <typename Done>
bool spin_until(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

bool prefer_latency() {
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, 0);
  if (nice == -1 && errno != 0) return false;
  SchedulingAttributes attributes;
  attributes.nice = nice;
  attributes.runtime_ns = 100'000;  // the shortest slice there is
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

ThreadPool::ThreadPool(int threads) {
  for (int thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { work(thread); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_release);
  signal_.fetch_add(1, std::memory_order_release);
  signal_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t tiles, Call call, const void* context) {
  const auto job = static_cast<uint32_t>(ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  call_.store(call, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  left_.store(static_cast<int>(tiles), std::memory_order_relaxed);
  ticket_.store(static_cast<uint64_t>(job) << 32 | static_cast<uint64_t>(tiles), std::memory_order_release);
  signal_.fetch_add(1, std::memory_order_release);
  signal_.notify_all();

  take_tiles(job, 0);
  const auto done = [&] { return left_.load(std::memory_order_acquire) == 0; };
  if (spin_until(done)) return;
  for (int left = left_.load(std::memory_order_acquire); left != 0;
       left = left_.load(std::memory_order_acquire))
    left_.wait(left, std::memory_order_acquire);
}

void ThreadPool::take_tiles(uint32_t job, int thread) {
  for (;;) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      if (static_cast<uint32_t>(ticket >> 32) != job || static_cast<uint32_t>(ticket) == 0) return;
    } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                            std::memory_order_acquire));
    const auto tile = static_cast<int64_t>(static_cast<uint32_t>(ticket)) - 1;
    call_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), tile, thread);
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
  }
}

void ThreadPool::work(int thread) {
  int seen = 0;
  for (;;) {
    const auto changed = [&] { return signal_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(changed)) signal_.wait(seen, std::memory_order_acquire);
    seen = signal_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) return;
    take_tiles(static_cast<uint32_t>(ticket_.load(std::memory_order_acquire) >> 32), thread);
  }
}

}  // namespace headrace
