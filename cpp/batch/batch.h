// What runs together: whole sequences, from any number of requests, laid end to end and never padded.
#pragma once

#include <cstdint>
#include <vector>

namespace headrace {

struct Slot {
  uint64_t request = 0;
  int32_t index = 0;   // sequence `index` of the request
  int32_t length = 0;  // its tokens
};

struct Batch {
  std::vector<Slot> slots;
  int64_t tokens = 0;  // sum of the lengths

  bool empty() const { return slots.empty(); }
  void clear() {
    slots.clear();
    tokens = 0;
  }
};

}  // namespace headrace
