// About twenty vector operations on f32, for the instruction set this file is compiled with. The only place
// with intrinsics: gemm.inc.h, attention.inc.h and rows.inc.h are written once on top of it.
//
// Everything is in an unnamed namespace: these functions are compiled with wide instructions, and a linker
// that merged one of them with a caller's baseline copy would crash older processors.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace headrace {
namespace {

#if defined(__AVX512F__)

using Vec = __m512;
constexpr int64_t kLanes = 16;
constexpr int kRowTile = 14;      // 14 x 2 accumulators + 2 weights + 1 input: 31 of 32 registers
constexpr int kPanelVectors = 2;  // 2 loads of weights serve 28 multiply-adds

inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a); }
inline __mmask16 first(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
// The first count lanes, 0 <= count <= kLanes; the others read as zero and touch no memory.
inline Vec load_first(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(first(count), p); }
inline void store_first(float* p, Vec a, int64_t count) { _mm512_mask_storeu_ps(p, first(count), a); }
inline Vec splat(float a) { return _mm512_set1_ps(a); }
inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec mul_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }  // a * b + c
inline Vec divide(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec larger(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec smaller(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec absolute(Vec a) { return _mm512_abs_ps(a); }
inline Vec nearest(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec times_power_of_two(Vec a, Vec n) {
  return _mm512_scalef_ps(a, n);
}  // a * 2^n, n integral, in range
// a in the first count lanes, fill in the others.
inline Vec keep_first(Vec a, int64_t count, Vec fill) { return _mm512_mask_blend_ps(first(count), fill, a); }
// A bit for each lane; none where a number is NaN.
inline uint32_t lanes_above(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline uint32_t lanes_at_least(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
inline float sum_lanes(Vec a) { return _mm512_reduce_add_ps(a); }
inline float largest_lane(Vec a) { return _mm512_reduce_max_ps(a); }

#else

using Vec = __m256;
constexpr int64_t kLanes = 8;
constexpr int kRowTile = 6;  // 6 x 2 accumulators + 2 weights + 1 input: 15 of 16 registers
constexpr int kPanelVectors = 2;

inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a); }
inline __m256i first(int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(count)), lane);
}
inline Vec load_first(const float* p, int64_t count) { return _mm256_maskload_ps(p, first(count)); }
inline void store_first(float* p, Vec a, int64_t count) { _mm256_maskstore_ps(p, first(count), a); }
inline Vec splat(float a) { return _mm256_set1_ps(a); }
inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec mul_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec divide(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline Vec larger(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec smaller(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec absolute(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline Vec nearest(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// n in [-126, 127]: adds to the exponent field of a power of two, then multiplies.
inline Vec times_power_of_two(Vec a, Vec n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
inline Vec keep_first(Vec a, int64_t count, Vec fill) {
  return _mm256_blendv_ps(fill, a, _mm256_castsi256_ps(first(count)));
}
inline uint32_t lanes_above(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}
inline uint32_t lanes_at_least(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
inline float sum_lanes(Vec a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}
inline float largest_lane(Vec a) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
}

#endif

constexpr int64_t kPanelColumns = kLanes * kPanelVectors;

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

constexpr float kLog2E = 1.4426950408889634f;

// The largest of x[0] ... x[n - 1], n >= 1.
inline float largest_of(const float* x, int64_t n) {
  const int64_t whole = n / kLanes * kLanes;
  const Vec lowest = splat(-__builtin_inff());
  Vec top = lowest;
  for (int64_t i = 0; i < whole; i += kLanes) top = larger(top, load(x + i));
  if (const int64_t rest = n - whole; rest > 0)
    top = larger(top, keep_first(load_first(x + whole, rest), rest, lowest));
  return largest_lane(top);
}

// 2^x for x in [-126, 0]: 2^round(x) times a degree-5 fit of 2^f on |f| <= 1/2 (own least-maximum fit, 9.1e-8
// relative before rounding).
inline Vec exp2_nonpositive(Vec x) {
  const Vec n = nearest(x);
  const Vec f = sub(x, n);
  Vec p = splat(0.001326472614891827f);
  p = mul_add(p, f, splat(0.009671512991189957f));
  p = mul_add(p, f, splat(0.05550733581185341f));
  p = mul_add(p, f, splat(0.24022242426872253f));
  p = mul_add(p, f, splat(0.6931470036506653f));
  p = mul_add(p, f, splat(1.0f));
  return times_power_of_two(p, n);
}

}  // namespace
}  // namespace headrace
