#include "text/token_prefixes.h"

#include <algorithm>

namespace headrace {

TokenPrefixes::TokenPrefixes(std::span<const Token> tokens)
    : pairs_(size_t{1} << 16), lengths_(size_t{1} << kStartBits) {
  bytes_.fill(-1);
  const size_t num_slots = std::bit_ceil(tokens.size() + tokens.size() / 2 + 2);
  slots_.resize(num_slots);
  shift_ = 64 - std::countr_zero(num_slots);
  // Eight bits for each slot, two of them set by each token.
  filter_.resize(std::max<size_t>(num_slots / 8, 2));
  filter_shift_ = 64 - std::countr_zero(filter_.size());
  std::vector<ByteTrie::Entry> long_tokens;
  for (const Token& token : tokens) {
    const size_t length = token.text.size();
    uint64_t words[2] = {};
    std::memcpy(words, token.text.data(), std::min(length, sizeof words));
    if (length >= 4)
      lengths_[start_of(words[0])] |= static_cast<uint16_t>(length > kShort ? kLonger : 1u << length);
    if (length == 2 || length == 3) pairs_[words[0] & 0xFFFF] |= static_cast<uint8_t>(1u << length);
    if (length == 1 && token.is_part) bytes_[words[0]] = token.id;
    if (length > kShort) {
      long_tokens.push_back({token.text, token.id * 2 + (token.is_part ? 1 : 0), 0});
      continue;
    }
    const Key key = key_of(words[0], words[1], length);
    filter_[key.hash >> filter_shift_] |= filter_bits(key.hash);
    size_t at = key.hash >> shift_;
    while (slots_[at].high != 0) at = (at + 1) & (num_slots - 1);
    slots_[at] = {key.low, key.high | (token.is_part ? kIsPart : 0) | static_cast<uint64_t>(token.id) << 44};
  }
  long_tokens_ = ByteTrie(long_tokens, 1);
  long_tokens_.forget_edges();
}

int32_t TokenPrefixes::next_long(Candidates& candidates, size_t* size) const {
  while (candidates.longest_ > kShort) {
    const int32_t found = long_tokens_.longest_match({candidates.text_, candidates.longest_}, 0, size);
    if (found < 0) break;
    candidates.longest_ = *size - 1;
    if ((found & 1) != 0) return found / 2;
  }
  candidates.lengths_ &= ~kLonger;
  return -1;
}

int32_t TokenPrefixes::whole_long(std::string_view text) const {
  size_t size = 0;
  const int32_t found = long_tokens_.longest_match(text, 0, &size);
  return found >= 0 && size == text.size() ? found / 2 : -1;
}

}  // namespace headrace
