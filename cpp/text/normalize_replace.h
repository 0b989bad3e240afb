// Replace and Prepend.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/regex.h"
#include "text/stages.h"

namespace headrace {

// What Replace looks for: a string or a regular expression. Serves the decoder of that name, too.
class Pattern {
 public:
  // As Regex: throws Error(kCorruptFile) or Error(kUnsupported).
  static Pattern regex(std::string_view pattern);
  // An empty string is found between all characters.
  static Pattern literal(std::string_view text);

  // Walks over the matches in a text; not more than one begins at a place, and an empty one not where the one
  // before it ended.
  class Matches {
   public:
    Matches(const Pattern& pattern, std::string_view text) : pattern_(pattern), text_(text) {}
    bool next(size_t* begin, size_t* end);

   private:
    const Pattern& pattern_;
    const std::string_view text_;
    size_t from_ = 0;
    size_t last_end_ = SIZE_MAX;
  };

  // The only byte of a literal that is one; else -1.
  int only_byte() const { return regex_ || text_.size() != 1 ? -1 : static_cast<uint8_t>(text_[0]); }

 private:
  bool find(std::string_view text, size_t from, size_t* begin, size_t* end) const;

  std::string text_;
  std::optional<Regex> regex_;
};

// Puts `content` in place of each match. It stems from the match's last character, and where a match is
// empty from the character before it.
class Replace : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(AlignedText& text) const override;

 private:
  Pattern pattern_;
  std::string content_;
};

// Puts a string before every text that is not empty. It stems from the text's first character.
class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string content) : content_(std::move(content)) {}
  void apply(AlignedText& text) const override;

 private:
  std::string content_;
};

}  // namespace headrace
