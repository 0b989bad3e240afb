#include "text/pre_tokenize_pattern.h"

#include "base/utf8.h"
#include "text/char_kinds.h"

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

void JointSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  const std::string_view bytes = text.bytes();
  split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
    std::vector<Piece> parts, made;
    for (uint32_t at = piece.begin; at < piece.end;) {
      at = static_cast<uint32_t>(scan_pattern(known_, bytes, at, piece.end, out));
      if (at == piece.end) break;
      const uint32_t border = border_behind(bytes, at, piece.end);
      parts.assign(1, {at, border});
      for (const Regex& step : steps_) {
        made.clear();
        for (const Piece part : parts) step.append_pieces(bytes, part, Regex::kAll, made);
        parts.swap(made);
      }
      out.insert(out.end(), parts.begin(), parts.end());
      at = border;
    }
  });
}

uint32_t JointSplitter::border_behind(std::string_view text, uint32_t at, uint32_t end) {
  const CharKinds& kinds = CharKinds::get();
  int before = -1;
  while (at < end) {
    const size_t length = utf8_sequence_length(text, at);
    const char32_t c = utf8_decode(text.data() + at, length);
    const int kind = is_kanji(c) ? 1 : kinds.of(c) == CharKind::kNumber ? 2 : 0;
    if (before >= 0 && kind != before) break;
    before = kind;
    at += static_cast<uint32_t>(length);
  }
  return at;
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
