// GEMMs in bf16 and int8: the f32 GEMM's tiles, with four bytes of a row where that has one float.
#pragma once

#include "kernels/cpu/attention.inc.h"
#include "kernels/cpu/dot.h"

namespace headrace {
namespace {

// What follows the elements of an int8 row.
struct RowScale {
  float scale;     // an element times this is the activation
  int32_t offset;  // what the weights' own offset adds to every sum of the row
};

template <typename Dot>
int64_t steps_of(int64_t k) {
  return (k + Dot::kGroup - 1) / Dot::kGroup;
}

// acc[r][v] = sum over steps of four bytes; see multiply_tile.
template <typename Dot, int kRows>
inline __attribute__((always_inline)) void multiply_narrow(const char* x, int64_t stride, const char* w,
                                                           int64_t steps,
                                                           typename Dot::Acc (&acc)[kRows][kPanelVectors]) {
  constexpr int kGroups = (kRows + 2) / 3;
  constexpr int64_t kVectorBytes = kLanes * 4, kStepBytes = kPanelColumns * 4, kPrefetch = 16 * kStepBytes;
  const char* groups[kGroups];
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) groups[g] = x + 3 * g * stride;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kPanelVectors; ++v) acc[r][v] = Dot::zero();
#pragma GCC unroll 1
  for (int64_t i = 0; i < steps; ++i, w += kStepBytes) {
    IntVec weights[kPanelVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kPanelVectors; ++v) {
      weights[v] = load_int(w + v * kVectorBytes);
      __builtin_prefetch(w + v * kVectorBytes + kPrefetch, 0, 3);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const int32_t input = four_bytes(groups[r / 3] + (r % 3) * stride);
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v) acc[r][v] = Dot::step(acc[r][v], input, weights[v]);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) groups[g] += 4;
  }
}

// int8 rows take a multiple of so many bytes: AMX loads whole cache lines.
#if defined(__AMX_TILE__) || defined(HEADRACE_TILES_EMULATED)
constexpr int64_t kRowUnit = 64;
#else
constexpr int64_t kRowUnit = 4;
#endif

// How one precision stores rows and panels, and what a sum means.
struct Bf16 : Bf16Dot {
  static int64_t row_bytes(int64_t k) { return steps_of<Bf16Dot>(k) * 4; }
  static int64_t panel_bytes(int64_t k) { return steps_of<Bf16Dot>(k) * kPanelColumns * 4; }
  static Vec value(Vec acc, const char*, const char*, int64_t, int) { return acc; }
};

struct Int8 : Int8Dot {
  static int64_t row_bytes(int64_t k) {
    return (steps_of<Int8Dot>(k) * 4 + static_cast<int64_t>(sizeof(RowScale)) + kRowUnit - 1) / kRowUnit *
           kRowUnit;
  }
  static int64_t panel_bytes(int64_t k) { return (steps_of<Int8Dot>(k) + 1) * kPanelColumns * 4; }
  // scales: of the panel's columns.
  static Vec value(Acc acc, const char* row, const char* panel, int64_t steps, int v) {
    RowScale scale;
    __builtin_memcpy(&scale, row + steps * 4, sizeof scale);
    const auto* scales = reinterpret_cast<const float*>(panel + steps * kPanelColumns * 4) + v * kLanes;
    return mul(to_float(reinterpret_cast<IntVec>(acc - scale.offset)), mul(load(scales), splat(scale.scale)));
  }
};

inline void store_bf16(uint16_t* p, Vec a, int64_t count) {
#if defined(__AVX512BF16__)
  _mm256_mask_storeu_epi16(p, first(count), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a)));
#else
  float lanes[kLanes];
  store(lanes, a);
  for (int64_t i = 0; i < count; ++i) p[i] = to_bf16(lanes[i]);
#endif
}

inline void store_bf16(uint16_t* p, Vec a) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a)));
#else
  store_bf16(p, a, kLanes);
#endif
}

// The rest of the way for `count` lanes, from sums times scales: bias, activation, residual, and out.
inline __attribute__((always_inline)) void finish_lanes(const NarrowGemm& g, int64_t row, int64_t col,
                                                        int64_t count, Vec value) {
  if (g.bias) value = add(value, load_first(g.bias + col, count));
  value = activate_coarsely(value, g.activation);
  if (g.residual) value = add(value, load_first(g.residual + row * g.ldr + col, count));
  if (g.y) store_first(g.y + row * g.ldy + col, value, count);
  if (g.bf16_y) store_bf16(static_cast<uint16_t*>(g.bf16_y) + row * g.n + col, value, count);
}

inline __attribute__((always_inline)) void finish_vector(const NarrowGemm& g, int64_t row, int64_t col,
                                                         Vec value) {
  if (g.bias) value = add(value, load(g.bias + col));
  value = activate_coarsely(value, g.activation);
  if (g.residual) value = add(value, load(g.residual + row * g.ldr + col));
  if (g.y) store(g.y + row * g.ldy + col, value);
  if (g.bf16_y) store_bf16(static_cast<uint16_t*>(g.bf16_y) + row * g.n + col, value);
}

// The same for `rows` rows of one panel, from tile [rows][kPanelColumns].
inline __attribute__((always_inline)) void finish_narrow(const NarrowGemm& g, int64_t row, int64_t rows,
                                                         int64_t col, int64_t columns, const float* tile) {
  if (columns == kPanelColumns) {
    for (int64_t r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v)
        finish_vector(g, row + r, col + v * kLanes, load(tile + r * kPanelColumns + v * kLanes));
    return;
  }
  for (int64_t c = 0; c < columns; c += kLanes)
    for (int64_t r = 0; r < rows; ++r)
      finish_lanes(g, row + r, col + c, least(kLanes, columns - c), load(tile + r * kPanelColumns + c));
}

template <typename Format, int kRows>
void narrow_rows(const NarrowGemm& g, int64_t row, int64_t col_begin, int64_t col_end) {
  const int64_t steps = steps_of<Format>(g.k), stride = Format::row_bytes(g.k);
  const char* x = static_cast<const char*>(g.x) + row * stride;
  for (int64_t col = col_begin; col < col_end; col += kPanelColumns) {
    const char* panel = static_cast<const char*>(g.packed_w) + col / kPanelColumns * Format::panel_bytes(g.k);
    typename Format::Acc acc[kRows][kPanelVectors];
    multiply_narrow<Format, kRows>(x, stride, panel, steps, acc);
    // Through L1: the activation's constants would not fit beside the sums.
    float tile[kRows * kPanelColumns];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v)
        store(tile + r * kPanelColumns + v * kLanes,
              Format::value(acc[r][v], x + r * stride, panel, steps, v));
    finish_narrow(g, row, kRows, col, least(kPanelColumns, col_end - col), tile);
  }
}

template <typename Format>
void narrow_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin,
                 int64_t col_end) {
  using Rows = void (*)(const NarrowGemm&, int64_t, int64_t, int64_t);
#if defined(__AVX512F__)
  constexpr Rows kRows[] = {narrow_rows<Format, 1>,  narrow_rows<Format, 2>,  narrow_rows<Format, 3>,
                            narrow_rows<Format, 4>,  narrow_rows<Format, 5>,  narrow_rows<Format, 6>,
                            narrow_rows<Format, 7>,  narrow_rows<Format, 8>,  narrow_rows<Format, 9>,
                            narrow_rows<Format, 10>, narrow_rows<Format, 11>, narrow_rows<Format, 12>,
                            narrow_rows<Format, 13>, narrow_rows<Format, 14>};
#else
  constexpr Rows kRows[] = {narrow_rows<Format, 1>, narrow_rows<Format, 2>, narrow_rows<Format, 3>,
                            narrow_rows<Format, 4>, narrow_rows<Format, 5>, narrow_rows<Format, 6>};
#endif
  each_tile(row_begin, row_end, rows_of_tile(Format::row_bytes(g.k), kRowTile), col_begin, col_end,
            Format::panel_bytes(g.k), [&](int64_t row, int64_t end, int64_t col, int64_t stop) {
              kRows[end - row - 1](g, row, col, stop);
            });
}

template <typename Format>
int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanelColumns - 1) / kPanelColumns * Format::panel_bytes(k);
}

void pack_bf16(const float* w, int64_t n, int64_t k, void* packed) {
  auto* out = static_cast<uint16_t*>(packed);
  const int64_t padded = steps_of<Bf16>(k) * 2;
  for (int64_t panel = 0; panel < n; panel += kPanelColumns, out += padded * kPanelColumns)
    for (int64_t c = 0; c < kPanelColumns; ++c)
      for (int64_t i = 0; i < padded; ++i)
        out[(i / 2 * kPanelColumns + c) * 2 + i % 2] =
            panel + c < n && i < k ? to_bf16(w[(panel + c) * k + i]) : 0;
}

// body(i, lanes) for every vector of k numbers; all of them but the last are whole, which the compiler sees.
template <typename Body>
inline __attribute__((always_inline)) void each_vector(int64_t k, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) body(i, kLanes);
  if (i < k) body(i, k - i);
}

// The first count numbers from x[i] on, times their factors; the others are zeros.
inline __attribute__((always_inline)) Vec scaled(const float* x, int64_t i, int64_t count,
                                                 const float* factor) {
  const Vec value = count == kLanes ? load(x + i) : load_first(x + i, count);
  return factor ? mul(value, load_first(factor + i, count)) : value;
}

// The scale that takes the largest of a row to 127; not a number when the row has one that is not finite.
// Numbers without their signs are in order as integers too, those that are not finite last.
inline float int8_scale(const float* x, int64_t k, const float* factor) {
  IntVec top = splat_int(0);
  each_vector(k, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
    top = larger_int(top, bits_of(absolute(scaled(x, i, count, factor))));
  });
  constexpr int32_t kInfinity = 0x7F800000;
  const int32_t bits = largest_int(top);
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof largest);
  return bits < kInfinity ? largest * (1.0f / 127.0f) : __builtin_nanf("");
}

void pack_int8(const float* w, int64_t n, int64_t k, void* packed) {
  using Element = Int8::Element;
  constexpr int64_t kGroup = Int8::kGroup;
  auto* out = static_cast<char*>(packed);
  const int64_t steps = steps_of<Int8>(k);
  for (int64_t panel = 0; panel < n; panel += kPanelColumns, out += Int8::panel_bytes(k)) {
    auto* elements = reinterpret_cast<Element*>(out);
    auto* scales = reinterpret_cast<float*>(out + steps * kPanelColumns * 4);
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      const float* row = panel + c < n ? w + (panel + c) * k : nullptr;
      const float scale = row ? int8_scale(row, k, nullptr) : 0.0f;
      scales[c] = scale;
      const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
      for (int64_t i = 0; i < steps * kGroup; ++i) {
        const float value = row && i < k ? __builtin_rintf(row[i] * inverse) : 0.0f;
        elements[(i / kGroup * kPanelColumns + c) * kGroup + i % kGroup] =
            static_cast<Element>(static_cast<int32_t>(value) + Int8::kOffset);
      }
    }
  }
}

void encode_bf16(const float* x, int64_t rows, int64_t k, const float*, void* encoded) {
  auto* out = static_cast<uint16_t*>(encoded);
  const int64_t padded = steps_of<Bf16>(k) * 2;
  for (int64_t row = 0; row < rows; ++row, x += k, out += padded) {
    each_vector(k, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
      if (count == kLanes)
        store_bf16(out + i, load(x + i));
      else
        store_bf16(out + i, load_first(x + i, count), count);
    });
    if (padded > k) out[k] = 0;
  }
}

void encode_int8(const float* x, int64_t rows, int64_t k, const float* factor, void* encoded) {
  auto* out = static_cast<char*>(encoded);
  const int64_t bytes = steps_of<Int8>(k) * 4;
  for (int64_t row = 0; row < rows; ++row, x += k, out += Int8::row_bytes(k)) {
    RowScale scale{int8_scale(x, k, factor), 0};
    const Vec inverse = splat(scale.scale > 0.0f ? 1.0f / scale.scale : 0.0f);
    IntVec sum = splat_int(0);
    each_vector(k, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
      const IntVec q = to_int(mul(scaled(x, i, count, factor), inverse));
      Int8::store(out, i, q, count);
      sum = add_int(sum, q);
    });
    const auto used = k * 4 / Int8::kGroup;
    for (int64_t i = used; i < bytes; ++i) out[i] = 0;
    // Unsigned: a row that is not finite has elements of any size, and its scale makes its results what they
    // are.
    scale.offset =
        static_cast<int32_t>(static_cast<uint32_t>(Int8::kOffset) * static_cast<uint32_t>(sum_int(sum)));
    __builtin_memcpy(out + bytes, &scale, sizeof scale);
  }
}

// Register-only rates, as peak_flops.
template <typename Dot>
int64_t peak_ops(int64_t rounds) {
  constexpr int kChains = 12;
  typename Dot::Acc sums[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) {
    sums[i] = Dot::zero();
    asm volatile("" : "+v"(sums[i]));  // or equal chains would be made one
  }
  IntVec w = splat_int(0x00010001);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(w));
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = Dot::step(sums[i], 0x00010001, w);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) asm volatile("" : : "v"(sums[i]));
  return rounds * kChains * kLanes * Dot::kGroup * 2;
}

}  // namespace
}  // namespace headrace
