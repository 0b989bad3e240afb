// ByteLevel: splits by the pattern of GPT-2 and writes each byte as a printable character.
#pragma once

#include <memory>

#include "text/regex.h"
#include "text/stages.h"

namespace headrace {

class ByteLevelSplitter : public PreTokenizer {
 public:
  struct Config {
    bool add_prefix_space = true;  // where a piece does not begin with one
    bool use_regex = true;
    bool keep_bytes = false;  // for a model that takes bytes as they are
  };

  explicit ByteLevelSplitter(Config config);

  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

  // The character that stands for a byte: itself where it is printable in Latin-1 and no space, else one of
  // U+0100 to U+0143.
  static char32_t character_of(uint8_t byte);

 private:
  void add_spaces(AlignedText& text, std::vector<Piece>& pieces) const;
  static void write_bytes(AlignedText& text, std::vector<Piece>& pieces);

  Config config_;
  std::unique_ptr<const Regex> regex_;
};

}  // namespace headrace
