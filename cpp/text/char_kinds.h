// What the patterns of byte-level models tell apart: letters by case, marks, numbers, white space, the rest.
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
  kOther,
};

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
