#include "models/pooled.h"

#include <algorithm>

namespace headrace {

void Pooled::reserve(int64_t max_sequences) {
  const int64_t rows = std::min(kChunk, max_sequences);
  rows_ = Buffer(rows * hidden_);
  if (projection_) projected_ = Buffer(rows * projection_->n);
}

void Pooled::gather(const float* state, int64_t i) {
  std::copy(state, state + hidden_, rows_.data() + i * hidden_);
}

void Pooled::finish(int64_t count, std::span<float* const> outputs, ThreadPool& pool) {
  const float* from = rows_.data();
  if (projection_) {
    projection_->forward(kernels_, pool, count, rows_.data(), projected_.data());
    from = projected_.data();
  }
  const int64_t n = dimensions();
  for (int64_t i = 0; i < count; ++i)
    std::copy(from + i * n, from + (i + 1) * n, outputs[static_cast<size_t>(i)]);
}

}  // namespace headrace
