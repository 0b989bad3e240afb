// Where pictures come to lie, and the numbers that are made of them.
#include "media/transform.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "kernels/dispatch.h"

namespace headrace {
namespace {

TEST(Place, ShortestEdgeAndCrop) {
  const PictureShape shape{.resize = ResizeMode::kShortestEdge,
                           .resize_width = 256,
                           .resize_height = 256,
                           .crops = true,
                           .width = 224,
                           .height = 224};
  const Placement wide = place(shape, 640, 480);
  EXPECT_EQ(wide.scaled_width, 341);
  EXPECT_EQ(wide.scaled_height, 256);
  EXPECT_EQ(wide.left, -58);
  EXPECT_EQ(wide.top, -16);
  EXPECT_EQ(wide.width, 224);
  const Placement tall = place(shape, 480, 640);
  EXPECT_EQ(tall.scaled_width, 256);
  EXPECT_EQ(tall.scaled_height, 341);
}

TEST(Place, WhatIsTooSmallIsPadded) {
  const PictureShape shape{.crops = true, .width = 10, .height = 10};
  const Placement placement = place(shape, 5, 4);
  EXPECT_EQ(placement.left, 3);
  EXPECT_EQ(placement.top, 3);
  const std::vector<uint8_t> white(5 * 4 * 3, 255);
  std::vector<uint8_t> canvas(300, 7);
  ResampleScratch scratch;
  draw_canvas(kernels().pixels, {white.data(), 5, 4}, placement, ResampleFilter::kBilinear, scratch,
              canvas.data());
  int64_t lit = 0;
  for (const uint8_t byte : canvas) {
    EXPECT_TRUE(byte == 0 || byte == 255);
    lit += byte == 255;
  }
  EXPECT_EQ(lit, 5 * 4 * 3);
  EXPECT_EQ(canvas[(3 * 10 + 3) * 3], 255);
}

TEST(Place, LetterboxAndBack) {
  const PictureShape shape{.resize = ResizeMode::kLetterbox, .width = 640, .height = 640, .fill = 114};
  const Placement placement = place(shape, 1280, 720);
  EXPECT_EQ(placement.scaled_width, 640);
  EXPECT_EQ(placement.scaled_height, 360);
  EXPECT_EQ(placement.top, 140);
  const auto box = box_in_picture(placement, 1280, 720, {0, 140, 320, 320});
  EXPECT_FLOAT_EQ(box[0], 0);
  EXPECT_FLOAT_EQ(box[1], 0);
  EXPECT_FLOAT_EQ(box[2], 640);
  EXPECT_FLOAT_EQ(box[3], 360);
  EXPECT_FLOAT_EQ(box_in_picture(placement, 1280, 720, {-50, 0, 900, 900})[2], 1280);
}

TEST(Place, RefusesWhatWouldNotFit) {
  const PictureShape shape{.resize = ResizeMode::kShortestEdge, .resize_width = 224, .resize_height = 224};
  EXPECT_THROW(place(shape, 0, 5), Error);
  EXPECT_THROW(place(shape, kMaxSide + 1, 5), Error);
  EXPECT_THROW(place(shape, 1, kMaxSide), Error);
}

TEST(Transform, PatchesHoldWhatPlanesHold) {
  const int64_t width = 12, height = 8, side = 4;
  std::vector<uint8_t> pixels(static_cast<size_t>(width * height * 3));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
  const PixelScale scale(1.0f / 255, {0.5f, 0.25f, 0.0f}, {0.5f, 1.0f, 2.0f});
  std::vector<float> planes(pixels.size()), patches(pixels.size()), again(pixels.size());
  to_planes(scale, pixels.data(), width, height, planes.data());
  to_patches(scale, pixels.data(), width, height, side, patches.data());
  planes_to_patches(planes.data(), width, height, side, again.data());
  EXPECT_EQ(patches, again);
  EXPECT_EQ(planes[static_cast<size_t>(width * height)], (7 * (1.0f / 255) - 0.25f) / 1.0f);
  // Row 5, column 6: patch (1, 1), its row 1 and column 2.
  const auto at = static_cast<size_t>((1 * 3 + 1) * 3 * 16 + 2 * 16 + 1 * 4 + 2);
  EXPECT_EQ(patches[at], planes[static_cast<size_t>(2 * width * height + 5 * width + 6)]);
}

TEST(Transform, ManyPicturesAreThoseAlone) {
  const PictureTransform transform{{.resize = ResizeMode::kExact, .resize_width = 16, .resize_height = 16},
                                   PixelScale(1, {0, 0, 0}, {1, 1, 1}),
                                   8};
  std::vector<std::vector<uint8_t>> memory;
  std::vector<Picture> pictures;
  std::vector<Placement> placements;
  std::vector<std::vector<float>> results(9, std::vector<float>(768));
  std::vector<float*> outs;
  for (int64_t i = 0; i < 9; ++i) {
    memory.emplace_back(static_cast<size_t>((i + 3) * 20 * 3), static_cast<uint8_t>(i * 9));
    pictures.push_back({memory.back().data(), 20, i + 3});
    placements.push_back(place(transform.shape, 20, i + 3));
    outs.push_back(results[static_cast<size_t>(i)].data());
  }
  ThreadPool pool(3);
  run_all(transform, kernels().pixels, pictures, placements, outs, pool);
  for (size_t i = 0; i < 9; ++i) {
    std::vector<float> alone(768);
    PictureScratch scratch;
    transform.run(kernels().pixels, pictures[i], placements[i], scratch, alone.data());
    EXPECT_EQ(results[i], alone);
    EXPECT_EQ(alone[0], static_cast<float>(i * 9));
  }
}

}  // namespace
}  // namespace headrace
