// The ids of pieces met lately, so that common words skip the model.
//
// Two slots of 32 bytes for each hash, side by side in one cache line. New pieces go into a free slot or the
// second one, and one that is met again there moves to the first: words that come but once do not displace
// those that come often. A piece of up to 15 bytes is its own key, and up to four ids stand in the slot
// itself. What is longer lies in an arena to which the slot points; when that is full, everything is
// forgotten. At most 20 MiB in all.
//
// Belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/pages.h"
#include "text/aligned_text.h"
#include "text/hash.h"
#include "text/id_buffer.h"

namespace headrace {

class PieceCache {
 public:
  static constexpr size_t kInlineIds = 4;
  static constexpr size_t kMaxPieceBytes = 4096;  // longer ones hardly ever come again

  struct Key {
    uint64_t low;   // of up to 15 bytes: the bytes, padded with zeros; else their hash
    uint64_t high;  // topmost byte: how many bytes, or kLong
    uint64_t hash;

    // Of up to kInlineBytes: bytes 8 to 14.
    uint64_t high_bytes() const { return high & ((uint64_t{1} << 56) - 1); }
  };

  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;  // 0: empty
    // Bits 24 to 31 of the first: how many, or kInArena; then the second says where.
    uint32_t ids[kInlineIds] = {};
  };

  PieceCache() : slots_(size_t{kSetSlots} << kSetBits) {}

  // piece: a stretch of text, not empty.
  Key key(std::string_view text, Piece piece) const {
    const size_t size = piece.end - piece.begin;
    const char* const at = text.data() + piece.begin;
    if (size > kInlineBytes) return long_key({at, size});
    uint64_t words[2] = {0, 0};
    if (text.size() - piece.begin >= sizeof words) {
      std::memcpy(words, at, sizeof words);
      words[0] &= kKeep[size][0];
      words[1] &= kKeep[size][1];
    } else {
      std::memcpy(words, at, size);
    }
    words[1] |= uint64_t{size} << 56;
    return {words[0], words[1], hash_words(words[0], words[1], seed_)};
  }

  void prefetch(const Key& key) const { __builtin_prefetch(set_of(key)); }

  // The slot that may hold the piece that key() was made of, or null. It may hold another one by the time
  // that append() looks at it, if other pieces were looked up or inserted in between.
  Slot* slot(const Key& key) {
    Slot* const set = set_of(key);
    for (size_t i = 0; i < kSetSlots; ++i) {
      if (set[i].low != key.low || set[i].high != key.high) continue;
      if (i == 0) return set;
      std::swap(set[i - 1], set[i]);
      return set + i - 1;
    }
    return nullptr;
  }

  // Appends the ids of the piece, if that is what the slot holds; ids has room for kInlineIds.
  bool append(const Slot& slot, const Key& key, std::string_view piece, IdBuffer& ids) const {
    if (slot.low != key.low || slot.high != key.high) return false;
    const uint32_t count = slot.ids[0] >> 24;
    if (count > kInlineIds) return append_from_arena(slot, piece, ids);
    int32_t* const out = ids.end();
    std::memcpy(out, slot.ids, sizeof slot.ids);
    out[0] &= kIdMask;
    ids.added(count);
    return true;
  }

  // Both in one; false when the ids are not here.
  bool find(const Key& key, std::string_view piece, IdBuffer& ids) {
    const Slot* const found = slot(key);
    ids.reserve(kInlineIds);
    return found != nullptr && append(*found, key, piece, ids);
  }

  // Ids below 2^24. Pieces longer than kMaxPieceBytes are not kept.
  void insert(const Key& key, std::string_view piece, const int32_t* ids, size_t num_ids);

 private:
  static constexpr size_t kInlineBytes = 15;
  static constexpr uint64_t kLong = uint64_t{0x80} << 56;
  static constexpr int kSetBits = 18;
  static constexpr size_t kSetSlots = 2;
  static constexpr size_t kArenaWords = size_t{1} << 20;
  static constexpr uint32_t kIdMask = (1u << 24) - 1;
  static constexpr uint32_t kInArena = 0xFFu << 24;
  static const uint64_t kKeep[kInlineBytes + 1][2];

  Slot* set_of(const Key& key) { return slots_.data() + (key.hash >> (64 - kSetBits)) * kSetSlots; }
  const Slot* set_of(const Key& key) const { return const_cast<PieceCache*>(this)->set_of(key); }
  Key long_key(std::string_view piece) const;
  bool append_from_arena(const Slot& slot, std::string_view piece, IdBuffer& ids) const;
  void forget_all();

  uint64_t seed_ = hash_seed();
  HugePageVector<Slot> slots_;
  // Records: number of ids, ids, and for long pieces their size and bytes, padded to whole words.
  std::vector<uint32_t> arena_;
};

}  // namespace headrace
