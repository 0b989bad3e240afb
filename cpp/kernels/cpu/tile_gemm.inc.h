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

// A block of sums as the tile unit left it, [rows][kPanelColumns] of one panel, on its way to y.
struct TileSums {
  const char* sums;
  const char* panel;
  int64_t row, rows, col;
  int64_t done;  // rows that are in y
};

// Takes up to `count` rows of a whole panel further. All that the rows share is in registers: `g` is a copy,
// since the compiler would read a caller's again after each store.
template <typename Format, Activation kActivation>
inline __attribute__((always_inline)) void finish_tile_rows(const NarrowGemm g, TileSums& tile,
                                                            int64_t count) {
  const int64_t steps = steps_of<Format>(g.k), stride = Format::row_bytes(g.k);
  const int64_t end = least(tile.done + count, tile.rows), first_row = tile.row + tile.done;
  const char* x = static_cast<const char*>(g.x) + first_row * stride;
  const char* sums = tile.sums + tile.done * kPanelStride;
  const float* residual = g.residual ? g.residual + first_row * g.ldr + tile.col : nullptr;
  float* y = g.y ? g.y + first_row * g.ldy + tile.col : nullptr;
  auto* bf16_y = g.bf16_y ? static_cast<uint16_t*>(g.bf16_y) + first_row * g.n + tile.col : nullptr;
  const float* const bias = g.bias ? g.bias + tile.col : nullptr;
  for (int64_t r = tile.done; r < end; ++r, x += stride, sums += kPanelStride) {
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) {
      const int64_t at = v * kLanes;
      const auto acc = reinterpret_cast<typename Format::Acc>(load_int(sums + v * kTileBytes));
      Vec value = Format::value(acc, x, tile.panel, steps, v);
      if (bias) value = add(value, load(bias + at));
      value = activate_coarsely(value, kActivation);
      if (residual) value = add(value, load(residual + at));
      if (y) store(y + at, value);
      if (bf16_y) store_bf16(bf16_y + at, value);
    }
    if (residual) residual += g.ldr;
    if (y) y += g.ldy;
    if (bf16_y) bf16_y += g.n;
  }
  tile.done = end;
}

// All rows of a panel that the matrix does not fill.
template <typename Format>
void finish_last_columns(const NarrowGemm& g, const TileSums& tile, int64_t columns) {
  const int64_t steps = steps_of<Format>(g.k), stride = Format::row_bytes(g.k);
  const char* x = static_cast<const char*>(g.x) + tile.row * stride;
  for (int64_t r = 0; r < tile.rows; ++r, x += stride) {
    for (int v = 0; v * kLanes < columns; ++v) {
      const char* const sums = tile.sums + r * kPanelStride + v * kTileBytes;
      const auto acc = reinterpret_cast<typename Format::Acc>(load_int(sums));
      finish_lanes(g, tile.row + r, tile.col + v * kLanes, least(kLanes, columns - v * kLanes),
                   Format::value(acc, x, tile.panel, steps, v));
    }
  }
}

template <typename Format, Activation kActivation>
inline __attribute__((always_inline)) void finish_tile(const NarrowGemm& g, TileSums& tile, int64_t col_end) {
  if (tile.col + kPanelColumns <= col_end)
    finish_tile_rows<Format, kActivation>(g, tile, tile.rows);
  else
    finish_last_columns<Format>(g, tile, col_end - tile.col);
}

// Weights of the columns that come next, on their way to L2: a share of them with every step, since the whole
// would keep the first rows waiting.
struct Ahead {
  const char* next;
  const char* end;
  int64_t lines;  // a step
};

inline __attribute__((always_inline)) void fetch(Ahead& ahead) {
  if (ahead.next >= ahead.end) return;
  for (int64_t i = 0; i < ahead.lines; ++i, ahead.next += kTileBytes) __builtin_prefetch(ahead.next, 0, 2);
}

// Whether sums are finished between the products that follow, a few rows each, or all after them. (Measured
// on MiniLM: in bf16 between is 10 % faster for the whole model; in int8, with half as many steps, 7 %
// slower.)
template <typename Format>
constexpr bool kFinishesBetween = Format::kGroup == 2;

// 17 to 32 rows, for which the tiles are shaped. What is left of the block before, in *last, is finished
// between the products: the tile unit works on while its sums are added up.
template <typename Format, Activation kActivation>
void two_row_tiles(const NarrowGemm& g, int64_t row, int64_t rows, int64_t col_begin, int64_t col_end,
                   char (&sums)[2][2 * kTileRows * kPanelStride], TileSums* last, Ahead* ahead) {
  const int64_t bytes = steps_of<Format>(g.k) * 4, stride = Format::row_bytes(g.k);
  const int64_t steps = bytes / kTileBytes, rest = bytes % kTileBytes;
  [[maybe_unused]] const int64_t finish_rows = (2 * kTileRows + steps) / (steps + 1);
  const char* const x = static_cast<const char*>(g.x) + row * stride;
  TileRest tail;
  if (rest) copy_rest_of_rows(x + steps * kTileBytes, stride, rows, rest, tail);
  TileSums before = *last;
  Ahead coming = *ahead;
  for (int64_t col = col_begin; col < col_end; col += kPanelColumns) {
    const char* const panel =
        static_cast<const char*>(g.packed_w) + col / kPanelColumns * Format::panel_bytes(g.k);
    const char* w = panel;
    zero_sums();
    for (int64_t i = 0; i < steps; ++i, w += kTileRows * kPanelStride) {
      step_two_row_tiles<Format>(x + i * kTileBytes, stride, w);
      fetch(coming);
      if constexpr (kFinishesBetween<Format>)
        if (before.done < before.rows) finish_tile_rows<Format, kActivation>(g, before, finish_rows);
    }
    if (rest) {
      copy_rest_of_panel(w, rest, tail.w[0]);
      step_two_row_tiles<Format>(tail.x, kTileBytes, tail.w[0]);
    }
    finish_tile_rows<Format, kActivation>(g, before, before.rows);
    char* const block = before.sums == sums[0] ? sums[1] : sums[0];
    tile_store<0>(block, kPanelStride);
    tile_store<1>(block + kTileBytes, kPanelStride);
    tile_store<2>(block + kTileRows * kPanelStride, kPanelStride);
    tile_store<3>(block + kTileRows * kPanelStride + kTileBytes, kPanelStride);
    before = {block, panel, row, rows, col, 0};
    if (col + kPanelColumns > col_end) {
      finish_last_columns<Format>(g, before, col_end - col);
      before.done = rows;
    }
  }
  *last = before;
  *ahead = coming;
}

// Up to 16 rows.
template <typename Format, Activation kActivation>
void two_panels(const NarrowGemm& g, int64_t row, int64_t rows, int64_t col_begin, int64_t col_end,
                char (&sums)[2][2 * kTileRows * kPanelStride]) {
  const int64_t bytes = steps_of<Format>(g.k) * 4, stride = Format::row_bytes(g.k);
  const int64_t steps = bytes / kTileBytes, rest = bytes % kTileBytes;
  const int64_t panel_bytes = Format::panel_bytes(g.k);
  const char* const x = static_cast<const char*>(g.x) + row * stride;
  TileRest tail;
  if (rest) copy_rest_of_rows(x + steps * kTileBytes, stride, rows, rest, tail);
  for (int64_t col = col_begin; col < col_end; col += 2 * kPanelColumns) {
    const bool both = col + kPanelColumns < col_end;
    const char* const panel = static_cast<const char*>(g.packed_w) + col / kPanelColumns * panel_bytes;
    const char* w = panel;
    zero_sums();
    for (int64_t i = 0; i < steps; ++i, w += kTileRows * kPanelStride)
      step_two_panels<Format>(x + i * kTileBytes, stride, w, w + panel_bytes, both);
    if (rest) {
      copy_rest_of_panel(w, rest, tail.w[0]);
      if (both) copy_rest_of_panel(w + panel_bytes, rest, tail.w[1]);
      step_two_panels<Format>(tail.x, kTileBytes, tail.w[0], tail.w[1], both);
    }
    tile_store<0>(sums[0], kPanelStride);
    tile_store<1>(sums[0] + kTileBytes, kPanelStride);
    TileSums first{sums[0], panel, row, rows, col, 0};
    if (both) {
      tile_store<2>(sums[1], kPanelStride);
      tile_store<3>(sums[1] + kTileBytes, kPanelStride);
      TileSums second{sums[1], panel + panel_bytes, row, rows, col + kPanelColumns, 0};
      finish_tile<Format, kActivation>(g, second, col_end);
    }
    finish_tile<Format, kActivation>(g, first, col_end);
  }
}

template <typename Format, Activation kActivation>
void tile_gemm_with(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin,
                    int64_t col_end) {
  alignas(64) char sums[2][2 * kTileRows * kPanelStride];
  TileSums last{};
  const int64_t group = column_group(Format::panel_bytes(g.k));
  for (int64_t col = col_begin; col < col_end; col += group) {
    const int64_t stop = least(col + group, col_end);
    const char* const next =
        static_cast<const char*>(g.packed_w) + stop / kPanelColumns * Format::panel_bytes(g.k);
    const int64_t coming = (least(group, col_end - stop) + kPanelColumns - 1) / kPanelColumns;
    Ahead ahead{next, next + coming * Format::panel_bytes(g.k),
                (2 * kTileRows * kTileRows * kPanelStride / kTileBytes + row_end - row_begin - 1) /
                    (row_end - row_begin)};
    for (int64_t row = row_begin; row < row_end; row += 2 * kTileRows) {
      const int64_t rows = least(2 * kTileRows, row_end - row);
      const int64_t second = rows > kTileRows ? rows - kTileRows : 0;
      if (row == row_begin || rows < 2 * kTileRows) shape_tiles(least(rows, kTileRows), second);
      if (second) {
        two_row_tiles<Format, kActivation>(g, row, rows, col, stop, sums, &last, &ahead);
      } else {
        finish_tile_rows<Format, kActivation>(g, last, last.rows);
        two_panels<Format, kActivation>(g, row, rows, col, stop, sums);
      }
    }
  }
  finish_tile_rows<Format, kActivation>(g, last, last.rows);
  // The registers' contents are kept over every switch of threads until they are given up.
  tile_release();
}

template <typename Format>
void tile_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin, int64_t col_end) {
  using enum Activation;
  using Gemm = void (*)(const NarrowGemm&, int64_t, int64_t, int64_t, int64_t);
  constexpr Gemm kGemms[] = {tile_gemm_with<Format, kNone>, tile_gemm_with<Format, kGelu>,
                             tile_gemm_with<Format, kGeluTanh>, tile_gemm_with<Format, kQuickGelu>,
                             tile_gemm_with<Format, kSilu>};
  kGemms[static_cast<int32_t>(g.activation)](g, row_begin, row_end, col_begin, col_end);
}

// Register-only rates, as peak_flops. Of numbers, not of zeros: under the power that products of numbers
// take, the processor lowers its clock (by a fifth, measured on an Emerald Rapids).
template <typename Format>
int64_t tile_peak(int64_t rounds) {
  shape_tiles(kTileRows, kTileRows);
  zero_sums();
  // bf16 between 0.5 and 2 of either sign; as bytes, all sorts.
  alignas(64) uint16_t numbers[kTileRows * kTileBytes / 2];
  uint32_t random = 1;
  for (uint16_t& number : numbers) {
    random = random * 1664525u + 1013904223u;
    number = static_cast<uint16_t>(0x3F00u | (random >> 16 & 0x80FFu));
  }
  tile_load<4>(numbers, kTileBytes);
  tile_load<5>(numbers, kTileBytes);
  tile_load<6>(numbers, kTileBytes);
  tile_load<7>(numbers, kTileBytes);
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
