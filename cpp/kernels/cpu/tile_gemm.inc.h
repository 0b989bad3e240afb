// The GEMMs of narrow.inc.h on AMX tiles, over the same rows and panels.
//
//   tile 0 1 2 3: sums, 16 rows x 16 columns each      4, 5: rows of x, 16 x 64 bytes      6, 7: weights
//
//   32 rows:           sums are [2 row tiles][2 halves of a panel]; each load serves two products
//   at most 16 rows:   sums are [2 panels][2 halves], so that four chains still hide the latency of a product
//
// A sum's order is set by k alone, so the way rows fall into tiles changes no bit. Where four bytes do not
// come out to a whole 64, the rest is copied between zeros.
#pragma once

#include "kernels/cpu/narrow.inc.h"
#include "kernels/cpu/tiles.h"

namespace headrace {
namespace {

constexpr int64_t kTileRows = 16, kTileBytes = 64, kTileColumns = 16;
constexpr int64_t kPanelStride = kPanelColumns * 4;
static_assert(kPanelColumns == 2 * kTileColumns, "a panel is two tiles wide");

template <typename Format, int kC, int kA, int kB>
inline void tile_dot() {
  if constexpr (Format::kGroup == 2)
    tile_dot_bf16<kC, kA, kB>();
  else
    tile_dot_int8<kC, kA, kB>();
}

// first, second: rows of the two row tiles; second may be 0.
inline void shape_tiles(int64_t first, int64_t second) {
  TileShapes shapes;
  const int64_t rows[8] = {
      first, first, second ? second : first, second ? second : first, first, second, kTileRows, kTileRows};
  for (int t = 0; t < 8; ++t) {
    shapes.rows[t] = static_cast<uint8_t>(rows[t]);
    shapes.row_bytes[t] = rows[t] ? kTileBytes : 0;
  }
  tile_configure(shapes);
}

// The last bytes of up to 32 rows, and the last steps of two panels, between zeros.
struct TileRest {
  alignas(64) char x[2 * kTileRows * kTileBytes];
  alignas(64) char w[2][kTileRows * kPanelStride];
};

inline void copy_rest_of_rows(const char* x, int64_t stride, int64_t rows, int64_t rest, TileRest& to) {
  __builtin_memset(to.x, 0, sizeof to.x);
  for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(to.x + r * kTileBytes, x + r * stride, rest);
}

inline void copy_rest_of_panel(const char* w, int64_t rest, char* to) {
  __builtin_memset(to, 0, kTileRows * kPanelStride);
  __builtin_memcpy(to, w, rest / 4 * kPanelStride);
}

// One step of 64 bytes of k.
template <typename Format>
inline void step_two_row_tiles(const char* x, int64_t stride, const char* w) {
  tile_load<4>(x, stride);
  tile_load<6>(w, kPanelStride);
  tile_load<7>(w + kTileBytes, kPanelStride);
  tile_load<5>(x + kTileRows * stride, stride);
  tile_dot<Format, 0, 4, 6>();
  tile_dot<Format, 1, 4, 7>();
  tile_dot<Format, 2, 5, 6>();
  tile_dot<Format, 3, 5, 7>();
}

template <typename Format>
inline void step_two_panels(const char* x, int64_t stride, const char* w, const char* next, bool both) {
  tile_load<4>(x, stride);
  tile_load<6>(w, kPanelStride);
  tile_load<7>(w + kTileBytes, kPanelStride);
  tile_dot<Format, 0, 4, 6>();
  tile_dot<Format, 1, 4, 7>();
  if (!both) return;
  tile_load<6>(next, kPanelStride);
  tile_load<7>(next + kTileBytes, kPanelStride);
  tile_dot<Format, 2, 4, 6>();
  tile_dot<Format, 3, 4, 7>();
}

inline void zero_sums() {
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
}

// From the sums in `sums` [rows][kPanelColumns] (as the tile unit leaves them) to y.
template <typename Format>
void finish_tiles(const NarrowGemm& g, int64_t row, int64_t rows, int64_t col, int64_t col_end,
                  const char* panel, char* sums) {
  const int64_t steps = steps_of<Format>(g.k), stride = Format::row_bytes(g.k);
  const char* x = static_cast<const char*>(g.x) + row * stride;
  for (int64_t r = 0; r < rows; ++r)
    for (int v = 0; v < kPanelVectors; ++v) {
      char* at = sums + (r * kPanelColumns + v * kLanes) * 4;
      const auto acc = reinterpret_cast<typename Format::Acc>(load_int(at));
      store(reinterpret_cast<float*>(at), Format::value(acc, x + r * stride, panel, steps, v));
    }
  finish_narrow(g, row, rows, col, least(kPanelColumns, col_end - col), reinterpret_cast<float*>(sums));
}

template <typename Format>
void tile_block(const NarrowGemm& g, int64_t row, int64_t rows, int64_t col_begin, int64_t col_end) {
  const int64_t bytes = steps_of<Format>(g.k) * 4, stride = Format::row_bytes(g.k);
  const int64_t whole = bytes / kTileBytes * kTileBytes, rest = bytes - whole;
  const int64_t panel_bytes = Format::panel_bytes(g.k);
  const char* x = static_cast<const char*>(g.x) + row * stride;
  const bool two_row_tiles = rows > kTileRows;
  const int64_t panels_at_once = two_row_tiles ? 1 : 2;
  TileRest tail;
  alignas(64) char sums[2][kTileRows * kPanelStride];  // as one: [32 rows], or a panel each
  if (rest) copy_rest_of_rows(x + whole, stride, rows, rest, tail);
  shape_tiles(least(rows, kTileRows), two_row_tiles ? rows - kTileRows : 0);
  for (int64_t col = col_begin; col < col_end; col += panels_at_once * kPanelColumns) {
    const char* w = static_cast<const char*>(g.packed_w) + col / kPanelColumns * panel_bytes;
    const bool both = !two_row_tiles && col + kPanelColumns < col_end;
    const char* next = both ? w + panel_bytes : w;
    zero_sums();
    for (int64_t i = 0; i < whole; i += kTileBytes) {
      const int64_t at = i / 4 * kPanelStride;
      if (two_row_tiles)
        step_two_row_tiles<Format>(x + i, stride, w + at);
      else
        step_two_panels<Format>(x + i, stride, w + at, next + at, both);
    }
    if (rest) {
      const int64_t at = whole / 4 * kPanelStride;
      copy_rest_of_panel(w + at, rest, tail.w[0]);
      if (both) copy_rest_of_panel(next + at, rest, tail.w[1]);
      if (two_row_tiles)
        step_two_row_tiles<Format>(tail.x, kTileBytes, tail.w[0]);
      else
        step_two_panels<Format>(tail.x, kTileBytes, tail.w[0], tail.w[1], both);
    }
    tile_store<0>(sums[0], kPanelStride);
    tile_store<1>(sums[0] + kTileBytes, kPanelStride);
    if (two_row_tiles || both) {
      tile_store<2>(sums[1], kPanelStride);
      tile_store<3>(sums[1] + kTileBytes, kPanelStride);
    }
    finish_tiles<Format>(g, row, rows, col, col_end, w, sums[0]);
    if (both) finish_tiles<Format>(g, row, rows, col + kPanelColumns, col_end, next, sums[1]);
  }
}

template <typename Format>
void tile_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin, int64_t col_end) {
  for (int64_t row = row_begin; row < row_end; row += 2 * kTileRows)
    tile_block<Format>(g, row, least(2 * kTileRows, row_end - row), col_begin, col_end);
  // The registers' contents are kept over every switch of threads until they are given up.
  tile_release();
}

// Register-only rates, as peak_flops.
template <typename Format>
int64_t tile_peak(int64_t rounds) {
  shape_tiles(kTileRows, kTileRows);
  zero_sums();
  alignas(64) char zeros[kTileRows * kTileBytes] = {};
  tile_load<4>(zeros, kTileBytes);
  tile_load<5>(zeros, kTileBytes);
  tile_load<6>(zeros, kTileBytes);
  tile_load<7>(zeros, kTileBytes);
  for (int64_t round = 0; round < rounds; ++round) {
    tile_dot<Format, 0, 4, 6>();
    tile_dot<Format, 1, 4, 7>();
    tile_dot<Format, 2, 5, 6>();
    tile_dot<Format, 3, 5, 7>();
  }
  tile_release();
  return rounds * 4 * kTileRows * kTileColumns * (kTileBytes / 4) * Format::kGroup * 2;
}

}  // namespace
}  // namespace headrace
