#include "models/scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace headrace {
namespace {

TEST(TopK, equals_a_sort_and_a_softmax_in_double_precision) {
  std::mt19937 chance(7);
  TopK work;
  for (const size_t n : {1u, 2u, 17u, 1000u}) {
    for (int round = 0; round < 20; ++round) {
      std::vector<float> logits(n);
      // Few distinct values: ties are common.
      for (float& x : logits) x = static_cast<float>(static_cast<int>(chance() % 40)) - 60.0f;
      std::vector<int32_t> order(n);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
      });
      double sum = 0;
      for (const float x : logits) sum += std::exp(static_cast<double>(x));
      const auto k = static_cast<int64_t>(1 + chance() % n);
      std::vector<int32_t> indices(static_cast<size_t>(k));
      std::vector<float> scores(static_cast<size_t>(k));
      work.softmax(logits, k, indices.data(), scores.data());
      for (size_t i = 0; i < indices.size(); ++i) {
        ASSERT_EQ(indices[i], order[i]);
        const double expected = std::exp(static_cast<double>(logits[static_cast<size_t>(order[i])])) / sum;
        EXPECT_NEAR(scores[i], expected, 1e-6 * expected + 1e-12);
      }
    }
  }
}

TEST(TopK, huge_logits_do_not_overflow) {
  const std::vector<float> logits{-3e38f, 3e38f, 1.0f};
  int32_t index = 0;
  float score = 0;
  TopK().softmax(logits, 1, &index, &score);
  EXPECT_EQ(index, 1);
  EXPECT_EQ(score, 1.0f);
}

}  // namespace
}  // namespace headrace
