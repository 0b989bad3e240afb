// The one interface between the engine and a model.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/threads.h"

namespace headrace {

// Sequences laid end to end, never padded: sequence b is ids[cu_lengths[b]] ... ids[cu_lengths[b + 1] - 1].
struct TokenBatch {
  std::span<const int32_t> ids;         // [T]
  std::span<const int32_t> cu_lengths;  // [B + 1], the first is 0, the last T; no sequence is empty

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t sequences() const { return static_cast<int64_t>(cu_lengths.size()) - 1; }
};

struct ModelInfo {
  std::string task;          // "embed"
  std::string architecture;  // "bert"
  std::string isa;           // the kernel table in use
  std::string precision;     // "f32"
  int64_t dimensions = 0;    // numbers in one answer
  int64_t max_tokens = 0;    // longest sequence, special tokens included
  int64_t vocabulary = 0;    // ids are in [0, vocabulary)
  int64_t parameters = 0;
  int64_t weight_bytes = 0;  // memory that the packed weights take
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;

  // Makes room for batches of up to that many tokens; the only call that allocates.
  virtual void reserve(int64_t max_batch_tokens, int threads) = 0;

  // outputs[b] receives info().dimensions floats for sequence b. One call at a time; batch.tokens() is within
  // what reserve() was given and every id and length is within info(). Allocates nothing and cannot fail.
  virtual void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) = 0;
};

}  // namespace headrace
