// The tokens that a text begins with, longest first.
//
// A trie would read a far place of memory for each byte. Here a small table says, by the first four bytes,
// which lengths tokens have that begin so; a filter of one bit for each token, which stays in the processor's
// cache, drops most of those lengths; and what is left is looked up among the tokens. Tokens of more than
// kShort bytes are few and have a trie.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/pages.h"
#include "text/byte_trie.h"

namespace headrace {

class TokenPrefixes {
 public:
  static constexpr size_t kShort = 12;
  static constexpr size_t kPadding = 16;  // bytes that may be read behind a text
  static constexpr int32_t kMaxId = (1 << 20) - 1;

  struct Token {
    std::string_view text;  // not empty; all different
    int32_t id;             // at most kMaxId
    bool is_part;           // may stand beside others; else only whole() finds it
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
    candidates.low_ = word_at(text);
    candidates.high_ = word_at(text + 8);
    candidates.lengths_ = lengths_of(candidates.low_);
    candidates.shorten(size);
    return candidates;
  }

  // A text of 1 to kShort bytes, padded with zeros.
  struct ShortText {
    uint64_t low;
    uint64_t high;
    size_t size;
  };

  // The token that is all of a text, which is not empty; -1 when there is none.
  int32_t whole(std::string_view text) const {
    if (text.size() > kShort)
      return (lengths_of(word_at(text.data())) & kLonger) == 0 ? -1 : whole_long(text);
    char copy[16] = {};
    std::memcpy(copy, text.data(), text.size());
    return whole(ShortText{word_at(copy), word_at(copy + 8), text.size()});
  }
  int32_t whole(const ShortText& text) const {
    const Key key = key_of(text);
    return is_filtered(key) ? -1 : find(key, true);
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
      if (length == 1) {
        *size = 1;
        const int32_t id = bytes_[candidates.low_ & 0xFF];
        if (id < 0) continue;
        return id;
      }
      const Key key = key_of(candidates.low_, candidates.high_, length);
      if (is_filtered(key)) continue;
      const int32_t id = find(key, false);
      if (id < 0) continue;
      *size = length;
      return id;
    }
    return -1;
  }

 private:
  static constexpr uint32_t kLonger = 1u << 15;
  static constexpr int kStartBits = 16;
  static constexpr uint64_t kIsPart = uint64_t{1} << 36;

  // 12 bytes, their number and the token.
  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;  // bytes 8 to 11, then 4 bits length, kIsPart, 20 bits id from bit 44; 0: free
  };
  struct Key {
    uint64_t low;
    uint64_t high;  // without the id
    uint64_t hash;
  };

  static uint64_t word_at(const char* text) {
    uint64_t word;
    std::memcpy(&word, text, sizeof word);
    return word;
  }
  uint32_t lengths_of(uint64_t low) const { return 0b10u | pairs_[low & 0xFFFF] | lengths_[start_of(low)]; }
  static size_t start_of(uint64_t low) {
    return static_cast<size_t>((low << 32) * 0x9E3779B97F4A7C15 >> (64 - kStartBits));
  }
  static Key key_of(uint64_t low, uint64_t high, size_t length) {
    const uint64_t kept_low = length >= 8 ? low : low & ((uint64_t{1} << (length * 8)) - 1);
    const uint64_t kept_high = length <= 8 ? 0 : high & ((uint64_t{1} << (length * 8 - 64)) - 1);
    return key_of({kept_low, kept_high, length});
  }
  static Key key_of(const ShortText& text) {
    const uint64_t sized = text.high | uint64_t{text.size} << 32;
    return {text.low, sized, (text.low ^ sized * 0xD6E8FEB86659FD93) * 0x9E3779B97F4A7C15};
  }

  static uint64_t filter_bits(uint64_t hash) {
    return uint64_t{1} << (hash >> 20 & 63) | uint64_t{1} << (hash >> 26 & 63);
  }
  bool is_filtered(const Key& key) const {
    const uint64_t bits = filter_bits(key.hash);
    return (filter_[key.hash >> filter_shift_] & bits) != bits;
  }
  int32_t find(const Key& key, bool is_whole) const {
    for (size_t at = key.hash >> shift_;; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.low == key.low && (slot.high & (kIsPart - 1)) == key.high)
        return is_whole || (slot.high & kIsPart) != 0 ? static_cast<int32_t>(slot.high >> 44) : -1;
      if (slot.high == 0) return -1;
    }
  }
  int32_t whole_long(std::string_view text) const;
  int32_t next_long(Candidates& candidates, size_t* size) const;

  HugePageVector<Slot> slots_;
  std::vector<uint64_t> filter_;
  std::array<int32_t, 256> bytes_;  // tokens of one byte; -1: none
  std::vector<uint8_t> pairs_;      // by the first two bytes (the lower first): whether 2 and 3 are lengths
  std::vector<uint16_t>
      lengths_;           // from 4 on, by the first four bytes, hashed: a collision only adds lengths
  ByteTrie long_tokens_;  // value: 2 * id, + 1 for parts
  int shift_ = 0;
  int filter_shift_ = 0;
};

}  // namespace headrace
