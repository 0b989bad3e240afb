// Resizing a picture as Pillow 13 does it, bit for bit: first along the rows, rounded to bytes, then along
// the columns, or the other way round where the columns become shorter by more than twice what the rows do.
// (Until Pillow 12 rows always came first.)
//
// A filter is stretched by the factor by which the picture shrinks, so that every pixel of the source counts
// (antialiasing); weights are cut off at the picture's edges and brought to the sum 1 again.
#pragma once

#include <cstdint>
#include <vector>

#include "media/picture.h"
#include "media/pixel_kernels.h"

namespace headrace {

// Reaching 1, 2 and 3 pixels to either side: a triangle; Keys' cubic with a = -1/2 (Keys 1981,
// doi:10.1109/TASSP.1981.1163711); sinc(x) sinc(x / 3).
enum class ResampleFilter : uint8_t { kBilinear, kBicubic, kLanczos };

// The weights of outputs [begin, end) when `in` pixels become `out`.
class ResampleAxis {
 public:
  // 1 <= in, out <= kMaxSide, 0 <= begin <= end <= out.
  ResampleAxis(ResampleFilter filter, int64_t in, int64_t out, int64_t begin, int64_t end);

  ResampleTaps taps() const { return {first_.data(), taps_.data(), high_.data(), low_.data(), stride_}; }
  int64_t outputs() const { return static_cast<int64_t>(first_.size()); }
  // Whether every output is the input of the same place.
  bool is_copy() const { return is_copy_; }
  // The inputs that have a weight, [first_input(), last_input()).
  int64_t first_input() const { return first_input_; }
  int64_t last_input() const { return last_input_; }
  int64_t begin() const { return begin_; }
  int64_t shrinks_by() const { return shrinks_by_; }  // pixels, of the whole axis; negative: it grows

 private:
  std::vector<int32_t> first_, taps_;
  std::vector<int16_t> high_, low_;
  int64_t stride_ = 0;
  int64_t begin_ = 0, first_input_ = 0, last_input_ = 0, shrinks_by_ = 0;
  bool is_copy_ = false;
};

// Memory that resizing takes, kept from picture to picture.
struct ResampleScratch {
  std::vector<uint8_t>
      rows;  // those of the source, as wide as the result, or one of the result's, as wide as the source
  std::vector<uint8_t> row;  // one of the source, where reading behind it is not allowed
};

// The outputs of both axes of `picture`, row after row: [rows.outputs(), columns.outputs(), 3], rows ld bytes
// apart.
//   columns: of picture.width; rows: of picture.height. Reads nothing behind the picture's last pixel.
void resample(const PixelKernels& kernels, const Picture& picture, const ResampleAxis& columns,
              const ResampleAxis& rows, ResampleScratch& scratch, uint8_t* out, int64_t ld);

}  // namespace headrace
