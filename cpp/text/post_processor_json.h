// The member post_processor of tokenizer.json -> PostProcessor.
#pragma once

#include <memory>
#include <optional>

#include "base/json.h"
#include "text/post_process.h"

namespace headrace {

// No value and null give none. Throws Error(kUnsupported) for a kind that is not known, Error(kCorruptFile)
// for a value that contradicts the format or names tokens that the vocabulary does not have.
std::unique_ptr<PostProcessor> read_post_processor(std::optional<JsonValue> value,
                                                   const Vocabulary& vocabulary);

}  // namespace headrace
