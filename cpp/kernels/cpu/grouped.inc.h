// GEMMs with weights of 4 and 8 bits in groups of 32 along k, each with a scale of its own: what language
// models are stored in. Activations are quantised alike, so that products are of bytes; a group's sum is
// exact, and the sum over groups is in f32.
//
//   panel:  per group   steps of 4 k: bytes [kPanelColumns][4], two steps to a byte in 4 bits (low, high)
//                       scales, f16 [kPanelColumns]; in 4 bits also offsets, f16 [kPanelColumns]
//   row:    K bytes; then a GroupScale per group
#pragma once

#include "kernels/cpu/narrow.inc.h"

namespace headrace {
namespace {

constexpr int64_t kGroup = kWeightGroup, kStep = 4, kStepsPerGroup = kGroup / kStep;
constexpr int64_t kAhead = 2048;  // bytes of weights asked for before they are needed

struct GroupScale {
  float scale;     // a byte times this is the activation
  float total;     // the sum of the activations, which weights' offsets are multiplied by
  int32_t excess;  // what kByteOffset adds to a sum of products
};

inline int64_t grouped_row_bytes(int64_t k) {
  return k + k / kGroup * static_cast<int64_t>(sizeof(GroupScale));
}

#if defined(__AVX512F__)
inline Vec load_halves(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline IntVec low_nibbles(IntVec a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
inline IntVec high_nibbles(IntVec a) {
  return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
}
#else
inline Vec load_halves(const void* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline IntVec low_nibbles(IntVec a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
inline IntVec high_nibbles(IntVec a) {
  return _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(15));
}
#endif

// sum + four bytes of w times four of x, each lane; w is 4 bits wide, or a byte plus kByteOffset. A whole
// group of 4-bit weights is added up with dot_nibbles from zero, and nibble_sum makes 32-bit lanes of that.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr int32_t kByteOffset = 128;
inline IntVec dot_nibbles(IntVec sum, IntVec w, IntVec x) { return dot_bytes(sum, w, x); }
inline IntVec nibble_sum(IntVec sum) { return sum; }
inline IntVec dot_weights(IntVec sum, IntVec w, IntVec x) { return dot_bytes(sum, w, x); }
#else
constexpr int32_t kByteOffset = 0;
// Two products a lane of 16 bits: 8 steps of 2 * 15 * 128 are 30720, which fits.
static_assert(kStepsPerGroup * 2 * 15 * 128 < 32768);
#if defined(__AVX512F__)
inline IntVec nibble_sum(IntVec sum) { return madd_16(sum, _mm512_set1_epi16(1)); }
inline IntVec dot_nibbles(IntVec sum, IntVec w, IntVec x) {
  return _mm512_add_epi16(sum, _mm512_maddubs_epi16(w, x));
}
// Products in pairs of 16 bits, which |w| <= 128 and |x| <= 127 fill but do not overflow.
inline IntVec dot_weights(IntVec sum, IntVec w, IntVec x) {
  const IntVec turned = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
  return add_int(sum, nibble_sum(_mm512_maddubs_epi16(_mm512_abs_epi8(w), turned)));
}
#else
inline IntVec nibble_sum(IntVec sum) { return madd_16(sum, _mm256_set1_epi16(1)); }
inline IntVec dot_nibbles(IntVec sum, IntVec w, IntVec x) {
  return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
}
inline IntVec dot_weights(IntVec sum, IntVec w, IntVec x) {
  return add_int(sum, nibble_sum(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))));
}
#endif
#endif

// f32 to f16, to the nearest; scales are numbers that f16 holds, so this loses nothing.
inline void store_half(char* p, float a) {
  const __m128i half = _mm_cvtps_ph(_mm_set_ss(a), _MM_FROUND_TO_NEAREST_INT);
  const auto bits = static_cast<uint16_t>(_mm_extract_epi16(half, 0));
  __builtin_memcpy(p, &bits, sizeof bits);
}

struct Nibbles {
  static constexpr int64_t kGroupBytes = kGroup / 2 * kPanelColumns, kHalves = 2;
  static void put(char* group, int64_t c, int64_t i, uint8_t q) {
    const int64_t step = i / kStep;
    char& byte = group[(step / 2 * kPanelColumns + c) * kStep + i % kStep];
    byte = static_cast<char>(step % 2 ? (byte & 15) | q << 4 : q);
  }
  // Vector v of steps s and s + 1, s even.
  static void load_steps(const char* group, int64_t s, int64_t v, IntVec& first, IntVec& second) {
    const IntVec both = load_int(group + (s / 2 * kPanelColumns + v * kLanes) * kStep);
    first = low_nibbles(both), second = high_nibbles(both);
  }
  static IntVec dot(IntVec sum, IntVec w, IntVec x) { return dot_nibbles(sum, w, x); }
  // The numbers that the sums of one group stand for.
  static Vec value(IntVec sum, const GroupScale&) { return to_float(nibble_sum(sum)); }
};

struct Bytes {
  static constexpr int64_t kGroupBytes = kGroup * kPanelColumns, kHalves = 1;
  static void put(char* group, int64_t c, int64_t i, uint8_t q) {
    group[(i / kStep * kPanelColumns + c) * kStep + i % kStep] = static_cast<char>(q - 128 + kByteOffset);
  }
  static void load_steps(const char* group, int64_t s, int64_t v, IntVec& first, IntVec& second) {
    first = load_int(group + (s * kPanelColumns + v * kLanes) * kStep);
    second = load_int(group + ((s + 1) * kPanelColumns + v * kLanes) * kStep);
  }
  static IntVec dot(IntVec sum, IntVec w, IntVec x) { return dot_weights(sum, w, x); }
  static Vec value(IntVec sum, const GroupScale& scale) {
    return to_float(kByteOffset ? sub_int(sum, splat_int(scale.excess)) : sum);
  }
};

template <typename Format>
constexpr int64_t kStoredGroup = Format::kGroupBytes + Format::kHalves * kPanelColumns * 2;

template <typename Format>
int64_t grouped_packed_bytes(int64_t n, int64_t k) {
  return (n + kPanelColumns - 1) / kPanelColumns * (k / kGroup) * kStoredGroup<Format>;
}

template <typename Format>
void pack_groups(const GroupedWeights& w, int64_t n, int64_t k, void* packed) {
  const int64_t groups = k / kGroup;
  auto* out = static_cast<char*>(packed);
  for (int64_t panel = 0; panel < n; panel += kPanelColumns)
    for (int64_t g = 0; g < groups; ++g, out += kStoredGroup<Format>)
      for (int64_t c = 0; c < kPanelColumns; ++c) {
        const int64_t row = panel + c;
        const bool is_there = row < n;
        for (int64_t i = 0; i < kGroup; ++i)
          Format::put(out, c, i, is_there ? w.q[row * k + g * kGroup + i] : 0);
        char* const scales = out + Format::kGroupBytes;
        store_half(scales + 2 * c, is_there ? w.scale[row * groups + g] : 0.0f);
        if (Format::kHalves == 2)
          store_half(scales + 2 * (kPanelColumns + c), is_there ? w.offset[row * groups + g] : 0.0f);
      }
}

void encode_groups(const float* x, int64_t rows, int64_t k, const float*, void* encoded) {
  auto* out = static_cast<char*>(encoded);
  for (int64_t row = 0; row < rows; ++row, x += k, out += grouped_row_bytes(k))
    for (int64_t g = 0; g < k / kGroup; ++g) {
      const float* const from = x + g * kGroup;
      GroupScale scale{int8_scale(from, kGroup, nullptr), 0.0f, 0};
      const Vec inverse = splat(scale.scale > 0.0f ? 1.0f / scale.scale : 0.0f);
      IntVec sum = splat_int(0);
      for (int64_t i = 0; i < kGroup; i += kLanes) {
        const IntVec q = to_int(mul(load(from + i), inverse));
        store_bytes(out + g * kGroup + i, q, kLanes);
        sum = add_int(sum, q);
      }
      const int32_t total = sum_int(sum);
      scale.total = scale.scale * static_cast<float>(total);
      // Unsigned: of a row that is not finite, whose scale makes its results what they are, sums are of any
      // size.
      scale.excess = static_cast<int32_t>(static_cast<uint32_t>(kByteOffset) * static_cast<uint32_t>(total));
      __builtin_memcpy(out + k + g * static_cast<int64_t>(sizeof scale), &scale, sizeof scale);
    }
}

// One group of kRows rows: exact sums of byte products.
template <typename Format, int kRows>
inline __attribute__((always_inline)) void group_sums(const char* x, int64_t stride, const char* w,
                                                      Int8Dot::Acc (&acc)[kRows][kPanelVectors]) {
#pragma GCC unroll 8
  for (int64_t s = 0; s < kStepsPerGroup; s += 2) {
    IntVec steps[2][kPanelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) Format::load_steps(w, s, v, steps[0][v], steps[1][v]);
#pragma GCC unroll 2
    for (int64_t i = 0; i < 2; ++i)
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const IntVec four = splat_int(four_bytes(x + r * stride + (s + i) * kStep));
#pragma GCC unroll 2
        for (int v = 0; v < kPanelVectors; ++v) {
          acc[r][v] = reinterpret_cast<Int8Dot::Acc>(
              Format::dot(reinterpret_cast<IntVec>(acc[r][v]), steps[i][v], four));
          // GCC would add in another order, all products first, for which there are too few registers.
          asm("" : "+v"(acc[r][v]));
        }
      }
  }
}

template <typename Format, int kRows>
void grouped_rows(const NarrowGemm& g, int64_t row, int64_t col_begin, int64_t col_end) {
  const int64_t groups = g.k / kGroup, stride = grouped_row_bytes(g.k);
  const char* const x = static_cast<const char*>(g.x) + row * stride;
  for (int64_t col = col_begin; col < col_end; col += kPanelColumns) {
    const char* w =
        static_cast<const char*>(g.packed_w) + col / kPanelColumns * groups * kStoredGroup<Format>;
    Vec total[kRows][kPanelVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) total[r][v] = splat(0.0f);
#pragma GCC unroll 1
    for (int64_t group = 0; group < groups; ++group, w += kStoredGroup<Format>) {
#pragma GCC unroll 16
      for (int64_t i = 0; i < kStoredGroup<Format>; i += 64) __builtin_prefetch(w + kAhead + i, 0, 3);
      Int8Dot::Acc acc[kRows][kPanelVectors] = {};
      group_sums<Format, kRows>(x + group * kGroup, stride, w, acc);
      const char* const halves = w + Format::kGroupBytes;
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const GroupScale& scale = reinterpret_cast<const GroupScale*>(x + r * stride + g.k)[group];
#pragma GCC unroll 2
        for (int v = 0; v < kPanelVectors; ++v) {
          const Vec weight = mul(load_halves(halves + v * kLanes * 2), splat(scale.scale));
          const Vec sum = Format::value(reinterpret_cast<IntVec>(acc[r][v]), scale);
          total[r][v] = mul_add(sum, weight, total[r][v]);
          if constexpr (Format::kHalves == 2)
            total[r][v] = mul_add(load_halves(halves + (kPanelColumns + v * kLanes) * 2), splat(scale.total),
                                  total[r][v]);
        }
      }
    }
    float tile[kRows * kPanelColumns];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) store(tile + r * kPanelColumns + v * kLanes, total[r][v]);
    finish_narrow(g, row, kRows, col, least(kPanelColumns, col_end - col), tile);
  }
}

template <typename Format>
void grouped_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin,
                  int64_t col_end) {
  using Rows = void (*)(const NarrowGemm&, int64_t, int64_t, int64_t);
#if defined(__AVX512F__)
  constexpr Rows kRows[] = {grouped_rows<Format, 1>, grouped_rows<Format, 2>, grouped_rows<Format, 3>,
                            grouped_rows<Format, 4>, grouped_rows<Format, 5>, grouped_rows<Format, 6>};
#else
  // Totals are in L1: with them in registers, two rows would have to do.
  constexpr Rows kRows[] = {grouped_rows<Format, 1>, grouped_rows<Format, 2>, grouped_rows<Format, 3>,
                            grouped_rows<Format, 4>};
#endif
  constexpr int64_t kTile = sizeof kRows / sizeof kRows[0];
  each_tile(
      row_begin, row_end, kTile, col_begin, col_end, g.k / kGroup * kStoredGroup<Format>,
      [&](int64_t row, int64_t end, int64_t col, int64_t stop) { kRows[end - row - 1](g, row, col, stop); });
}

}  // namespace
}  // namespace headrace
