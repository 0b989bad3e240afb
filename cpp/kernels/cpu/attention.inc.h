// Attention of one head over one sequence, on the GEMM's register tile.
//
//   for each block of up to kKeyBlock keys:            keys transposed once into panels, so scores are a GEMM
//     for each tile of kQueryTile queries:              with a window, over the keys that one of them sees
//       scores = scale q k^T                           [tile, block], in L1
//       p = 2^(scores log2 e - running maximum)        the old output is scaled down when the maximum grows
//       out += p v                                     a row of v is the panel's row
//   out /= sum p
//
// Blocks start at key 0 and tiles at query 0 of the sequence itself, so its company in a batch changes
// nothing.
#pragma once

#include "kernels/cpu/gemm.inc.h"

namespace headrace {
namespace {

constexpr int64_t kKeyBlock = 512;
// From so many tiles on, a block's values are copied together first: rows of all heads are kilobytes apart,
// and so fall on few sets of the caches, where they push each other out between one tile and the next.
constexpr int64_t kPackTiles = 8;
// Fewer rows than a GEMM's tile: they leave enough multiply-adds a load, and each height is compiled anew.
constexpr int kQueryTile = kRowTile < 8 ? kRowTile : 8;

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Scratch: transposed keys [block / panel][D][panel], values [block][D], scores [kQueryTile][block] and a
// vector, since a row's last one may stand over, maximum [L], sum [L].
int64_t attention_scratch(int64_t length, int64_t head_dim) {
  const int64_t block = round_up(least(length, kKeyBlock), kPanelColumns);
  return 2 * block * head_dim + kQueryTile * block + kLanes + 2 * length;
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

// Some queries, and the keys [begin, end) of a block that they look at.
struct QueryTile {
  const Attention* a;
  int64_t row;         // the first query, counted from first_query
  int64_t begin, end;  // keys
  bool is_first, is_last;
  const float* keys = nullptr;    // panels from `begin` on
  const float* values = nullptr;  // of key `begin`, row stride ldv
  int64_t ldv = 0;
  float* scores = nullptr;  // [kRows][stride]
  int64_t stride = 0;

  int64_t count() const { return end - begin; }
};

template <int kRows>
void score_tile(const QueryTile& t) {
  const Attention& a = *t.a;
  for (int64_t j = 0; j < t.stride; j += kPanelColumns) {
    Vec acc[kRows][kPanelVectors];
    multiply_tile(a.q + t.row * a.ld, a.ld, t.keys + j * a.head_dim, kPanelColumns, a.head_dim, acc);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v) store(t.scores + r * t.stride + j + v * kLanes, acc[r][v]);
  }
}

// out[row + r] = old[r] * out[row + r] + p v, then times final[r].
template <int kRows, int kVectors>
void value_columns(const QueryTile& t, int64_t d, const float* old, const float* final) {
  const Attention& a = *t.a;
  Vec acc[kRows][kVectors];
  multiply_tile(t.scores, t.stride, t.values + d, t.ldv, t.count(), acc);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* out = a.out + (t.row + r) * a.ldo + d;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Vec value = acc[r][v];
      if (!t.is_first) value = mul_add(load(out + v * kLanes), splat(old[r]), value);
      store(out + v * kLanes, mul(value, splat(final[r])));
    }
  }
}

// Columns that do not fill a vector, one at a time: head sizes that are no multiple of kLanes are rare.
inline void value_rest(const QueryTile& t, int rows, int64_t d, const float* old, const float* final) {
  const Attention& a = *t.a;
  for (; d < a.head_dim; ++d)
    for (int r = 0; r < rows; ++r) {
      float sum = 0.0f;
      for (int64_t j = 0; j < t.count(); ++j)
        sum = __builtin_fmaf(t.scores[r * t.stride + j], t.values[j * t.ldv + d], sum);
      float* out = a.out + (t.row + r) * a.ldo + d;
      *out = (t.is_first ? sum : __builtin_fmaf(*out, old[r], sum)) * final[r];
    }
}

// Scores of row r -> weights, zeros where its window does not reach. Returns their sum; updates maximum.
inline float weigh(const QueryTile& t, int r, float* maximum) {
  const Attention& a = *t.a;
  float* const scores = t.scores + r * t.stride;
  int64_t begin = 0, end = t.count();
  if (a.window > 0) {
    const int64_t query = a.first_query + t.row + r;
    if (query - a.window > t.begin) begin = least(query - a.window - t.begin, end);
    end = least(query + a.window + 1 - t.begin, end);
    if (begin > end) begin = end > 0 ? end : 0;
    for (int64_t j = 0; j < begin; ++j) scores[j] = 0.0f;
  }
  float sum = 0.0f, factor = a.scale * kLog2E;
  if (begin < end && a.bias) {
    const float* bias = a.bias + (t.row + r) * a.bias_stride + t.begin;
    for (int64_t j = begin; j < end; j += kLanes) {
      const int64_t lanes = least(kLanes, end - j);
      store_first(scores + j,
                  mul_add(load_first(scores + j, lanes), splat(a.scale), load_first(bias + j, lanes)), lanes);
    }
    factor = kLog2E;
  }
  if (begin < end) sum = exponentiate(scores + begin, end - begin, factor, maximum);
  for (int64_t j = end > 0 ? end : 0; j < t.count(); ++j) scores[j] = 0.0f;
  return sum;
}

// The same, a block further: updates maximum and sum of the row, and returns what its output so far is to be
// times.
inline float weigh_row(const QueryTile& t, int r, float* maximum, float* sum) {
  const float before = t.is_first ? -__builtin_inff() : *maximum;
  float now = before;
  const float block_sum = weigh(t, r, &now);
  *maximum = now;
  // A window may begin in a later block than that of the tile: nothing is there to be scaled down then.
  const bool is_empty = before == -__builtin_inff();
  const float old = is_empty ? 0.0f : __builtin_exp2f(before - now);
  *sum = is_empty ? block_sum : __builtin_fmaf(*sum, old, block_sum);
  return old;
}

template <int kRows>
void attend_tile(const QueryTile& t, float* maximum, float* sum) {
  const Attention& a = *t.a;
  score_tile<kRows>(t);
  float old[kRows], final[kRows];
  for (int r = 0; r < kRows; ++r) {
    old[r] = weigh_row(t, r, &maximum[t.row + r], &sum[t.row + r]);
    final[r] = t.is_last ? 1.0f / sum[t.row + r] : 1.0f;
  }
  int64_t d = 0;
  for (; d + kPanelColumns <= a.head_dim; d += kPanelColumns)
    value_columns<kRows, kPanelVectors>(t, d, old, final);
  for (; d + kLanes <= a.head_dim; d += kLanes) value_columns<kRows, 1>(t, d, old, final);
  value_rest(t, kRows, d, old, final);
}

using AttendTile = void (*)(const QueryTile&, float*, float*);
constexpr AttendTile kAttendTile[] = {attend_tile<1>, attend_tile<2>, attend_tile<3>,
                                      attend_tile<4>, attend_tile<5>, attend_tile<6>,
#if defined(__AVX512F__)
                                      attend_tile<7>, attend_tile<8>
#endif
};

// pack(begin, end) for each block of keys that some query sees, and then attend(tile, rows, skipped) for the
// tiles of up to kTile queries that see one of them: from `skipped` keys behind the block's first on.
template <int64_t kBlock, int64_t kTile, typename Pack, typename Attend>
inline __attribute__((always_inline)) void each_key_block(const Attention& a, const Pack& pack,
                                                          const Attend& attend) {
  const int64_t tiles = (a.queries + kTile - 1) / kTile;
  const int64_t first = a.window > 0 && a.first_query > a.window ? a.first_query - a.window : 0;
  const int64_t last = a.window > 0 ? least(a.length, a.first_query + a.queries + a.window) : a.length;
  for (int64_t block_begin = first / kBlock * kBlock; block_begin < last; block_begin += kBlock) {
    const int64_t block_end = least(block_begin + kBlock, a.length);
    pack(block_begin, block_end);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = a.queries * tile / tiles, rows = a.queries * (tile + 1) / tiles - row;
      int64_t key_begin = 0, key_end = a.length;  // of the whole tile
      if (a.window > 0) {
        const int64_t query = a.first_query + row;
        if (query > a.window) key_begin = query - a.window;
        key_end = least(query + rows + a.window, a.length);
      }
      if (key_begin >= block_end || key_end <= block_begin) continue;
      const int64_t skipped =
          key_begin > block_begin ? (key_begin - block_begin) / kPanelColumns * kPanelColumns : 0;
      const QueryTile t{.a = &a,
                        .row = row,
                        .begin = block_begin + skipped,
                        .end = least(key_end, block_end),
                        .is_first = key_begin >= block_begin,
                        .is_last = key_end <= block_end};
      attend(t, rows, skipped);
    }
  }
}

void attention(const Attention& a) {
  const int64_t block = round_up(least(a.length, kKeyBlock), kPanelColumns);
  float* const keys = a.scratch;
  float* const packed = keys + block * a.head_dim;
  float* const scores = packed + block * a.head_dim;
  float* const maximum = scores + kQueryTile * block + kLanes;
  float* const sum = maximum + a.length;
  const float* values = nullptr;
  int64_t ldv = 0;
  each_key_block<kKeyBlock, kQueryTile>(
      a,
      [&](int64_t begin, int64_t end) {
        transpose_keys(a.k + begin * a.ld, a.ld, end - begin, a.head_dim, keys);
        values = a.v + begin * a.ld;
        ldv = a.ld;
        if (a.queries <= kQueryTile * (kPackTiles - 1)) return;
        for (int64_t j = 0; j < end - begin; ++j)
          __builtin_memcpy(packed + j * a.head_dim, values + j * a.ld,
                           static_cast<size_t>(a.head_dim) * sizeof(float));
        values = packed;
        ldv = a.head_dim;
      },
      [&](QueryTile t, int64_t rows, int64_t skipped) {
        t.keys = keys + skipped * a.head_dim;
        t.values = values + skipped * ldv;
        t.ldv = ldv;
        t.scores = scores;
        t.stride = round_up(t.count(), kPanelColumns);
        kAttendTile[rows - 1](t, maximum, sum);
      });
}

}  // namespace
}  // namespace headrace
