#include "text/pre_tokenize_pattern.h"

namespace headrace {

void PatternSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  const std::string_view bytes = text.bytes();
  const bool is_isolated = behavior_ == SplitBehavior::kIsolated;
  if (is_isolated || behavior_ == SplitBehavior::kRemoved) {
    const Regex::Parts parts = is_isolated ? Regex::kAll : invert_ ? Regex::kMatches : Regex::kBetween;
    split_each(pieces,
               [&](Piece piece, std::vector<Piece>& out) { regex_.append_pieces(bytes, piece, parts, out); });
    return;
  }
  split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
    DelimiterFold fold(behavior_, out);
    Regex::Matches matches(regex_, bytes.substr(piece.begin, piece.end - piece.begin));
    uint32_t previous = piece.begin;
    for (Piece match; matches.next(&match);) {
      match = {piece.begin + match.begin, piece.begin + match.end};
      if (previous < match.begin) fold.add({previous, match.begin}, invert_);
      fold.add(match, !invert_);
      previous = match.end;
    }
    if (previous < piece.end) fold.add({previous, piece.end}, invert_);
    fold.finish();
  });
}

std::string escape_regex(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~").find(c) != std::string_view::npos) pattern.push_back('\\');
    pattern.push_back(c);
  }
  return pattern;
}

}  // namespace headrace
