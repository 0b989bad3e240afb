// What the kernels' launches are given: plain structs, for the device's compiler and the host's alike.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace headrace::cuda {

// bf16 as its bits, so that both compilers round alike.
struct Bf16 {
  uint16_t bits;
};

// q, k, v [T, ld] and out [T, ldo], head h at column h D; sequence b is rows cu_lengths[b] to
// cu_lengths[b + 1]. window 0: no limit, else |i - j| <= window.
template <typename Number>
struct RaggedAttention {
  const Number* q;
  const Number* k;
  const Number* v;
  int64_t ld;
  Number* out;
  int64_t ldo;
  const int32_t* cu_lengths;
  float scale;
  int64_t window;
};

// One row of the batch is one query position of one sequence.
template <typename Cache>
struct PagedRows {
  const float* q;  // [rows, heads D] with row stride ldq
  int64_t ldq;
  const Cache* cache;
  int64_t block_numbers;        // from block to block, all KV heads
  const int32_t* block_tables;  // [sequences, table_width]: the blocks of each sequence
  int64_t table_width;
  const int32_t* positions;  // [rows]: it sees the keys up to that one
  int64_t kv_heads;
  int64_t window;  // 0: no limit
  float scale;
  float soft_cap;  // 0: none
  // Partial results of the splits, [rows, heads, splits]: the sums of D numbers, and for each the largest
  // score and the weights' sum.
  float* sums;
  float* most;
  float* weight;
  const int32_t* sequences = nullptr;  // [rows]: which table is the row's; null: its own
};

struct PagedTensor {
  static constexpr int kThreads = 128, kMaxGroup = 8, kMaxHeadDim = 256;
};

struct SamplingRow {
  float temperature;  // 0: the likeliest
  int32_t top_k;      // 0: all
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  double uniform;  // in [0, 1): the draw
};

}  // namespace headrace::cuda
