// Blocked f32 GEMM on packed panels, and the tile that attention shares with it.
//
// A tile of up to kRowTile rows x kPanelVectors vectors of columns lives in registers while k runs from 0 to
// K, so each output is one chain of multiply-adds in ascending k whatever tile it falls into. The panel of
// weights streams from L2; the rows of x are broadcast from L1.
#pragma once

#include "kernels/cpu/activations.h"
#include "kernels/cpu/dot.h"

namespace headrace {
namespace {

// acc[r][v] += sum_k x[r * ldx + k] * w[k * ldw + v * kLanes ...]
//
// Three rows share one pointer (row, row + ldx, row + 2 ldx are all one x86 address), so the 14 rows of a
// tile need five registers and no address arithmetic in the loop. The panel is asked for kPrefetch steps
// ahead: the hardware's prefetcher keeps L2 filled but not L1 (measured on Sapphire Rapids: 165 -> 180
// GFLOP/s).
// w: f32, or bf16 as uint16_t.
template <int kRows, int kVectors, typename Weight>
inline __attribute__((always_inline)) void multiply_more(const float* x, int64_t ldx, const Weight* w,
                                                         int64_t ldw, int64_t k,
                                                         Vec (&acc)[kRows][kVectors]) {
  constexpr int kGroups = (kRows + 2) / 3;
  constexpr int64_t kPrefetch = 16;
  const char* groups[kGroups];
  const int64_t stride = ldx * static_cast<int64_t>(sizeof(float));
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) groups[g] = reinterpret_cast<const char*>(x) + 3 * g * stride;
#pragma GCC unroll 1
  for (int64_t i = 0; i < k; ++i, w += ldw) {
    Vec weights[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      weights[v] = load_as_f32(w + v * kLanes);
      __builtin_prefetch(w + v * kLanes + kPrefetch * kPanelColumns, 0, 3);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec input = splat(*reinterpret_cast<const float*>(groups[r / 3] + (r % 3) * stride));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[r][v] = mul_add(input, weights[v], acc[r][v]);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) groups[g] += sizeof(float);
  }
}

// The same from zero.
template <int kRows, int kVectors, typename Weight>
inline __attribute__((always_inline)) void multiply_tile(const float* x, int64_t ldx, const Weight* w,
                                                         int64_t ldw, int64_t k,
                                                         Vec (&acc)[kRows][kVectors]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[r][v] = splat(0.0f);
  multiply_more(x, ldx, w, ldw, k, acc);
}

// Adds bias, applies the activation and adds the residual, a vector at a time; columns past `columns` are not
// touched.
template <int kRows, int kVectors>
inline void finish_tile(const Gemm& g, int64_t row, int64_t col, int64_t columns,
                        Vec (&acc)[kRows][kVectors]) {
  Vec bias[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = columns - v * kLanes;
    bias[v] = !g.bias || left <= 0 ? splat(0.0f)
              : left >= kLanes     ? load(g.bias + col + v * kLanes)
                                   : load_first(g.bias + col + v * kLanes, left);
  }
  const bool whole = columns >= kVectors * kLanes;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* y = g.y + (row + r) * g.ldy + col;
    const float* residual = g.residual ? g.residual + (row + r) * g.ldr + col : nullptr;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Vec value = add(acc[r][v], bias[v]);
      if (whole) {
        if (residual) value = add(value, load(residual + v * kLanes));
        store(y + v * kLanes, value);
      } else if (const int64_t left = columns - v * kLanes; left > 0) {
        const int64_t count = left < kLanes ? left : kLanes;
        if (residual) value = add(value, load_first(residual + v * kLanes, count));
        store_first(y + v * kLanes, value, count);
      }
    }
  }
}

// The activation runs over the tile just stored: it is still in L1, and its constants would not fit beside
// the accumulators.
inline void activate_tile(const Gemm& g, int64_t row, int64_t rows, int64_t col, int64_t columns) {
  for (int64_t r = row; r < row + rows; ++r) {
    float* y = g.y + r * g.ldy + col;
    const float* residual = g.residual ? g.residual + r * g.ldr + col : nullptr;
    for (int64_t c = 0; c < columns; c += kLanes) {
      const int64_t count = columns - c < kLanes ? columns - c : kLanes;
      Vec value = activate(load_first(y + c, count), g.activation);
      if (residual) value = add(value, load_first(residual + c, count));
      store_first(y + c, value, count);
    }
  }
}

template <int kRows>
void gemm_rows(const Gemm& g, int64_t row, int64_t col_begin, int64_t col_end) {
  Gemm plain = g;
  if (g.activation != Activation::kNone) plain.residual = nullptr;  // added after the activation
  for (int64_t col = col_begin; col < col_end; col += kPanelColumns) {
    Vec acc[kRows][kPanelVectors];
    multiply_tile(g.x + row * g.ldx, g.ldx, g.packed_w + col * g.k, kPanelColumns, g.k, acc);
    const int64_t columns = col_end - col < kPanelColumns ? col_end - col : kPanelColumns;
    finish_tile(plain, row, col, columns, acc);
    if (g.activation != Activation::kNone) activate_tile(g, row, kRows, col, columns);
  }
}

using GemmRows = void (*)(const Gemm&, int64_t row, int64_t col_begin, int64_t col_end);
#if defined(__AVX512F__)
constexpr GemmRows kGemmRows[] = {gemm_rows<1>,  gemm_rows<2>,  gemm_rows<3>,  gemm_rows<4>, gemm_rows<5>,
                                  gemm_rows<6>,  gemm_rows<7>,  gemm_rows<8>,  gemm_rows<9>, gemm_rows<10>,
                                  gemm_rows<11>, gemm_rows<12>, gemm_rows<13>, gemm_rows<14>};
#else
constexpr GemmRows kGemmRows[] = {gemm_rows<1>, gemm_rows<2>, gemm_rows<3>,
                                  gemm_rows<4>, gemm_rows<5>, gemm_rows<6>};
#endif

// How many columns all rows pass over before the next: their weights come from L3 once and from L2 for the
// other tiles of rows. L3 is too slow to feed the arithmetic on many processors (Granite Rapids, 512 rows,
// 3072 x 768 weights: 150 -> 167 GFLOP/s).
inline int64_t column_group(int64_t panel_bytes) {
  constexpr int64_t kGroupBytes = 256 << 10;
  const int64_t panels = kGroupBytes / (panel_bytes + 1);
  return (panels > 1 ? panels : 1) * kPanelColumns;
}

// Calls rows(row, end, col, col_end) for tiles of nearly equal height: 15 rows go as 8 + 7, not 14 + 1, since
// a low tile cannot hide the latency of its multiply-adds.
template <typename Rows>
inline __attribute__((always_inline)) void each_tile(int64_t row_begin, int64_t row_end, int64_t row_tile,
                                                     int64_t col_begin, int64_t col_end, int64_t panel_bytes,
                                                     const Rows& rows) {
  const int64_t count = row_end - row_begin, tiles = (count + row_tile - 1) / row_tile;
  const int64_t group = column_group(panel_bytes);
  for (int64_t col = col_begin; col < col_end; col += group)
    for (int64_t tile = 0; tile < tiles; ++tile)
      rows(row_begin + count * tile / tiles, row_begin + count * (tile + 1) / tiles, col,
           least(col + group, col_end));
}

// Rows of a tile, where it has up to `most` and rows are so many bytes apart. A multiple of 4,096 puts all of
// them on one set of L1, which holds 8 or 12 lines: more rows throw each other out at every step (Zen 4, k a
// multiple of 1,024: 60 GFLOP/s with 14 rows).
constexpr int64_t rows_of_tile(int64_t stride, int64_t most) {
  constexpr int64_t kSetStride = 4096, kWays = 7;  // and one for the weights
  return stride % kSetStride == 0 && most > kWays ? kWays : most;
}

void gemm(const Gemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin, int64_t col_end) {
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  each_tile(row_begin, row_end, rows_of_tile(g.ldx * kFloat, kRowTile), col_begin, col_end,
            g.k * kPanelColumns * kFloat, [&](int64_t row, int64_t end, int64_t col, int64_t stop) {
              kGemmRows[end - row - 1](g, row, col, stop);
            });
}

void pack_weights(const float* w, int64_t n, int64_t k, float* packed) {
  for (int64_t panel = 0; panel < n; panel += kPanelColumns, packed += kPanelColumns * k)
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      const float* row = panel + c < n ? w + (panel + c) * k : nullptr;
      for (int64_t i = 0; i < k; ++i) packed[i * kPanelColumns + c] = row ? row[i] : 0.0f;
    }
}

}  // namespace
}  // namespace headrace
