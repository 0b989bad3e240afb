// The tokens of SentencePiece vocabularies, in whichever file they come.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

struct ScoredPiece {
  // As in SentencePiece's files, and in GGUF.
  enum Type : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

  std::string_view text;
  float score = 0;
  Type type = kNormal;
};

// Throws Error(kCorruptFile) for repeated, malformed or overlong pieces, scores that are no numbers, and
// unless there is one unknown token; returns its id. name: of the file, for messages.
int32_t check_pieces(const std::vector<ScoredPiece>& pieces, const std::string& name);

struct SpaceRules {
  bool add_prefix = true;     // a space in front of each text
  bool remove_extra = false;  // spaces at the ends, and all but one of several
};

// The tokenizer.json of a BPE model with byte fallback whose merges are all ways to join two pieces to a
// third, as the `transformers` library converts such a vocabulary; ids are indices. Throws as check_pieces
// does.
std::string tokenizer_json_from_pieces(const std::vector<ScoredPiece>& pieces, const SpaceRules& spaces,
                                       const std::string& post_processor, const std::string& name);

}  // namespace headrace
