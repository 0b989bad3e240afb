#include "batch/ngram_index.h"

#include <algorithm>

namespace headrace {
namespace {

constexpr size_t kProbes = 8;
constexpr size_t kFirstPlaces = 64;

// Fibonacci hashing (Knuth, TAOCP 3, 6.4) of one token after another; the high bits are the good ones.
uint64_t hash_of(std::span<const int32_t> tokens) {
  uint64_t hash = 0;
  for (const int32_t token : tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 32;
  }
  return hash;
}

std::span<const int32_t> ngram(std::span<const int32_t> tokens, int64_t n, int64_t end) {
  return tokens.subspan(static_cast<size_t>(end - n), static_cast<size_t>(n));
}

bool is_same(std::span<const int32_t> tokens, int64_t n, int64_t a, int64_t b) {
  const auto first = ngram(tokens, n, a), second = ngram(tokens, n, b);
  return std::equal(first.begin(), first.end(), second.begin());
}

}  // namespace

void NgramIndex::read(std::span<const int32_t> tokens) {
  const auto all = static_cast<int64_t>(tokens.size());
  while (read_ < all) read_one(tokens);
}

void NgramIndex::read_one(std::span<const int32_t> tokens) {
  // A match that has agreed goes on.
  const bool agreed =
      match_.length > 0 && tokens[static_cast<size_t>(match_.next)] == tokens[static_cast<size_t>(read_)];
  match_ = agreed ? Match{match_.next + 1, std::min(match_.length + 1, kCounted)} : Match{};
  ++read_;
  int64_t latest = 0;
  for (int64_t n = kLongest; n >= kShortest; --n) {
    if (read_ < n) continue;
    const int64_t place = exchange(tables_[n - kShortest], tokens, n, read_);
    if (latest == 0) latest = place;
  }
  if (latest == 0 || latest == match_.next) return;
  const int64_t found = length(tokens, latest, read_);
  if (found > match_.length || (found == match_.length && latest > match_.next)) match_ = {latest, found};
}

int64_t NgramIndex::length(std::span<const int32_t> tokens, int64_t next, int64_t end) {
  int64_t count = 0;
  while (count < std::min(next, kCounted) &&
         tokens[static_cast<size_t>(next - 1 - count)] == tokens[static_cast<size_t>(end - 1 - count)])
    ++count;
  return count;
}

int64_t NgramIndex::exchange(Table& table, std::span<const int32_t> tokens, int64_t n, int64_t end) {
  if (2 * (table.used + 1) > static_cast<int64_t>(table.places.size())) grow(table, tokens, n);
  const size_t mask = table.places.size() - 1;
  const size_t home = hash_of(ngram(tokens, n, end)) & mask;
  for (size_t probe = 0; probe < kProbes; ++probe) {
    int32_t& place = table.places[(home + probe) & mask];
    if (place == 0) {
      place = static_cast<int32_t>(end);
      ++table.used;
      return 0;
    }
    if (is_same(tokens, n, place, end)) {
      const int64_t before = place;
      place = static_cast<int32_t>(end);
      return before;
    }
  }
  table.places[home] = static_cast<int32_t>(end);
  return 0;
}

void NgramIndex::grow(Table& table, std::span<const int32_t> tokens, int64_t n) {
  Table larger;
  larger.places.resize(std::max(kFirstPlaces, 2 * table.places.size()));
  for (const int32_t place : table.places)
    if (place != 0) exchange(larger, tokens, n, place);
  table = std::move(larger);
}

int64_t NgramIndex::propose(std::span<const int32_t> tokens, std::span<int32_t> proposed) const {
  if (match_.length == 0) return 0;
  const int64_t behind = read_ - match_.next;  // tokens between the match and the end: the guess's period
  for (size_t i = 0; i < proposed.size(); ++i) {
    const int64_t from = static_cast<int64_t>(i) - behind;
    proposed[i] =
        from < 0 ? tokens[static_cast<size_t>(match_.next) + i] : proposed[static_cast<size_t>(from)];
  }
  return static_cast<int64_t>(proposed.size());
}

}  // namespace headrace
