// Byte pair encoding of one word: the pair of neighbours with the lowest rank becomes one symbol, the
// leftmost first among equals, until no pair has a rank. (Sennrich et al. 2016.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/merge_table.h"

namespace headrace {

struct Symbol {
  int32_t id;
  uint32_t bytes;  // of the word that it covers
};

// What merging remembers between words, to allocate once.
struct MergeMemory {
  struct Link {
    int32_t previous;
    int32_t next;
    uint64_t merge;  // of the pair that the symbol is the left part of
  };
  std::vector<uint64_t> merges;
  std::vector<Link> links;
  // The places where one merge waits for its turn. Texts are read from left to right, and so are the places
  // of most merges found; those that are not go through a heap.
  struct Queue {
    uint64_t merge = 0;
    std::vector<int32_t> ascending;
    size_t taken = 0;           // of those
    std::vector<int32_t> late;  // smallest on top

    bool empty() const { return taken == ascending.size() && late.empty(); }
    void put(int32_t at);
    int32_t take();
  };
  std::vector<Queue> queues;      // the first of them are in use, the others keep their memory
  std::vector<int32_t> queue_of;  // by rank: the merge's queue, -1: none yet
  std::vector<uint64_t> waiting;  // the merges whose queues are not empty; smallest on top
};

// Merges the symbols in place. first_merges: MergeTable::find of each symbol and the next one. Exactly the
// reference's result: for words of n symbols in about n steps (n log n at worst), and by plain search while n
// is small. The two differ, and only queues are exact, when some merge adds nothing to its left part (its
// right part is empty): then ask for queues always.
void merge_symbols(const MergeTable& merges, bool always_by_queues, std::span<uint64_t> first_merges,
                   MergeMemory& memory, std::vector<Symbol>& symbols);

}  // namespace headrace
