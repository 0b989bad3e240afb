// Attention of one head over one sequence, on the GEMM's register tile.
//
//   for each block of up to kKeyBlock keys:            keys transposed once into panels, so scores are a GEMM
//     for each tile of kRowTile queries:
//       scores = scale q k^T                           [tile, block], in L1
//       p = 2^(scores log2 e - running maximum)        the old output is scaled down when the maximum grows
//       out += p v                                     values are read in place: a row of v is the panel's
//       row
//   out /= sum p
//
// Blocks start at key 0 and tiles at query 0 of the sequence itself, so its company in a batch changes
// nothing.
#pragma once

#include "kernels/cpu/gemm.inc.h"

namespace headrace {
namespace {

constexpr int64_t kKeyBlock = 512;

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Scratch: transposed keys [block / panel][D][panel], scores [kRowTile][block], maximum [L], sum [L].
int64_t attention_scratch(int64_t length, int64_t head_dim) {
  const int64_t block = round_up(least(length, kKeyBlock), kPanelColumns);
  return block * head_dim + kRowTile * block + 2 * length;
}

// keys [count, D] with row stride ld -> panels [ceil(count / panel)][D][panel], zeros past the last key.
void transpose_keys(const float* keys, int64_t ld, int64_t count, int64_t head_dim, float* panels) {
  for (int64_t begin = 0; begin < count; begin += kPanelColumns, panels += kPanelColumns * head_dim)
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      const float* key = begin + c < count ? keys + (begin + c) * ld : nullptr;
      for (int64_t d = 0; d < head_dim; ++d) panels[d * kPanelColumns + c] = key ? key[d] : 0.0f;
    }
}

// scores[j] -> 2^(scores[j] * factor - new maximum), zeros past `count`. Returns the sum; updates maximum.
inline float exponentiate(float* scores, int64_t count, float factor, float* maximum) {
  const int64_t whole = count / kLanes * kLanes;
  const int64_t rest = count - whole;
  const float block_maximum = largest_of(scores, count) * factor;
  if (block_maximum > *maximum) *maximum = block_maximum;
  const Vec scale = splat(factor), shift = splat(-*maximum), floor = splat(-126.0f), zero = splat(0.0f);
  Vec sum = zero;
  for (int64_t j = 0; j < whole; j += kLanes) {
    const Vec p = exp2_nonpositive(larger(mul_add(load(scores + j), scale, shift), floor));
    store(scores + j, p);
    sum = add(sum, p);
  }
  if (rest) {
    Vec p = exp2_nonpositive(larger(mul_add(load(scores + whole), scale, shift), floor));
    p = keep_first(p, rest, zero);
    store(scores + whole, p);
    sum = add(sum, p);
  }
  return sum_lanes(sum);
}

template <int kRows>
void score_tile(const Attention& a, int64_t query, const float* keys, int64_t padded, float* scores) {
  for (int64_t j = 0; j < padded; j += kPanelColumns) {
    Vec acc[kRows][kPanelVectors];
    multiply_tile(a.q + query * a.ld, a.ld, keys + j * a.head_dim, kPanelColumns, a.head_dim, acc);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v) store(scores + r * padded + j + v * kLanes, acc[r][v]);
  }
}

// out[query + r] = old[r] * out[query + r] + p v, then times final[r].
template <int kRows, int kVectors>
void value_columns(const Attention& a, int64_t query, int64_t d, const float* values, int64_t count,
                   const float* scores, int64_t padded, const float* old, const float* final) {
  Vec acc[kRows][kVectors];
  multiply_tile(scores, padded, values + d, a.ld, count, acc);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* out = a.out + (query + r) * a.ldo + d;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Vec value = acc[r][v];
      if (old) value = mul_add(load(out + v * kLanes), splat(old[r]), value);
      store(out + v * kLanes, mul(value, splat(final[r])));
    }
  }
}

// Columns that do not fill a vector, one at a time: head sizes that are no multiple of kLanes are rare.
template <int kRows>
void value_rest(const Attention& a, int64_t query, int64_t d, const float* values, int64_t count,
                const float* scores, int64_t padded, const float* old, const float* final) {
  for (; d < a.head_dim; ++d)
    for (int r = 0; r < kRows; ++r) {
      float sum = 0.0f;
      for (int64_t j = 0; j < count; ++j)
        sum = __builtin_fmaf(scores[r * padded + j], values[j * a.ld + d], sum);
      float* out = a.out + (query + r) * a.ldo + d;
      *out = (old ? __builtin_fmaf(*out, old[r], sum) : sum) * final[r];
    }
}

template <int kRows>
void attend_tile(const Attention& a, int64_t query, int64_t key_begin, int64_t key_end, const float* keys,
                 float* scores, float* maximum, float* sum) {
  const int64_t count = key_end - key_begin;
  const int64_t padded = round_up(count, kPanelColumns);
  score_tile<kRows>(a, query, keys, padded, scores);
  float old[kRows], final[kRows];
  const bool is_first = key_begin == 0, is_last = key_end == a.length;
  for (int r = 0; r < kRows; ++r) {
    const float before = is_first ? -__builtin_inff() : maximum[query + r];
    float now = before;
    const float block_sum = exponentiate(scores + r * padded, count, a.scale * kLog2E, &now);
    old[r] = is_first ? 0.0f : __builtin_exp2f(before - now);
    maximum[query + r] = now;
    sum[query + r] = is_first ? block_sum : __builtin_fmaf(sum[query + r], old[r], block_sum);
    final[r] = is_last ? 1.0f / sum[query + r] : 1.0f;
  }
  const float* values = a.v + key_begin * a.ld;
  const float* scale_old = is_first ? nullptr : old;
  int64_t d = 0;
  for (; d + kPanelColumns <= a.head_dim; d += kPanelColumns)
    value_columns<kRows, kPanelVectors>(a, query, d, values, count, scores, padded, scale_old, final);
  for (; d + kLanes <= a.head_dim; d += kLanes)
    value_columns<kRows, 1>(a, query, d, values, count, scores, padded, scale_old, final);
  value_rest<kRows>(a, query, d, values, count, scores, padded, scale_old, final);
}

using AttendTile = void (*)(const Attention&, int64_t, int64_t, int64_t, const float*, float*, float*,
                            float*);
#if defined(__AVX512F__)
constexpr AttendTile kAttendTile[] = {attend_tile<1>,  attend_tile<2>,  attend_tile<3>,  attend_tile<4>,
                                      attend_tile<5>,  attend_tile<6>,  attend_tile<7>,  attend_tile<8>,
                                      attend_tile<9>,  attend_tile<10>, attend_tile<11>, attend_tile<12>,
                                      attend_tile<13>, attend_tile<14>};
#else
constexpr AttendTile kAttendTile[] = {attend_tile<1>, attend_tile<2>, attend_tile<3>,
                                      attend_tile<4>, attend_tile<5>, attend_tile<6>};
#endif

void attention(const Attention& a) {
  const int64_t block = round_up(least(a.length, kKeyBlock), kPanelColumns);
  float* keys = a.scratch;
  float* scores = keys + block * a.head_dim;
  float* maximum = scores + kRowTile * block;
  float* sum = maximum + a.length;
  const int64_t tiles = (a.length + kRowTile - 1) / kRowTile;
  for (int64_t key_begin = 0; key_begin < a.length; key_begin += kKeyBlock) {
    const int64_t key_end = least(key_begin + kKeyBlock, a.length);
    transpose_keys(a.k + key_begin * a.ld, a.ld, key_end - key_begin, a.head_dim, keys);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t begin = a.length * tile / tiles;
      const int64_t end = a.length * (tile + 1) / tiles;
      kAttendTile[end - begin - 1](a, begin, key_begin, key_end, keys, scores, maximum, sum);
    }
  }
}

}  // namespace
}  // namespace headrace
