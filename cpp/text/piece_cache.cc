#include "text/piece_cache.h"

#include <algorithm>

namespace headrace {
namespace {

constexpr uint64_t keep_bytes(size_t count) {
  return count >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * count)) - 1;
}

size_t words_of(size_t bytes) { return (bytes + 3) / 4; }

}  // namespace

#define HEADRACE_KEEP(size) {keep_bytes(size), keep_bytes((size) > 8 ? (size) - 8 : 0)}
const uint64_t PieceCache::kKeep[kInlineBytes + 1][2] = {
    HEADRACE_KEEP(0),  HEADRACE_KEEP(1),  HEADRACE_KEEP(2),  HEADRACE_KEEP(3),
    HEADRACE_KEEP(4),  HEADRACE_KEEP(5),  HEADRACE_KEEP(6),  HEADRACE_KEEP(7),
    HEADRACE_KEEP(8),  HEADRACE_KEEP(9),  HEADRACE_KEEP(10), HEADRACE_KEEP(11),
    HEADRACE_KEEP(12), HEADRACE_KEEP(13), HEADRACE_KEEP(14), HEADRACE_KEEP(15)};
#undef HEADRACE_KEEP

PieceCache::Key PieceCache::long_key(std::string_view piece) const {
  const uint64_t hash = hash_bytes(piece, seed_);
  return {hash, kLong | piece.size(), hash};
}

bool PieceCache::append_from_arena(const Slot& slot, std::string_view piece, IdBuffer& ids) const {
  const uint32_t* record = arena_.data() + slot.ids[1];
  const uint32_t num_ids = *record++;
  if ((slot.high & kLong) != 0 && std::memcmp(record + num_ids, piece.data(), piece.size()) != 0)
    return false;
  if (num_ids > 0) std::memcpy(ids.reserve(num_ids), record, num_ids * sizeof *record);
  ids.added(num_ids);
  return true;
}

void PieceCache::insert(const Key& key, std::string_view piece, const int32_t* ids, size_t num_ids) {
  const bool is_long = (key.high & kLong) != 0;
  if (piece.size() > kMaxPieceBytes) return;
  Slot fresh{key.low, key.high, {}};
  if (!is_long && num_ids >= 1 && num_ids <= kInlineIds) {
    std::memcpy(fresh.ids, ids, num_ids * sizeof *ids);
    fresh.ids[0] |= static_cast<uint32_t>(num_ids) << 24;
  } else {
    const size_t key_words = is_long ? words_of(piece.size()) : 0;
    const size_t needed = 1 + num_ids + key_words;
    if (needed > kArenaWords / 8) return;
    if (arena_.size() + needed > kArenaWords) forget_all();
    fresh.ids[0] = kInArena;
    fresh.ids[1] = static_cast<uint32_t>(arena_.size());
    arena_.resize(arena_.size() + needed);
    uint32_t* const record = arena_.data() + fresh.ids[1];
    record[0] = static_cast<uint32_t>(num_ids);
    if (num_ids > 0) std::memcpy(record + 1, ids, num_ids * sizeof *ids);
    if (is_long) std::memcpy(record + 1 + num_ids, piece.data(), piece.size());
  }
  Slot* const set = set_of(key);
  size_t place = 0;
  while (place + 1 < kSetSlots && set[place].high != 0) ++place;
  set[place] = fresh;
}

void PieceCache::forget_all() {
  std::fill(slots_.begin(), slots_.end(), Slot());
  arena_.clear();
}

}  // namespace headrace
