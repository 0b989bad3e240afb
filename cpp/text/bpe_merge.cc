#include "text/bpe_merge.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace headrace {
namespace {

// Up to so many symbols the plain search is faster than the heap (measured).
constexpr size_t kPlainSymbols = 40;

// next: of each symbol and the one behind it.
void merge_plainly(const MergeTable& merges, std::span<uint64_t> next, std::vector<Symbol>& symbols) {
  Symbol* const word = symbols.data();
  size_t count = symbols.size();
  while (count > 1) {
    uint64_t best = next[0];
    size_t at = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      const bool is_better = next[i] < best;
      best = is_better ? next[i] : best;
      at = is_better ? i : at;
    }
    if (best == MergeTable::kNone) break;
    word[at].id = MergeTable::result_of(best);
    word[at].bytes += word[at + 1].bytes;
    --count;
    for (size_t i = at + 1; i < count; ++i) {
      word[i] = word[i + 1];
      next[i - 1] = next[i];
    }
    if (at > 0) next[at - 1] = merges.find(word[at - 1].id, word[at].id);
    if (at + 1 < count) next[at] = merges.find(word[at].id, word[at + 1].id);
  }
  symbols.resize(count);
}

// The pairs that the word begins with are sorted once; only those that merges create go through a heap. A
// pair whose parts have changed since is recognised when its turn comes, as in the reference: by what it
// would become.
class HeapMerge {
 public:
  HeapMerge(const MergeTable& merges, std::span<const uint64_t> first_merges, MergeMemory& memory,
            std::vector<Symbol>& symbols)
      : merges_(merges),
        first_merges_(first_merges),
        memory_(memory),
        links_(memory.links),
        symbols_(symbols) {}

  void run() {
    begin();
    auto first = memory_.first_pairs.begin();
    const auto last = memory_.first_pairs.end();
    while (first != last || !memory_.heap.empty()) {
      MergeMemory::Place pair;
      if (memory_.heap.empty() || (first != last && *first <= memory_.heap.front())) {
        pair = *first++;
      } else {
        pair = memory_.heap.front();
        std::pop_heap(memory_.heap.begin(), memory_.heap.end(), std::greater<>());
        memory_.heap.pop_back();
      }
      merge(pair);
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
      const uint64_t merge = is_last ? MergeTable::kNone : first_merges_[static_cast<size_t>(i)];
      link(i) = {i - 1, is_last ? -1 : i + 1, merge};
      if (merge != MergeTable::kNone) memory_.first_pairs.push_back({merge, i});
    }
    if (!std::is_sorted(memory_.first_pairs.begin(), memory_.first_pairs.end()))
      std::sort(memory_.first_pairs.begin(), memory_.first_pairs.end());
  }

  void merge(const MergeMemory::Place& pair) {
    const int32_t at = pair.at;
    const MergeMemory::Link here = link(at);
    if (symbol(at).bytes == 0 || here.merge == MergeTable::kNone) return;
    const int32_t result = MergeTable::result_of(pair.merge);
    if (MergeTable::result_of(here.merge) != result) return;
    Symbol& right = symbol(here.next);
    symbol(at).id = result;
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
    const uint64_t merge = next < 0 ? MergeTable::kNone : merges_.find(symbol(at).id, symbol(next).id);
    link(at).merge = merge;
    if (merge == MergeTable::kNone) return;
    memory_.heap.push_back({merge, at});
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
  std::span<const uint64_t> first_merges_;
  MergeMemory& memory_;
  std::vector<MergeMemory::Link>& links_;
  std::vector<Symbol>& symbols_;
};

}  // namespace

void merge_symbols(const MergeTable& merges, bool always_by_heap, std::span<uint64_t> first_merges,
                   MergeMemory& memory, std::vector<Symbol>& symbols) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kPlainSymbols && !always_by_heap) return merge_plainly(merges, first_merges, symbols);
  HeapMerge(merges, first_merges, memory, symbols).run();
}

}  // namespace headrace
