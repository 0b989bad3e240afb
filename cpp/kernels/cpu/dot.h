// The products that GEMMs in fewer bits are made of: four bytes of an activation row at a time, against as
// many of each column. Written once for the loops of narrow.inc.h; which instructions they are depends on the
// flags that this file is compiled with.
#pragma once

#include "kernels/cpu/vec.h"

namespace headrace {
namespace {

#if defined(__AVX512F__)

using IntVec = __m512i;
inline IntVec load_int(const void* p) { return _mm512_loadu_si512(p); }
inline IntVec splat_int(int32_t a) { return _mm512_set1_epi32(a); }
inline IntVec sub_int(IntVec a, IntVec b) { return _mm512_sub_epi32(a, b); }
inline Vec to_float(IntVec a) { return _mm512_cvtepi32_ps(a); }
inline IntVec to_int(Vec a) { return _mm512_cvtps_epi32(a); }  // to the nearest, ties to even
inline IntVec bits_of(Vec a) { return _mm512_castps_si512(a); }
inline Vec as_float(IntVec a) { return _mm512_castsi512_ps(a); }
inline IntVec shift_left_16(IntVec a) { return _mm512_slli_epi32(a, 16); }
inline IntVec high_half(IntVec a) { return _mm512_and_si512(a, _mm512_set1_epi32(-65536)); }
inline IntVec madd_16(IntVec a, IntVec b) { return _mm512_madd_epi16(a, b); }
inline IntVec add_int(IntVec a, IntVec b) { return _mm512_add_epi32(a, b); }
inline IntVec larger_int(IntVec a, IntVec b) { return _mm512_max_epi32(a, b); }
inline int32_t sum_int(IntVec a) { return _mm512_reduce_add_epi32(a); }
inline int32_t largest_int(IntVec a) { return _mm512_reduce_max_epi32(a); }

// The lowest 16 or 8 bits of the first count lanes.
inline void store_words(void* p, IntVec a, int64_t count) {
  _mm256_mask_storeu_epi16(p, first(count), _mm512_cvtepi32_epi16(a));
}
inline void store_bytes(void* p, IntVec a, int64_t count) {
  const __m128i bytes = _mm512_cvtepi32_epi8(a);
  if (count == kLanes)
    _mm_storeu_si128(static_cast<__m128i*>(p), bytes);
  else
    _mm_mask_storeu_epi8(p, first(count), bytes);
}

#else

using IntVec = __m256i;
inline IntVec load_int(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline IntVec splat_int(int32_t a) { return _mm256_set1_epi32(a); }
inline IntVec sub_int(IntVec a, IntVec b) { return _mm256_sub_epi32(a, b); }
inline Vec to_float(IntVec a) { return _mm256_cvtepi32_ps(a); }
inline IntVec to_int(Vec a) { return _mm256_cvtps_epi32(a); }
inline IntVec bits_of(Vec a) { return _mm256_castps_si256(a); }
inline Vec as_float(IntVec a) { return _mm256_castsi256_ps(a); }
inline IntVec shift_left_16(IntVec a) { return _mm256_slli_epi32(a, 16); }
inline IntVec high_half(IntVec a) { return _mm256_and_si256(a, _mm256_set1_epi32(-65536)); }
inline IntVec madd_16(IntVec a, IntVec b) { return _mm256_madd_epi16(a, b); }
inline IntVec add_int(IntVec a, IntVec b) { return _mm256_add_epi32(a, b); }
inline IntVec larger_int(IntVec a, IntVec b) { return _mm256_max_epi32(a, b); }
inline int32_t largest_int(IntVec a) {
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(half, _mm_shuffle_epi32(half, 0xB1)));
}
inline int32_t sum_int(IntVec a) {
  uint32_t lanes[kLanes], sum = 0;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), a);
  for (uint32_t lane : lanes) sum += lane;  // wraps, as the vectors do
  return static_cast<int32_t>(sum);
}
inline void store_words(void* p, IntVec a, int64_t count) {
  int32_t lanes[kLanes];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), a);
  for (int64_t i = 0; i < count; ++i) static_cast<uint16_t*>(p)[i] = static_cast<uint16_t>(lanes[i]);
}
inline void store_bytes(void* p, IntVec a, int64_t count) {
  int32_t lanes[kLanes];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), a);
  for (int64_t i = 0; i < count; ++i) static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(lanes[i]);
}

#endif

// kLanes numbers, f32 or bf16.
inline Vec load_as_f32(const float* p) { return load(p); }
inline Vec load_as_f32(const uint16_t* p) {
#if defined(__AVX512F__)
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return as_float(shift_left_16(_mm512_cvtepu16_epi32(words)));
#else
  const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return as_float(shift_left_16(_mm256_cvtepu16_epi32(words)));
#endif
}

inline int32_t four_bytes(const char* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

// f32 to bf16, to the nearest, ties to even; NaN stays one.
inline uint16_t to_bf16(float a) {
  uint32_t bits;
  __builtin_memcpy(&bits, &a, sizeof bits);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// Pairs of bf16, f32 sums.
struct Bf16Dot {
  static constexpr int64_t kGroup = 2;  // elements in four bytes
  using Acc = Vec;
  static Acc zero() { return splat(0.0f); }
#if defined(__AVX512BF16__)
  static Acc step(Acc acc, int32_t x, IntVec w) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(splat_int(x)), reinterpret_cast<__m512bh>(w));
  }
#else
  // As f32, which has the same exponents: exact products.
  static Acc step(Acc acc, int32_t x, IntVec w) {
    const Vec low = as_float(splat_int(static_cast<int32_t>(static_cast<uint32_t>(x) << 16)));
    const Vec high = as_float(splat_int(static_cast<int32_t>(static_cast<uint32_t>(x) & 0xFFFF0000u)));
    acc = mul_add(low, as_float(shift_left_16(w)), acc);
    return mul_add(high, as_float(high_half(w)), acc);
  }
#endif
};

// sum + four unsigned bytes of a times four signed ones of b.
#if defined(__AVX512VNNI__)
inline IntVec dot_bytes(IntVec sum, IntVec a, IntVec b) { return _mm512_dpbusd_epi32(sum, a, b); }
#elif defined(__AVXVNNI__)
inline IntVec dot_bytes(IntVec sum, IntVec a, IntVec b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
#endif

// Integers of eight bits, exact sums of 32.
struct Int8Dot {
  // GCC 12 keeps sums of the general integer type in memory, not in registers (measured: half the speed).
  typedef int32_t Acc __attribute__((vector_size(sizeof(IntVec))));
  static Acc zero() { return Acc{}; }
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
  // One factor must be unsigned: weights are stored plus 128, and 128 times the row's sum comes off again.
  static constexpr int64_t kGroup = 4;
  static constexpr int32_t kOffset = 128;
  using Element = uint8_t;
  static Acc step(Acc acc, int32_t x, IntVec w) {
    return reinterpret_cast<Acc>(dot_bytes(reinterpret_cast<IntVec>(acc), w, splat_int(x)));
  }
  static void store(void* row, int64_t at, IntVec q, int64_t count) {
    store_bytes(static_cast<char*>(row) + at, q, count);
  }
#else
  // In 16 bits, since the products of bytes in pairs would not fit where the processor puts them.
  static constexpr int64_t kGroup = 2;
  static constexpr int32_t kOffset = 0;
  using Element = int16_t;
  static Acc step(Acc acc, int32_t x, IntVec w) {
    return acc + reinterpret_cast<Acc>(madd_16(w, splat_int(x)));
  }
  static void store(void* row, int64_t at, IntVec q, int64_t count) {
    store_words(static_cast<char*>(row) + at * 2, q, count);
  }
#endif
};

}  // namespace
}  // namespace headrace
