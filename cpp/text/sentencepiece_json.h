// SentencePiece's own normalizer, model and decoder as members of a tokenizer.json, all of type
// "SentencePiece". The format does not have them: source_sentencepiece.cc writes them, since what
// SentencePiece does cannot be said with the parts that the format has.
#pragma once

#include <memory>

#include "base/json.h"
#include "text/stages.h"
#include "text/subword_json.h"

namespace headrace {

// Throw Error(kCorruptFile) for a value that contradicts itself.
std::unique_ptr<Normalizer> read_sentencepiece_normalizer(JsonValue value);
std::unique_ptr<Decoder> read_sentencepiece_decoder(JsonValue value);
ModelParts read_sentencepiece_model(JsonValue value);

}  // namespace headrace
