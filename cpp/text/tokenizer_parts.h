// What tokenizer.json is read into, and a Tokenizer made from.
#pragma once

#include <optional>
#include <vector>

#include "text/tokenizer.h"

namespace headrace {

struct Tokenizer::Parts {
  Vocabulary vocabulary;
  std::vector<bool> is_special;
  AddedTokens raw_added;
  AddedTokens normalized_added;
  BertNormalizer normalizer;
  bool split_words;
  WordPiece model;
  TokenTemplate token_template;
  std::optional<WordPieceDecoder> decoder;
};

}  // namespace headrace
