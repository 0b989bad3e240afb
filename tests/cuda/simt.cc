#include "simt.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "simt_block.h"

#if defined(HEADRACE_TSAN_FIBRES)
#include <sanitizer/tsan_interface.h>

extern "C" {
void __tsan_read_range(void* from, unsigned long bytes);
void __tsan_write_range(void* to, unsigned long bytes);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {

Block* block = nullptr;

void set_state(Fibre& fibre, State state) {
  fibre.state = state;
  uint64_t& word = block->ready[fibre.index / 64];
  const uint64_t bit = uint64_t{1} << fibre.index % 64;
  word = state == State::kReady ? word | bit : word & ~bit;
}

void fill_with_nan(unsigned char* bytes, size_t size) {
  std::memset(bytes, 0xff, size);  // NaN as f32, f16 and bf16; -1 as an integer
}

// Between the scheduler and threads. The sanitizers are told of each switch, which they understand of
// ucontext; without them setjmp does it in a tenth of the time, since it leaves the signal mask alone.
#if defined(__SANITIZE_ADDRESS__) || defined(HEADRACE_TSAN_FIBRES)
void yield() {
  Fibre* self = block->running;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(self->state == State::kEnded ? nullptr : &self->fake_stack,
                                 block->scheduler_stack, block->scheduler_stack_bytes);
#endif
#if defined(HEADRACE_TSAN_FIBRES)
  __tsan_switch_to_fiber(block->tsan, __tsan_switch_to_fiber_no_sync);
#endif
  swapcontext(&self->context, &block->scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#endif
}

void switch_to(Fibre& fibre) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, fibre.stack.get(), kStackBytes);
#endif
#if defined(HEADRACE_TSAN_FIBRES)
  __tsan_switch_to_fiber(fibre.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  swapcontext(&block->scheduler, &fibre.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}
#else
void yield() {
  if (_setjmp(block->running->point) == 0) _longjmp(block->scheduler_point, 1);
}

void switch_to(Fibre& fibre) {
  if (_setjmp(block->scheduler_point) != 0) return;
  if (fibre.begun) _longjmp(fibre.point, 1);
  fibre.begun = true;
  setcontext(&fibre.context);
}
#endif

void release([[maybe_unused]] void* address) {
#if defined(HEADRACE_TSAN_FIBRES)
  __tsan_release(address);
#endif
}

void acquire([[maybe_unused]] void* address) {
#if defined(HEADRACE_TSAN_FIBRES)
  __tsan_acquire(address);
#endif
}

void has_read([[maybe_unused]] const void* from, [[maybe_unused]] size_t bytes) {
#if defined(HEADRACE_TSAN_FIBRES)
  __tsan_read_range(const_cast<void*>(from), bytes);
#endif
}

void has_written([[maybe_unused]] void* to, [[maybe_unused]] size_t bytes) {
#if defined(HEADRACE_TSAN_FIBRES)
  __tsan_write_range(to, bytes);
#endif
}

Unseen::Unseen() {
#if defined(HEADRACE_TSAN_FIBRES)
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}

Unseen::~Unseen() {
#if defined(HEADRACE_TSAN_FIBRES)
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

namespace {

// One block comes after the other, and the host after all: stacks and results pass from hand to hand.
char block_end = 0;

std::string named(Where where) {
  const std::string file = where.file_name();
  return file.substr(file.rfind('/') + 1) + " line " + std::to_string(where.line());
}

bool is_nan(const unsigned char* bytes, size_t size) {
  return std::all_of(bytes, bytes + size, [](unsigned char byte) { return byte == 0xff; });
}

void run_fibre() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block->scheduler_stack, &block->scheduler_stack_bytes);
#endif
  try {
    (*block->kernel)();
    if (!block->running->open.empty() || !block->running->groups.empty())
      block->error = "a thread ended with asynchronous copies that nobody waited for";
  } catch (const std::exception& error) {
    if (block->error.empty()) block->error = error.what();
  }
  set_state(*block->running, State::kEnded);
  release(&block_end);
  yield();
}

void resume(Fibre& fibre) {
  block->running = &fibre;
  switch_to(fibre);
}

// The first thread from `start` on that can go on, or -1.
int ready_from(unsigned start) {
  for (size_t word = start / 64; word < block->ready.size(); ++word) {
    uint64_t bits = block->ready[word];
    if (word == start / 64) bits &= ~uint64_t{0} << start % 64;
    if (bits != 0) return static_cast<int>(64 * word) + std::countr_zero(bits);
  }
  return -1;
}

// The last one, or -1.
int last_ready() {
  for (size_t word = block->ready.size(); word-- > 0;)
    if (const uint64_t bits = block->ready[word]; bits != 0)
      return static_cast<int>(64 * word) + 63 - std::countl_zero(bits);
  return -1;
}

// The next thread to run, or -1.
int choose() {
  switch (block->launch->schedule) {
    case Schedule::kRandom: {
      const int found = ready_from(static_cast<unsigned>(block->random() % block->fibres.size()));
      return found >= 0 ? found : ready_from(0);
    }
    case Schedule::kReverse: {
      // Round after round, so that no thread is far ahead; the last one first.
      const unsigned before = block->running == nullptr ? 0 : block->running->index;
      for (unsigned i = before; i-- > 0;)
        if (block->ready[i / 64] >> i % 64 & 1) return static_cast<int>(i);
      return last_ready();
    }
    case Schedule::kForward: {
      const unsigned after = block->running == nullptr ? 0 : block->running->index + 1;
      const int found = after < kMaxThreads ? ready_from(after) : -1;
      return found >= 0 ? found : ready_from(0);
    }
    case Schedule::kWarpGreedy:
      return ready_from(0);
    case Schedule::kWarpGreedyReverse:
      return last_ready();
  }
  return -1;
}

// Lets the lanes of an exchange go on once all of its mask have come to it.
void complete_exchange(const Fibre& fibre) {
  const size_t first = fibre.index / kWarp * kWarp;
  const size_t end = std::min(first + kWarp, block->fibres.size());
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(fibre.mask >> lane & 1)) continue;
    if (first + lane >= end) fail("the mask names a lane that does not exist", fibre.where);
    const Fibre& other = *block->fibres[first + lane];
    if (other.state == State::kEnded) fail("the mask names a lane that has ended", fibre.where);
    if (other.state != State::kInExchange) return;
    if (other.where.line() != fibre.where.line() || other.mask != fibre.mask)
      fail("lanes of one mask are at different exchanges: here and at " + named(other.where), fibre.where);
  }
  const uint32_t mask = fibre.mask;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1) set_state(*block->fibres[first + lane], State::kReady);
}

// Whether a lane that just ended was waited for.
void check_ended(const Fibre& fibre) {
  const size_t first = fibre.index / kWarp * kWarp;
  for (size_t i = first; i < std::min(first + kWarp, block->fibres.size()); ++i) {
    const Fibre& other = *block->fibres[i];
    if (other.state == State::kInExchange && (other.mask >> fibre.index % kWarp & 1))
      fail("the mask names a lane that has ended", other.where);
  }
}

// Lets all go on when all are at the same barrier. False when the block is done.
bool complete_barrier() {
  size_t waiting = 0, ended = 0, exchanging = 0;
  const Fibre* at = nullptr;
  for (const auto& fibre : block->fibres) {
    waiting += fibre->state == State::kAtBarrier;
    ended += fibre->state == State::kEnded;
    exchanging += fibre->state == State::kInExchange;
    if (fibre->state == State::kAtBarrier) at = fibre.get();
  }
  const size_t count = block->fibres.size();
  if (ended == count) return false;
  if (exchanging > 0)
    for (const auto& fibre : block->fibres)
      if (fibre->state == State::kInExchange)
        fail("deadlock: a warp's exchange that not all lanes of its mask reach", fibre->where);
  if (waiting < count)
    fail("deadlock: " + std::to_string(waiting) + " of " + std::to_string(count) + " threads at a barrier, " +
             std::to_string(ended) + " have ended",
         at->where);
  for (const auto& fibre : block->fibres)
    if (fibre->where.line() != at->where.line())
      fail("threads wait at different barriers: here and at " + named(fibre->where), at->where);
  for (const auto& fibre : block->fibres) set_state(*fibre, State::kReady);
  return true;
}

// Stacks are used again and again: making one costs more than a thread's run.
std::vector<std::unique_ptr<char[]>> spare_stacks;

std::unique_ptr<char[]> take_stack() {
  if (spare_stacks.empty()) return std::make_unique<char[]>(kStackBytes);
  auto stack = std::move(spare_stacks.back());
  spare_stacks.pop_back();
  return stack;
}

std::unique_ptr<Fibre> make_fibre(const Launch& given, Dim3 index, unsigned i) {
  auto fibre = std::make_unique<Fibre>();
  fibre->index = i;
  const Dim3& size = given.block;
  fibre->place = {{i % size.x, i / size.x % size.y, i / size.x / size.y}, index, size, given.grid};
  fibre->stack = take_stack();
  getcontext(&fibre->context);
  fibre->context.uc_stack.ss_sp = fibre->stack.get();
  fibre->context.uc_stack.ss_size = kStackBytes;
  fibre->context.uc_link = nullptr;
  makecontext(&fibre->context, run_fibre, 0);
#if defined(HEADRACE_TSAN_FIBRES)
  fibre->tsan = __tsan_create_fiber(0);
#endif
  return fibre;
}

void run_block(const Launch& given, const std::function<void()>& kernel, Dim3 index) {
  Block here;
  here.launch = &given;
  here.kernel = &kernel;
  here.random.seed(given.seed * 1'000'003 + index.x + 7919 * index.y + 104729 * index.z);
  if (given.shared_bytes > 0) {
    here.dynamic = std::make_unique<unsigned char[]>(given.shared_bytes);
    fill_with_nan(here.dynamic.get(), given.shared_bytes);
    here.shared_total = given.shared_bytes;
  }
  block = &here;
#if defined(HEADRACE_TSAN_FIBRES)
  here.tsan = __tsan_get_current_fiber();
#endif
  for (unsigned i = 0; i < given.block.count(); ++i) {
    here.fibres.push_back(make_fibre(given, index, i));
    set_state(*here.fibres.back(), State::kReady);
  }
  try {
    for (;;) {
      const int next = choose();
      if (next >= 0) {
        resume(*here.fibres[static_cast<size_t>(next)]);
        if (!here.error.empty()) break;
        const Fibre& fibre = *here.fibres[static_cast<size_t>(next)];
        if (fibre.state == State::kInExchange) complete_exchange(fibre);
        if (fibre.state == State::kEnded) check_ended(fibre);
        continue;
      }
      if (!complete_barrier()) break;
    }
  } catch (const std::exception& error) {
    here.error = error.what();
  }
  acquire(&block_end);
  for (const auto& fibre : here.fibres) {
#if defined(HEADRACE_TSAN_FIBRES)
    __tsan_destroy_fiber(fibre->tsan);
#endif
    if (fibre->state == State::kEnded) spare_stacks.push_back(std::move(fibre->stack));
  }
  for (const auto& [key, piece] : here.shared)
    if (here.error.empty() && !is_nan(piece.bytes.get() + piece.size, kGuardBytes))
      here.error = "a write beyond the end of shared memory (" + key.first + ")";
  block = nullptr;
  if (!here.error.empty()) throw std::runtime_error(here.error);
}

}  // namespace

void fail(const std::string& what, Where where) {
  throw std::runtime_error(what + " (" + named(where) + ")");
}

const Place& place() { return block->running->place; }

void launch(const Launch& given, const std::function<void()>& kernel) {
  if (given.block.count() < 1 || given.block.count() > kMaxThreads)
    throw std::runtime_error("a block of " + std::to_string(given.block.count()) +
                             " threads: 1 to 1024 are allowed");
  if (given.shared_bytes > kMaxShared)
    throw std::runtime_error("a block asks for " + std::to_string(given.shared_bytes) +
                             " bytes of shared memory");
  for (unsigned z = 0; z < given.grid.z; ++z)
    for (unsigned y = 0; y < given.grid.y; ++y)
      for (unsigned x = 0; x < given.grid.x; ++x) run_block(given, kernel, {x, y, z});
}

void block_barrier(Where where) {
  Fibre& self = *block->running;
  self.where = where;
  set_state(self, State::kAtBarrier);
  release(&block->barrier);
  yield();
  acquire(&block->barrier);
}

void* shared(size_t bytes, Where where) {
  const Unseen unseen;
  // Each instance of a template has memory of its own, and its name says which it is.
  const auto key =
      std::make_pair(std::string(where.function_name()), std::make_pair(where.line(), where.column()));
  auto found = block->shared.find(key);
  if (found == block->shared.end()) {
    block->shared_total += bytes;
    if (block->shared_total > kMaxShared) fail("a block has too much shared memory", where);
    Piece piece{std::make_unique<unsigned char[]>(bytes + kGuardBytes), bytes};
    fill_with_nan(piece.bytes.get(), bytes + kGuardBytes);
    found = block->shared.emplace(key, std::move(piece)).first;
  }
  // operator new[] aligns to 16, which is what vectors of four floats need.
  return found->second.bytes.get();
}

void* dynamic_shared() { return block->dynamic.get(); }

}  // namespace simt
