#include "text/bpe_merge.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace headrace {
namespace {

// Up to so many symbols the plain search is faster than the heap (measured).
constexpr size_t kPlainSymbols = 40;

void merge_plainly(const MergeTable& merges, std::vector<Symbol>& symbols) {
  uint32_t ranks[kPlainSymbols];
  Symbol* const word = symbols.data();
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) merges.prefetch(word[i].id, word[i + 1].id);
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = merges.rank(word[i].id, word[i + 1].id);
  while (count > 1) {
    uint32_t best = MergeTable::kNone;
    size_t at = 0;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (ranks[i] < best) {
        best = ranks[i];
        at = i;
      }
    }
    if (best == MergeTable::kNone) break;
    word[at].id = merges.result(best);
    word[at].bytes += word[at + 1].bytes;
    if (at > 0) merges.prefetch(word[at - 1].id, word[at].id);
    if (at + 2 < count) merges.prefetch(word[at].id, word[at + 2].id);
    --count;
    for (size_t i = at + 1; i < count; ++i) {
      word[i] = word[i + 1];
      ranks[i - 1] = ranks[i];
    }
    if (at > 0) ranks[at - 1] = merges.rank(word[at - 1].id, word[at].id);
    if (at + 1 < count) ranks[at] = merges.rank(word[at].id, word[at + 1].id);
  }
  symbols.resize(count);
}

// The pairs that the word begins with are sorted once; only those that merges create go through a heap. A
// pair whose parts have changed since is recognised when its turn comes, as in the reference: by what it
// would become.
class HeapMerge {
 public:
  HeapMerge(const MergeTable& merges, MergeMemory& memory, std::vector<Symbol>& symbols)
      : merges_(merges), memory_(memory), links_(memory.links), symbols_(symbols) {}

  void run() {
    begin();
    auto first = memory_.first_pairs.begin();
    const auto last = memory_.first_pairs.end();
    while (first != last || !memory_.heap.empty()) {
      uint64_t pair;
      if (memory_.heap.empty() || (first != last && *first <= memory_.heap.front())) {
        pair = *first++;
      } else {
        pair = memory_.heap.front();
        std::pop_heap(memory_.heap.begin(), memory_.heap.end(), std::greater<>());
        memory_.heap.pop_back();
      }
      merge(static_cast<uint32_t>(pair >> 32), static_cast<int32_t>(pair & 0xFFFFFFFF));
    }
    finish();
  }

 private:
  MergeMemory::Link& link(int32_t at) { return links_[static_cast<size_t>(at)]; }
  Symbol& symbol(int32_t at) { return symbols_[static_cast<size_t>(at)]; }

  void begin() {
    const auto count = static_cast<int32_t>(symbols_.size());
    links_.resize(symbols_.size());
    memory_.first_pairs.clear();
    memory_.heap.clear();
    for (int32_t i = 0; i < count; ++i) {
      const bool is_last = i + 1 == count;
      const uint32_t rank = is_last ? MergeTable::kNone : merges_.rank(symbol(i).id, symbol(i + 1).id);
      link(i) = {i - 1, is_last ? -1 : i + 1, rank};
      if (rank != MergeTable::kNone)
        memory_.first_pairs.push_back(uint64_t{rank} << 32 | static_cast<uint32_t>(i));
    }
    if (!std::is_sorted(memory_.first_pairs.begin(), memory_.first_pairs.end()))
      std::sort(memory_.first_pairs.begin(), memory_.first_pairs.end());
  }

  void merge(uint32_t rank, int32_t at) {
    const MergeMemory::Link here = link(at);
    if (symbol(at).bytes == 0 || here.rank == MergeTable::kNone) return;
    if (here.rank != rank && merges_.result(here.rank) != merges_.result(rank)) return;
    Symbol& right = symbol(here.next);
    symbol(at).id = merges_.result(rank);
    symbol(at).bytes += right.bytes;
    right.bytes = 0;
    link(at).next = link(here.next).next;
    if (link(at).next >= 0) link(link(at).next).previous = at;
    if (here.previous >= 0) offer(here.previous);
    offer(at);
  }

  // Looks up the pair that begins at `at`.
  void offer(int32_t at) {
    const int32_t next = link(at).next;
    const uint32_t rank = next < 0 ? MergeTable::kNone : merges_.rank(symbol(at).id, symbol(next).id);
    link(at).rank = rank;
    if (rank == MergeTable::kNone) return;
    memory_.heap.push_back(uint64_t{rank} << 32 | static_cast<uint32_t>(at));
    std::push_heap(memory_.heap.begin(), memory_.heap.end(), std::greater<>());
  }

  void finish() {
    size_t count = 0;
    for (const Symbol& each : symbols_)
      if (each.bytes != 0) symbols_[count++] = each;
    symbols_.resize(count);
    // One giant word must not hold its memory for ever.
    constexpr size_t kKept = size_t{1} << 16;
    if (links_.size() > kKept) memory_ = {};
  }

  const MergeTable& merges_;
  MergeMemory& memory_;
  std::vector<MergeMemory::Link>& links_;
  std::vector<Symbol>& symbols_;
};

}  // namespace

void merge_symbols(const MergeTable& merges, bool always_by_heap, MergeMemory& memory,
                   std::vector<Symbol>& symbols) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kPlainSymbols && !always_by_heap) {
    merge_plainly(merges, symbols);
  } else {
    HeapMerge(merges, memory, symbols).run();
  }
}

}  // namespace headrace
