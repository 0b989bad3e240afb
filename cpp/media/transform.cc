#include "media/transform.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace headrace {
namespace {

// Half of what is over, rounded up to the left and the top where a picture is padded, and down where it is
// cut.
int64_t middle(int64_t canvas, int64_t scaled) {
  return canvas >= scaled ? (canvas - scaled + 1) / 2 : -((scaled - canvas) / 2);
}

int64_t in_proportion(int64_t side, int64_t numerator, int64_t denominator) {
  return std::max<int64_t>(1, side * numerator / denominator);
}

void place_letterbox(const PictureShape& shape, int64_t width, int64_t height, Placement& placement) {
  const double factor = std::min(static_cast<double>(shape.width) / static_cast<double>(width),
                                 static_cast<double>(shape.height) / static_cast<double>(height));
  const auto scaled = [&](int64_t side, int64_t limit) {
    return std::clamp<int64_t>(std::llround(static_cast<double>(side) * factor), 1, limit);
  };
  placement.scaled_width = scaled(width, shape.width);
  placement.scaled_height = scaled(height, shape.height);
  // The smaller half is in front.
  placement.left = (shape.width - placement.scaled_width) / 2;
  placement.top = (shape.height - placement.scaled_height) / 2;
  placement.width = shape.width;
  placement.height = shape.height;
  placement.fill = shape.fill;
}

template <typename Value>
void deal_out(int64_t width, int64_t height, int64_t side, float* out, const Value& value) {
  const int64_t columns = width / side, rows = height / side, area = side * side;
  for (int64_t y = 0; y < rows * side; ++y)
    for (int64_t column = 0; column < columns; ++column)
      for (int64_t c = 0; c < 3; ++c) {
        float* const row = out + ((y / side * columns + column) * 3 + c) * area + y % side * side;
        for (int64_t x = 0; x < side; ++x) row[x] = value(y, column * side + x, c);
      }
}

}  // namespace

Placement place(const PictureShape& shape, int64_t width, int64_t height) {
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide)
    throw Error(ErrorKind::kInvalidArgument, concat("a picture of ", width, " x ", height,
                                                    " pixels: each side must have between 1 and ", kMaxSide));
  Placement placement;
  if (shape.resize == ResizeMode::kLetterbox) {
    place_letterbox(shape, width, height, placement);
    return placement;
  }
  placement.scaled_width = width;
  placement.scaled_height = height;
  if (shape.resize == ResizeMode::kExact) {
    placement.scaled_width = shape.resize_width;
    placement.scaled_height = shape.resize_height;
  } else if (shape.resize == ResizeMode::kShortestEdge) {
    const int64_t side = shape.resize_width;
    placement.scaled_width = width <= height ? side : in_proportion(side, width, height);
    placement.scaled_height = width <= height ? in_proportion(side, height, width) : side;
  }
  if (placement.scaled_width > kMaxSide || placement.scaled_height > kMaxSide)
    throw Error(ErrorKind::kInvalidArgument,
                concat("a picture of ", width, " x ", height, " pixels would become ", placement.scaled_width,
                       " x ", placement.scaled_height, ": it is too narrow for this model; cut it first"));
  placement.width = shape.crops ? shape.width : placement.scaled_width;
  placement.height = shape.crops ? shape.height : placement.scaled_height;
  placement.left = middle(placement.width, placement.scaled_width);
  placement.top = middle(placement.height, placement.scaled_height);
  return placement;
}

std::array<float, 4> box_in_picture(const Placement& placement, int64_t width, int64_t height,
                                    const std::array<float, 4>& box) {
  const auto map = [](float at, int64_t offset, int64_t scaled, int64_t side) {
    const double place = (static_cast<double>(at) - static_cast<double>(offset)) * static_cast<double>(side) /
                         static_cast<double>(scaled);
    return static_cast<float>(std::clamp(place, 0.0, static_cast<double>(side)));
  };
  return {map(box[0], placement.left, placement.scaled_width, width),
          map(box[1], placement.top, placement.scaled_height, height),
          map(box[2], placement.left, placement.scaled_width, width),
          map(box[3], placement.top, placement.scaled_height, height)};
}

void draw_canvas(const PixelKernels& kernels, const Picture& picture, const Placement& p,
                 ResampleFilter filter, ResampleScratch& scratch, uint8_t* canvas) {
  const int64_t left = std::max<int64_t>(0, p.left), top = std::max<int64_t>(0, p.top);
  const int64_t right = std::min(p.width, p.left + p.scaled_width);
  const int64_t bottom = std::min(p.height, p.top + p.scaled_height);
  if (right - left < p.width || bottom - top < p.height)
    std::memset(canvas, p.fill, static_cast<size_t>(p.width * p.height * 3));
  const ResampleAxis columns(filter, picture.width, p.scaled_width, left - p.left, right - p.left);
  const ResampleAxis rows(filter, picture.height, p.scaled_height, top - p.top, bottom - p.top);
  resample(kernels, picture, columns, rows, scratch, canvas + (top * p.width + left) * 3, p.width * 3);
}

PixelScale::PixelScale(float scale, const std::array<float, 3>& mean, const std::array<float, 3>& std) {
  for (size_t c = 0; c < 3; ++c)
    for (size_t x = 0; x < 256; ++x)
      values_[c * 256 + x] = (static_cast<float>(x) * scale - mean[c]) / std[c];
}

void to_planes(const PixelScale& scale, const uint8_t* canvas, int64_t width, int64_t height, float* out) {
  const int64_t area = width * height;
  const float *red = scale.channel(0), *green = scale.channel(1), *blue = scale.channel(2);
  for (int64_t i = 0; i < area; ++i, canvas += 3) {
    out[i] = red[canvas[0]];
    out[area + i] = green[canvas[1]];
    out[2 * area + i] = blue[canvas[2]];
  }
}

void to_patches(const PixelScale& scale, const uint8_t* canvas, int64_t width, int64_t height, int64_t side,
                float* out) {
  const float* const channels[3] = {scale.channel(0), scale.channel(1), scale.channel(2)};
  deal_out(width, height, side, out,
           [&](int64_t y, int64_t x, int64_t c) { return channels[c][canvas[(y * width + x) * 3 + c]]; });
}

void planes_to_patches(const float* planes, int64_t width, int64_t height, int64_t side, float* out) {
  deal_out(width, height, side, out,
           [&](int64_t y, int64_t x, int64_t c) { return planes[(c * height + y) * width + x]; });
}

void PictureTransform::run(const PixelKernels& kernels, const Picture& picture, const Placement& placement,
                           PictureScratch& scratch, float* out) const {
  scratch.canvas.resize(static_cast<size_t>(floats(placement)));
  draw_canvas(kernels, picture, placement, shape.filter, scratch.resample, scratch.canvas.data());
  if (patch > 0)
    to_patches(scale, scratch.canvas.data(), placement.width, placement.height, patch, out);
  else
    to_planes(scale, scratch.canvas.data(), placement.width, placement.height, out);
}

void run_all(const PictureTransform& transform, const PixelKernels& kernels,
             std::span<const Picture> pictures, std::span<const Placement> placements,
             std::span<float* const> outs, ThreadPool& pool) {
  std::vector<PictureScratch> scratches(static_cast<size_t>(pool.threads()));
  pool.parallel_for(static_cast<int64_t>(pictures.size()), [&](int64_t task, int thread) {
    const auto i = static_cast<size_t>(task);
    transform.run(kernels, pictures[i], placements[i], scratches[static_cast<size_t>(thread)], outs[i]);
  });
}

}  // namespace headrace
