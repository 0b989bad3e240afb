#include "text/bpe_cuts.h"

#include <algorithm>
#include <bit>

#include "base/utf8.h"

namespace headrace {
namespace {

bool is_continuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// The character that ends before byte `end` of well-formed text.
char32_t character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (is_continuation(text[begin])) --begin;
  return utf8_decode(text.data() + begin, end - begin);
}

char32_t character_at(std::string_view text, size_t begin) {
  return utf8_decode(text.data() + begin, utf8_sequence_length(text, begin));
}

}  // namespace

void BpeCuts::reserve(size_t num_merges) {
  const size_t num_bits = std::clamp(std::bit_ceil(num_merges * 16), size_t{1} << 12, size_t{1} << 23);
  joints_.assign(num_bits / 64, 0);
  shift_ = 64 - std::countr_zero(num_bits);
}

void BpeCuts::learn(std::string_view left, std::string_view right) {
  const uint64_t bit = hash(character_before(left, left.size()), character_at(right, 0)) >> shift_;
  joints_[bit / 64] |= uint64_t{1} << (bit % 64);
}

void BpeCuts::finish(const CharIds& ids) {
  verdicts_.assign(size_t{1} << 16, kLook);
  for (char32_t left = 0; left < 128; ++left)
    for (char32_t right = 0; right < 128; ++right)
      verdicts_[left << 8 | right] = ids[left] < 0 || joined(left, right) ? kNever : kAlways;
  for (size_t left = 0; left < 256; ++left)
    for (size_t right = 0x80; right < 0xC0; ++right) verdicts_[left << 8 | right] = kNever;
}

void BpeCuts::cut(std::string_view text, Piece piece, const CharIds& ids, std::vector<Piece>& parts) const {
  uint32_t begin = piece.begin;
  for (uint32_t at = piece.begin + 1; at < piece.end; ++at) {
    const size_t left_byte = static_cast<uint8_t>(text[at - 1]);
    const uint8_t verdict = verdicts_[left_byte << 8 | static_cast<uint8_t>(text[at])];
    if (verdict == kNever) continue;
    if (verdict == kLook) {
      const char32_t left = character_before(text, at);
      if (ids[left] < 0 || joined(left, character_at(text, at))) continue;
    }
    parts.push_back({begin, at});
    begin = at;
  }
  parts.push_back({begin, piece.end});
}

}  // namespace headrace
