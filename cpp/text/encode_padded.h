// Several texts, or pairs of texts, as one matrix: what models that know no ragged batches take.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "text/truncate.h"

namespace headrace {

// Every member but rows has num_rows x width values, row by row; offsets has twice as many.
struct PaddedBatch {
  int64_t num_rows = 0;
  int64_t width = 0;
  std::vector<int32_t> rows;  // by row: the number of its text; parts that overflowed follow their text
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<int32_t> attention_mask;  // 0: padding
  std::vector<int32_t> special_tokens_mask;
  std::vector<int32_t> sequence_ids;  // -1: neither text
  std::vector<int32_t> offsets;       // begin and end, in characters
};

// pairs: empty, or as many as texts. With options.stride parts that overflow are rows of their own; rows
// longer than padding.length widen the matrix. On up to `threads` threads. Throws as Tokenizer::encode_pair
// does, and Error(kInvalidArgument) for more than 2^31 - 1 places.
PaddedBatch encode_padded(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                          std::span<const std::string_view> pairs, const EncodeOptions& options,
                          const Padding& padding, int threads);

}  // namespace headrace
