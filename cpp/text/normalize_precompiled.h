// Precompiled: the rules that a SentencePiece model brings along.
#pragma once

#include "text/charsmap.h"
#include "text/stages.h"

namespace headrace {

// Replaces, as the reference does and SentencePiece does otherwise: grapheme clusters of fewer than six bytes
// as a whole, the characters of others one by one.
class Precompiled : public Normalizer {
 public:
  explicit Precompiled(Charsmap charsmap);
  void apply(AlignedText& text) const override;

 private:
  class Pass;

  Charsmap charsmap_;
  bool keeps_printable_;  // no entry is a single character from 0x20 to 0x7E
};

}  // namespace headrace
