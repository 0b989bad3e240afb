// Attention of one head over one sequence with queries, keys, weights and values as bf16, sums and the
// softmax in f32. As attention.inc.h, block by block of keys. Where a head's keys and values lie, and how
// they are multiplied, is Products':
//
//   Products::begin(), end()                              around a head
//   Products::kQueries                                    queries of a tile
//   Products::key_row(keys, key, d, depth)                16 keys' pairs of d, in 64 bytes
//   Products::value_row(values, pair, d, head_dim, block) a pair of keys' 16 numbers from d on, in 64 bytes
//   Products::score(t, q, rows, keys)                     t.scores [rows][t.stride] = queries keys^T
//   Products::weigh(t, q, rows, values, c)                q.sums [rows][kSums] = weights values[c ...]
//
// A head whose size is no multiple of 16 goes the way of attention.inc.h.
#pragma once

#include "kernels/cpu/narrow.inc.h"

#if defined(__AVX512BF16__)

namespace headrace {
namespace {

constexpr int64_t kNarrowKeyBlock = 256;
constexpr int64_t kRowNumbers = 32;  // bf16 numbers of 64 bytes
constexpr int64_t kSums = 64;        // columns of a head that are summed at a time

// Rows of dwords -> their columns.
inline void transpose_tile(IntVec (&rows)[16]) {
  IntVec pairs[16], quads[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      quads[i + 2 * j] = _mm512_unpacklo_epi64(pairs[i + j], pairs[i + j + 2]);
      quads[i + 2 * j + 1] = _mm512_unpackhi_epi64(pairs[i + j], pairs[i + j + 2]);
    }
  // quads[4 g + c] has column c + 4 s of rows 4 g ... 4 g + 3 in its quarter s.
  for (int c = 0; c < 4; ++c) {
    const IntVec even = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0x88);
    const IntVec odd = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0xDD);
    const IntVec even_below = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0x88);
    const IntVec odd_below = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0xDD);
    rows[c] = _mm512_shuffle_i32x4(even, even_below, 0x88);
    rows[8 + c] = _mm512_shuffle_i32x4(even, even_below, 0xDD);
    rows[4 + c] = _mm512_shuffle_i32x4(odd, odd_below, 0x88);
    rows[12 + c] = _mm512_shuffle_i32x4(odd, odd_below, 0xDD);
  }
}

// Numbers of two vectors as bf16, low's first.
inline IntVec narrow_two(Vec low, Vec high) {
  return reinterpret_cast<IntVec>(_mm512_cvtne2ps_pbh(high, low));
}

// x[at ...] up to 32 numbers, of which `count` are there.
inline IntVec narrow_row(const float* x, int64_t count) {
  const Vec low = count >= kLanes ? load(x) : load_first(x, count > 0 ? count : 0);
  const Vec high = count >= 2 * kLanes ? load(x + kLanes)
                   : count > kLanes    ? load_first(x + kLanes, count - kLanes)
                                       : splat(0.0f);
  return narrow_two(low, high);
}

inline void store_row(char* to, IntVec values) { _mm512_storeu_si512(to, values); }

template <typename Products>
void pack_narrow_keys(const float* keys, int64_t ld, int64_t count, int64_t head_dim, int64_t depth,
                      char* to) {
  const int64_t padded = round_up(count, kRowNumbers);
  for (int64_t begin = 0; begin < padded; begin += kLanes)
    for (int64_t d = 0; d < depth; d += kRowNumbers) {
      IntVec rows[16];
      for (int64_t r = 0; r < 16; ++r)
        rows[r] = begin + r < count ? narrow_row(keys + (begin + r) * ld + d, head_dim - d) : splat_int(0);
      transpose_tile(rows);
      for (int64_t r = 0; r < 16; ++r) store_row(Products::key_row(to, begin, d + 2 * r, depth), rows[r]);
    }
}

template <typename Products>
void pack_narrow_values(const float* values, int64_t ld, int64_t count, int64_t head_dim, int64_t block,
                        char* to) {
  alignas(64) uint16_t order[32];
  for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
  const IntVec interleaved = load_int(order);
  const int64_t padded = round_up(count, kRowNumbers);
  for (int64_t key = 0; key < padded; key += 2)
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const float* const value = values + key * ld + d;
      const Vec first_key = key < count ? load(value) : splat(0.0f);
      const Vec second_key = key + 1 < count ? load(value + ld) : splat(0.0f);
      store_row(Products::value_row(to, key / 2, d, head_dim, block),
                _mm512_permutexvar_epi16(interleaved, narrow_two(first_key, second_key)));
    }
}

// What a tile of queries is worked on with, and where it is in the scratch.
struct NarrowQueries {
  char* queries;  // [kQueries][depth] bf16
  char* weights;  // [kQueries][keys of a block] bf16
  float* sums;    // [kQueries][kSums]
  int64_t depth;  // D up to whole rows of 64 bytes
  int64_t block;  // keys that a block has room for
};

// Rows [t.row, t.row + rows) of the output, one block of keys further. maximum, sum: of these rows.
template <typename Products>
void attend_narrow(const QueryTile& t, const NarrowQueries& q, int64_t rows, const char* keys,
                   const char* values, float* maximum, float* sum) {
  const Attention& a = *t.a;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < q.depth; d += kRowNumbers)
      store_row(q.queries + (r * q.depth + d) * 2, narrow_row(a.q + (t.row + r) * a.ld + d, a.head_dim - d));
  Products::score(t, q, rows, keys);
  float old[Products::kQueries], final[Products::kQueries];
  for (int64_t r = 0; r < rows; ++r) {
    old[r] = weigh_row(t, static_cast<int>(r), &maximum[r], &sum[r]);
    final[r] = t.is_last ? 1.0f / sum[r] : 1.0f;
    const float* const weights = t.scores + r * t.stride;
    for (int64_t j = 0; j < t.stride; j += kRowNumbers)
      store_row(q.weights + (r * t.stride + j) * 2, narrow_row(weights + j, t.count() - j));
  }
  for (int64_t c = 0; c < a.head_dim; c += kSums) {
    Products::weigh(t, q, rows, values, c);
    const int64_t columns = least(kSums, a.head_dim - c);
    for (int64_t r = 0; r < rows; ++r) {
      float* const out = a.out + (t.row + r) * a.ldo + c;
      const float* const sums = q.sums + r * kSums;
      for (int64_t d = 0; d < columns; d += kLanes) {
        Vec value = load(sums + d);
        if (!t.is_first) value = mul_add(load(out + d), splat(old[r]), value);
        store(out + d, mul(value, splat(final[r])));
      }
    }
  }
}

template <typename Products>
int64_t narrow_attention_scratch(int64_t length, int64_t head_dim) {
  const int64_t block = round_up(least(length, kNarrowKeyBlock), kRowNumbers);
  const int64_t depth = round_up(head_dim, kRowNumbers), rows = Products::kQueries;
  const int64_t narrow =
      block * depth + rows * depth / 2 + rows * block * 3 / 2 + kLanes + rows * kSums + 2 * length;
  const int64_t in_f32 = attention_scratch(length, head_dim);
  return narrow > in_f32 ? narrow : in_f32;
}

template <typename Products>
void narrow_attention(const Attention& a) {
  if (a.head_dim % kLanes != 0) return attention(a);
  constexpr int64_t kRows = Products::kQueries;
  const int64_t block = round_up(least(a.length, kNarrowKeyBlock), kRowNumbers);
  const int64_t depth = round_up(a.head_dim, kRowNumbers);
  float* const keys = a.scratch;
  float* const values = keys + block * depth / 2;
  float* const queries = values + block * depth / 2;
  float* const scores = queries + kRows * depth / 2;
  float* const weights = scores + kRows * block + kLanes;  // a row's last vector may stand over
  float* const sums = weights + kRows * block / 2;
  float* const maximum = sums + kRows * kSums;
  float* const sum = maximum + a.length;
  const NarrowQueries q{reinterpret_cast<char*>(queries), reinterpret_cast<char*>(weights), sums, depth,
                        block};
  auto* const packed_keys = reinterpret_cast<char*>(keys);
  auto* const packed_values = reinterpret_cast<char*>(values);
  // Rows past the last query, and columns past a head's last, may be computed, and are read by nobody.
  __builtin_memset(packed_values, 0, static_cast<size_t>(block * depth * 2));
  __builtin_memset(queries, 0, static_cast<size_t>(kRows * depth * 2));
  __builtin_memset(weights, 0, static_cast<size_t>(kRows * block * 2));
  Products::begin();
  each_key_block<kNarrowKeyBlock, kRows>(
      a,
      [&](int64_t begin, int64_t end) {
        pack_narrow_keys<Products>(a.k + begin * a.ld, a.ld, end - begin, a.head_dim, depth, packed_keys);
        pack_narrow_values<Products>(a.v + begin * a.ld, a.ld, end - begin, a.head_dim, block, packed_values);
      },
      [&](QueryTile t, int64_t rows, int64_t skipped) {
        t.scores = scores;
        t.stride = round_up(t.count(), kRowNumbers);
        attend_narrow<Products>(t, q, rows, Products::key_row(packed_keys, skipped, 0, depth),
                                Products::value_row(packed_values, skipped / 2, 0, a.head_dim, block),
                                maximum + t.row, sum + t.row);
      });
  Products::end();
}

// On vectors:
//
//   keys   [keys / 32][D / 2][32 keys][2]   the panels of a GEMM in bf16
//   values [D / 32][keys / 2][32][2]        those of another
struct VectorProducts {
  static constexpr int64_t kQueries = 12;
  static constexpr int64_t kStepBytes = kPanelColumns * 4;

  static void begin() {}
  static void end() {}

  static char* key_row(char* keys, int64_t key, int64_t d, int64_t depth) {
    return keys + (key / kPanelColumns * depth + d) / 2 * kStepBytes + key % kPanelColumns * 4;
  }
  static char* value_row(char* values, int64_t pair, int64_t d, int64_t, int64_t block) {
    return values + (d / kPanelColumns * block / 2 + pair) * kStepBytes + d % kPanelColumns * 4;
  }

  template <int kRows>
  static void multiply(const char* x, int64_t stride, const char* panel, int64_t steps, float* y,
                       int64_t ldy) {
    Vec acc[kRows][kPanelVectors];
    multiply_narrow<Bf16Dot, kRows>(x, stride, panel, steps, acc);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v) store(y + r * ldy + v * kLanes, acc[r][v]);
  }
  using Multiply = void (*)(const char*, int64_t, const char*, int64_t, float*, int64_t);
  static constexpr Multiply kMultiply[kQueries] = {multiply<1>, multiply<2>,  multiply<3>,  multiply<4>,
                                                   multiply<5>, multiply<6>,  multiply<7>,  multiply<8>,
                                                   multiply<9>, multiply<10>, multiply<11>, multiply<12>};

  static void score(const QueryTile& t, const NarrowQueries& q, int64_t rows, const char* keys) {
    for (int64_t j = 0; j < t.stride; j += kPanelColumns)
      kMultiply[rows - 1](q.queries, q.depth * 2, keys + j * q.depth * 2, q.depth / 2, t.scores + j,
                          t.stride);
  }
  static void weigh(const QueryTile& t, const NarrowQueries& q, int64_t rows, const char* values, int64_t c) {
    const int64_t end = least(kSums, t.a->head_dim - c);
    for (int64_t d = 0; d < end; d += kPanelColumns)
      kMultiply[rows - 1](q.weights, t.stride * 2, values + (c + d) * q.block * 2, t.stride / 2, q.sums + d,
                          kSums);
  }
};

}  // namespace
}  // namespace headrace

#endif
