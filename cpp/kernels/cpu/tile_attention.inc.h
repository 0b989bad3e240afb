// Attention of one head over one sequence on AMX tiles: queries, keys, weights and values as bf16, sums and
// the softmax in f32. As attention.inc.h, block by block of keys, with these shapes:
//
//   keys       [keys / 16][D / 32][16 pairs of d][16 keys][2]       the weights of a GEMM: scores = q k^T
//   values     [keys / 32][D / 16][16 pairs of keys][16 columns][2] those of another: out = p v
//   queries    [16][D] and p [16][keys] of a tile of queries        their rows
//
// all between zeros up to whole tiles. A head whose size is no multiple of 16 goes the way of
// attention.inc.h.
#pragma once

#include "kernels/cpu/tile_gemm.inc.h"

namespace headrace {
namespace {

constexpr int64_t kTileKeyBlock = 256;
constexpr int64_t kTileSize = kTileRows * kTileBytes;  // bytes
constexpr int64_t kTileDepth = kTileBytes / 2;         // numbers of a tile's row
constexpr int64_t kMostColumnTiles = 4;                // sums at a time

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

inline void store_tile_row(char* tile, int64_t row, IntVec values) {
  _mm512_storeu_si512(tile + row * kTileBytes, values);
}

void pack_tile_keys(const float* keys, int64_t ld, int64_t count, int64_t head_dim, char* to) {
  const int64_t padded = round_up(count, 2 * kTileColumns);
  for (int64_t begin = 0; begin < padded; begin += kTileColumns)
    for (int64_t d = 0; d < head_dim; d += kTileDepth, to += kTileSize) {
      IntVec rows[16];
      for (int64_t r = 0; r < 16; ++r)
        rows[r] = begin + r < count ? narrow_row(keys + (begin + r) * ld + d, head_dim - d) : splat_int(0);
      transpose_tile(rows);
      for (int64_t r = 0; r < 16; ++r) store_tile_row(to, r, rows[r]);
    }
}

void pack_tile_values(const float* values, int64_t ld, int64_t count, int64_t head_dim, char* to) {
  alignas(64) uint16_t order[32];
  for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
  const IntVec interleaved = load_int(order);
  for (int64_t begin = 0; begin < count; begin += kTileDepth)
    for (int64_t d = 0; d < head_dim; d += kTileColumns, to += kTileSize)
      for (int64_t r = 0; r < 16; ++r) {
        const int64_t key = begin + 2 * r;
        const float* const value = values + key * ld + d;
        const Vec first_key = key < count ? load(value) : splat(0.0f);
        const Vec second_key = key + 1 < count ? load(value + ld) : splat(0.0f);
        store_tile_row(to, r, _mm512_permutexvar_epi16(interleaved, narrow_two(first_key, second_key)));
      }
}

// What a tile of queries is worked on with, and where it is in the scratch.
struct TileQueries {
  char* queries;  // [16][D] bf16
  char* weights;  // [16][keys of a block] bf16
  float* sums;    // [16][64]
  int64_t depth;  // D up to whole tiles
};

// scores [16][t.stride] of the keys that `keys` begins with.
inline void score_on_tiles(const QueryTile& t, const TileQueries& q, const char* keys) {
  const int64_t steps = q.depth / kTileDepth, row_bytes = q.depth * 2, score_bytes = t.stride * 4;
  for (int64_t j = 0; j < t.stride; j += 2 * kTileColumns) {
    const char* const second = keys + steps * kTileSize;
    tile_zero<0>();
    tile_zero<1>();
    for (int64_t i = 0; i < steps; ++i) {
      tile_load<4>(q.queries + i * kTileBytes, row_bytes);
      tile_load<6>(keys + i * kTileSize, kTileBytes);
      tile_load<7>(second + i * kTileSize, kTileBytes);
      tile_dot_bf16<0, 4, 6>();
      tile_dot_bf16<1, 4, 7>();
    }
    tile_store<0>(t.scores + j, score_bytes);
    tile_store<1>(t.scores + j + kTileColumns, score_bytes);
    keys += 2 * steps * kTileSize;
  }
}

// sums [16][16 kColumns] = weights times values, from the tile of columns that `values` begins with.
template <int kColumns>
inline void weigh_values(const TileQueries& q, int64_t keys, int64_t weight_bytes, const char* values,
                         int64_t step_bytes) {
  tile_zero<0>();
  if constexpr (kColumns > 1) tile_zero<1>();
  if constexpr (kColumns > 2) tile_zero<2>();
  if constexpr (kColumns > 3) tile_zero<3>();
  for (int64_t j = 0; j < keys; j += kTileDepth, values += step_bytes) {
    tile_load<4>(q.weights + j * 2, weight_bytes);
    tile_load<6>(values, kTileBytes);
    tile_dot_bf16<0, 4, 6>();
    if constexpr (kColumns > 1) tile_load<7>(values + kTileSize, kTileBytes), tile_dot_bf16<1, 4, 7>();
    if constexpr (kColumns > 2) tile_load<6>(values + 2 * kTileSize, kTileBytes), tile_dot_bf16<2, 4, 6>();
    if constexpr (kColumns > 3) tile_load<7>(values + 3 * kTileSize, kTileBytes), tile_dot_bf16<3, 4, 7>();
  }
  constexpr int64_t kBytes = kMostColumnTiles * kTileBytes;
  tile_store<0>(q.sums, kBytes);
  if constexpr (kColumns > 1) tile_store<1>(q.sums + kTileColumns, kBytes);
  if constexpr (kColumns > 2) tile_store<2>(q.sums + 2 * kTileColumns, kBytes);
  if constexpr (kColumns > 3) tile_store<3>(q.sums + 3 * kTileColumns, kBytes);
}

// Rows [t.row, t.row + rows) of the output, one block of keys further. maximum, sum: of these rows.
void attend_on_tiles(const QueryTile& t, const TileQueries& q, int64_t rows, const char* keys,
                     const char* values, float* maximum, float* sum) {
  using Weigh = void (*)(const TileQueries&, int64_t, int64_t, const char*, int64_t);
  constexpr Weigh kWeigh[] = {weigh_values<1>, weigh_values<2>, weigh_values<3>, weigh_values<4>};
  const Attention& a = *t.a;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < q.depth; d += kTileDepth)
      _mm512_storeu_si512(q.queries + (r * q.depth + d) * 2,
                          narrow_row(a.q + (t.row + r) * a.ld + d, a.head_dim - d));
  score_on_tiles(t, q, keys);
  float old[kTileRows], final[kTileRows];
  for (int64_t r = 0; r < rows; ++r) {
    old[r] = weigh_row(t, static_cast<int>(r), &maximum[r], &sum[r]);
    final[r] = t.is_last ? 1.0f / sum[r] : 1.0f;
    const float* const weights = t.scores + r * t.stride;
    for (int64_t j = 0; j < t.stride; j += kTileDepth)
      _mm512_storeu_si512(q.weights + (r * t.stride + j) * 2, narrow_row(weights + j, t.count() - j));
  }
  const int64_t column_tiles = a.head_dim / kTileColumns;
  for (int64_t c = 0; c < column_tiles; c += kMostColumnTiles) {
    const int64_t tiles = least(kMostColumnTiles, column_tiles - c);
    kWeigh[tiles - 1](q, t.stride, t.stride * 2, values + c * kTileSize, column_tiles * kTileSize);
    for (int64_t r = 0; r < rows; ++r) {
      float* const out = a.out + (t.row + r) * a.ldo + c * kTileColumns;
      const float* const sums = q.sums + r * kMostColumnTiles * kTileColumns;
      for (int64_t d = 0; d < tiles * kTileColumns; d += kLanes) {
        Vec value = load(sums + d);
        if (!t.is_first) value = mul_add(load(out + d), splat(old[r]), value);
        store(out + d, mul(value, splat(final[r])));
      }
    }
  }
}

int64_t tile_attention_scratch(int64_t length, int64_t head_dim) {
  const int64_t block = round_up(least(length, kTileKeyBlock), kTileDepth);
  const int64_t depth = round_up(head_dim, kTileDepth);
  const int64_t on_tiles = block * depth / 2 + block * head_dim / 2 + kTileRows * depth / 2 +
                           kTileRows * block * 3 / 2 + kLanes + kTileRows * kMostColumnTiles * kTileColumns +
                           2 * length;
  const int64_t on_vectors = attention_scratch(length, head_dim);
  return on_tiles > on_vectors ? on_tiles : on_vectors;
}

void tile_attention(const Attention& a) {
  if (a.head_dim % kTileColumns != 0) return attention(a);
  const int64_t block = round_up(least(a.length, kTileKeyBlock), kTileDepth);
  const int64_t depth = round_up(a.head_dim, kTileDepth);
  float* const keys = a.scratch;
  float* const values = keys + block * depth / 2;
  float* const queries = values + block * a.head_dim / 2;
  float* const scores = queries + kTileRows * depth / 2;
  float* const weights = scores + kTileRows * block + kLanes;  // a row's last vector may stand over
  float* const sums = weights + kTileRows * block / 2;
  float* const maximum = sums + kTileRows * kMostColumnTiles * kTileColumns;
  float* const sum = maximum + a.length;
  const TileQueries q{reinterpret_cast<char*>(queries), reinterpret_cast<char*>(weights), sums, depth};
  // Rows past the last query are computed, and read by nobody.
  __builtin_memset(queries, 0, static_cast<size_t>(kTileRows * depth * 2));
  __builtin_memset(weights, 0, static_cast<size_t>(kTileRows * block * 2));
  shape_tiles(kTileRows, kTileRows);
  each_key_block<kTileKeyBlock, kTileRows>(
      a,
      [&](int64_t begin, int64_t end) {
        pack_tile_keys(a.k + begin * a.ld, a.ld, end - begin, a.head_dim, reinterpret_cast<char*>(keys));
        pack_tile_values(a.v + begin * a.ld, a.ld, end - begin, a.head_dim, reinterpret_cast<char*>(values));
      },
      [&](QueryTile t, int64_t rows, int64_t skipped) {
        t.scores = scores;
        t.stride = round_up(t.count(), kTileDepth);
        attend_on_tiles(t, q, rows, reinterpret_cast<const char*>(keys) + skipped * depth * 2,
                        reinterpret_cast<const char*>(values) + skipped * a.head_dim * 2, maximum + t.row,
                        sum + t.row);
      });
  tile_release();
}

}  // namespace
}  // namespace headrace
