// Eight two-dimensional registers of AMX and the instructions on them, numbered at compile time: tile t has
// up to 16 rows of up to 64 bytes. With HEADRACE_TILES_EMULATED they are plain loops over arrays, so that
// what is built on them can be tested on processors that have none; misuse that the processor would answer
// with a fault traps there.
//
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: LDTILECFG, TILELOADD, TDPBF16PS ...
#pragma once

#include <cstdint>

#if defined(__AMX_TILE__) || defined(HEADRACE_TILES_EMULATED)

namespace headrace {
namespace {

// What LDTILECFG reads.
struct TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

#if defined(HEADRACE_TILES_EMULATED)

struct TileState {
  TileShapes shapes;
  bool configured;
  alignas(64) uint8_t tiles[8][16][64];
};
thread_local TileState tile_state;

inline void must(bool holds) {
  if (!holds) __builtin_trap();
}

inline void tile_configure(const TileShapes& shapes) {
  must(shapes.palette == 1 && shapes.start_row == 0);
  for (int t = 0; t < 16; ++t) {
    must(shapes.rows[t] <= 16 && shapes.row_bytes[t] <= 64);
    must((shapes.rows[t] == 0) == (shapes.row_bytes[t] == 0));
    must(t < 8 || shapes.rows[t] == 0);
  }
  tile_state.shapes = shapes;
  tile_state.configured = true;
  __builtin_memset(tile_state.tiles, 0, sizeof tile_state.tiles);
}

inline void tile_release() { tile_state.configured = false; }

inline void must_have(int t) { must(tile_state.configured && tile_state.shapes.rows[t] > 0); }

template <int kTile>
inline void tile_zero() {
  must_have(kTile);
  __builtin_memset(tile_state.tiles[kTile], 0, sizeof tile_state.tiles[kTile]);
}

template <int kTile>
inline void tile_load(const void* base, int64_t stride) {
  must_have(kTile);
  __builtin_memset(tile_state.tiles[kTile], 0, sizeof tile_state.tiles[kTile]);
  for (int r = 0; r < tile_state.shapes.rows[kTile]; ++r)
    __builtin_memcpy(tile_state.tiles[kTile][r], static_cast<const char*>(base) + r * stride,
                     tile_state.shapes.row_bytes[kTile]);
}

template <int kTile>
inline void tile_store(void* base, int64_t stride) {
  must_have(kTile);
  for (int r = 0; r < tile_state.shapes.rows[kTile]; ++r)
    __builtin_memcpy(static_cast<char*>(base) + r * stride, tile_state.tiles[kTile][r],
                     tile_state.shapes.row_bytes[kTile]);
}

// c[m][n] += sum_k dot(four bytes of a[m][k], four of b[k][n]): the shapes must agree.
inline void must_multiply(int c, int a, int b) {
  must_have(c), must_have(a), must_have(b);
  must(c != a && c != b && a != b);
  const TileShapes& s = tile_state.shapes;
  must(s.rows[c] == s.rows[a] && s.row_bytes[c] == s.row_bytes[b] && s.row_bytes[a] == s.rows[b] * 4);
}

template <int kC, int kA, int kB>
inline void tile_dot_int8() {
  must_multiply(kC, kA, kB);
  const TileShapes& s = tile_state.shapes;
  for (int m = 0; m < s.rows[kC]; ++m)
    for (int n = 0; n < s.row_bytes[kC] / 4; ++n) {
      uint32_t sum;
      __builtin_memcpy(&sum, &tile_state.tiles[kC][m][n * 4], 4);
      for (int k = 0; k < s.row_bytes[kA]; ++k) {
        const int32_t a = static_cast<int8_t>(tile_state.tiles[kA][m][k]);
        const int32_t b = tile_state.tiles[kB][k / 4][n * 4 + k % 4];
        sum += static_cast<uint32_t>(a * b);
      }
      __builtin_memcpy(&tile_state.tiles[kC][m][n * 4], &sum, 4);
    }
}

// The unit reads subnormal numbers as zero and writes none.
inline float without_subnormal(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  if ((bits & 0x7F800000u) == 0) bits &= 0x80000000u;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

inline float tile_bf16(int tile, int row, int element) {
  const uint8_t* p = &tile_state.tiles[tile][row][element * 2];
  const uint32_t bits = static_cast<uint32_t>(p[0]) << 16 | static_cast<uint32_t>(p[1]) << 24;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return without_subnormal(x);
}

template <int kC, int kA, int kB>
inline void tile_dot_bf16() {
  must_multiply(kC, kA, kB);
  const TileShapes& s = tile_state.shapes;
  for (int m = 0; m < s.rows[kC]; ++m)
    for (int n = 0; n < s.row_bytes[kC] / 4; ++n) {
      float halves[2] = {0.0f, 0.0f};  // elements of even and of odd number
      for (int k = 0; k < s.row_bytes[kA] / 4; ++k)
        for (int i = 0; i < 2; ++i)
          halves[i] = without_subnormal(
              __builtin_fmaf(tile_bf16(kA, m, 2 * k + i), tile_bf16(kB, k, 2 * n + i), halves[i]));
      float sum;
      __builtin_memcpy(&sum, &tile_state.tiles[kC][m][n * 4], 4);
      sum = without_subnormal(without_subnormal(sum) + without_subnormal(halves[0] + halves[1]));
      __builtin_memcpy(&tile_state.tiles[kC][m][n * 4], &sum, 4);
    }
}

#else

// As instructions: the compilers' own macros want the numbers spelled out.
inline void tile_configure(const TileShapes& shapes) { asm volatile("ldtilecfg %0" : : "m"(shapes)); }
inline void tile_release() { asm volatile("tilerelease"); }

template <int kTile>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

template <int kTile>
inline void tile_load(const void* base, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(base), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
inline void tile_store(void* base, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(base), "r"(stride), "i"(kTile) : "memory");
}

// Signed bytes of a times unsigned ones of b.
template <int kC, int kA, int kB>
inline void tile_dot_int8() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

template <int kC, int kA, int kB>
inline void tile_dot_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

#endif

}  // namespace
}  // namespace headrace

#endif
