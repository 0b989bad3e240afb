// The character map that SentencePiece compiles its normalization rules into.
//
// A u32 size in bytes, a double array of that size (Darts-clone) from UTF-8 strings to offsets, and text in
// which the string at such an offset ends at the next NUL; everything little-endian. A unit of the double
// array:
//
//   bits 0-7: label   8: has a leaf   9: offset is in units of 256   10-30: offset to the children
//   the leaf itself:  bits 0-30: value, 31: set
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

class Charsmap {
 public:
  // Throws std::invalid_argument, with a reason, for bytes that contradict the format; whatever look_up can
  // reach has been checked.
  explicit Charsmap(std::string_view bytes);

  // What the first characters of text become: as in the reference the shortest entry that text begins with
  // counts, and it stands for the whole of text. Nothing when there is none.
  std::optional<std::string_view> look_up(std::string_view text) const;

  // The longest entry that text begins with, as SentencePiece looks it up. Nothing when there is none.
  struct Entry {
    size_t length;
    std::string_view replacement;
  };
  std::optional<Entry> longest_entry(std::string_view text) const;

  // Whether this ASCII character stays as it is before another one: no entry is or begins with two of them.
  bool keeps_ascii(uint8_t byte) const;

  // Whether an entry may begin with this byte.
  bool begins(uint8_t byte) const { return begins_[byte]; }

 private:
  struct Unit {
    uint32_t bits;

    uint32_t label() const { return bits & 0x800000FF; }
    bool is_node() const { return bits >> 31 == 0; }
    bool has_leaf() const { return (bits >> 8 & 1) != 0; }
    uint32_t offset() const { return bits >> 10 << ((bits & 0x200) >> 6); }
    uint32_t value() const { return bits & 0x7FFFFFFF; }
  };

  void check_values() const;

  std::vector<Unit> units_;
  std::string strings_;
  std::array<bool, 256> begins_{};
};

// The bytes that RFC 4648 base64 with padding stands for; nothing when text is not that.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace headrace
