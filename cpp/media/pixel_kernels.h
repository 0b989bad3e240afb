// Arithmetic on pixels that is worth one version for each instruction set. It is a part of the kernel table
// (kernels/kernels.h), and its rules hold here: declarations only, and nothing can fail.
#pragma once

#include <cstdint>

namespace headrace {

// A weight w of a resampling filter is an integer of 22 bits after the point, and w = high 2^11 + low, -2^10
// <= low < 2^10: two numbers that fit the processor's products of pairs of 16 bits, with exact sums.
inline constexpr int kWeightBits = 22, kLowBits = 11;
// Bytes that resample_row may read behind the last pixel that has a weight.
inline constexpr int64_t kRowSlack = 32;

// One output number of a row or column is the weighted sum of so many neighbours:
//   out = clip((sum_j w[j] in[first + j] + 2^21) >> 22, 0, 255)
// Weights are padded with zeros to `stride`, a multiple of kTapStep; taps: without the padding.
inline constexpr int64_t kTapStep = 4;
struct ResampleTaps {
  const int32_t* first;
  const int32_t* taps;
  const int16_t* high;  // [outputs, stride]
  const int16_t* low;
  int64_t stride;
};

// Boxes of a detector lie in blocks of so many: x1 of all, then y1, x2, y2, and max(0, x2 - x1) max(0, y2 -
// y1).
inline constexpr int64_t kBoxBlock = 16, kBoxNumbers = 5;

struct PixelKernels {
  // A row of RGB pixels to `outputs` others. Reads up to kRowSlack bytes behind the row's last pixel.
  void (*resample_row)(const uint8_t* in, const ResampleTaps& taps, int64_t outputs, uint8_t* out);
  // One row of `bytes` numbers out of `count` rows, `ld` bytes apart; high, low: of this row of outputs.
  void (*resample_column)(const uint8_t* in, int64_t ld, const int16_t* high, const int16_t* low,
                          int64_t count, int64_t bytes, uint8_t* out);
  // Whether inter / (area + area' - inter) > max_overlap of `box`, kBoxNumbers as above, and any of `blocks`
  // blocks; inter = max(0, min(x2, x2') - max(x1, x1')) max(0, min(y2, y2') - max(y1, y1')).
  //   Each operation is rounded to f32, so every table gives the same answer; NaN is no overlap. max_overlap
  //   >= 0.
  bool (*overlaps_any)(const float* boxes, int64_t blocks, const float* box, float max_overlap);
};

}  // namespace headrace
