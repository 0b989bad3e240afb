// Decoding and suppression against the plain way to do the same.
#include "media/detections.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/tables.h"

namespace headrace {
namespace {

float overlap(const std::array<float, 4>& a, const std::array<float, 4>& b) {
  const auto area = [](const std::array<float, 4>& box) {
    return std::max(0.0f, box[2] - box[0]) * std::max(0.0f, box[3] - box[1]);
  };
  const float width = std::max(0.0f, std::min(a[2], b[2]) - std::max(a[0], b[0]));
  const float height = std::max(0.0f, std::min(a[3], b[3]) - std::max(a[1], b[1]));
  const float inter = width * height;
  return inter / (area(a) + area(b) - inter);
}

// Best first; each is kept unless one that was kept overlaps it.
std::vector<int32_t> plain(const Detections& given, const SuppressionOptions& options) {
  std::vector<int32_t> order(given.size()), kept;
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  const auto at = [](int32_t i) { return static_cast<size_t>(i); };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return given.scores[at(a)] > given.scores[at(b)]; });
  for (const int32_t i : order) {
    const bool is_dropped = std::any_of(kept.begin(), kept.end(), [&](int32_t k) {
      return (options.across_classes || given.classes[at(i)] == given.classes[at(k)]) &&
             overlap(given.boxes[at(k)], given.boxes[at(i)]) > options.max_overlap;
    });
    if (!is_dropped) kept.push_back(i);
  }
  kept.resize(std::min(kept.size(), static_cast<size_t>(options.max_detections)));
  return kept;
}

class EachSuppression : public testing::TestWithParam<const Kernels*> {
 protected:
  void expect_equal(const Detections& given, const SuppressionOptions& options) {
    const auto kept = suppression_.run(GetParam()->pixels, given.view(), options);
    ASSERT_EQ(std::vector<int32_t>(kept.begin(), kept.end()), plain(given, options));
  }

 private:
  Suppression suppression_;
};

TEST_P(EachSuppression, EqualsThePlainWay) {
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    Detections given;
    const int n = round * 7;
    for (int i = 0; i < n; ++i) {
      const auto number = [&](int limit) {
        return static_cast<float>(random() % static_cast<unsigned>(limit));
      };
      const float x = number(100), y = number(100);
      // Few different scores and sizes, so that ties, equal boxes and empty ones come up.
      given.add({x, y, x + number(40), y + number(40)}, number(20) / 20, static_cast<int32_t>(random() % 4));
    }
    for (const bool across : {false, true})
      for (const float limit : {0.0f, 0.3f, 0.5f, 1.0f})
        for (const int64_t most : {1, 10, 1000}) expect_equal(given, {limit, across, most});
  }
}

// Quotients at the limit and a rounding beside it; sides that are turned over, tiny, or too large to
// multiply.
TEST_P(EachSuppression, EqualsThePlainWayAtTheEdges) {
  std::mt19937 random(2);
  const std::vector<float> sides{0.0f,  -0.0f,  1.0f,   2.0f,  3.0f,  4.0f,  7.0f,
                                 -5.0f, 1e-20f, 3e-23f, 1e19f, 3e38f, -3e38f};
  const std::vector<float> scores{0.0f, -0.0f, 0.5f, std::nextafter(0.5f, 1.0f), -1.0f, 1e-40f, 1e30f};
  const auto one_of = [&](const std::vector<float>& from) { return from[random() % from.size()]; };
  for (int round = 0; round < 300; ++round) {
    Detections given;
    for (int i = 0; i < 80; ++i)
      given.add({one_of(sides), one_of(sides), one_of(sides), one_of(sides)}, one_of(scores),
                static_cast<int32_t>(random() % 3) * 1'000'000'000 - 1'000'000'000);
    const float third = 1.0f / 3;
    for (const float limit : {0.0f, 1e-45f, third, std::nextafter(third, 0.0f), 0.5f, 0.75f, 1.0f})
      expect_equal(given, {limit, round % 2 == 0, round % 5 == 0 ? 7 : 1000});
  }
}

TEST_P(EachSuppression, StopsAtTheBestOfAllClasses) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(0, 1);
  Detections given;
  for (int i = 0; i < 3000; ++i) {
    const float x = uniform(random) * 600, y = uniform(random) * 600, side = 8 + 64 * uniform(random);
    given.add({x, y, x + side, y + side}, uniform(random), static_cast<int32_t>(random() % 80));
  }
  for (const int64_t most : {1, 15, 16, 17, 300, 10000}) {
    expect_equal(given, {0.45f, false, most});
    expect_equal(given, {0.45f, true, most});
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, EachSuppression, testing::ValuesIn(tables_under_test()),
                         [](const auto& each) { return std::string(each.param->name); });

TEST(Yolo, BothLayoutsAreOne) {
  std::mt19937 random(2);
  const int64_t boxes = 1234, classes = 19;
  for (const bool objectness : {false, true}) {
    YoloOutput rows{.boxes = boxes, .classes = classes, .has_objectness = objectness};
    const int64_t columns = rows.columns();
    std::vector<float> numbers(static_cast<size_t>(boxes * columns)), turned(numbers.size());
    for (int64_t i = 0; i < boxes; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        const float value = static_cast<float>(random() % 1000) / 1000 * (j < 4 ? 640 : 1);
        numbers[static_cast<size_t>(i * columns + j)] = turned[static_cast<size_t>(j * boxes + i)] = value;
      }
    numbers[0] = turned[0] = std::numeric_limits<float>::quiet_NaN();
    rows.numbers = numbers.data();
    YoloOutput columns_first = rows;
    columns_first.numbers = turned.data();
    columns_first.is_transposed = true;
    Detections a, b;
    for (const float threshold : {0.998f, 0.1f, 0.9f}) {  // few of a block, all, many
      decode_yolo(rows, threshold, a);
      decode_yolo(columns_first, threshold, b);
      EXPECT_EQ(a.boxes, b.boxes);
      EXPECT_EQ(a.scores, b.scores);
      EXPECT_EQ(a.classes, b.classes);
    }
    EXPECT_GT(a.size(), 50u);
    size_t expected = 0;
    for (int64_t i = 1; i < boxes; ++i) {
      const float* row = numbers.data() + i * columns;
      const float* best = std::max_element(row + columns - classes, row + columns);
      const float score = *best * (objectness ? row[4] : 1);
      if (!(score > 0.9f)) continue;
      ASSERT_LT(expected, a.size());
      EXPECT_EQ(a.scores[expected], score);
      EXPECT_EQ(a.classes[expected], best - (row + columns - classes));
      EXPECT_NEAR(a.boxes[expected][2] - a.boxes[expected][0], row[2], 1e-3);
      ++expected;
    }
    EXPECT_EQ(expected, a.size());
  }
}

TEST(Ssd, DecodesAnchorsOfEveryClass) {
  const std::vector<float> locations{1, 0, 0, 0, 0, 0, 0, 5}, anchors{10, 10, 4, 8, 0, 0, 1, 1};
  const std::vector<float> scores{0.1f, 0.6f, 0.7f, 0.9f, 0.1f, 0.2f};
  Detections found;
  decode_ssd({locations.data(), scores.data(), anchors.data(), 2, 3}, 0.5f, found);
  ASSERT_EQ(found.size(), 2u);  // two classes of the first anchor; the background of the second
  EXPECT_EQ(found.classes, (std::vector<int32_t>{1, 2}));
  EXPECT_FLOAT_EQ(found.boxes[0][0], 10.4f - 2);
  EXPECT_FLOAT_EQ(found.boxes[0][3], 14);
  decode_ssd({locations.data(), scores.data(), anchors.data(), 2, 3}, 0.15f, found);
  EXPECT_EQ(found.size(), 3u);
  EXPECT_FLOAT_EQ(found.boxes[2][3] - found.boxes[2][1], std::exp(1.0f));
}

}  // namespace
}  // namespace headrace
