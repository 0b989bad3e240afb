// Normalizers that look at one character at a time: Lowercase, StripAccents, Strip, Nmt, ByteLevel.
#pragma once

#include "text/stages.h"

namespace headrace {

// Each character's lower case.
class Lowercase : public Normalizer {
 public:
  void apply(AlignedText& text) const override;
};

// Without the marks (category M) that stand by themselves: decompose first.
class StripAccents : public Normalizer {
 public:
  void apply(AlignedText& text) const override;
};

// Without white space at its ends.
class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(AlignedText& text) const override;

 private:
  bool left_;
  bool right_;
};

// The controls that SentencePiece's nmt rules drop, and the characters they turn into spaces.
class Nmt : public Normalizer {
 public:
  void apply(AlignedText& text) const override;
};

// Each byte as the character that spells it (byte_spelling.h).
class SpellBytes : public Normalizer {
 public:
  void apply(AlignedText& text) const override;
};

}  // namespace headrace
