// Metaspace: writes spaces as a visible character, which begins a piece.
#pragma once

#include <string>

#include "text/stages.h"

namespace headrace {

class MetaspaceSplitter : public PreTokenizer {
 public:
  enum class Prepend {
    kAlways,  // before each piece that does not begin with it
    kNever,
    kFirst,  // before the piece that begins the original text
  };

  MetaspaceSplitter(std::string replacement, Prepend prepend, bool splits)
      : replacement_(std::move(replacement)), prepend_(prepend), splits_(splits) {}

  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  std::string replacement_;  // one character
  Prepend prepend_;
  bool splits_;
};

}  // namespace headrace
