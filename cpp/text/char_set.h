// A set of Unicode scalar values, as sorted ranges.
#pragma once

#include <compare>
#include <span>
#include <vector>

namespace headrace {

// [first, last], both within.
struct CharRange {
  char32_t first;
  char32_t last;

  auto operator<=>(const CharRange&) const = default;
};

class CharSet {
 public:
  static constexpr char32_t kLast = 0x10FFFF;

  CharSet() = default;
  // In any order; they may overlap.
  explicit CharSet(std::vector<CharRange> ranges) : ranges_(std::move(ranges)) { sort(); }
  CharSet(char32_t first, char32_t last) : ranges_{{first, last}} {}

  // Sorted; no two of them touch.
  std::span<const CharRange> ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;

  void add(const CharSet& other);
  CharSet complement() const;
  CharSet intersection(const CharSet& other) const;

  auto operator<=>(const CharSet&) const = default;

 private:
  void sort();

  std::vector<CharRange> ranges_;
};

}  // namespace headrace
