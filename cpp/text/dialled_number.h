// The digits of a telephone number as people write them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace headrace {

// The digits of one number: its groups and what stands between them.
struct Dialled {
  static constexpr size_t kCapacity = 20;

  // Reads from text[at] on, where a digit stands, and the '+' and '(' in front of it.
  Dialled(std::string_view text, size_t at);

  size_t begin = 0;  // with '+' or '('
  size_t bare = 0;   // without the '('
  bool plus = false;
  size_t size = 0;
  std::array<char, kCapacity> digits{};
  std::array<char, kCapacity> gap{};  // in front of the digit: a separator, '(' or ')' when one is among them
  std::array<size_t, kCapacity> ends{};
  int open = -1;               // the digit behind '('
  bool behind_digits = false;  // "12 " stands in front
  bool goes_on = false;        // what follows the last digit belongs to it

  std::string_view view() const { return {digits.data(), size}; }
  // Whether the number may end behind so many digits.
  bool ends_at(size_t count) const;
  // Sizes of the groups of the digits [from, count).
  size_t groups(size_t from, size_t count, std::array<uint8_t, kCapacity>& sizes) const;
  // One kind of separator between the digits [from, count); parentheses count as none.
  bool even(size_t from, size_t count) const;
};

}  // namespace headrace
