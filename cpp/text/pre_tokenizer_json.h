// The member pre_tokenizer of a tokenizer.json.
#pragma once

#include <memory>
#include <optional>

#include "base/json.h"
#include "text/stages.h"

namespace headrace {

// No value and null give no pre-tokenizer. When the model takes raw bytes and the last step is ByteLevel, the
// bytes stay as they are and *raw_bytes becomes true. Throws Error(kUnsupported) for a kind that is not
// known, Error(kCorruptFile) for a value that contradicts the format.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(std::optional<JsonValue> value, bool model_takes_raw_bytes,
                                                 bool* raw_bytes);

}  // namespace headrace
