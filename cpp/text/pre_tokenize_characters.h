// Pre-tokenizers that split by what single characters are.
#pragma once

#include <cstddef>

#include "text/char_set.h"
#include "text/split_behavior.h"
#include "text/stages.h"

namespace headrace {

// Words are runs of word characters (\w) or of others; white space separates them and is dropped.
class WhitespaceSplitter : public PreTokenizer {
 public:
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;
};

// White space separates words and is dropped.
class WhitespaceOnlySplitter : public PreTokenizer {
 public:
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;
};

// See split_bert.
class BertSplitter : public PreTokenizer {
 public:
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;
};

// Each punctuation character is a delimiter.
class PunctuationSplitter : public PreTokenizer {
 public:
  explicit PunctuationSplitter(SplitBehavior behavior) : behavior_(behavior) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  SplitBehavior behavior_;
};

// Each numeric character (category N), or each run of them, is a piece.
class DigitSplitter : public PreTokenizer {
 public:
  explicit DigitSplitter(bool individual);
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  SplitBehavior behavior_;
  CharSet numbers_;
};

// One character separates words and is dropped.
class CharDelimiterSplitter : public PreTokenizer {
 public:
  explicit CharDelimiterSplitter(char32_t delimiter) : delimiter_(delimiter) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  char32_t delimiter_;
};

// So many characters a piece.
class FixedLengthSplitter : public PreTokenizer {
 public:
  // length: at least 1.
  explicit FixedLengthSplitter(size_t length) : length_(length) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  size_t length_;
};

// Characters of one script in a row are a piece; spaces belong to the piece before, and are dropped where
// there is none.
class ScriptSplitter : public PreTokenizer {
 public:
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;
};

}  // namespace headrace
