#include "kernels/reference_pixels.h"

#include <algorithm>

namespace headrace::reference {
namespace {

int64_t weight(const int16_t* high, const int16_t* low, int64_t at) {
  return int64_t{high[at]} * (int64_t{1} << kLowBits) + low[at];
}

uint8_t rounded(int64_t sum) {
  return static_cast<uint8_t>(
      std::clamp<int64_t>((sum + (int64_t{1} << (kWeightBits - 1))) >> kWeightBits, 0, 255));
}

}  // namespace

void resample_row(const uint8_t* in, const ResampleTaps& taps, int64_t outputs, uint8_t* out) {
  for (int64_t i = 0; i < outputs; ++i)
    for (int64_t channel = 0; channel < 3; ++channel) {
      int64_t sum = 0;
      for (int64_t j = 0; j < taps.taps[i]; ++j)
        sum += weight(taps.high, taps.low, i * taps.stride + j) * in[3 * (taps.first[i] + j) + channel];
      out[3 * i + channel] = rounded(sum);
    }
}

void resample_column(const uint8_t* in, int64_t ld, const int16_t* high, const int16_t* low, int64_t count,
                     int64_t bytes, uint8_t* out) {
  for (int64_t i = 0; i < bytes; ++i) {
    int64_t sum = 0;
    for (int64_t j = 0; j < count; ++j) sum += weight(high, low, j) * in[j * ld + i];
    out[i] = rounded(sum);
  }
}

bool overlaps_any(const float* boxes, int64_t blocks, const float* box, float max_overlap) {
  for (int64_t i = 0; i < blocks * kBoxBlock; ++i) {
    const float* const other = boxes + i / kBoxBlock * kBoxBlock * kBoxNumbers + i % kBoxBlock;
    const float width = std::min(other[2 * kBoxBlock], box[2]) - std::max(other[0], box[0]);
    const float height = std::min(other[3 * kBoxBlock], box[3]) - std::max(other[kBoxBlock], box[1]);
    const float inter = std::max(0.0f, width) * std::max(0.0f, height);
    if (inter / (other[4 * kBoxBlock] + box[4] - inter) > max_overlap) return true;
  }
  return false;
}

}  // namespace headrace::reference
