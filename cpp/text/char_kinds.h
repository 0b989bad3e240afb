// What the patterns of byte-level models tell apart: letters by case, marks, numbers, white space, signs, the
// rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace headrace {

enum class CharKind : uint8_t {
  kUpper,   // general categories Lu and Lt
  kLower,   // Ll
  kLetter,  // Lm and Lo
  kMark,    // M
  kNumber,  // N
  kSpace,   // \s: White_Space
  kSign,    // P and S
  kOther,
};
inline constexpr size_t kNumCharKinds = 8;

// Chinese characters and Japanese syllabaries, as DeepSeek's second pattern has them.
inline bool is_kanji(char32_t c) { return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x4E00 && c <= 0x9FA5); }

class CharKinds {
 public:
  // Made on first use, from the tables that regular expressions use.
  static const CharKinds& get();

  CharKind of(char32_t c) const {
    return kinds_[size_t{blocks_[c >> kBlockBits]} << kBlockBits | (c & kMask)];
  }

 private:
  static constexpr int kBlockBits = 7;
  static constexpr char32_t kMask = (1 << kBlockBits) - 1;

  CharKinds();

  std::vector<uint16_t> blocks_;
  std::vector<CharKind> kinds_;  // equal blocks share a place
};

}  // namespace headrace
