// What the emulator keeps of a block and its threads. Private to tests/cuda.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "simt.h"

namespace simt {

constexpr unsigned kWarp = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;
constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kMaxShared = 227 << 10;  // what a block of an H100 can have
constexpr unsigned kMaxThreads = 1024;
constexpr size_t kGuardBytes = 256;  // behind each piece of shared memory

struct Copy {
  void* to;
  const void* from;  // null: zeros
};

enum class State { kReady, kAtBarrier, kInExchange, kEnded };

struct Fibre {
  ucontext_t context{};  // where it begins
  jmp_buf point;         // where it goes on
  bool begun = false;
  std::unique_ptr<char[]> stack;
  Place place;
  unsigned index = 0;
  State state = State::kReady;
  Where where;
  uint32_t mask = 0;
  // An exchange: what this lane gives, and gets once all are there.
  std::array<unsigned char, 64> given{};
  bool predicate = false;
  std::vector<std::vector<Copy>> groups;  // committed asynchronous copies, the oldest first
  std::vector<Copy> open;
  void* tsan = nullptr;
  void* fake_stack = nullptr;
};

struct Piece {
  std::unique_ptr<unsigned char[]> bytes;
  size_t size;
};

struct Block {
  const Launch* launch;
  const std::function<void()>* kernel;
  std::vector<std::unique_ptr<Fibre>> fibres;
  std::map<std::pair<std::string, std::pair<unsigned, unsigned>>, Piece> shared;
  std::unique_ptr<unsigned char[]> dynamic;
  size_t shared_total = 0;
  std::string error;
  std::mt19937_64 random;
  ucontext_t scheduler{};
  jmp_buf scheduler_point;
  Fibre* running = nullptr;
  void* tsan = nullptr;
  std::array<uint64_t, kMaxThreads / 64> ready{};  // a bit for each thread that can go on
  char barrier = 0;                                // addresses for ThreadSanitizer
  std::array<char, 32> warp_sync{};                // one a warp
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
};

// The one that runs.
extern Block* block;

void set_state(Fibre& fibre, State state);
// Back to the scheduler, until this thread is chosen again.
void yield();
// For ThreadSanitizer: what was done before a release is seen after an acquire of the same address.
void release(void* address);
void acquire(void* address);
// What the emulator reads and writes for a thread, which the sanitizer does not see by itself.
void has_read(const void* from, size_t bytes);
void has_written(void* to, size_t bytes);
// While it lives, the sanitizer takes nothing that this thread does for the kernel's doing.
struct Unseen {
  Unseen();
  ~Unseen();
};
void fill_with_nan(unsigned char* bytes, size_t size);
inline unsigned lane_of(const Fibre& fibre) { return fibre.index % kWarp; }

}  // namespace simt
