// The member normalizer of tokenizer.json -> Normalizer.
#pragma once

#include <memory>
#include <optional>

#include "base/json.h"
#include "text/normalize.h"
#include "text/normalize_replace.h"
#include "text/stages.h"

namespace headrace {

// No value and null give no normalizer. Throws Error(kUnsupported) for a kind or pattern that is not known,
// Error(kCorruptFile) for a value that contradicts the format.
std::unique_ptr<Normalizer> read_normalizer(std::optional<JsonValue> value);

// The settings of a value whose type is BertNormalizer.
BertNormalizer::Config read_bert_normalizer(JsonValue value);

// {"String": "..."} or {"Regex": "..."}.
Pattern read_pattern(JsonValue value);

}  // namespace headrace
