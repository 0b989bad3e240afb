// The angles that positions turn queries and keys by, as tables.
#pragma once

#include <cstdint>

#include "models/language_config.h"
#include "tensor/buffer.h"

namespace headrace {

class RotaryTable {
 public:
  // For positions [0, positions), which are the longest text: where a longer one has other angles (longrope,
  // dynamic), all of them have its. So a text is the same however long the others are. rotated: even, the
  // numbers of a head that turn.
  void fill(const RotaryConfig& config, int64_t rotated, int64_t positions);

  int64_t half() const { return half_; }
  // [half] each.
  const float* cosine(int64_t position) const { return table_.data() + position * 2 * half_; }
  const float* sine(int64_t position) const { return cosine(position) + half_; }

 private:
  int64_t half_ = 0;
  Buffer table_;  // [positions, 2, half]
};

}  // namespace headrace
