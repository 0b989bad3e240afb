// Resampling, and overlap of boxes, of every table against the reference's, with an unreadable page behind
// what may be read.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/guarded.h"
#include "kernels/tables.h"
#include "media/resample.h"

namespace headrace {
namespace {

const PixelKernels& reference() { return runnable_kernels().back()->pixels; }

class EachPixels : public testing::TestWithParam<const Kernels*> {};

TEST_P(EachPixels, RowsEqualTheReference) {
  std::mt19937 random(1);
  for (const int64_t in : {1, 2, 3, 7, 31, 64, 257, 1000})
    for (const int64_t out : {1, 2, 5, 16, 33, 224})
      for (const ResampleFilter filter : {ResampleFilter::kBilinear, ResampleFilter::kBicubic}) {
        const ResampleAxis axis(filter, in, out, 0, out);
        std::vector<uint8_t> row(static_cast<size_t>(in * 3 + kRowSlack));
        for (uint8_t& byte : row) byte = random() % 2 ? 255 : static_cast<uint8_t>(random());
        std::vector<uint8_t> expected(static_cast<size_t>(out * 3)), found(expected.size());
        reference().resample_row(row.data(), axis.taps(), out, expected.data());
        GetParam()->pixels.resample_row(row.data(), axis.taps(), out, found.data());
        ASSERT_EQ(found, expected) << in << " -> " << out;
      }
}

TEST_P(EachPixels, ColumnsEqualTheReferenceAndReadNothingElse) {
  std::mt19937 random(2);
  for (const int64_t bytes : {1, 3, 15, 16, 17, 31, 48, 99})
    for (const int64_t count : {1, 2, 3, 8, 41}) {
      Guarded room((bytes * count + 3) / 4);
      auto* in = reinterpret_cast<uint8_t*>(room.data()) + ((bytes * count + 3) / 4 * 4 - bytes * count);
      for (int64_t i = 0; i < bytes * count; ++i) in[i] = static_cast<uint8_t>(random());
      std::vector<int16_t> high(static_cast<size_t>(count)), low(high.size());
      for (size_t i = 0; i < high.size(); ++i) {
        // As of filters, whose sums fit in 32 bits.
        high[i] = static_cast<int16_t>((static_cast<int>(random() % 4096) - 1024) / (2 * count));
        low[i] = static_cast<int16_t>(static_cast<int>(random() % 2048) - 1024);
      }
      std::vector<uint8_t> expected(static_cast<size_t>(bytes)), found(expected.size());
      reference().resample_column(in, bytes, high.data(), low.data(), count, bytes, expected.data());
      GetParam()->pixels.resample_column(in, bytes, high.data(), low.data(), count, bytes, found.data());
      ASSERT_EQ(found, expected) << bytes << " bytes, " << count << " rows";
    }
}

TEST_P(EachPixels, OverlapsEqualTheReferenceAndReadNothingElse) {
  std::mt19937 random(3);
  const auto number = [&](unsigned limit) { return static_cast<float>(random() % limit); };
  const auto put = [&](float* box, int64_t stride) {
    const float x = number(60), y = number(60), width = number(9), height = number(9);
    const float sides[]{x, y, x + width, y + height, width * height};
    for (int64_t i = 0; i < kBoxNumbers; ++i) box[i * stride] = sides[i];
  };
  int found = 0;
  for (int round = 0; round < 2000; ++round) {
    const int64_t blocks = round % 4;
    Guarded boxes(blocks * kBoxBlock * kBoxNumbers);
    for (int64_t i = 0; i < blocks * kBoxBlock; ++i)
      put(boxes.data() + i / kBoxBlock * kBoxBlock * kBoxNumbers + i % kBoxBlock, kBoxBlock);
    float box[kBoxNumbers];
    put(box, 1);
    for (const float limit : {0.0f, 0.25f, 1.0f / 3, 1.0f}) {
      const bool expected = reference().overlaps_any(boxes.data(), blocks, box, limit);
      ASSERT_EQ(GetParam()->pixels.overlaps_any(boxes.data(), blocks, box, limit), expected);
      found += expected ? 1 : 0;
    }
  }
  EXPECT_GT(found, 100);
}

INSTANTIATE_TEST_SUITE_P(Tables, EachPixels, testing::ValuesIn(tables_under_test()),
                         [](const auto& each) { return std::string(each.param->name); });

}  // namespace
}  // namespace headrace
