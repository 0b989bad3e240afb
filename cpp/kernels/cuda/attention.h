// Attention over sequences laid end to end (kernels.h, Attention): softmax by a running maximum (Milakov &
// Gimelshein 2018, arXiv:1805.02867), so that no L x L matrix is ever written (Dao et al. 2022,
// arXiv:2205.14135).
#pragma once

#include "kernels/cuda/device.h"

namespace headrace::cuda {

// A weight of e^(s - most); of nothing yet seen, 0.
HEADRACE_DEVICE float weight_of(float score, float most) {
  return score == -INFINITY ? 0.0f : expf(score - most);
}

// f32: four warps of a query each; 32 keys at a time, a lane a key for the scores and D / 32 columns a lane
// for the sums. Grid: (queries / 4, heads, sequences).
struct AttentionF32 {
  static constexpr int kQueries = 4, kKeys = 32, kThreads = 128, kMaxHeadDim = 256;
};

template <int kHeadDim>
HEADRACE_KERNEL attention_f32(RaggedAttention<float> a) {
  constexpr int kKeys = AttentionF32::kKeys, kEach = (kHeadDim + 31) / 32, kStride = kHeadDim + 1;
  HEADRACE_SHARED(float, ks, kKeys* kStride);
  HEADRACE_SHARED(float, vs, kKeys* kStride);
  HEADRACE_SHARED(float, qs, AttentionF32::kQueries* kHeadDim);
  const int64_t begin = a.cu_lengths[block_z()], length = a.cu_lengths[block_z() + 1] - begin;
  const int64_t first = static_cast<int64_t>(block_x()) * AttentionF32::kQueries;
  if (first >= length) return;  // all of the block's threads alike
  const int64_t head = static_cast<int64_t>(block_y()) * kHeadDim;
  const int warp = static_cast<int>(warp_index()), lane = static_cast<int>(lane_index());
  const int64_t query = first + warp;
  for (int i = static_cast<int>(thread_index()); i < AttentionF32::kQueries * kHeadDim;
       i += AttentionF32::kThreads) {
    const int64_t row = first + i / kHeadDim;
    qs[i] = row < length ? a.q[(begin + row) * a.ld + head + i % kHeadDim] : 0.0f;
  }
  float most = -INFINITY, sum = 0, out[kEach] = {};
  for (int64_t key0 = 0; key0 < length; key0 += kKeys) {
    if (a.window > 0 &&
        (key0 + kKeys + a.window <= first || key0 > first + AttentionF32::kQueries - 1 + a.window))
      continue;
    block_barrier();  // what the last round reads is read
    for (int i = static_cast<int>(thread_index()); i < kKeys * kHeadDim; i += AttentionF32::kThreads) {
      const int row = i / kHeadDim, column = i % kHeadDim;
      const bool inside = key0 + row < length;
      const int64_t at = (begin + key0 + row) * a.ld + head + column;
      ks[row * kStride + column] = inside ? a.k[at] : 0.0f;
      vs[row * kStride + column] = inside ? a.v[at] : 0.0f;
    }
    block_barrier();
    float score = 0;
    for (int d = 0; d < kHeadDim; ++d) score += qs[warp * kHeadDim + d] * ks[lane * kStride + d];
    score *= a.scale;
    const int64_t key = key0 + lane, apart = key > query ? key - query : query - key;
    if (key >= length || (a.window > 0 && apart > a.window)) score = -INFINITY;
    const float larger_one = larger(most, warp_max(score));
    const float before = weight_of(most, larger_one), weight = weight_of(score, larger_one);
    most = larger_one;
    sum = sum * before + warp_sum(weight);
    HEADRACE_UNROLL
    for (int i = 0; i < kEach; ++i) out[i] *= before;
    for (int j = 0; j < kKeys; ++j) {
      const float w = shuffle(kAllLanes, weight, j);
      HEADRACE_UNROLL
      for (int i = 0; i < kEach; ++i)
        if (lane + 32 * i < kHeadDim) out[i] += w * vs[j * kStride + lane + 32 * i];
    }
  }
  if (query >= length) return;
  HEADRACE_UNROLL
  for (int i = 0; i < kEach; ++i)
    if (lane + 32 * i < kHeadDim) a.out[(begin + query) * a.ldo + head + lane + 32 * i] = out[i] / sum;
}

// bf16 on tensor cores: 64 queries, four warps of 16; 64 keys at a time. Rows of 16 bytes more than they
// need, so that eight of them lie in different banks. Grid: (queries / 64, heads, sequences).
template <int kHeadDim>
struct AttentionTensor {
  static constexpr int kTile = 64, kThreads = 128;
  static constexpr int kRowBytes = 2 * kHeadDim + 16, kTileBytes = kTile * kRowBytes;
};

// Rows row0 to row0 + 63 of a sequence; what is beyond it is zeros.
template <int kHeadDim>
HEADRACE_DEVICE void copy_head(char* to, const Bf16* from, int64_t ld, int64_t row0, int64_t length) {
  using Tensor = AttentionTensor<kHeadDim>;
  constexpr int kChunks = kHeadDim / 8;
  for (int i = static_cast<int>(thread_index()); i < Tensor::kTile * kChunks; i += Tensor::kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool valid = row0 + row < length;
    copy_async(to + row * Tensor::kRowBytes + 16 * chunk, valid ? from + (row0 + row) * ld + 8 * chunk : from,
               valid);
  }
}

template <int kHeadDim>
HEADRACE_KERNEL attention_bf16(RaggedAttention<Bf16> a) {
  using Tensor = AttentionTensor<kHeadDim>;
  constexpr int kSteps = kHeadDim / 16, kRow = Tensor::kRowBytes, kTile = Tensor::kTile;
  HEADRACE_SHARED(char, ks, Tensor::kTileBytes);
  HEADRACE_SHARED(char, vs, Tensor::kTileBytes);
  const int64_t begin = a.cu_lengths[block_z()], length = a.cu_lengths[block_z() + 1] - begin;
  const int64_t first = static_cast<int64_t>(block_x()) * kTile;
  if (first >= length) return;  // all of the block's threads alike
  const int64_t head = begin * a.ld + static_cast<int64_t>(block_y()) * kHeadDim;
  const int warp = static_cast<int>(warp_index()), lane = static_cast<int>(lane_index());

  // The queries come by way of the keys' place, and stay in registers.
  copy_head<kHeadDim>(ks, a.q + head, a.ld, first, length);
  copy_commit();
  copy_wait<0>();
  block_barrier();
  uint32_t q[kSteps][4];
  HEADRACE_UNROLL
  for (int step = 0; step < kSteps; ++step)
    load_matrices(q[step], ks + (16 * warp + lane % 16) * kRow + 32 * step + lane / 16 * 16);

  // Of this thread's two rows, lane / 4 and that + 8.
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  float out[kHeadDim / 8][4] = {};
  for (int64_t key0 = 0; key0 < length; key0 += kTile) {
    if (a.window > 0 && (key0 + kTile + a.window <= first || key0 > first + kTile - 1 + a.window)) continue;
    block_barrier();  // what the last round reads is read
    copy_head<kHeadDim>(ks, a.k + head, a.ld, key0, length);
    copy_commit();
    copy_head<kHeadDim>(vs, a.v + head, a.ld, key0, length);
    copy_commit();
    copy_wait<1>();
    block_barrier();
    float scores[kTile / 8][4] = {};
    HEADRACE_UNROLL
    for (int step = 0; step < kSteps; ++step) HEADRACE_UNROLL
    for (int pair = 0; pair < kTile / 16; ++pair) {
      uint32_t k[4];
      load_matrices(k, ks + (16 * pair + lane % 8 + lane / 16 * 8) * kRow + 32 * step + lane / 8 % 2 * 16);
      mma(scores[2 * pair], q[step], k[0], k[1]);
      mma(scores[2 * pair + 1], q[step], k[2], k[3]);
    }
    float found[2] = {most[0], most[1]};
    HEADRACE_UNROLL
    for (int eight = 0; eight < kTile / 8; ++eight) HEADRACE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int64_t query = first + 16 * warp + lane / 4 + i / 2 * 8;
      const int64_t key = key0 + 8 * eight + lane % 4 * 2 + i % 2;
      const int64_t apart = key > query ? key - query : query - key;
      float& score = scores[eight][i];
      score = key < length && (a.window == 0 || apart <= a.window) ? score * a.scale : -INFINITY;
      found[i / 2] = larger(found[i / 2], score);
    }
    float before[2];
    HEADRACE_UNROLL
    for (int row = 0; row < 2; ++row) {
      // The four lanes of a row.
      for (int step = 1; step < 4; step *= 2)
        found[row] = larger(found[row], shuffle(kAllLanes, found[row], lane ^ step));
      before[row] = weight_of(most[row], found[row]);
      most[row] = found[row];
      sum[row] *= before[row];
    }
    HEADRACE_UNROLL
    for (int eight = 0; eight < kHeadDim / 8; ++eight) HEADRACE_UNROLL
    for (int i = 0; i < 4; ++i) out[eight][i] *= before[i / 2];
    HEADRACE_UNROLL
    for (int eight = 0; eight < kTile / 8; ++eight) HEADRACE_UNROLL
    for (int i = 0; i < 4; ++i) {
      float& weight = scores[eight][i];
      weight = weight_of(weight, most[i / 2]);
      sum[i / 2] += weight;
    }
    copy_wait<0>();
    block_barrier();
    HEADRACE_UNROLL
    for (int step = 0; step < kTile / 16; ++step) {
      // The sums of a product lie as its left side does: rows of weights need no exchange.
      const uint32_t weights[4] = {pack_bf16(scores[2 * step][0], scores[2 * step][1]),
                                   pack_bf16(scores[2 * step][2], scores[2 * step][3]),
                                   pack_bf16(scores[2 * step + 1][0], scores[2 * step + 1][1]),
                                   pack_bf16(scores[2 * step + 1][2], scores[2 * step + 1][3])};
      HEADRACE_UNROLL
      for (int pair = 0; pair < kHeadDim / 16; ++pair) {
        uint32_t v[4];
        load_matrices_transposed(v, vs + (16 * step + lane % 16) * kRow + 32 * pair + lane / 16 * 16);
        mma(out[2 * pair], weights, v[0], v[1]);
        mma(out[2 * pair + 1], weights, v[2], v[3]);
      }
    }
  }
  HEADRACE_UNROLL
  for (int row = 0; row < 2; ++row) {
    for (int step = 1; step < 4; step *= 2) sum[row] += shuffle(kAllLanes, sum[row], lane ^ step);
    const int64_t query = first + 16 * warp + lane / 4 + 8 * row;
    if (query >= length) continue;
    Bf16* to = a.out + (begin + query) * a.ldo + static_cast<int64_t>(block_y()) * kHeadDim;
    HEADRACE_UNROLL
    for (int eight = 0; eight < kHeadDim / 8; ++eight) HEADRACE_UNROLL
    for (int i = 0; i < 2; ++i)
      to[8 * eight + lane % 4 * 2 + i] = to_bf16(out[eight][2 * row + i] / sum[row]);
  }
}

}  // namespace headrace::cuda
