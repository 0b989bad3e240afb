// Regular expressions as tokenizers use them, in linear time.
//
// A pattern becomes a deterministic automaton over classes of characters once; matching then looks at each
// character a bounded number of times, whatever the pattern and the text. Matches are those of a backtracking
// engine (Oniguruma, which the reference uses): leftmost, and of the alternatives the first that leads to a
// match, quantifiers greedy unless lazy. That this can be had from an automaton: Cox 2010, "Regular
// Expression Matching in the Wild".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace headrace {

class Regex {
 public:
  // Throws Error(kCorruptFile) when the pattern is malformed, with the place; Error(kUnsupported) naming a
  // construct that is not supported (back references, look-behind, ...) or when the automaton would be larger
  // than its bound, so that a hostile pattern costs little.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // The first match that begins at or behind byte `from` of text, well-formed UTF-8; `from` is at most
  // text.size() and stands between characters. Matches may be empty.
  bool find(std::string_view text, size_t from, size_t* begin, size_t* end) const;

  const std::string& pattern() const;

 private:
  struct Program;
  std::unique_ptr<const Program> program_;
};

}  // namespace headrace
