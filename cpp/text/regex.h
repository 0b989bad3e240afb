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
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/aligned_text.h"

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

  // The matches of a text one after the other. Remembers which attempts failed after a long way, so that all
  // of them together take linear time, too.
  class Matches {
   public:
    // Both must outlive this.
    Matches(const Regex& regex, std::string_view text) : regex_(regex), text_(text) {}

    // False when there are no more. As in the reference an empty match right behind a match does not count.
    bool next(Piece* match);

   private:
    friend class Regex;

    bool find_next(Piece* match);

    const Regex& regex_;
    std::string_view text_;
    size_t at_ = 0;
    size_t last_end_ = SIZE_MAX;
    // Places of the text and states from which no match is reached; empty but for hostile texts.
    std::set<uint64_t> dead_ends_;
  };

  // Which parts of a text are wanted.
  enum Parts { kMatches = 1, kBetween = 2, kAll = 3 };

  // Appends the matches of text[piece] and the stretches between them, none of them empty, in order. The
  // match sees nothing outside of the piece.
  void append_pieces(std::string_view text, Piece piece, Parts parts, std::vector<Piece>& out) const;

  const std::string& pattern() const;

 private:
  struct Program;

  // append_pieces by the automaton alone.
  void append_matches(std::string_view text, Piece piece, Parts parts, std::vector<Piece>& out) const;

  std::unique_ptr<const Program> program_;
};

}  // namespace headrace
