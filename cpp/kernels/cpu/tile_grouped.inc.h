// The GEMMs of grouped.inc.h on AMX tiles, for many rows: the same exact sums of a group, added up in the
// same order, so that a row's result is the same to the last bit on either way.
//
//   tile 0 1 2 3: sums [2 row tiles][2 halves of a panel]      4, 5: rows of x, 16 x 32 bytes      6, 7:
//   weights, 8 x 64
//
// A group is half a tile deep. The sums of some groups are stored first, then all of them are scaled and
// added up.
#pragma once

#include "kernels/cpu/grouped.inc.h"
#include "kernels/cpu/tile_gemm.inc.h"

namespace headrace {
namespace {

constexpr int64_t kGroupsAtOnce = 4;
// With fewer rows, loops over vectors are done sooner.
constexpr int64_t kFewestTileRows = 9;

inline void shape_group_tiles(int64_t first, int64_t second) {
  TileShapes shapes;
  const int64_t rows[8] = {first, first,  second ? second : first, second ? second : first,
                           first, second, kStepsPerGroup,          kStepsPerGroup};
  for (int t = 0; t < 8; ++t) {
    shapes.rows[t] = static_cast<uint8_t>(rows[t]);
    const bool is_x = t == 4 || t == 5;
    shapes.row_bytes[t] = rows[t] ? static_cast<uint16_t>(is_x ? kGroup : kTileBytes) : 0;
  }
  tile_configure(shapes);
}

// Sums [2 row tiles of 16][kPanelColumns] of each of some groups, weights as bytes, and what the sums are
// times, as f32.
struct GroupBlock {
  alignas(64) char sums[kGroupsAtOnce][2 * kTileRows * kPanelStride];
  alignas(64) char weights[kStepsPerGroup * kPanelStride];
  alignas(64) float scales[kGroupsAtOnce][2][kPanelColumns];
};

// The group's weights a byte each, [steps][kPanelColumns][4].
template <typename Format>
inline const char* as_bytes(const char* w, char* to) {
  if constexpr (Format::kGroupBytes == kGroup * kPanelColumns) return w;
  for (int64_t s = 0; s < kStepsPerGroup; s += 2)
    for (int64_t v = 0; v < kPanelVectors; ++v) {
      IntVec first, second;
      Format::load_steps(w, s, v, first, second);
      _mm512_store_si512(to + s * kPanelStride + v * kTileBytes, first);
      _mm512_store_si512(to + (s + 1) * kPanelStride + v * kTileBytes, second);
    }
  return to;
}

inline void sum_group(const char* x, int64_t stride, bool has_second, const char* w, char* sums) {
  tile_zero<0>();
  tile_zero<1>();
  tile_load<4>(x, stride);
  tile_load<6>(w, kPanelStride);
  tile_load<7>(w + kTileBytes, kPanelStride);
  tile_dot_int8<0, 4, 6>();
  tile_dot_int8<1, 4, 7>();
  if (has_second) {
    tile_zero<2>();
    tile_zero<3>();
    tile_load<5>(x + kTileRows * stride, stride);
    tile_dot_int8<2, 5, 6>();
    tile_dot_int8<3, 5, 7>();
    tile_store<2>(sums + kTileRows * kPanelStride, kPanelStride);
    tile_store<3>(sums + kTileRows * kPanelStride + kTileBytes, kPanelStride);
  }
  tile_store<0>(sums, kPanelStride);
  tile_store<1>(sums + kTileBytes, kPanelStride);
}

// totals [rows][kPanelColumns] += what the sums of `count` groups stand for; scales: of the first row's first
// of them.
template <typename Format>
inline void add_groups(const GroupBlock& block, int64_t count, const char* scales, int64_t stride,
                       int64_t rows, float* totals) {
  for (int64_t r = 0; r < rows; ++r, scales += stride, totals += kPanelColumns) {
    Vec total[kPanelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) total[v] = load(totals + v * kLanes);
    for (int64_t i = 0; i < count; ++i) {
      const GroupScale& scale = reinterpret_cast<const GroupScale*>(scales)[i];
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) {
        const IntVec sum = load_int(block.sums[i] + r * kPanelStride + v * kTileBytes);
        const Vec weight = mul(load(block.scales[i][0] + v * kLanes), splat(scale.scale));
        total[v] = mul_add(Format::value(sum, scale), weight, total[v]);
        if constexpr (Format::kHalves == 2)
          total[v] = mul_add(load(block.scales[i][1] + v * kLanes), splat(scale.total), total[v]);
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) store(totals + v * kLanes, total[v]);
  }
}

// Up to 32 rows, for which the tiles are shaped.
template <typename Format>
void grouped_tile_rows(const NarrowGemm& g, int64_t row, int64_t rows, int64_t col_begin, int64_t col_end) {
  const int64_t groups = g.k / kGroup, stride = grouped_row_bytes(g.k);
  const char* const x = static_cast<const char*>(g.x) + row * stride;
  GroupBlock block;
  alignas(64) float totals[2 * kTileRows * kPanelColumns];
  for (int64_t col = col_begin; col < col_end; col += kPanelColumns) {
    const char* w =
        static_cast<const char*>(g.packed_w) + col / kPanelColumns * groups * kStoredGroup<Format>;
    __builtin_memset(totals, 0, sizeof totals);
    for (int64_t group = 0; group < groups; group += kGroupsAtOnce) {
      const int64_t count = least(kGroupsAtOnce, groups - group);
      for (int64_t i = 0; i < count; ++i, w += kStoredGroup<Format>) {
#pragma GCC unroll 16
        for (int64_t b = 0; b < kStoredGroup<Format>; b += 64) __builtin_prefetch(w + kAhead + b, 0, 3);
        sum_group(x + (group + i) * kGroup, stride, rows > kTileRows, as_bytes<Format>(w, block.weights),
                  block.sums[i]);
        for (int64_t h = 0; h < Format::kHalves; ++h)
          for (int v = 0; v < kPanelVectors; ++v)
            store(block.scales[i][h] + v * kLanes,
                  load_halves(w + Format::kGroupBytes + (h * kPanelColumns + v * kLanes) * 2));
      }
      add_groups<Format>(block, count, x + g.k + group * static_cast<int64_t>(sizeof(GroupScale)), stride,
                         rows, totals);
    }
    finish_narrow(g, row, rows, col, least(kPanelColumns, col_end - col), totals);
  }
}

template <typename Format>
void grouped_tile_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin,
                       int64_t col_end) {
  const int64_t group = column_group(g.k / kGroup * kStoredGroup<Format>);
  const int64_t on_tiles = (row_end - row_begin) % (2 * kTileRows) < kFewestTileRows
                               ? row_begin + (row_end - row_begin) / (2 * kTileRows) * (2 * kTileRows)
                               : row_end;
  for (int64_t col = col_begin; on_tiles > row_begin && col < col_end; col += group)
    for (int64_t row = row_begin; row < on_tiles; row += 2 * kTileRows) {
      const int64_t rows = least(2 * kTileRows, on_tiles - row);
      if (row == row_begin || rows < 2 * kTileRows)
        shape_group_tiles(least(rows, kTileRows), rows > kTileRows ? rows - kTileRows : 0);
      grouped_tile_rows<Format>(g, row, rows, col, least(col + group, col_end));
    }
  if (on_tiles > row_begin) tile_release();
  if (on_tiles < row_end) grouped_gemm<Format>(g, on_tiles, row_end, col_begin, col_end);
}

}  // namespace
}  // namespace headrace
