// What a language model computes in one step (language_model.h).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.h"

namespace headrace {

struct Adapter;

// Consecutive tokens of one sequence.
struct StepSpan {
  int64_t tokens = 0;
  int64_t position = 0;             // of the first; what is before it is in the cache
  const int32_t* blocks = nullptr;  // the sequence's blocks, kCacheBlock tokens each, up to its last token
  int64_t wanted = 0;               // of how many of its last tokens logits are wanted
  const Adapter* adapter = nullptr;
};

struct StepBatch {
  std::span<const int32_t> ids;  // [T], the spans' tokens end to end
  std::span<const StepSpan> spans;
};

struct StepLimits {
  int64_t step_tokens = 512;  // rows of one step
  int64_t step_wanted = 64;   // rows of logits of one step
  int64_t context = 2048;     // the longest sequence
  int64_t blocks = 64;        // of the cache
  KvType kv = KvType::kF32;
  int threads = 1;
};

}  // namespace headrace
