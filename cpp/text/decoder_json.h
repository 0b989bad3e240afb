// The member decoder of tokenizer.json -> Decoder.
#pragma once

#include <memory>
#include <optional>

#include "base/json.h"
#include "text/stages.h"

namespace headrace {

// No value and null give no decoder: tokens are then joined with spaces. Throws Error(kUnsupported) for a
// kind or pattern that is not known, Error(kCorruptFile) for a value that contradicts the format.
std::unique_ptr<Decoder> read_decoder(std::optional<JsonValue> value);

}  // namespace headrace
