#include "text/byte_merge.h"

#include <algorithm>
#include <bit>

namespace headrace {
namespace {

constexpr size_t kPlaces = size_t{1} << PairTable::kPlaceBits;
constexpr int32_t kNoSymbol = (1 << PairTable::kIdBits) - 1;  // has no merge with any
constexpr size_t kStep = 4;

constexpr uint64_t bit(size_t place) { return uint64_t{1} << place; }

// count: a multiple of kStep. The values are too wide for the compiler to read several at once: that would
// wait for the single ones stored just before.
int64_t smallest(const int64_t* values, size_t count) {
  int64_t best[kStep] = {values[0], values[1], values[2], values[3]};
  for (size_t at = kStep; at < count; at += kStep)
    for (size_t i = 0; i < kStep; ++i) best[i] = std::min(best[i], values[at + i]);
  return std::min(std::min(best[0], best[1]), std::min(best[2], best[3]));
}

}  // namespace

void ByteMerge::learn(const PairTable& pairs) {
  byte_pairs_.resize(size_t{1} << 16);
  for (int32_t first = 0; first < 256; ++first)
    for (int32_t second = 0; second < 256; ++second)
      byte_pairs_[static_cast<size_t>(first << 8 | second)] = pairs.find(first, second);
}

// Symbols stay where their first byte is, and `alive` has a bit for each of them: nothing is moved when two
// become one. A pair's place stands in the lowest bits of its order, so one minimum finds both.
size_t ByteMerge::run(const PairTable& pairs, std::string_view piece, int32_t* symbols,
                      bool* was_early) const {
  int64_t orders[kPlaces];
  int32_t at_place[kPlaces];
  const size_t size = piece.size();
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(piece[i]); };
  const size_t padded = (size + 2 + kStep - 1) / kStep * kStep;
  at_place[0] = kNoSymbol;
  orders[0] = PairTable::kNone;
  for (size_t i = 0; i < size; ++i) at_place[i + 1] = byte(i);
  for (size_t i = 0; i + 1 < size; ++i)
    orders[i + 1] = byte_pairs_[size_t{byte(i)} << 8 | byte(i + 1)] | static_cast<int32_t>(i + 1);
  at_place[size + 1] = kNoSymbol;
  for (size_t i = size; i < padded; ++i) orders[i] = PairTable::kNone;
  // What a merge will be looked up with is known as soon as the merge is, long before its turn.
  for (size_t i = 1; i < size; ++i) {
    const int32_t symbol = PairTable::symbol_of(static_cast<int32_t>(orders[i]));
    pairs.prefetch(at_place[i - 1], symbol);
    pairs.prefetch(symbol, at_place[i + 2]);
  }

  uint64_t alive = size + 2 == kPlaces ? ~uint64_t{0} : bit(size + 2) - 1;
  int32_t early = 0;
  while (true) {
    const auto best = static_cast<int32_t>(smallest(orders, padded));
    if (best >= PairTable::kNone) break;
    early |= best;
    const size_t left = static_cast<size_t>(best) & (kPlaces - 1);
    uint64_t behind = alive & ~uint64_t{1} << left;
    const auto right = static_cast<size_t>(std::countr_zero(behind));
    alive ^= bit(right);
    behind &= behind - 1;
    const auto next = static_cast<size_t>(std::countr_zero(behind));
    const auto before = static_cast<size_t>(63 - std::countl_zero(alive & (bit(left) - 1)));
    const int32_t symbol = PairTable::symbol_of(best);
    at_place[left] = symbol;
    orders[right] = PairTable::kNone;
    const int32_t with_next = pairs.find(symbol, at_place[next]);
    orders[left] = with_next | static_cast<int32_t>(left);
    const int32_t with_before = pairs.find(at_place[before], symbol);
    orders[before] = with_before | static_cast<int32_t>(before);
    pairs.prefetch(at_place[before], PairTable::symbol_of(with_next));
    pairs.prefetch(PairTable::symbol_of(with_before), at_place[next]);
  }
  *was_early = PairTable::is_early(early);
  size_t count = 0;
  for (uint64_t left = alive & (alive - 1) & ~bit(size + 1); left != 0; left &= left - 1)
    symbols[count++] = at_place[std::countr_zero(left)];
  return count;
}

}  // namespace headrace
