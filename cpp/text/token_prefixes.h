// The tokens that a text begins with, longest first.
//
// A trie would read a far place of memory for each byte. Here a small table says, by the first four bytes, which
// lengths tokens have that begin so; a filter of one bit for each token, which stays in the processor's cache,
// drops most of those lengths; and what is left is looked up among the tokens. Tokens of more than kShort bytes
// are few and have a trie.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "text/byte_trie.h"

namespace headrace {

class TokenPrefixes {
 public:
  static constexpr size_t kShort = 13;
  static constexpr size_t kPadding = 16;  // bytes that may be read behind a text
  static constexpr int32_t kMaxId = (1 << 20) - 1;

  struct Token {
    std::string_view text;  // not empty; all different
    int32_t id;             // at most kMaxId
  };

  TokenPrefixes() : TokenPrefixes(std::span<const Token>()) {}
  explicit TokenPrefixes(std::span<const Token> tokens);

  // What is left to try at one place of a text.
  class Candidates {
   public:
    // Drops tokens of more than `limit` bytes.
    void shorten(size_t limit) {
      longest_ = limit;
      if (limit <= kShort) lengths_ &= (2u << limit) - 1;
    }

   private:
    friend class TokenPrefixes;

    const char* text_;
    uint64_t low_;
    uint64_t high_;
    size_t longest_;
    uint32_t lengths_;  // bit n: tokens of n bytes
  };

  // text: kPadding bytes more than its `size` can be read.
  Candidates at(const char* text, size_t size) const {
    Candidates candidates;
    candidates.text_ = text;
    std::memcpy(&candidates.low_, text, 8);
    std::memcpy(&candidates.high_, text + 8, 8);
    candidates.lengths_ = 0b1110 | lengths_[start_of(candidates.low_)];
    candidates.shorten(size);
    return candidates;
  }

  // The longest one left and its length; -1 when there are no more.
  int32_t next(Candidates& candidates, size_t* size) const {
    while (candidates.lengths_ != 0) {
      if ((candidates.lengths_ & kLonger) != 0) {
        const int32_t id = next_long(candidates, size);
        if (id >= 0) return id;
        continue;
      }
      const auto length = static_cast<size_t>(31 - std::countl_zero(candidates.lengths_));
      candidates.lengths_ ^= 1u << length;
      const Key key = key_of(candidates.low_, candidates.high_, length);
      if ((filter_[key.hash >> filter_shift_ >> 6] >> (key.hash >> filter_shift_ & 63) & 1) == 0) continue;
      const int32_t id = find(key);
      if (id < 0) continue;
      *size = length;
      return id;
    }
    return -1;
  }

 private:
  static constexpr uint32_t kLonger = 1u << 31;
  static constexpr int kStartBits = 16;
  static constexpr int kIdBits = 20;
  static constexpr uint64_t kIdMask = (uint64_t{1} << kIdBits) - 1;

  // 13 bytes, their number and the token.
  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;  // bytes 8 to 12, then 4 bits length, 20 bits id; 0: free
  };
  struct Key {
    uint64_t low;
    uint64_t high;  // without the id
    uint64_t hash;
  };

  static size_t start_of(uint64_t low) {
    return static_cast<size_t>((low << 32) * 0x9E3779B97F4A7C15 >> (64 - kStartBits));
  }
  static Key key_of(uint64_t low, uint64_t high, size_t length) {
    const uint64_t kept_low = length >= 8 ? low : low & ((uint64_t{1} << (length * 8)) - 1);
    const uint64_t kept_high = length <= 8 ? 0 : high & ((uint64_t{1} << (length * 8 - 64)) - 1);
    const uint64_t sized = kept_high | uint64_t{length} << 40;
    return {kept_low, sized, (kept_low ^ sized * 0xD6E8FEB86659FD93) * 0x9E3779B97F4A7C15};
  }
  static uint64_t without_id(uint64_t high) { return high & ((uint64_t{1} << 44) - 1); }

  int32_t find(const Key& key) const {
    for (size_t at = key.hash >> shift_;; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.low == key.low && without_id(slot.high) == key.high) return static_cast<int32_t>(slot.high >> 44);
      if (slot.high == 0) return -1;
    }
  }
  int32_t next_long(Candidates& candidates, size_t* size) const;

  std::vector<Slot> slots_;
  std::vector<uint64_t> filter_;
  std::vector<uint32_t> lengths_;  // by the first four bytes, hashed: a collision only adds lengths
  ByteTrie long_tokens_;
  int shift_ = 0;
  int filter_shift_ = 0;
};

}  // namespace headrace
