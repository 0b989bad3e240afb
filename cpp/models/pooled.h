// One hidden state of each sequence, and what a matrix makes of it: the vector of a picture or of a text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "models/layers.h"
#include "models/model.h"

namespace headrace {

class Pooled {
 public:
  // projection: [N, C], or nothing, which leaves the hidden states as they are.
  Pooled(const Kernels& kernels, int64_t hidden, std::optional<Linear> projection)
      : kernels_(kernels), hidden_(hidden), projection_(std::move(projection)) {}

  int64_t dimensions() const { return projection_ ? projection_->n : hidden_; }
  // Room for batches of so many sequences; the only call that allocates.
  void reserve(int64_t max_sequences);
  // states [T, C]; row_of(b): the row of sequence b, which goes to outputs[b].
  template <typename RowOf>
  void forward(const float* states, int64_t sequences, const RowOf& row_of, std::span<float* const> outputs,
               ThreadPool& pool) {
    for (int64_t begin = 0; begin < sequences; begin += kChunk) {
      const int64_t count = begin + kChunk < sequences ? kChunk : sequences - begin;
      for (int64_t i = 0; i < count; ++i) gather(states + row_of(begin + i) * hidden_, i);
      finish(count, outputs.subspan(static_cast<size_t>(begin)), pool);
    }
  }

 private:
  static constexpr int64_t kChunk = 64;
  void gather(const float* state, int64_t i);
  void finish(int64_t count, std::span<float* const> outputs, ThreadPool& pool);

  const Kernels& kernels_;
  int64_t hidden_;
  std::optional<Linear> projection_;
  Buffer rows_, projected_;
};

}  // namespace headrace
