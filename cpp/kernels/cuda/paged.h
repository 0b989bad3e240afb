// Attention over a cache of keys and values in blocks (kernels.h, PagedAttention), for decoding and for the
// rows of a prompt alike, and what fills and moves the blocks.
//
// A block holds, for each KV head, the keys of kCacheBlock tokens as [D][kCacheBlock], so that neighbouring
// lanes read neighbouring keys, then the values as [kCacheBlock][D]. Cache is float or Bf16.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/kernels.h"

namespace headrace::cuda {

// Grid: (splits, KV heads, rows); each split takes blocks_per_split blocks of the sequence. group query heads
// share a KV head.
template <typename Cache>
HEADRACE_KERNEL paged_attention(PagedRows<Cache> a, int group, int head_dim, int64_t splits,
                                int64_t blocks_per_split) {
  constexpr int kThreads = PagedTensor::kThreads, kMaxGroup = PagedTensor::kMaxGroup;
  constexpr int kEach = PagedTensor::kMaxHeadDim / kThreads, kKeys = static_cast<int>(kCacheBlock);
  HEADRACE_SHARED(float, qs, kMaxGroup* PagedTensor::kMaxHeadDim);
  HEADRACE_SHARED(float, weights, kMaxGroup* kKeys);
  HEADRACE_SHARED(float, factors, kMaxGroup);
  const int64_t row = block_z(), kv_head = block_y(), split = block_x(), heads = a.kv_heads * group;
  const int64_t position = a.positions[row];
  const int32_t* table = a.block_tables + (a.sequences == nullptr ? row : a.sequences[row]) * a.table_width;
  const int64_t first_key = a.window > 0 && position + 1 > a.window ? position + 1 - a.window : 0;
  const int warp = static_cast<int>(warp_index()), lane = static_cast<int>(lane_index());
  for (int i = static_cast<int>(thread_index()); i < group * head_dim; i += kThreads)
    qs[i] = a.q[row * a.ldq + kv_head * group * head_dim + i];

  // A warp has the heads warp, warp + 4, ... of the group, for their scores.
  constexpr int kWarps = kThreads / static_cast<int>(kWarp), kOwn = kMaxGroup / kWarps;
  float most[kOwn], sum[kOwn] = {}, out[kMaxGroup][kEach] = {};
  HEADRACE_UNROLL
  for (int own = 0; own < kOwn; ++own) most[own] = -INFINITY;
  const int64_t last_block = position / kCacheBlock;
  for (int64_t i = split * blocks_per_split; i < (split + 1) * blocks_per_split && i <= last_block; ++i) {
    if ((i + 1) * kCacheBlock <= first_key) continue;
    const int64_t block = table[i];
    const Cache* keys = a.cache + block * a.block_numbers + kv_head * 2 * kCacheBlock * head_dim;
    const Cache* values = keys + kCacheBlock * head_dim;
    block_barrier();  // the queries are there; what the last round reads is read
    HEADRACE_UNROLL
    for (int own = 0; own < kOwn; ++own) {
      const int g = warp + own * kWarps;
      if (g >= group) break;  // the whole warp
      float score = 0;
      for (int d = 0; d < head_dim; ++d)
        score += qs[g * head_dim + d] * to_float(keys[d * kCacheBlock + lane]);
      score *= a.scale;
      if (a.soft_cap > 0) score = a.soft_cap * tanhf(score / a.soft_cap);
      const int64_t key = i * kCacheBlock + lane;
      if (key > position || key < first_key) score = -INFINITY;
      const float found = larger(most[own], warp_max(score));
      const float weight = score == -INFINITY ? 0.0f : expf(score - found);
      const float factor = most[own] == -INFINITY ? 0.0f : expf(most[own] - found);
      most[own] = found;
      sum[own] = sum[own] * factor + warp_sum(weight);
      weights[g * kKeys + lane] = weight;
      if (lane == 0) factors[g] = factor;
    }
    block_barrier();
    HEADRACE_UNROLL
    for (int each = 0; each < kEach; ++each) {
      const int d = static_cast<int>(thread_index()) + each * kThreads;
      if (d >= head_dim) break;
      HEADRACE_UNROLL
      for (int g = 0; g < kMaxGroup; ++g)
        if (g < group) out[g][each] *= factors[g];
      for (int key = 0; key < kKeys; ++key) {
        // Slots behind the last token hold whatever was there, and have no weight.
        if (i * kCacheBlock + key > position) break;
        const float value = to_float(values[key * head_dim + d]);
        HEADRACE_UNROLL
        for (int g = 0; g < kMaxGroup; ++g)
          if (g < group) out[g][each] += weights[g * kKeys + key] * value;
      }
    }
  }
  const int64_t first_head = row * heads + kv_head * group;
  HEADRACE_UNROLL
  for (int g = 0; g < kMaxGroup; ++g) {
    HEADRACE_UNROLL
    for (int each = 0; each < kEach; ++each) {
      const int d = static_cast<int>(thread_index()) + each * kThreads;
      if (g < group && d < head_dim)
        a.sums[((first_head + g) * splits + split) * head_dim + d] = out[g][each];
    }
  }
  HEADRACE_UNROLL
  for (int own = 0; own < kOwn; ++own) {
    const int g = warp + own * kWarps;
    if (g >= group || lane != 0) continue;
    a.most[(first_head + g) * splits + split] = most[own];
    a.weight[(first_head + g) * splits + split] = sum[own];
  }
}

// The splits of each row and head put together; one block for each. out [rows, heads D] with row stride ldo.
HEADRACE_KERNEL combine_splits(const float* sums, const float* most, const float* weight, int64_t splits,
                               int head_dim, int64_t heads, float* out, int64_t ldo) {
  const int64_t head = block_x(), row = block_y(), at = (row * heads + head) * splits;
  float top = -INFINITY, total = 0;
  for (int64_t i = 0; i < splits; ++i) top = larger(top, most[at + i]);
  for (int64_t i = 0; i < splits; ++i)
    if (weight[at + i] > 0) total += weight[at + i] * expf(most[at + i] - top);
  for (int d = static_cast<int>(thread_index()); d < head_dim; d += static_cast<int>(block_threads())) {
    float sum = 0;
    for (int64_t i = 0; i < splits; ++i)
      if (weight[at + i] > 0) sum += sums[(at + i) * head_dim + d] * expf(most[at + i] - top);
    out[row * ldo + head * head_dim + d] = sum / total;
  }
}

// The keys and values of row block_x() to its slot: slots[row] = block * kCacheBlock + place in it.
template <typename Cache>
HEADRACE_KERNEL store_keys_values(const float* keys, const float* values, int64_t ld, const int32_t* slots,
                                  int64_t kv_heads, int head_dim, Cache* cache, int64_t block_numbers) {
  const int64_t row = block_x(), slot = slots[row];
  Cache* block = cache + slot / kCacheBlock * block_numbers;
  const int64_t place = slot % kCacheBlock;
  for (int64_t i = thread_index(); i < kv_heads * head_dim; i += block_threads()) {
    Cache* head = block + i / head_dim * 2 * kCacheBlock * head_dim;
    const int64_t d = i % head_dim;
    const float key = keys[row * ld + i], value = values[row * ld + i];
    if constexpr (sizeof(Cache) == sizeof(float)) {
      head[d * kCacheBlock + place] = key;
      head[kCacheBlock * head_dim + place * head_dim + d] = value;
    } else {
      head[d * kCacheBlock + place] = to_bf16(key);
      head[kCacheBlock * head_dim + place * head_dim + d] = to_bf16(value);
    }
  }
}

// Block from[i] to block to[i], i = block_x(); bytes a multiple of 16.
HEADRACE_KERNEL copy_blocks(char* cache, int64_t block_bytes, const int32_t* from, const int32_t* to) {
  struct alignas(16) Sixteen {
    uint64_t halves[2];
  };
  const Sixteen* source = reinterpret_cast<const Sixteen*>(cache + from[block_x()] * block_bytes);
  Sixteen* target = reinterpret_cast<Sixteen*>(cache + to[block_x()] * block_bytes);
  for (int64_t i = thread_index(); i < block_bytes / 16; i += block_threads()) target[i] = source[i];
}

}  // namespace headrace::cuda
