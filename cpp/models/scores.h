// Logits to scores, where there are too many of them for the caller to do it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace headrace {

// Keeps its working memory from row to row.
class TopK {
 public:
  // indices, scores [k]: the k largest logits, best first, of equal ones the lower index, and their share in
  // the softmax of all. 1 <= k <= logits.size(). Sums in double precision; |error| <= 1e-6 of the score.
  void softmax(std::span<const float> logits, int64_t k, int32_t* indices, float* scores);

 private:
  std::vector<int32_t> heap_;
};

}  // namespace headrace
