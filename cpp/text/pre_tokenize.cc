#include "text/pre_tokenize.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/byte_spelling.h"
#include "text/unicode.h"

namespace headrace {
namespace {

constexpr const char* kGpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

// Calls refine(piece, out) for each piece in turn and puts what it made in their place.
template <typename Refine>
void refine_all(std::vector<Piece>& pieces, Refine&& refine) {
  std::vector<Piece> refined;
  refined.reserve(pieces.size());
  for (const Piece piece : pieces) refine(piece, refined);
  pieces.swap(refined);
}

void append_if_any(Piece piece, std::vector<Piece>& pieces) {
  if (piece.begin < piece.end) pieces.push_back(piece);
}

}  // namespace

void append_pieces(std::vector<Match>& matches, SplitBehavior behavior, std::vector<Piece>& pieces) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Match& match : matches) append_if_any(match.piece, pieces);
      return;
    case SplitBehavior::kRemoved:
      for (const Match& match : matches)
        if (!match.is_match) append_if_any(match.piece, pieces);
      return;
    case SplitBehavior::kContiguous: {
      const size_t first = pieces.size();
      bool previous = false;
      for (const Match& match : matches) {
        if (match.is_match == previous && pieces.size() > first) {
          pieces.back().end = match.piece.end;
        } else {
          append_if_any(match.piece, pieces);
        }
        previous = match.is_match;
      }
      return;
    }
    case SplitBehavior::kMergedWithPrevious: {
      const size_t first = pieces.size();
      bool previous = false;
      for (const Match& match : matches) {
        if (match.is_match && !previous && pieces.size() > first) {
          pieces.back().end = match.piece.end;
        } else {
          append_if_any(match.piece, pieces);
        }
        previous = match.is_match;
      }
      return;
    }
    case SplitBehavior::kMergedWithNext: {
      const size_t first = pieces.size();
      bool previous = false;
      for (auto match = matches.rbegin(); match != matches.rend(); ++match) {
        if (match->is_match && !previous && pieces.size() > first) {
          pieces.back().begin = match->piece.begin;
        } else {
          append_if_any(match->piece, pieces);
        }
        previous = match->is_match;
      }
      std::reverse(pieces.begin() + static_cast<ptrdiff_t>(first), pieces.end());
      return;
    }
  }
}

void Split::split(AlignedText& text, std::vector<Piece>& pieces) const {
  std::vector<Match> matches;
  refine_all(pieces, [&](Piece piece, std::vector<Piece>& out) {
    const std::string_view part = text.bytes().substr(piece.begin, piece.end - piece.begin);
    matches.clear();
    const auto add = [&](size_t begin, size_t end, bool is_match) {
      matches.push_back(
          {{piece.begin + static_cast<uint32_t>(begin), piece.begin + static_cast<uint32_t>(end)},
           is_match != invert_});
    };
    Pattern::Matches found(pattern_, part);
    size_t done = 0, begin = 0, end = 0;
    while (found.next(&begin, &end)) {
      if (done != begin) add(done, begin, false);
      add(begin, end, true);
      done = end;
    }
    if (done != part.size()) add(done, part.size(), false);
    append_pieces(matches, behavior_, out);
  });
}

void SplitCharacters::split(AlignedText& text, std::vector<Piece>& pieces) const {
  const std::string_view bytes = text.bytes();
  std::vector<Match> matches;
  refine_all(pieces, [&](Piece piece, std::vector<Piece>& out) {
    matches.clear();
    uint32_t done = piece.begin;
    for (uint32_t at = piece.begin; at < piece.end;) {
      const auto length = static_cast<uint32_t>(utf8_sequence_length(bytes, at));
      if (test_(utf8_decode(bytes.data() + at, length))) {
        if (done < at) matches.push_back({{done, at}, false});
        matches.push_back({{at, at + length}, true});
        done = at + length;
      }
      at += length;
    }
    if (done < piece.end) matches.push_back({{done, piece.end}, false});
    append_pieces(matches, behavior_, out);
  });
}

// What is a word character is said by UTS 18, annex C, and not by the regular expressions of Split: the
// reference uses another engine here.
void Words::split(AlignedText& text, std::vector<Piece>& pieces) const {
  const std::string_view bytes = text.bytes();
  refine_all(pieces, [&](Piece piece, std::vector<Piece>& out) {
    enum class Kind : uint8_t { kSpace, kWord, kOther } kind = Kind::kSpace;
    uint32_t begin = piece.begin;
    for (uint32_t at = piece.begin; at < piece.end;) {
      const auto length = static_cast<uint32_t>(utf8_sequence_length(bytes, at));
      const CharInfo& info = char_info(utf8_decode(bytes.data() + at, length));
      const Kind next = info.has(CharInfo::kWord)    ? Kind::kWord
                        : info.has(CharInfo::kSpace) ? Kind::kSpace
                                                     : Kind::kOther;
      if (next != kind) {
        if (kind != Kind::kSpace) out.push_back({begin, at});
        begin = at;
        kind = next;
      }
      at += length;
    }
    if (kind != Kind::kSpace) append_if_any({begin, piece.end}, out);
  });
}

void FixedLength::split(AlignedText& text, std::vector<Piece>& pieces) const {
  const std::string_view bytes = text.bytes();
  refine_all(pieces, [&](Piece piece, std::vector<Piece>& out) {
    uint32_t begin = piece.begin;
    int64_t characters = 0;
    for (uint32_t at = piece.begin; at < piece.end; ++at) {
      if ((static_cast<uint8_t>(bytes[at]) & 0xC0) == 0x80) continue;
      if (characters == length_) {
        out.push_back({begin, at});
        begin = at;
        characters = 0;
      }
      ++characters;
    }
    append_if_any({begin, piece.end}, out);
  });
}

void Metaspace::split(AlignedText& text, std::vector<Piece>& pieces) const {
  const std::string_view bytes = text.bytes();
  AlignedText::Rewrite out(text);
  std::vector<Piece> refined;
  for (const Piece piece : pieces) {
    const std::string_view part = bytes.substr(piece.begin, piece.end - piece.begin);
    const bool is_first = piece.begin == 0 && text.begins_original();
    const bool prepends = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && is_first);
    auto begin = static_cast<uint32_t>(out.size());
    if (prepends && part[0] != ' ' && !part.starts_with(replacement_)) out.put(replacement_, piece.begin);
    for (uint32_t at = piece.begin; at < piece.end;) {
      const bool is_space = bytes[at] == ' ';
      const bool is_mark = is_space || bytes.substr(at, piece.end - at).starts_with(replacement_);
      if (is_splitting_ && is_mark && out.size() > begin) {
        refined.push_back({begin, static_cast<uint32_t>(out.size())});
        begin = static_cast<uint32_t>(out.size());
      }
      if (is_space) {
        out.put(replacement_, at++);
        continue;
      }
      uint32_t end = at + (is_mark ? static_cast<uint32_t>(replacement_.size()) : 1);
      while (end < piece.end && bytes[end] != ' ' && bytes[end] != replacement_[0]) ++end;
      out.keep(at, end);
      at = end;
    }
    append_if_any({begin, static_cast<uint32_t>(out.size())}, refined);
  }
  out.finish();
  pieces.swap(refined);
}

ByteLevel::ByteLevel(bool add_prefix_space, bool use_regex, bool raw)
    : add_prefix_space_(add_prefix_space),
      raw_(raw),
      pattern_(use_regex ? std::make_unique<Split>(Pattern::regex(kGpt2), SplitBehavior::kIsolated, false)
                         : nullptr) {}

void ByteLevel::split(AlignedText& text, std::vector<Piece>& pieces) const {
  const auto needs_space = [&](Piece piece) { return text.bytes()[piece.begin] != ' '; };
  if (add_prefix_space_ && std::any_of(pieces.begin(), pieces.end(), needs_space)) {
    AlignedText::Rewrite out(text);
    std::vector<Piece> moved;
    for (const Piece piece : pieces) {
      const auto begin = static_cast<uint32_t>(out.size());
      if (needs_space(piece)) out.put(" ", piece.begin);
      out.keep(piece.begin, piece.end);
      moved.push_back({begin, static_cast<uint32_t>(out.size())});
    }
    out.finish();
    pieces.swap(moved);
  }
  if (pattern_) pattern_->split(text, pieces);
  if (raw_) return;
  const std::string_view bytes = text.bytes();
  AlignedText::Rewrite out(text);
  for (Piece& piece : pieces) {
    const auto begin = static_cast<uint32_t>(out.size());
    for (uint32_t at = piece.begin; at < piece.end; ++at)
      out.put(byte_spelling(static_cast<uint8_t>(bytes[at])), at);
    piece = {begin, static_cast<uint32_t>(out.size())};
  }
  out.finish();
}

}  // namespace headrace
