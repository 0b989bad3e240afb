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

struct SpaceRules {
  bool add_prefix = true;       // a space in front of each text
  bool remove_extra = false;    // spaces at the ends, and all but one of several
  bool escape = true;           // spaces are U+2581 in tokens
  std::string_view charsmap{};  // SentencePiece's precompiled map of characters; may be empty
};

// The tokenizer.json of a SentencePiece vocabulary; ids are indices. Throws
// Error(kCorruptFile) for repeated, malformed or overlong pieces, scores that are no numbers, or no unknown
// token; name: of the file, for messages.
struct PieceModel {
  bool is_unigram = false;  // else BPE
  bool byte_fallback = false;
  std::string post_processor = "null";
};
std::string tokenizer_json_from_pieces(const std::vector<ScoredPiece>& pieces, const PieceModel& model,
                                       const SpaceRules& spaces, const std::string& name);

}  // namespace headrace
