// A small emulator of a CUDA block, for tests on machines without a GPU: the kernels' own source, compiled by
// the host's compiler, with each thread of a block as a fibre. One block runs at a time, on one thread.
//
// What it finds, with the line: a barrier that some threads never reach or that they reach at different
// places; a warp's exchange with lanes that are not in its mask, have ended, or do something else; shared
// memory read before it is written (NaN before each block); an asynchronous copy read before it was waited
// for (NaN until then); misaligned fragments; too many threads or too much shared memory. Missing barriers
// are found by running the same kernel under several schedules; under ThreadSanitizer also as data races,
// since its fibres are synchronised by barriers and exchanges alone.
//
// What it cannot show: speed, registers, occupancy; memory order within a warp; the hardware's rounding.
//
// Fragment layouts: PTX ISA, sections "Matrix multiply-accumulate operation using mma instruction" and
// "ldmatrix".
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <source_location>
#include <string>
#include <type_traits>

namespace simt {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  unsigned count() const { return x * y * z; }
};

// Which of the threads that could go on does. The last two run one warp as far as it can go.
enum class Schedule { kForward, kReverse, kRandom, kWarpGreedy, kWarpGreedyReverse };

struct Launch {
  Dim3 grid, block;
  size_t shared_bytes = 0;  // of dynamic shared memory
  Schedule schedule = Schedule::kForward;
  uint64_t seed = 0;
};

// Runs a kernel; throws std::runtime_error that says what went wrong, and where.
void launch(const Launch& launch, const std::function<void()>& kernel);

// The running thread's place.
struct Place {
  Dim3 thread, block, block_size, grid_size;
};
const Place& place();

using Where = std::source_location;

void block_barrier(Where where);
void warp_barrier(uint32_t mask, Where where);
// Every lane of the mask gives `bytes` bytes, at most 64, and gets those of the lane `source`.
void exchange(uint32_t mask, const void* given, void* got, size_t bytes, int source, Where where);
// The mask of those lanes whose predicate holds.
uint32_t ballot(uint32_t mask, bool predicate, Where where);

// Shared memory of the running block, one piece a place in the source; filled with NaN before each block.
void* shared(size_t bytes, Where where);
void* dynamic_shared();

// Copies 16 bytes of global to shared memory, or zeros; what lies there until they are waited for is NaN.
void copy_async(void* to, const void* from, bool valid, Where where);
void copy_commit();
void copy_wait(int groups_left);

// Four 8 x 8 matrices of 16-bit numbers; lane i gives the address of row i % 8 of matrix i / 8.
void load_matrices(uint32_t out[4], const void* row, bool transposed, Where where);
// d[16,8] += a[16,16] b[16,8], bf16 to f32.
void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], Where where);
// d[16,8] += a[16,32] b[32,8], int8 to int32.
void mma_int8(int32_t d[4], const uint32_t a[4], const uint32_t b[2], Where where);

[[noreturn]] void fail(const std::string& what, Where where);

}  // namespace simt
