// What SentencePiece does to a text before its model sees it (normalizer.cc there).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "text/byte_trie.h"
#include "text/charsmap.h"
#include "text/stages.h"

namespace headrace {

class SentencePieceNormalizer : public Normalizer {
 public:
  struct Config {
    std::optional<Charsmap> charsmap;
    bool add_dummy_prefix = true;          // a space in front of each text, or behind it
    bool remove_extra_whitespaces = true;  // spaces at the ends, and all but one of several
    bool escape_whitespaces = true;        // spaces become U+2581
    bool whitespace_as_suffix = false;
    std::vector<std::string> user_defined;  // strings that the map leaves alone
  };

  explicit SentencePieceNormalizer(Config config);
  void apply(AlignedText& text) const override;

 private:
  class Pass;
  struct Prefix {
    std::string_view replacement;
    size_t length;  // of what it replaces
  };

  // What the text begins with, and becomes.
  Prefix prefix(std::string_view text) const;

  Config config_;
  std::string_view space_;
  ByteTrie user_defined_;
  std::array<bool, 128> is_plain_{};  // characters that stay as they are before another one of ASCII
};

}  // namespace headrace
