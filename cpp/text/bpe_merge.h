// Byte pair encoding of one word: the pair of neighbours with the lowest rank becomes one symbol, the
// leftmost first among equals, until no pair has a rank. (Sennrich et al. 2016.)
#pragma once

#include <compare>
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
  struct Place {
    uint64_t merge;
    int32_t at;

    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> first_pairs;  // sorted
  std::vector<Place> heap;         // smallest on top
};

// Merges the symbols in place. first_merges: MergeTable::find of each symbol and the next one. Exactly the
// reference's result: for words of n symbols O(n log n), and by plain search while n is small. The two
// differ, and only the heap is exact, when some merge adds nothing to its left part (its right part is
// empty): then ask for the heap always.
void merge_symbols(const MergeTable& merges, bool always_by_heap, std::span<uint64_t> first_merges,
                   MergeMemory& memory, std::vector<Symbol>& symbols);

}  // namespace headrace
