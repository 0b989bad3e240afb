#include "text/pre_tokenize_characters.h"

#include "base/utf8.h"
#include "text/split.h"
#include "text/unicode.h"
#include "text/unicode_properties.h"

namespace headrace {
namespace {

// Calls visit(character, begin, end) for each character of the piece.
template <typename Visit>
void each_character(std::string_view text, Piece piece, Visit&& visit) {
  for (uint32_t at = piece.begin; at < piece.end;) {
    const auto lead = static_cast<uint8_t>(text[at]);
    const uint32_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    visit(utf8_decode(text.data() + at, length), at, at + length);
    at += length;
  }
}

// Splits each piece where is_delimiter(character) holds; every delimiter is one character.
template <typename IsDelimiter>
void split_at(const AlignedText& text, std::vector<Piece>& pieces, SplitBehavior behavior,
              IsDelimiter&& is_delimiter) {
  split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
    DelimiterFold fold(behavior, out);
    uint32_t begin = piece.begin;
    each_character(text.bytes(), piece, [&](char32_t c, uint32_t at, uint32_t end) {
      if (!is_delimiter(c)) return;
      if (begin < at) fold.add({begin, at}, false);
      fold.add({at, end}, true);
      begin = end;
    });
    if (begin < piece.end) fold.add({begin, piece.end}, false);
    fold.finish();
  });
}

}  // namespace

void WhitespaceSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
    constexpr int kOther = 0;
    Piece run = {piece.begin, piece.begin};
    int run_kind = CharInfo::kSpace;
    each_character(text.bytes(), piece, [&](char32_t c, uint32_t at, uint32_t end) {
      const CharInfo& info = char_info(c);
      const int kind = info.has(CharInfo::kWord)    ? CharInfo::kWord
                       : info.has(CharInfo::kSpace) ? CharInfo::kSpace
                                                    : kOther;
      if (kind != run_kind) {
        if (run_kind != CharInfo::kSpace) out.push_back(run);
        run = {at, at};
        run_kind = kind;
      }
      run.end = end;
    });
    if (run_kind != CharInfo::kSpace) out.push_back(run);
  });
}

void WhitespaceOnlySplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_at(text, pieces, SplitBehavior::kRemoved,
           [](char32_t c) { return char_info(c).has(CharInfo::kSpace); });
}

void BertSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
    split_bert(text.bytes().substr(piece.begin, piece.end - piece.begin), [&](size_t begin, size_t end) {
      out.push_back({piece.begin + static_cast<uint32_t>(begin), piece.begin + static_cast<uint32_t>(end)});
    });
  });
}

void PunctuationSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_at(text, pieces, behavior_, [](char32_t c) { return char_info(c).has(CharInfo::kPunctuation); });
}

DigitSplitter::DigitSplitter(bool individual)
    : behavior_(individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous),
      numbers_(*named_property("n")) {
  // The reference asks Rust here, whose tables are those of Unicode 17.
  numbers_.add(CharSet({{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}}));
}

void DigitSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_at(text, pieces, behavior_,
           [&](char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : numbers_.contains(c); });
}

void CharDelimiterSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_at(text, pieces, SplitBehavior::kRemoved, [&](char32_t c) { return c == delimiter_; });
}

void FixedLengthSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
    uint32_t begin = piece.begin;
    size_t length = 0;
    each_character(text.bytes(), piece, [&](char32_t, uint32_t, uint32_t end) {
      if (++length < length_) return;
      out.push_back({begin, end});
      begin = end;
      length = 0;
    });
    if (begin < piece.end) out.push_back({begin, piece.end});
  });
}

void ScriptSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
    int last_script = 0;
    uint32_t begin = piece.end;
    each_character(text.bytes(), piece, [&](char32_t c, uint32_t at, uint32_t) {
      const int script = splitting_script(c);
      if (script == 0 || script == last_script) return;
      if (last_script != 0) out.push_back({begin, at});
      begin = at;
      last_script = script;
    });
    if (begin < piece.end) out.push_back({begin, piece.end});
  });
}

}  // namespace headrace
