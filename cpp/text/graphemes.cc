#include "text/graphemes.h"

#include "base/utf8.h"
#include "text/ascii_run.h"
#include "text/unicode_forms.h"

namespace headrace {
namespace {

// Hangul syllables are an L with a V, or an L, a V and a T. What follows them follows a V, or a T.
bool is_syllable(char32_t c) { return c - kHangulFirst < kHangulCount; }
bool has_trailing(char32_t c) { return (c - kHangulFirst) % 28 != 0; }

// Walks over one cluster. What is before the cluster cannot matter: the rules that look back do so over
// characters of the same cluster.
class Walk {
 public:
  explicit Walk(char32_t first) { pass(first, form_info(first).grapheme); }

  // Whether the cluster goes on with c; takes it in if so.
  bool take(char32_t c) {
    const Grapheme next = form_info(c).grapheme;
    if (!joins(c, next)) return false;
    pass(c, next);
    return true;
  }

 private:
  bool joins(char32_t c, Grapheme next) const {
    if (last_ == '\r' && c == '\n') return true;                                           // GB3
    if (last_grapheme_ == Grapheme::kControl || next == Grapheme::kControl) return false;  // GB4, GB5
    if (joins_hangul(c, next)) return true;
    switch (next) {
      case Grapheme::kExtend:
      case Grapheme::kLinker:
      case Grapheme::kNonJoiner:
      case Grapheme::kZeroWidthJoiner:
      case Grapheme::kSpacingMark:
        return true;  // GB9, GB9a
      default:
        break;
    }
    if (last_grapheme_ == Grapheme::kPrepend) return true;                    // GB9b
    if (next == Grapheme::kConsonant) return after_consonant_ && is_linked_;  // GB9c
    return next == Grapheme::kPictograph && last_grapheme_ == Grapheme::kZeroWidthJoiner && joins_pictograph_;
  }

  // GB6 to GB8.
  bool joins_hangul(char32_t c, Grapheme next) const {
    const bool after_leading = last_grapheme_ == Grapheme::kLeading;
    const bool after_vowel =
        last_grapheme_ == Grapheme::kVowel || (is_syllable(last_) && !has_trailing(last_));
    const bool after_trailing =
        last_grapheme_ == Grapheme::kTrailing || (is_syllable(last_) && has_trailing(last_));
    if (next == Grapheme::kLeading || is_syllable(c)) return after_leading;
    if (next == Grapheme::kVowel) return after_leading || after_vowel;
    return next == Grapheme::kTrailing && (after_vowel || after_trailing);
  }

  void pass(char32_t c, Grapheme grapheme) {
    const bool is_extend =
        grapheme == Grapheme::kExtend || grapheme == Grapheme::kLinker || grapheme == Grapheme::kNonJoiner;
    // GB11: a pictograph, any Extends, one joiner.
    joins_pictograph_ = grapheme == Grapheme::kPictograph ||
                        (after_pictograph_ && (is_extend || grapheme == Grapheme::kZeroWidthJoiner));
    after_pictograph_ = grapheme == Grapheme::kPictograph || (after_pictograph_ && is_extend);
    // GB9c: a consonant, any Extends and joiners, at least one linker among them.
    if (grapheme == Grapheme::kConsonant) {
      after_consonant_ = true;
      is_linked_ = false;
    } else if (grapheme == Grapheme::kLinker) {
      is_linked_ = after_consonant_;
    } else if (grapheme != Grapheme::kExtend && grapheme != Grapheme::kZeroWidthJoiner) {
      after_consonant_ = is_linked_ = false;
    }
    last_ = c;
    last_grapheme_ = grapheme;
  }

  char32_t last_ = 0;
  Grapheme last_grapheme_ = Grapheme::kOther;
  bool after_pictograph_ = false;  // with nothing but Extends between
  bool joins_pictograph_ = false;  // the same, and perhaps a joiner
  bool after_consonant_ = false;
  bool is_linked_ = false;
};

}  // namespace

size_t grapheme_end(std::string_view text, size_t begin) {
  size_t length = utf8_length(text[begin]);
  Walk walk(utf8_decode(text.data() + begin, length));
  size_t at = begin + length;
  while (at < text.size()) {
    length = utf8_length(text[at]);
    if (!walk.take(utf8_decode(text.data() + at, length))) break;
    at += length;
  }
  return at;
}

}  // namespace headrace
