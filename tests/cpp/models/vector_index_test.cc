#include "models/vector_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "base/error.h"
#include "kernels/dispatch.h"

namespace headrace {
namespace {

std::vector<float> random_matrix(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 chance(seed);
  // Few distinct numbers: products are exact, so ties are ties on every table.
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (float& x : values) x = static_cast<float>(static_cast<int>(chance() % 5)) - 2.0f;
  return values;
}

class Search : public testing::TestWithParam<const Kernels*> {};
INSTANTIATE_TEST_SUITE_P(Tables, Search,
                         testing::ValuesIn(runnable_kernels().begin(), runnable_kernels().end()),
                         [](const auto& table) { return std::string(table.param->name); });

TEST_P(Search, finds_what_a_full_sort_finds_ties_included) {
  for (const auto& [n, d, q] : {std::tuple{1, 1, 1}, {31, 3, 2}, {257, 9, 130}, {900, 4, 3}})
    for (const Metric metric : {Metric::kDot, Metric::kEuclidean})
      for (const int threads : {1, 3}) {
        const std::vector<float> vectors = random_matrix(n, d, 1), queries = random_matrix(q, d, 2);
        VectorIndex index(vectors, n, d, metric, *GetParam(), threads);
        const int64_t k = std::min(n, 40);
        std::vector<int64_t> indices(static_cast<size_t>(q * k));
        std::vector<float> scores(indices.size()), all(static_cast<size_t>(q * n));
        index.search(queries, q, k, indices.data(), scores.data());
        index.scores(queries, q, all.data());
        for (int64_t row = 0; row < q; ++row) {
          std::vector<double> expected(static_cast<size_t>(n));
          for (int64_t i = 0; i < n; ++i) {
            double dot = 0, square = 0;
            for (int64_t j = 0; j < d; ++j) {
              const double a = queries[static_cast<size_t>(row * d + j)],
                           b = vectors[static_cast<size_t>(i * d + j)];
              dot += a * b;
              square += (a - b) * (a - b);
            }
            expected[static_cast<size_t>(i)] = metric == Metric::kDot ? dot : -std::sqrt(square);
          }
          std::vector<int64_t> order(static_cast<size_t>(n));
          std::iota(order.begin(), order.end(), 0);
          std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
            return expected[static_cast<size_t>(a)] > expected[static_cast<size_t>(b)];
          });
          for (int64_t i = 0; i < k; ++i) {
            const auto place = static_cast<size_t>(row * k + i);
            ASSERT_EQ(indices[place], order[static_cast<size_t>(i)]) << n << ", " << row << ", " << i;
            const double best = expected[static_cast<size_t>(indices[place])];
            ASSERT_NEAR(scores[place], metric == Metric::kDot ? best : -best, 1e-5);
            ASSERT_EQ(scores[place], all[static_cast<size_t>(row * n + indices[place])]);
          }
        }
      }
}

TEST_P(Search, refuses_what_is_not_finite_or_out_of_range) {
  const std::vector<float> good{1, 2, 3, 4}, bad{1, 2, std::numeric_limits<float>::quiet_NaN(), 4};
  EXPECT_THROW(VectorIndex(bad, 2, 2, Metric::kCosine, *GetParam(), 1), Error);
  EXPECT_THROW(VectorIndex({}, 0, 2, Metric::kCosine, *GetParam(), 1), Error);
  VectorIndex index(good, 2, 2, Metric::kCosine, *GetParam(), 1);
  int64_t found = 0;
  float score = 0;
  EXPECT_THROW(index.search(std::span(bad).last(2), 1, 1, &found, &score), Error);
  EXPECT_THROW(index.search(std::span(good).first(2), 1, 0, &found, &score), Error);
  EXPECT_THROW(index.search(std::span(good).first(2), 1, 3, &found, &score), Error);
  index.search(std::span(good).first(2), 1, 1, &found, &score);
  EXPECT_EQ(found, 0);
  EXPECT_NEAR(score, 1.0f, 1e-6f);
}

}  // namespace
}  // namespace headrace
