// Logits to the next token, by the rules of models/sampler.h, without sorting: tokens have an order (the
// likelier first, of equals the first in the vocabulary), and every question ("which are the top k", "where
// does the mass reach p", "which one does the draw hit") is a search for a place in that order by how many,
// or how much weight, lies before it.
#pragma once

#include "kernels/cuda/device.h"

namespace headrace::cuda {

// A place in the order: larger is earlier. Floats in their own order as integers, then the index.
HEADRACE_DEVICE uint64_t place_of(float logit, int64_t index) {
  const uint32_t bits = bits_of(logit == 0.0f ? 0.0f : logit);
  const uint32_t ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | (0xffffffffu - static_cast<uint32_t>(index));
}

// The row as its threads see it.
struct Logits {
  const float* values;
  int64_t count;
  float top;
  float inverse_temperature;
  double* scratch;  // shared, a number a warp

  HEADRACE_DEVICE double weight(float logit) const {
    return exp(static_cast<double>((logit - top) * inverse_temperature));
  }

  // Over the tokens at or before a place.
  HEADRACE_DEVICE double count_to(uint64_t place) const {
    double found = 0;
    for (int64_t i = thread_index(); i < count; i += block_threads())
      found += place_of(values[i], i) >= place ? 1 : 0;
    return block_sum(found, scratch);
  }
  HEADRACE_DEVICE double mass_to(uint64_t place) const {
    double found = 0;
    for (int64_t i = thread_index(); i < count; i += block_threads())
      if (place_of(values[i], i) >= place) found += weight(values[i]);
    return block_sum(found, scratch);
  }

  // The earliest place up to which enough lies: enough(place) holds from there on.
  template <typename Enough>
  HEADRACE_DEVICE uint64_t first_place(const Enough& enough) const {
    uint64_t place = 0;
    for (int bit = 63; bit >= 0; --bit) {
      const uint64_t tried = place | uint64_t{1} << bit;
      if (enough(tried)) place = tried;
    }
    return place;
  }
};

// One block a row. logits [rows, V] are changed by the penalties; generated, prompted [rows, V]: how often a
// token was generated, and whether it is in the prompt; both may be null. allowed [rows, V / 32 rounded up]:
// a bit for each token that may come, or null. tokens[row] = -1 where the logits are no numbers.
HEADRACE_KERNEL sample(float* logits, int64_t vocabulary, const SamplingRow* rows, const int32_t* generated,
                       const uint8_t* prompted, const uint32_t* allowed, int32_t* tokens) {
  HEADRACE_SHARED(double, scratch, kMaxWarps);
  HEADRACE_SHARED(float, float_scratch, kMaxWarps);
  HEADRACE_SHARED(int32_t, chosen, 1);
  const int64_t row = block_x();
  const SamplingRow options = rows[row];
  float* values = logits + row * vocabulary;
  float top = -INFINITY, odd = 0;
  for (int64_t i = thread_index(); i < vocabulary; i += block_threads()) {
    float logit = values[i];
    odd += logit == -INFINITY ? 0.0f : logit * 0.0f;
    const int32_t times = generated == nullptr ? 0 : generated[row * vocabulary + i];
    const bool seen = times > 0 || (prompted != nullptr && prompted[row * vocabulary + i] != 0);
    if (seen && options.repetition_penalty != 1.0f)
      logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
    if (times > 0) logit -= options.presence_penalty + options.frequency_penalty * static_cast<float>(times);
    if (allowed != nullptr && (allowed[row * ((vocabulary + 31) / 32) + i / 32] >> i % 32 & 1) == 0)
      logit = -INFINITY;
    values[i] = logit;
    top = larger(top, logit);
  }
  top = block_max(top, float_scratch);
  odd = block_sum(odd, float_scratch);
  if (!(odd == 0.0f) || top == -INFINITY) {
    if (thread_index() == 0) tokens[row] = -1;
    return;  // all of the block's threads alike
  }
  const bool is_greedy = options.temperature == 0;
  const Logits order{values, vocabulary, top, is_greedy ? 0.0f : 1.0f / options.temperature, scratch};
  uint64_t place;
  if (is_greedy) {
    place = order.first_place([&](uint64_t p) { return order.count_to(p) >= 1; });
  } else if (options.top_k > 0 || options.top_p < 1 || options.min_p > 0) {
    const bool has_top_k = options.top_k > 0 && options.top_k < vocabulary;
    uint64_t last = 0;  // of those that are kept
    if (has_top_k) last = order.first_place([&](uint64_t p) { return order.count_to(p) >= options.top_k; });
    const double mass = order.mass_to(last);
    if (options.top_p < 1) {
      const double wanted = static_cast<double>(options.top_p) * mass;
      const uint64_t reached = order.first_place([&](uint64_t p) { return order.mass_to(p) >= wanted; });
      last = reached > last ? reached : last;
    }
    if (options.min_p > 0) {
      // The likeliest is always kept; its weight is 1.
      double unlikely = 0;
      for (int64_t i = thread_index(); i < vocabulary; i += block_threads())
        unlikely += order.weight(values[i]) >= static_cast<double>(options.min_p) ? 1 : 0;
      const double kept = block_sum(unlikely, scratch);
      const uint64_t least =
          order.first_place([&](uint64_t p) { return order.count_to(p) >= (kept > 1 ? kept : 1); });
      last = least > last ? least : last;
    }
    const double target = options.uniform * order.mass_to(last);
    place = order.first_place([&](uint64_t p) { return order.mass_to(p) > target; });
    place = place > last ? place : last;
  } else {
    // In the vocabulary's order: the first token up to which the weights exceed the target.
    double all = 0;
    for (int64_t i = thread_index(); i < vocabulary; i += block_threads()) all += order.weight(values[i]);
    const double target = options.uniform * block_sum(all, scratch);
    int64_t low = 0, high = vocabulary - 1;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      double found = 0;
      for (int64_t i = thread_index(); i <= middle; i += block_threads()) found += order.weight(values[i]);
      if (block_sum(found, scratch) > target) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    if (thread_index() == 0) tokens[row] = static_cast<int32_t>(low);
    return;
  }
  if (thread_index() == 0) chosen[0] = -1;
  block_barrier();
  for (int64_t i = thread_index(); i < vocabulary; i += block_threads())
    if (place_of(values[i], i) == place) chosen[0] = static_cast<int32_t>(i);
  block_barrier();
  if (thread_index() == 0) tokens[row] = chosen[0];
}

}  // namespace headrace::cuda
