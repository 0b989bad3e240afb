#include "text/byte_spelling.h"

#include "base/utf8.h"

namespace headrace {
namespace {

constexpr bool spells_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

struct Spelling {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 256 + 68> byte{};  // by character; -1: spells none

  constexpr Spelling() {
    byte.fill(-1);
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const char32_t c = spells_itself(b) ? static_cast<char32_t>(b) : next++;
      character[static_cast<size_t>(b)] = c;
      byte[c] = static_cast<int16_t>(b);
    }
  }
};

constexpr Spelling kSpelling;

}  // namespace

char32_t byte_spelling(uint8_t byte) { return kSpelling.character[byte]; }

bool append_spelled_bytes(std::string_view text, std::string& out) {
  const size_t before = out.size();
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_sequence_length(text, at);
    const char32_t c = length == 0 ? 0xFFFF : utf8_decode(text.data() + at, length);
    if (c >= kSpelling.byte.size() || kSpelling.byte[c] < 0) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(kSpelling.byte[c]));
    at += length;
  }
  return true;
}

}  // namespace headrace
