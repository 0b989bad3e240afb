// Resampling of pictures: products of pairs of 16-bit numbers, summed exactly in 32 bits. Overlap of boxes.
//
// A pair of neighbours (a, b) times the pair of weights (u, v) is one lane of one instruction; two of them
// make the 22 bits of a weight. Sums may wrap on their way, the result fits.
#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

namespace headrace {
namespace {

struct WeighedSums {
  __m256i high = _mm256_setzero_si256();
  __m256i low = _mm256_setzero_si256();

  void add(__m256i pairs, __m256i high_weights, __m256i low_weights) {
    high = _mm256_add_epi32(high, _mm256_madd_epi16(pairs, high_weights));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, low_weights));
  }
  __m256i rounded() const {
    const __m256i half = _mm256_set1_epi32(1 << (kWeightBits - 1));
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, half), kWeightBits);
  }
};

// 4 weights -> those of pixels 0 and 1 in each pair of the lower half, those of 2 and 3 in the upper.
inline __m256i spread_weights(const int16_t* weights) {
  const __m128i four = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(weights));
  return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(four), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

// 16 bytes from `in`, of which 4 pixels are used -> (R0 R1) (G0 G1) (B0 B1) (0 0), (R2 R3) ... of 16 bits.
inline __m256i pixel_pairs(const uint8_t* in) {
  const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                         6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in)));
  return _mm256_shuffle_epi8(both, order);
}

void resample_row(const uint8_t* in, const ResampleTaps& taps, int64_t outputs, uint8_t* out) {
  const __m128i half = _mm_set1_epi32(1 << (kWeightBits - 1));
  for (int64_t i = 0; i < outputs; ++i, out += 3) {
    const uint8_t* pixel = in + 3 * static_cast<int64_t>(taps.first[i]);
    const int16_t *high = taps.high + i * taps.stride, *low = taps.low + i * taps.stride;
    WeighedSums sums;
    for (int64_t j = 0; j < taps.taps[i]; j += kTapStep, pixel += 3 * kTapStep)
      sums.add(pixel_pairs(pixel), spread_weights(high + j), spread_weights(low + j));
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(sums.high, kLowBits), sums.low);
    __m128i one = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    one = _mm_srai_epi32(_mm_add_epi32(one, half), kWeightBits);
    one = _mm_packus_epi16(_mm_packs_epi32(one, one), one);
    const uint32_t rgb = static_cast<uint32_t>(_mm_cvtsi128_si32(one));
    out[0] = static_cast<uint8_t>(rgb);
    out[1] = static_cast<uint8_t>(rgb >> 8);
    out[2] = static_cast<uint8_t>(rgb >> 16);
  }
}

// 16 numbers of two rows -> their pairs.
struct RowPairs {
  __m256i first, second;
};

inline RowPairs row_pairs(const uint8_t* a, const uint8_t* b) {
  const __m128i upper = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a));
  const __m128i lower = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
  return {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(upper, lower)),
          _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(upper, lower))};
}

inline __m256i weight_pair(int16_t first, int16_t second) {
  const uint32_t both = static_cast<uint16_t>(first) | static_cast<uint32_t>(static_cast<uint16_t>(second))
                                                           << 16;
  return _mm256_set1_epi32(static_cast<int32_t>(both));
}

inline void column_block(const uint8_t* in, int64_t ld, const int16_t* high, const int16_t* low,
                         int64_t count, uint8_t* out) {
  WeighedSums first, second;
  for (int64_t j = 0; j < count; j += 2) {
    const bool is_pair = j + 1 < count;
    const uint8_t* const row = in + j * ld;
    const RowPairs pairs = row_pairs(row, is_pair ? row + ld : row);
    const __m256i highs = weight_pair(high[j], is_pair ? high[j + 1] : int16_t{0});
    const __m256i lows = weight_pair(low[j], is_pair ? low[j + 1] : int16_t{0});
    first.add(pairs.first, highs, lows);
    second.add(pairs.second, highs, lows);
  }
  // Packing works on halves; the permutation puts them back in order.
  const __m256i words = _mm256_packs_epi32(first.rounded(), second.rounded());
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  const __m256i bytes = _mm256_packus_epi16(ordered, ordered);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm256_castsi256_si128(_mm256_permute4x64_epi64(bytes, 0xD8)));
}

void resample_column(const uint8_t* in, int64_t ld, const int16_t* high, const int16_t* low, int64_t count,
                     int64_t bytes, uint8_t* out) {
  constexpr int64_t kBlock = 16;
  int64_t i = 0;
  for (; i + kBlock <= bytes; i += kBlock) column_block(in + i, ld, high, low, count, out + i);
  if (i == bytes) return;
  if (bytes >= kBlock) return column_block(in + bytes - kBlock, ld, high, low, count, out + bytes - kBlock);
  for (; i < bytes; ++i) {
    uint32_t sum = 1u << (kWeightBits - 1);
    for (int64_t j = 0; j < count; ++j) {
      const int32_t weight = high[j] * (1 << kLowBits) + low[j];
      sum += static_cast<uint32_t>(weight) * in[j * ld + i];
    }
    const int32_t value = static_cast<int32_t>(sum) >> kWeightBits;
    out[i] = static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}

bool overlaps_any(const float* boxes, int64_t blocks, const float* box, float max_overlap) {
  const Vec zero = splat(0.0f), limit = splat(max_overlap), area = splat(box[4]);
  const Vec left = splat(box[0]), top = splat(box[1]), right = splat(box[2]), bottom = splat(box[3]);
  for (int64_t b = 0; b < blocks; ++b, boxes += kBoxBlock * kBoxNumbers)
    for (int64_t lane = 0; lane < kBoxBlock; lane += kLanes) {
      const float* const other = boxes + lane;
      const Vec width = sub(smaller(load(other + 2 * kBoxBlock), right), larger(load(other), left));
      const Vec height =
          sub(smaller(load(other + 3 * kBoxBlock), bottom), larger(load(other + kBoxBlock), top));
      const Vec inter = mul(larger(width, zero), larger(height, zero));
      const Vec all = sub(add(load(other + 4 * kBoxBlock), area), inter);
      // The quotient can only be above the limit where inter is at least their product, for rounding keeps
      // the order of numbers; nearly always that spares the division.
      if ((lanes_above(inter, zero) & lanes_at_least(inter, mul(limit, all))) != 0 &&
          lanes_above(divide(inter, all), limit) != 0)
        return true;
    }
  return false;
}

}  // namespace
}  // namespace headrace
