#include "models/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "base/error.h"

namespace headrace {
namespace {

std::vector<float> random_logits(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// Which tokens are left and how likely, by the definitions, with every token sorted.
std::map<int32_t, double> expected(const std::vector<float>& logits, const SamplingOptions& o) {
  std::vector<std::pair<double, int32_t>> order;
  const float top = *std::max_element(logits.begin(), logits.end());
  for (size_t i = 0; i < logits.size(); ++i)
    order.emplace_back(std::exp(static_cast<double>(logits[i] - top) / o.temperature),
                       static_cast<int32_t>(i));
  std::sort(order.begin(), order.end(), [](auto a, auto b) { return a.first > b.first; });
  if (o.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(o.top_k)));
  double all = 0, kept = 0;
  for (const auto& [weight, token] : order) all += weight;
  std::map<int32_t, double> left;
  for (const auto& [weight, token] : order) {
    if (!left.empty() && (kept >= o.top_p * all || weight < o.min_p)) break;
    left[token] = weight;
    kept += weight;
  }
  for (auto& [token, weight] : left) weight /= kept;
  return left;
}

TEST(Sampler, draws_what_is_left_as_often_as_it_is_likely) {
  Sampler sampler;
  const auto logits = random_logits(300, 1);
  for (SamplingOptions o :
       {SamplingOptions{}, SamplingOptions{.temperature = 0.5f},
        SamplingOptions{.temperature = 2.0f, .top_k = 7}, SamplingOptions{.top_p = 0.8f},
        SamplingOptions{.min_p = 0.1f}, SamplingOptions{.temperature = 3, .top_p = 0.999f},
        SamplingOptions{.top_k = 20, .top_p = 0.7f, .min_p = 0.01f}}) {
    const auto left = expected(logits, o);
    std::map<int32_t, int> seen;
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) {
      auto copy = logits;
      o.seed = static_cast<uint64_t>(i);
      ++seen[sampler.sample(copy, o, nullptr, 5).token];
    }
    for (const auto& [token, count] : seen) ASSERT_TRUE(left.contains(token)) << token;
    for (const auto& [token, probability] : left) {
      const double deviation = std::sqrt(kDraws * probability * (1 - probability));
      ASSERT_NEAR(seen[token], kDraws * probability, 5 * deviation + 1) << token;
    }
  }
}

TEST(Sampler, the_seed_and_the_place_set_the_draw_and_nothing_else) {
  Sampler one, other;
  const auto logits = random_logits(1000, 2);
  const SamplingOptions o{.seed = 42};
  auto a = logits, b = logits, c = logits;
  const int32_t first = one.sample(a, o, nullptr, 3).token;
  other.sample(c, {.seed = 7}, nullptr, 1);
  EXPECT_EQ(other.sample(b, o, nullptr, 3).token, first);
  std::vector<int32_t> drawn;
  for (int64_t place = 0; place < 20; ++place) {
    auto copy = logits;
    drawn.push_back(one.sample(copy, o, nullptr, place).token);
  }
  std::sort(drawn.begin(), drawn.end());
  EXPECT_GT(std::unique(drawn.begin(), drawn.end()) - drawn.begin(), 3);
}

TEST(Sampler, penalties_bias_and_forbidden_tokens) {
  Sampler sampler;
  TokenCounts counts;
  counts.add_prompt(std::vector<int32_t>{0, 1});
  counts.add(2), counts.add(2), counts.add(3);
  const auto best = [&](SamplingOptions o, std::vector<float> logits, std::vector<int32_t> forbidden = {}) {
    o.temperature = 0;
    return sampler.sample(logits, o, &counts, 0, forbidden).token;
  };
  EXPECT_EQ(best({}, {1, 2, 3, 2.9f, 2.5f}), 2);
  EXPECT_EQ(best({.frequency_penalty = 0.1f}, {1, 2, 3, 2.95f, 2.5f}), 3);
  EXPECT_EQ(best({.presence_penalty = 1.0f}, {1, 2, 3, 2.9f, 2.5f}), 4);
  EXPECT_EQ(best({.repetition_penalty = 2.0f}, {1, 4.9f, 3, 2.9f, 2.5f}), 4);
  EXPECT_EQ(best({.repetition_penalty = 2.0f}, {-1, -1, -1, -1, -1.5f}), 4);
  EXPECT_EQ(best({.logit_bias = {{0, 5.0f}}}, {1, 2, 3, 2.9f, 2.5f}), 0);
  EXPECT_EQ(best({}, {1, 2, 3, 2.9f, 2.5f}, {2, 3}), 4);
}

TEST(Sampler, log_probabilities_are_the_models_own) {
  Sampler sampler;
  TokenCounts counts;
  counts.add(1);
  std::vector<float> logits{1, 2, 0};
  const double sum = std::exp(1.0) + std::exp(2.0) + 1;
  const Sampled sampled = sampler.sample(
      logits, {.temperature = 0, .presence_penalty = 2, .logit_bias = {{0, 3.0f}}, .top_logprobs = 2},
      &counts, 0);
  EXPECT_EQ(sampled.token, 0);
  EXPECT_NEAR(sampled.logprob, 1 - std::log(sum), 1e-6);
  ASSERT_EQ(sampled.top.size(), 2u);
  EXPECT_EQ(sampled.top[0].first, 1);
  EXPECT_NEAR(sampled.top[0].second, 2 - std::log(sum), 1e-6);
}

TEST(Sampler, tells_a_token_s_own_probability_without_others) {
  std::vector<float> logits{1, 3, 2};
  Sampler sampler;
  const Sampled sampled = sampler.sample(logits, {.temperature = 0, .top_logprobs = 0}, nullptr, 0);
  EXPECT_EQ(sampled.token, 1);
  EXPECT_TRUE(sampled.top.empty());
  EXPECT_NEAR(sampled.logprob, -std::log(1 + std::exp(-1.0) + std::exp(-2.0)), 1e-6);
}

TEST(Sampler, logits_that_are_no_numbers_give_no_token) {
  Sampler sampler;
  for (const float bad : {std::nanf(""), HUGE_VALF}) {
    std::vector<float> logits{1, bad, 3};
    EXPECT_EQ(sampler.sample(logits, {}, nullptr, 0).token, -1);
  }
  std::vector<float> logits{1, -HUGE_VALF, 3};
  EXPECT_NE(sampler.sample(logits, {}, nullptr, 0).token, 1);
  std::vector<float> none{1, 2};
  EXPECT_EQ(sampler.sample(none, {}, nullptr, 0, std::vector<int32_t>{0, 1}).token, -1);
}

TEST(Sampler, the_first_of_the_likeliest_is_found_wherever_it_is) {
  Sampler sampler;
  for (const size_t size : {size_t{1}, size_t{15}, size_t{16}, size_t{511}, size_t{513}, size_t{1600}})
    for (size_t place = 0; place < size; place += size > 16 ? 7 : 1) {
      std::vector<float> logits = random_logits(size, static_cast<uint32_t>(place));
      logits[place] = 20;
      logits[place + (size - place) / 2] = 20;  // perhaps another one, perhaps the same
      logits.back() = std::max(logits.back(), 20.0f);
      EXPECT_EQ(sampler.sample(logits, {.temperature = 0}, nullptr, 0).token, static_cast<int32_t>(place));
      logits.back() = std::nanf("");
      EXPECT_EQ(sampler.sample(logits, {.temperature = 0}, nullptr, 0).token, -1);
    }
}

TEST(Sampler, every_option_has_a_range) {
  const auto refused = [](const SamplingOptions& o) { EXPECT_THROW(check(o, 10), Error); };
  refused({.temperature = -0.1f});
  refused({.temperature = std::nanf("")});
  refused({.top_k = -1});
  refused({.top_p = 0});
  refused({.top_p = 1.1f});
  refused({.min_p = -1});
  refused({.repetition_penalty = 0});
  refused({.presence_penalty = 3});
  refused({.frequency_penalty = -3});
  refused({.logit_bias = {{10, 1.0f}}});
  refused({.logit_bias = {{1, 101.0f}}});
  refused({.top_logprobs = 101});
  EXPECT_NO_THROW(check({}, 10));
}

}  // namespace
}  // namespace headrace
