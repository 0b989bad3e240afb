#include "models/scores.h"

#include <algorithm>
#include <cmath>

namespace headrace {

void TopK::softmax(std::span<const float> logits, int64_t k, int32_t* indices, float* scores) {
  const auto better = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  // A heap of the best so far, the worst of them on top; nearly every logit fails its one comparison.
  heap_.clear();
  const auto count = static_cast<int32_t>(logits.size());
  for (int32_t i = 0; i < count; ++i) {
    if (static_cast<int64_t>(heap_.size()) == k) {
      if (!(logits[static_cast<size_t>(i)] > logits[static_cast<size_t>(heap_.front())])) continue;
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.pop_back();
    }
    heap_.push_back(i);
    std::push_heap(heap_.begin(), heap_.end(), better);
  }
  std::sort_heap(heap_.begin(), heap_.end(), better);

  const float largest = logits[static_cast<size_t>(heap_.front())];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  for (int64_t i = 0; i < k; ++i) {
    indices[i] = heap_[static_cast<size_t>(i)];
    scores[i] = static_cast<float>(std::exp(logits[static_cast<size_t>(indices[i])] - largest) / sum);
  }
}

}  // namespace headrace
