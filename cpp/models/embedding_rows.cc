#include "models/embedding_rows.h"

#include "models/widen.h"

namespace headrace {

EmbeddingRows::EmbeddingRows(const TensorView& view, int64_t width)
    : dtype_(view.dtype),
      bytes_(view.bytes),
      row_bytes_(static_cast<size_t>(width) * (view.dtype == DType::kF32 ? 4 : 2)) {}

void EmbeddingRows::read(int64_t row, float* out) const {
  widen(dtype_, bytes_.subspan(static_cast<size_t>(row) * row_bytes_, row_bytes_), out);
}

}  // namespace headrace
