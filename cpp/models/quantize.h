// Weights to 8 and 4 bits in groups.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace headrace {

// What GroupedWeights points to. offset is empty in 8 bits.
struct QuantizedWeights {
  std::vector<uint8_t> q;
  std::vector<float> scale, offset;

  GroupedWeights view() const { return {q.data(), scale.data(), offset.empty() ? nullptr : offset.data()}; }
};

// w [n, k], k a multiple of kWeightGroup. bits: 8, a scale for the largest of each group; or 4, scale and
// offset such that the squared error is least among a few ranges within the group's own.
QuantizedWeights quantize(const float* w, int64_t n, int64_t k, int bits);

}  // namespace headrace
