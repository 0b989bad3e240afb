// BertNormalizer: cleans, spaces out ideographs, strips accents, lowercases; each step optional.
//
// In the reference each step rewrites the whole string. Here one pass does all of them, since every step but
// one works on single characters. The exception is canonical ordering: combining marks wait in `marks` until
// the next starter shows that no more will come.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace headrace {

// Normalized text, and for each of its bytes the character (code point) of the original that it stems from.
struct NormalizedText {
  struct Mark {
    char32_t character;
    uint8_t combining_class;
    bool is_first;  // the first character that its original decomposes to
  };

  std::string text;
  std::vector<int32_t> origins;  // empty when not asked for
  std::vector<Mark> marks;       // working memory
  std::vector<int32_t> mark_origins;

  void clear() {
    text.clear();
    origins.clear();
  }
};

class BertNormalizer {
 public:
  struct Config {
    bool clean_text = false;
    bool handle_chinese_chars = false;
    bool strip_accents = false;
    bool lowercase = false;
  };

  // What an ASCII character becomes, whatever stands around it.
  enum class Ascii : uint8_t { kWord, kSpace, kPunctuation, kDropped, kNotAscii };

  // With the default configuration nothing is changed.
  explicit BertNormalizer(Config config);

  // Appends the normalized form of text, which is well-formed UTF-8, to out. When with_origins, out.origins
  // grows along, first_character being the number of text's first character. Returns how many characters text
  // has.
  int64_t append(std::string_view text, bool with_origins, int64_t first_character,
                 NormalizedText& out) const;

  // Whether a character beyond ASCII, whose info is given, always ends the word before it and is itself
  // either one word or, if it is white space, none; so text may be cut on both sides of it.
  bool is_boundary(const CharInfo& info) const {
    return info.has(boundary_flags_) && info.combining_class == 0 &&
           !info.has(CharInfo::kControl | CharInfo::kNonspacing | CharInfo::kDecomposes);
  }

  // What each byte becomes on its own: kNotAscii for bytes above 0x7F.
  const std::array<Ascii, 256>& ascii_class() const { return ascii_class_; }
  // Where ascii_class is kWord or kPunctuation: the byte in lower case, if the configuration says so.
  const uint8_t* ascii_map() const { return ascii_map_.data(); }

  const Config& config() const { return config_; }

 private:
  template <bool kOrigins>
  class Pass;

  Config config_;
  int boundary_flags_;
  std::array<Ascii, 256> ascii_class_;
  std::array<uint8_t, 256> ascii_map_;
};

}  // namespace headrace
