// From a picture of any size to the numbers that a model takes: resized, cut or padded, scaled.
//
//   PictureShape (what the model's files say) --place()--> Placement (of one picture) --Canvas--> bytes -->
//   floats
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "media/picture.h"
#include "media/pixel_kernels.h"
#include "media/resample.h"

namespace headrace {

enum class ResizeMode : uint8_t {
  kNone,          // the picture's own size
  kExact,         // to resize_width x resize_height, whatever the proportions
  kShortestEdge,  // the shorter side to resize_width, the other in proportion, rounded down
  kLetterbox,     // the largest that fits into the canvas in proportion, in its middle
};

// What a model wants of every picture.
struct PictureShape {
  ResizeMode resize = ResizeMode::kNone;
  int64_t resize_width = 0, resize_height = 0;
  ResampleFilter filter = ResampleFilter::kBilinear;
  bool crops = false;             // the middle is cut out, or padded with zeros where it is too small
  int64_t width = 0, height = 0;  // of the canvas, where the picture is cut or in a letterbox
  uint8_t fill = 0;               // of the letterbox's borders
};

// Where one picture lies on its canvas, once scaled.
struct Placement {
  int64_t scaled_width = 0, scaled_height = 0;
  int64_t left = 0, top = 0;  // of the scaled picture's corner on the canvas; negative: so much is cut off
  int64_t width = 0, height = 0;
  uint8_t fill = 0;
};

// A picture that no file claims to be: each side is at most kMaxSide, and so is the result's. Throws
// Error(kInvalidArgument) where a side is 0 or the result would be too large.
Placement place(const PictureShape& shape, int64_t width, int64_t height);

// The box (x1, y1, x2, y2) of the canvas in the picture's own pixels, cut at its edges.
std::array<float, 4> box_in_picture(const Placement& placement, int64_t width, int64_t height,
                                    const std::array<float, 4>& box);

// Fills [placement.height, placement.width, 3].
void draw_canvas(const PixelKernels& kernels, const Picture& picture, const Placement& placement,
                 ResampleFilter filter, ResampleScratch& scratch, uint8_t* canvas);

// y = (x scale - mean[c]) / std[c] for each of the 256 values of x, computed in f32 in that order.
class PixelScale {
 public:
  PixelScale(float scale, const std::array<float, 3>& mean, const std::array<float, 3>& std);
  const float* channel(int64_t c) const { return values_.data() + 256 * c; }

 private:
  std::array<float, 3 * 256> values_;
};

// canvas [height, width, 3] -> out [3, height, width].
void to_planes(const PixelScale& scale, const uint8_t* canvas, int64_t width, int64_t height, float* out);
// canvas -> out [height / side * width / side, 3 side side], patches and what is in them row by row; pixels
// at the right and the bottom that fill no patch are left out.
void to_patches(const PixelScale& scale, const uint8_t* canvas, int64_t width, int64_t height, int64_t side,
                float* out);
// The same of planes [3, height, width] that are floats already.
void planes_to_patches(const float* planes, int64_t width, int64_t height, int64_t side, float* out);

// Memory of one thread that prepares pictures.
struct PictureScratch {
  ResampleScratch resample;
  std::vector<uint8_t> canvas;
};

// Everything that is done to a picture, in one object that any number of threads may share.
struct PictureTransform {
  PictureShape shape;
  PixelScale scale;
  int64_t patch = 0;  // side of a patch; 0: planes

  // Floats that a picture becomes.
  static int64_t floats(const Placement& placement) { return 3 * placement.width * placement.height; }
  void run(const PixelKernels& kernels, const Picture& picture, const Placement& placement,
           PictureScratch& scratch, float* out) const;
};

// Many pictures, a picture a task; outs[i] has room for PictureTransform::floats(placements[i]).
void run_all(const PictureTransform& transform, const PixelKernels& kernels,
             std::span<const Picture> pictures, std::span<const Placement> placements,
             std::span<float* const> outs, ThreadPool& pool);

}  // namespace headrace
