// The products of narrow_attention.inc.h on AMX tiles:
//
//   keys       [keys / 16][D / 32][16 pairs of d][16 keys][2]       the weights of a GEMM: scores = q k^T
//   values     [keys / 32][D / 16][16 pairs of keys][16 columns][2] those of another: out = p v
//   queries    [16][D] and p [16][keys] of a tile of queries        their rows
//
// all between zeros up to whole tiles.
#pragma once

#include "kernels/cpu/narrow_attention.inc.h"
#include "kernels/cpu/tile_gemm.inc.h"

namespace headrace {
namespace {

struct TileProducts {
  static constexpr int64_t kQueries = kTileRows;
  static constexpr int64_t kTileSize = kTileRows * kTileBytes;  // bytes
  static constexpr int64_t kTileDepth = kTileBytes / 2;         // numbers of a tile's row

  static void begin() { shape_tiles(kTileRows, kTileRows); }
  static void end() { tile_release(); }

  static char* key_row(char* keys, int64_t key, int64_t d, int64_t depth) {
    return keys + (key / kTileColumns * (depth / kTileDepth) + d / kTileDepth) * kTileSize +
           d % kTileDepth / 2 * kTileBytes;
  }
  static char* value_row(char* values, int64_t pair, int64_t d, int64_t head_dim, int64_t) {
    return values + (pair / kTileRows * (head_dim / kTileColumns) + d / kTileColumns) * kTileSize +
           pair % kTileRows * kTileBytes;
  }

  static void score(const QueryTile& t, const NarrowQueries& q, int64_t, const char* keys) {
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
  static void weigh_columns(const NarrowQueries& q, int64_t keys, int64_t weight_bytes, const char* values,
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
    constexpr int64_t kBytes = kSums * 4;
    tile_store<0>(q.sums, kBytes);
    if constexpr (kColumns > 1) tile_store<1>(q.sums + kTileColumns, kBytes);
    if constexpr (kColumns > 2) tile_store<2>(q.sums + 2 * kTileColumns, kBytes);
    if constexpr (kColumns > 3) tile_store<3>(q.sums + 3 * kTileColumns, kBytes);
  }

  static void weigh(const QueryTile& t, const NarrowQueries& q, int64_t, const char* values, int64_t c) {
    using Weigh = void (*)(const NarrowQueries&, int64_t, int64_t, const char*, int64_t);
    constexpr Weigh kWeigh[] = {weigh_columns<1>, weigh_columns<2>, weigh_columns<3>, weigh_columns<4>};
    const int64_t tiles = least(kSums, t.a->head_dim - c) / kTileColumns;
    const int64_t column_tiles = t.a->head_dim / kTileColumns;
    kWeigh[tiles - 1](q, t.stride, t.stride * 2, values + c / kTileColumns * kTileSize,
                      column_tiles * kTileSize);
  }
};

}  // namespace
}  // namespace headrace
