// What the kernels are written with. Two compilers read them: nvcc for the GPU, and the host's compiler for
// the emulator that tests their logic without one (tests/cuda/simt.h).
//
// A kernel is a HEADRACE_KERNEL function of plain arguments; inside, only what this header offers is used.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/arguments.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#define HEADRACE_KERNEL __global__ void
#define HEADRACE_DEVICE __device__ __forceinline__
// Loops over numbers in registers: what is indexed by a variable would lie in memory.
#define HEADRACE_UNROLL _Pragma("unroll")
#define HEADRACE_WHERE
#define HEADRACE_AND_WHERE
#define HEADRACE_SHARED(T, name, count) __shared__ __align__(16) T name[count]
#else
#include HEADRACE_EMULATOR  // the header of tests/cuda/, named by whoever compiles for the emulator

#define HEADRACE_KERNEL inline void
#define HEADRACE_DEVICE inline
#define HEADRACE_UNROLL
#define HEADRACE_WHERE simt::Where where = simt::Where::current()
#define HEADRACE_AND_WHERE , HEADRACE_WHERE
#define HEADRACE_SHARED(T, name, count) \
  T* const name = static_cast<T*>(simt::shared(sizeof(T) * (count), simt::Where::current()))
#endif

namespace headrace::cuda {

constexpr unsigned kWarp = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

#if defined(__CUDACC__)

HEADRACE_DEVICE unsigned thread_index() { return threadIdx.x; }
HEADRACE_DEVICE unsigned block_x() { return blockIdx.x; }
HEADRACE_DEVICE unsigned block_y() { return blockIdx.y; }
HEADRACE_DEVICE unsigned block_z() { return blockIdx.z; }
HEADRACE_DEVICE unsigned block_threads() { return blockDim.x; }

HEADRACE_DEVICE void block_barrier() { __syncthreads(); }
HEADRACE_DEVICE void warp_barrier(uint32_t mask) { __syncwarp(mask); }
template <typename T>
HEADRACE_DEVICE T shuffle(uint32_t mask, T value, int lane) {
  return __shfl_sync(mask, value, lane);
}

HEADRACE_DEVICE unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}
HEADRACE_DEVICE void copy_async(void* to, const void* from, bool valid) {
  const int bytes = valid ? 16 : 0;  // the rest is zeros
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from),
               "r"(bytes)
               : "memory");
}
HEADRACE_DEVICE void copy_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int kGroupsLeft>
HEADRACE_DEVICE void copy_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kGroupsLeft) : "memory");
}
HEADRACE_DEVICE void load_matrices(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}
HEADRACE_DEVICE void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}
HEADRACE_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
HEADRACE_DEVICE void mma(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else

HEADRACE_DEVICE unsigned thread_index() { return simt::place().thread.x; }
HEADRACE_DEVICE unsigned block_x() { return simt::place().block.x; }
HEADRACE_DEVICE unsigned block_y() { return simt::place().block.y; }
HEADRACE_DEVICE unsigned block_z() { return simt::place().block.z; }
HEADRACE_DEVICE unsigned block_threads() { return simt::place().block_size.x; }

HEADRACE_DEVICE void block_barrier(HEADRACE_WHERE) { simt::block_barrier(where); }
HEADRACE_DEVICE void warp_barrier(uint32_t mask HEADRACE_AND_WHERE) { simt::warp_barrier(mask, where); }
template <typename T>
HEADRACE_DEVICE T shuffle(uint32_t mask, T value, int lane HEADRACE_AND_WHERE) {
  T found{};
  simt::exchange(mask, &value, &found, sizeof(T), lane, where);
  return found;
}

HEADRACE_DEVICE void copy_async(void* to, const void* from, bool valid HEADRACE_AND_WHERE) {
  simt::copy_async(to, from, valid, where);
}
HEADRACE_DEVICE void copy_commit() { simt::copy_commit(); }
template <int kGroupsLeft>
HEADRACE_DEVICE void copy_wait() {
  simt::copy_wait(kGroupsLeft);
}
HEADRACE_DEVICE void load_matrices(uint32_t (&out)[4], const void* row HEADRACE_AND_WHERE) {
  simt::load_matrices(out, row, false, where);
}
HEADRACE_DEVICE void load_matrices_transposed(uint32_t (&out)[4], const void* row HEADRACE_AND_WHERE) {
  simt::load_matrices(out, row, true, where);
}
HEADRACE_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1 HEADRACE_AND_WHERE) {
  const uint32_t b[2] = {b0, b1};
  simt::mma_bf16(d, a, b, where);
}
HEADRACE_DEVICE void mma(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                         uint32_t b1 HEADRACE_AND_WHERE) {
  const uint32_t b[2] = {b0, b1};
  simt::mma_int8(d, a, b, where);
}

#endif

HEADRACE_DEVICE unsigned lane_index() { return thread_index() % kWarp; }
HEADRACE_DEVICE unsigned warp_index() { return thread_index() / kWarp; }

template <typename T>
HEADRACE_DEVICE T warp_sum(T value) {
  for (unsigned step = kWarp / 2; step > 0; step /= 2)
    value += shuffle(kAllLanes, value, static_cast<int>(lane_index() ^ step));
  return value;
}

HEADRACE_DEVICE float larger(float a, float b) { return a > b ? a : b; }

HEADRACE_DEVICE float warp_max(float value) {
  for (unsigned step = kWarp / 2; step > 0; step /= 2)
    value = larger(value, shuffle(kAllLanes, value, static_cast<int>(lane_index() ^ step)));
  return value;
}

// The sum over all threads of a block of whole warps, known to each. scratch: shared, a number a warp; its
// earlier contents may still be read by others, so it begins with a barrier. The order of the sum is that of
// the warps, whatever their speed.
template <typename T>
HEADRACE_DEVICE T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  block_barrier();
  if (lane_index() == 0) scratch[warp_index()] = value;
  block_barrier();
  T sum = 0;
  for (unsigned warp = 0; warp < block_threads() / kWarp; ++warp) sum += scratch[warp];
  return sum;
}

HEADRACE_DEVICE float block_max(float value, float* scratch) {
  value = warp_max(value);
  block_barrier();
  if (lane_index() == 0) scratch[warp_index()] = value;
  block_barrier();
  float found = scratch[0];
  for (unsigned warp = 1; warp < block_threads() / kWarp; ++warp) found = larger(found, scratch[warp]);
  return found;
}

constexpr unsigned kMaxWarps = 32;

HEADRACE_DEVICE uint32_t bits_of(float value) {
#if defined(__CUDACC__)
  return __float_as_uint(value);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
#endif
}

HEADRACE_DEVICE float float_of(uint32_t bits) {
#if defined(__CUDACC__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
#endif
}

HEADRACE_DEVICE float to_float(Bf16 value) { return float_of(static_cast<uint32_t>(value.bits) << 16); }
HEADRACE_DEVICE float to_float(float value) { return value; }

// Rounded to the nearest, ties to even; NaN stays one.
HEADRACE_DEVICE Bf16 to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

HEADRACE_DEVICE uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(to_bf16(low).bits) | static_cast<uint32_t>(to_bf16(high).bits) << 16;
}

}  // namespace headrace::cuda
