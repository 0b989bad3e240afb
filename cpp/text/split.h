// BertPreTokenizer: white space separates words, each punctuation character is a word of its own.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/utf8.h"
#include "text/unicode.h"

namespace headrace {

// Calls word(begin, end), byte offsets into text, for each word of well-formed UTF-8 text.
template <typename Word>
void split_bert(std::string_view text, Word&& word) {
  size_t begin = 0;
  size_t at = 0;
  while (at < text.size()) {
    const auto byte = static_cast<uint8_t>(text[at]);
    const size_t length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    const CharInfo& info = char_info(utf8_decode(text.data() + at, length));
    if (info.has(CharInfo::kSpace | CharInfo::kPunctuation)) {
      if (begin < at) word(begin, at);
      begin = at + length;
      if (!info.has(CharInfo::kSpace)) word(at, begin);
    }
    at += length;
  }
  if (begin < at) word(begin, at);
}

}  // namespace headrace
