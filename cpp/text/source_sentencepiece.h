// SentencePiece's .model files -> tokenizer.json.
//
// Ids and decoded text are those of the `sentencepiece` library (tests/parity/test_sentencepiece.py), which
// takes the parts of type "SentencePiece" (sentencepiece_json.h): its sums are floats over whole texts, its
// merges know no pairs, and its character map goes by the longest entry. Control tokens are added tokens, so
// that they may be allowed in a text; there they stay text as long as they are not. And as special tokens
// they are left out before ids are decoded, so that one between two bytes of a character does not part them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace headrace {

// What SigLIP does to a text before the pieces are looked for, as transformers' SiglipTokenizer: ASCII
// punctuation goes, white space becomes single spaces, a word begins the text, and </s> ends it.
struct CanonicalText {
  bool lowercase = true;
};

// bytes: the file; name: for messages. Ids are the file's own. Without canonical no tokens are put around
// texts. Throws
// Error(kCorruptFile) for a file that contradicts itself and Error(kUnsupported) for the types WORD and CHAR
// and for rules that change decoded text.
std::string tokenizer_json_from_sentencepiece(std::string_view bytes, const std::string& name,
                                              const std::optional<CanonicalText>& canonical = {});

}  // namespace headrace
