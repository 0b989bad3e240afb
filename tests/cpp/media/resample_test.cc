// Resizing against the same sums in double precision, and what it may read.
#include "media/resample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/dispatch.h"

namespace headrace {
namespace {

std::vector<uint8_t> noise(int64_t width, int64_t height, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> pixels(static_cast<size_t>(width * height * 3));
  for (uint8_t& byte : pixels) byte = static_cast<uint8_t>(random());
  return pixels;
}

std::vector<uint8_t> resized(const std::vector<uint8_t>& pixels, int64_t width, int64_t height,
                             int64_t out_width, int64_t out_height, ResampleFilter filter) {
  const ResampleAxis columns(filter, width, out_width, 0, out_width),
      rows(filter, height, out_height, 0, out_height);
  std::vector<uint8_t> out(static_cast<size_t>(out_width * out_height * 3));
  ResampleScratch scratch;
  resample(kernels().pixels, {pixels.data(), width, height}, columns, rows, scratch, out.data(),
           out_width * 3);
  return out;
}

// Bilinear, in doubles, without rounding between the passes.
double exact(const std::vector<uint8_t>& pixels, int64_t width, int64_t height, double x, double y,
             double stretch_x, double stretch_y, int64_t channel) {
  double sum = 0, total = 0;
  for (int64_t v = 0; v < height; ++v)
    for (int64_t u = 0; u < width; ++u) {
      const double weight = std::max(0.0, 1 - std::fabs(static_cast<double>(u) + 0.5 - x) / stretch_x) *
                            std::max(0.0, 1 - std::fabs(static_cast<double>(v) + 0.5 - y) / stretch_y);
      sum += weight * pixels[static_cast<size_t>((v * width + u) * 3 + channel)];
      total += weight;
    }
  return sum / total;
}

TEST(Resample, IsTheFilterItClaims) {
  const int64_t width = 37, height = 23;
  const auto pixels = noise(width, height, 1);
  for (const auto& [w, h] :
       {std::pair<int64_t, int64_t>{11, 7}, {64, 50}, {5, 40}, {1, 1}, {37, 10}, {90, 23}}) {
    const auto out = resized(pixels, width, height, w, h, ResampleFilter::kBilinear);
    const double sx = static_cast<double>(width) / static_cast<double>(w);
    const double sy = static_cast<double>(height) / static_cast<double>(h);
    for (int64_t y = 0; y < h; ++y)
      for (int64_t x = 0; x < w; ++x)
        for (int64_t c = 0; c < 3; ++c)
          ASSERT_NEAR(out[static_cast<size_t>((y * w + x) * 3 + c)],
                      exact(pixels, width, height, (static_cast<double>(x) + 0.5) * sx,
                            (static_cast<double>(y) + 0.5) * sy, std::max(1.0, sx), std::max(1.0, sy), c),
                      1.01);
  }
}

TEST(Resample, KeepsConstantsAndCopiesEqualSizes) {
  const std::vector<uint8_t> flat(31 * 17 * 3, 201);
  for (const ResampleFilter filter :
       {ResampleFilter::kBilinear, ResampleFilter::kBicubic, ResampleFilter::kLanczos})
    for (const int64_t side : {1, 16, 100}) {
      const auto out = resized(flat, 31, 17, side, side, filter);
      EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](uint8_t byte) { return byte == 201; }));
    }
  const auto pixels = noise(31, 17, 3);
  EXPECT_EQ(resized(pixels, 31, 17, 31, 17, ResampleFilter::kBicubic), pixels);
}

TEST(Resample, AWindowIsAPartOfTheWhole) {
  const int64_t width = 50, height = 40, w = 30, h = 24;
  const auto pixels = noise(width, height, 4);
  const auto whole = resized(pixels, width, height, w, h, ResampleFilter::kBicubic);
  const ResampleAxis columns(ResampleFilter::kBicubic, width, w, 7, 20),
      rows(ResampleFilter::kBicubic, height, h, 3, 9);
  std::vector<uint8_t> out(13 * 6 * 3);
  ResampleScratch scratch;
  resample(kernels().pixels, {pixels.data(), width, height}, columns, rows, scratch, out.data(), 13 * 3);
  for (size_t y = 0; y < 6; ++y)
    EXPECT_TRUE(std::equal(out.begin() + static_cast<int64_t>(y) * 39,
                           out.begin() + static_cast<int64_t>(y + 1) * 39,
                           whole.begin() + (static_cast<int64_t>(y) + 3) * w * 3 + 21));
}

// A row of 65,535 pixels to one: a thousand times more weights than usual, whose low parts add up beyond 31
// bits.
TEST(Resample, SumsOfVeryManyWeights) {
  std::vector<uint8_t> pixels(65535 * 3, 255);
  const auto out = resized(pixels, 65535, 1, 1, 1, ResampleFilter::kBicubic);
  for (const uint8_t byte : out) EXPECT_NEAR(byte, 255, 1);
}

}  // namespace
}  // namespace headrace
