// Rows of a tensor that are read from its file when they are wanted: embeddings, of which a step needs few.
#pragma once

#include <cstdint>

#include "tensor/safetensors.h"

namespace headrace {

class EmbeddingRows {
 public:
  EmbeddingRows() = default;
  // view: [rows, width] of a type that is_floating(); its file stays open as long as this is used.
  EmbeddingRows(const TensorView& view, int64_t width);

  // out [width], as f32.
  void read(int64_t row, float* out) const;

 private:
  DType dtype_ = DType::kF32;
  std::span<const std::byte> bytes_;
  size_t row_bytes_ = 0;
};

}  // namespace headrace
