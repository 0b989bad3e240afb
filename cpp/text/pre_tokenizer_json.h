// The member pre_tokenizer of a tokenizer.json.
#pragma once

#include <memory>
#include <optional>

#include "base/json.h"
#include "text/stages.h"

namespace headrace {

// Null when there is none. model_takes_raw_bytes: whether the model wants text before ByteLevel writes its
// bytes as characters; then, if ByteLevel is the last step, it leaves that out and *raw_bytes is set.
// Throws Error(kUnsupported) for an unknown kind and as Regex does; Error(kCorruptFile) for other faults.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(std::optional<JsonValue> value, bool model_takes_raw_bytes,
                                                 bool* raw_bytes);

}  // namespace headrace
