#include "models/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"

namespace headrace {
namespace {

template <typename Number>
void check_range(const char* name, Number value, double low, double high) {
  if (!(static_cast<double>(value) >= low && static_cast<double>(value) <= high))
    throw Error(ErrorKind::kInvalidArgument,
                concat(name, "=", value, ": must be between ", low, " and ", high));
}

// In [0, 1), from the seed and a counter (the finalizer of SplitMix64, twice).
double uniform(uint64_t seed, int64_t counter) {
  const auto mix = [](uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
  };
  return static_cast<double>(mix(mix(seed) ^ static_cast<uint64_t>(counter)) >> 11) * 0x1p-53;
}

struct Top {
  float logit = -HUGE_VALF;
  size_t at = 0;          // the first of it
  bool is_sound = false;  // all are numbers or -infinity, and one at least is a number
};

// Of sixteen places side by side, since one comparison would wait for the one before.
Top top_of(std::span<const float> logits) {
  constexpr size_t kSide = 16, kBlock = 512;
  Top top;
  uint32_t strange[kSide] = {};  // neither numbers nor -infinity
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const std::span block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    float tops[kSide];
    std::fill_n(tops, kSide, -HUGE_VALF);
    const auto look = [&](float logit, size_t side) {
      strange[side] += logit < HUGE_VALF ? 0u : 1u;
      tops[side] = tops[side] < logit ? logit : tops[side];
    };
    size_t i = 0;
    for (; i + kSide <= block.size(); i += kSide)
      for (size_t side = 0; side < kSide; ++side) look(block[i + side], side);
    for (; i < block.size(); ++i) look(block[i], i % kSide);
    const float highest = *std::max_element(tops, tops + kSide);
    if (highest > top.logit) top = {highest, begin, false};
  }
  const bool has_strange = std::any_of(strange, strange + kSide, [](uint32_t count) { return count > 0; });
  top.is_sound = !has_strange && std::isfinite(top.logit);
  while (top.is_sound && logits[top.at] != top.logit) ++top.at;
  return top;
}

void penalize(std::span<float> logits, const SamplingOptions& options, const TokenCounts& counts) {
  for (const auto& [token, count] : counts.counts()) {
    float& logit = logits[static_cast<size_t>(token)];
    if (const float r = options.repetition_penalty; r != 1.0f) logit = logit > 0 ? logit / r : logit * r;
    if (count.generated == 0) continue;
    logit -= options.presence_penalty + options.frequency_penalty * static_cast<float>(count.generated);
  }
}

float log_of_sum(std::span<const float> logits, float top) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - top));
  return top + static_cast<float>(std::log(sum));
}

}  // namespace

void check(const SamplingOptions& o, int64_t vocabulary) {
  check_range("temperature", o.temperature, 0, 100);
  check_range("top_k", o.top_k, 0, static_cast<double>(int64_t{1} << 31));
  check_range("top_p", o.top_p, 0, 1);
  if (o.top_p == 0)
    throw Error(ErrorKind::kInvalidArgument,
                "top_p=0: must be above 0; for the likeliest token say temperature=0");
  check_range("min_p", o.min_p, 0, 1);
  check_range("repetition_penalty", o.repetition_penalty, 0.01, 100);
  check_range("presence_penalty", o.presence_penalty, -2, 2);
  check_range("frequency_penalty", o.frequency_penalty, -2, 2);
  check_range("top_logprobs", o.top_logprobs, -1, 100);
  for (const auto& [token, bias] : o.logit_bias) {
    if (token < 0 || token >= vocabulary)
      throw Error(ErrorKind::kInvalidArgument,
                  concat("logit_bias of token ", token, ": must be between 0 and ", vocabulary - 1));
    check_range("logit_bias", bias, -100, 100);
  }
}

void TokenCounts::add_prompt(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) counts_[token].in_prompt = true;
}

void Sampler::keep_likeliest(std::span<const float> logits, int64_t count) {
  const std::greater<> order;
  candidates_.clear();
  const auto kept = static_cast<size_t>(std::min(count, static_cast<int64_t>(logits.size())));
  if (kept == 0) return;  // the heap below has a top
  // A heap with the least likely of them on top: most logits are only compared with that.
  for (size_t i = 0; i < logits.size(); ++i) {
    const Candidate candidate{logits[i], static_cast<int32_t>(i)};
    if (candidates_.size() < kept) {
      candidates_.push_back(candidate);
      std::push_heap(candidates_.begin(), candidates_.end(), order);
    } else if (candidate > candidates_.front()) {
      std::pop_heap(candidates_.begin(), candidates_.end(), order);
      candidates_.back() = candidate;
      std::push_heap(candidates_.begin(), candidates_.end(), order);
    }
  }
  std::sort(candidates_.begin(), candidates_.end(), order);
}

void Sampler::keep_above(std::span<const float> logits, float least) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] >= least) candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  std::sort(candidates_.begin(), candidates_.end(), std::greater<>());
}

Sampled Sampler::sample(std::span<float> logits, const SamplingOptions& options, const TokenCounts* counts,
                        int64_t generated, std::span<const int32_t> forbidden,
                        std::span<const uint32_t> allowed) {
  Sampled result;
  Top top = top_of(logits);
  if (!top.is_sound) return result;
  float log_sum = 0;
  if (options.top_logprobs >= 0) {
    own_.assign(logits.begin(), logits.end());
    log_sum = log_of_sum(logits, top.logit);
    keep_likeliest(logits, options.top_logprobs);
    for (const Candidate& c : candidates_) result.top.emplace_back(c.token, c.logit - log_sum);
  }
  for (const auto& [token, bias] : options.logit_bias) logits[static_cast<size_t>(token)] += bias;
  const bool penalties =
      options.repetition_penalty != 1 || options.presence_penalty != 0 || options.frequency_penalty != 0;
  if (penalties && counts) penalize(logits, options, *counts);
  for (const int32_t token : forbidden) logits[static_cast<size_t>(token)] = -HUGE_VALF;
  if (!allowed.empty())
    for (size_t i = 0; i < logits.size(); ++i)
      if ((allowed[i / 32] >> i % 32 & 1) == 0) logits[i] = -HUGE_VALF;
  if (!options.logit_bias.empty() || penalties || !forbidden.empty() || !allowed.empty())
    top = top_of(logits);
  if (!top.is_sound) return result;
  result.token =
      options.temperature == 0 ? static_cast<int32_t>(top.at) : draw(logits, options, top.logit, generated);
  if (options.top_logprobs >= 0) result.logprob = own_[static_cast<size_t>(result.token)] - log_sum;
  return result;
}

int32_t Sampler::draw(std::span<const float> logits, const SamplingOptions& options, float top,
                      int64_t generated) {
  const float inverse = 1.0f / options.temperature;
  const auto weight = [&](float logit) { return std::exp(static_cast<double>((logit - top) * inverse)); };
  const auto size = static_cast<int64_t>(logits.size());
  const bool has_top_k = options.top_k > 0 && options.top_k < size;
  const double u = uniform(options.seed, generated);
  if (!has_top_k && options.top_p >= 1 && options.min_p <= 0) {
    weights_.resize(logits.size());
    double sum = 0;
    for (size_t i = 0; i < logits.size(); ++i) weights_[i] = sum += weight(logits[i]);
    const auto at = std::upper_bound(weights_.begin(), weights_.end(), u * sum);
    return static_cast<int32_t>(std::min(at - weights_.begin(), static_cast<std::ptrdiff_t>(size - 1)));
  }
  double mass = 1;  // of the candidates, where only they count
  if (has_top_k) {
    keep_likeliest(logits, options.top_k);
    mass = 0;
    for (const Candidate& c : candidates_) mass += weight(c.logit);
  } else {
    double all = 0;
    for (const float logit : logits) all += weight(logit);
    mass = all;
    // Sorting all of a vocabulary is not needed: fewer and fewer likely ones, until they have the mass.
    for (float depth = 12.0f;; depth *= 3) {
      keep_above(logits, top - depth * options.temperature);
      double found = 0;
      for (const Candidate& c : candidates_) found += weight(c.logit);
      if (found >= options.top_p * all || candidates_.size() == logits.size()) break;
      if (depth > 1e5f) break;  // all that is left has no weight
    }
  }
  double kept = 0;
  weights_.clear();
  for (const Candidate& c : candidates_) {
    const double w = weight(c.logit);
    if (!weights_.empty() && (kept >= options.top_p * mass || w < options.min_p)) break;
    weights_.push_back(kept += w);
  }
  const auto at = std::upper_bound(weights_.begin(), weights_.end(), u * kept);
  const auto last = static_cast<std::ptrdiff_t>(weights_.size()) - 1;
  return candidates_[static_cast<size_t>(std::min(at - weights_.begin(), last))].token;
}

}  // namespace headrace
