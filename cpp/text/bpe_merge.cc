#include "text/bpe_merge.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace headrace {
namespace {

// Up to so many symbols the plain search is faster than queues (measured).
constexpr size_t kPlainSymbols = 40;
// One giant word must not hold its memory for ever.
constexpr size_t kKeptSymbols = size_t{1} << 16;
constexpr size_t kKeptPlaces = 1024;  // of one merge

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

// Every merge has a queue of its places, and the earliest merge's goes first. A pair whose parts have changed
// since is recognised when its turn comes, as in the reference: by what it would become.
class QueueMerge {
 public:
  QueueMerge(const MergeTable& merges, std::span<const uint64_t> first_merges, MergeMemory& memory,
             std::vector<Symbol>& symbols)
      : merges_(merges),
        first_merges_(first_merges),
        memory_(memory),
        links_(memory.links),
        symbols_(symbols) {}

  void run() {
    begin();
    while (!memory_.waiting.empty()) {
      const uint64_t merge = memory_.waiting.front();
      MergeMemory::Queue& queue = queue_of(merge);
      const int32_t at = queue.take();
      if (queue.empty()) {
        std::pop_heap(memory_.waiting.begin(), memory_.waiting.end(), std::greater<>());
        memory_.waiting.pop_back();
      }
      apply(merge, at);
    }
    finish();
  }

 private:
  MergeMemory::Link& link(int32_t at) { return links_[static_cast<size_t>(at)]; }
  Symbol& symbol(int32_t at) { return symbols_[static_cast<size_t>(at)]; }

  void begin() {
    const auto count = static_cast<int32_t>(symbols_.size());
    links_.resize(symbols_.size());
    for (int32_t i = 0; i < count; ++i) {
      const bool is_last = i + 1 == count;
      const uint64_t merge = is_last ? MergeTable::kNone : first_merges_[static_cast<size_t>(i)];
      link(i) = {i - 1, is_last ? -1 : i + 1, merge};
      if (merge != MergeTable::kNone) wait(merge, i);
    }
  }

  MergeMemory::Queue& queue_of(uint64_t merge) {
    const uint32_t rank = MergeTable::rank_of(merge);
    if (rank >= memory_.queue_of.size()) memory_.queue_of.resize(std::bit_ceil(rank + 1), -1);
    int32_t& number = memory_.queue_of[rank];
    if (number < 0) {
      number = num_queues_++;
      if (static_cast<size_t>(number) == memory_.queues.size()) memory_.queues.emplace_back();
      memory_.queues[static_cast<size_t>(number)].merge = merge;
    }
    return memory_.queues[static_cast<size_t>(number)];
  }

  void wait(uint64_t merge, int32_t at) {
    MergeMemory::Queue& queue = queue_of(merge);
    if (queue.empty()) {
      memory_.waiting.push_back(merge);
      std::push_heap(memory_.waiting.begin(), memory_.waiting.end(), std::greater<>());
    }
    queue.put(at);
  }

  void apply(uint64_t merge, int32_t at) {
    const MergeMemory::Link here = link(at);
    if (symbol(at).bytes == 0 || here.merge == MergeTable::kNone) return;
    const int32_t result = MergeTable::result_of(merge);
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
    wait(merge, at);
  }

  void finish() {
    size_t count = 0;
    for (const Symbol& each : symbols_)
      if (each.bytes != 0) symbols_[count++] = each;
    symbols_.resize(count);
    for (int32_t i = 0; i < num_queues_; ++i) {
      MergeMemory::Queue& queue = memory_.queues[static_cast<size_t>(i)];
      memory_.queue_of[MergeTable::rank_of(queue.merge)] = -1;
      if (queue.ascending.capacity() > kKeptPlaces || queue.late.capacity() > kKeptPlaces) queue = {};
    }
    if (links_.size() > kKeptSymbols) memory_ = {};
  }

  const MergeTable& merges_;
  std::span<const uint64_t> first_merges_;
  MergeMemory& memory_;
  std::vector<MergeMemory::Link>& links_;
  std::vector<Symbol>& symbols_;
  int32_t num_queues_ = 0;
};

}  // namespace

void MergeMemory::Queue::put(int32_t at) {
  if (taken == ascending.size()) {
    ascending.clear();
    taken = 0;
  }
  if (ascending.empty() || at > ascending.back()) {
    ascending.push_back(at);
  } else {
    late.push_back(at);
    std::push_heap(late.begin(), late.end(), std::greater<>());
  }
}

int32_t MergeMemory::Queue::take() {
  if (late.empty() || (taken < ascending.size() && ascending[taken] < late.front()))
    return ascending[taken++];
  std::pop_heap(late.begin(), late.end(), std::greater<>());
  const int32_t at = late.back();
  late.pop_back();
  return at;
}

void merge_symbols(const MergeTable& merges, bool always_by_queues, std::span<uint64_t> first_merges,
                   MergeMemory& memory, std::vector<Symbol>& symbols) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kPlainSymbols && !always_by_queues)
    return merge_plainly(merges, first_merges, symbols);
  QueueMerge(merges, first_merges, memory, symbols).run();
}

}  // namespace headrace
