// A set of byte strings with values, as a double array: one table read per byte.
//
//   child of s by byte c:  t = nodes[s].base ^ c, and it exists when nodes[t].check == s
//
// Aoe 1989, "An Efficient Digital Search Algorithm by Using a Double-Array Structure"; the exclusive or keeps
// all children of a node within one block of 256. Several roots may share one table: root k is node k.
// Immutable once built, so any number of threads may read it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace headrace {

class ByteTrie {
 public:
  struct Node {
    uint32_t base;
    int32_t check;  // the parent; negative for roots and unused slots
    int32_t value;  // of the string that ends here; negative when none does
    int32_t link;   // for the owner's use; -1 at first
  };

  struct Entry {
    std::string_view key;  // not empty
    int32_t value;         // at least 0; of equal keys of one root the first counts
    int32_t root;
  };

  // One line per node but the roots, parents before children and shorter strings before longer ones.
  struct Edge {
    int32_t parent;
    int32_t node;
    uint8_t byte;
  };

  ByteTrie() : ByteTrie({}, 1) {}

  // Throws Error(kUnsupported) when the strings need more than 2^28 nodes.
  ByteTrie(std::span<const Entry> entries, int32_t num_roots);

  // The child of node by byte, or -1.
  int32_t child(int32_t node, uint8_t byte) const {
    const uint32_t next = nodes_[static_cast<size_t>(node)].base ^ byte;
    return nodes_[next].check == node ? static_cast<int32_t>(next) : -1;
  }

  // The longest string of root 0 that starts at text[at]: its value, and its length in *length. -1 if none
  // does.
  int32_t longest_match(std::string_view text, size_t at, size_t* length) const;

  const Node* nodes() const { return nodes_.data(); }
  Node& node(int32_t index) { return nodes_[static_cast<size_t>(index)]; }
  std::span<const Edge> edges() const { return edges_; }
  void forget_edges() { edges_ = {}; }

 private:
  friend class ByteTrieBuilder;

  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
};

}  // namespace headrace
