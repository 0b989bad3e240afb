// The member "model" of a tokenizer.json: BPE, Unigram, WordLevel or WordPiece.
#pragma once

#include <memory>

#include "base/json.h"
#include "text/stages.h"
#include "text/vocabulary.h"

namespace headrace {

struct ModelParts {
  Vocabulary vocabulary;  // as the file spells it; the model keeps what it needs of it
  std::unique_ptr<SubwordModel> model;
};

// The model's kind. Old files do not say it; then it is known by the members that only one kind has.
std::string_view model_type(JsonValue model);

// raw_bytes: the pieces will be raw bytes, and the vocabulary of a BPE model is spelled in GPT-2's byte
// alphabet. Throws Error(kCorruptFile) for members that contradict each other, such as merges of tokens that
// the vocabulary lacks, and Error(kUnsupported) for what is not supported, such as dropout.
ModelParts read_model(JsonValue model, bool raw_bytes);

// An object of tokens and their ids.
Vocabulary read_vocabulary(JsonValue vocab);

// The value of a JSON number as the reference reads it: the digits as an integer, times or divided by a power
// of ten, each rounded. That may be one unit in the last place off the nearest double, and decides ties
// between a Unigram model's sums. Throws nothing; text is a valid JSON number.
double reference_number(std::string_view text);

}  // namespace headrace
