#include "text/byte_trie.h"

#include "base/error.h"

namespace headrace {

// Works in two steps: a plain trie of sibling lists, then its nodes in breadth-first order into the table.
class ByteTrieBuilder {
 public:
  ByteTrieBuilder(ByteTrie& trie, int32_t num_roots, size_t num_entries)
      : trie_(trie), num_roots_(num_roots) {
    plain_.resize(static_cast<size_t>(num_roots));
    if (num_entries > 1000) second_level_.resize(plain_.size() << 16);  // not worth it for few
  }

  void insert(const ByteTrie::Entry& entry) {
    auto at = static_cast<size_t>(entry.root);
    size_t start = 0;
    // The two topmost levels are the crowded ones; a table finds their children without a walk.
    if (entry.key.size() >= 2 && !second_level_.empty()) {
      uint32_t& known =
          second_level_[at << 16 | static_cast<size_t>(static_cast<uint8_t>(entry.key[0])) << 8 |
                        static_cast<uint8_t>(entry.key[1])];
      if (known == 0) {
        at = child_or_new(at, static_cast<uint8_t>(entry.key[0]));
        known = static_cast<uint32_t>(child_or_new(at, static_cast<uint8_t>(entry.key[1])));
      }
      at = known;
      start = 2;
    }
    for (const char c : entry.key.substr(start)) at = child_or_new(at, static_cast<uint8_t>(c));
    if (plain_[at].value < 0) plain_[at].value = entry.value;
  }

  void place() {
    grow();
    std::vector<Placed> queue;
    queue.reserve(plain_.size());
    trie_.edges_.reserve(plain_.size());
    for (int32_t root = 0; root < num_roots_; ++root) {
      take(root, -2);
      queue.push_back({root, static_cast<size_t>(root)});
    }
    for (size_t i = 0; i < queue.size(); ++i) place_children(queue[i], queue);
  }

 private:
  static constexpr size_t kMaxNodes = size_t{1} << 28;
  static constexpr int32_t kFree = -1;
  // Free slots tried for a node of several children before a fresh block is opened: more packs tighter and
  // builds slower.
  static constexpr int kMaxTries = 64;

  struct Plain {
    int32_t value = -1;
    uint32_t first_child = 0;  // 0: none, since node 0 is a root
    uint32_t next_sibling = 0;
    uint8_t byte = 0;
  };
  struct Placed {
    int32_t node;
    size_t plain;
  };
  struct Link {
    int32_t previous;
    int32_t next;
  };

  size_t child_or_new(size_t parent, uint8_t byte) {
    for (uint32_t at = plain_[parent].first_child; at != 0; at = plain_[at].next_sibling)
      if (plain_[at].byte == byte) return at;
    if (plain_.size() >= kMaxNodes)
      throw Error(ErrorKind::kUnsupported,
                  "vocabulary: more than 268435456 distinct prefixes; use a smaller vocabulary");
    Plain fresh;
    fresh.byte = byte;
    fresh.next_sibling = plain_[parent].first_child;
    plain_.push_back(fresh);
    plain_[parent].first_child = static_cast<uint32_t>(plain_.size() - 1);
    return plain_.size() - 1;
  }

  void place_children(Placed parent, std::vector<Placed>& queue) {
    bytes_.clear();
    for (uint32_t at = plain_[parent.plain].first_child; at != 0; at = plain_[at].next_sibling)
      bytes_.push_back(plain_[at].byte);
    trie_.node(parent.node).value = plain_[parent.plain].value;
    if (bytes_.empty()) return;
    const uint32_t base = find_base();
    trie_.node(parent.node).base = base;
    for (uint32_t at = plain_[parent.plain].first_child; at != 0; at = plain_[at].next_sibling) {
      const auto node = static_cast<int32_t>(base ^ plain_[at].byte);
      take(node, parent.node);
      trie_.edges_.push_back({parent.node, node, plain_[at].byte});
      queue.push_back({node, at});
    }
  }

  // A base under which the slots of all bytes_ are free.
  uint32_t find_base() {
    int tries = bytes_.size() == 1 ? 1 : kMaxTries;
    for (int32_t slot = free_; slot >= 0 && tries > 0;
         slot = links_[static_cast<size_t>(slot)].next, --tries) {
      const uint32_t base = static_cast<uint32_t>(slot) ^ bytes_[0];
      bool fits = true;
      for (const uint8_t byte : bytes_) fits = fits && trie_.nodes_[base ^ byte].check == kFree;
      if (fits) return base;
    }
    const auto base = static_cast<uint32_t>(trie_.nodes_.size());
    grow();
    return base;
  }

  // Adds a block of 256 free slots at the head of the free list: fresh blocks are the roomiest.
  void grow() {
    const auto first = static_cast<int32_t>(trie_.nodes_.size());
    trie_.nodes_.resize(trie_.nodes_.size() + 256, {0, kFree, -1, -1});
    for (int32_t slot = first; slot < first + 256; ++slot) links_.push_back({slot - 1, slot + 1});
    links_[static_cast<size_t>(first)].previous = -1;
    links_.back().next = free_;
    if (free_ >= 0) links_[static_cast<size_t>(free_)].previous = first + 255;
    free_ = first;
  }

  void take(int32_t slot, int32_t check) {
    const Link link = links_[static_cast<size_t>(slot)];
    if (link.previous >= 0) links_[static_cast<size_t>(link.previous)].next = link.next;
    if (link.next >= 0) links_[static_cast<size_t>(link.next)].previous = link.previous;
    if (free_ == slot) free_ = link.next;
    trie_.node(slot).check = check;
  }

  ByteTrie& trie_;
  int32_t num_roots_;
  std::vector<Plain> plain_;
  std::vector<uint32_t>
      second_level_;  // by root and two bytes: the node in plain_; 0: none yet; may be empty
  std::vector<Link> links_;
  std::vector<uint8_t> bytes_;
  int32_t free_ = -1;
};

ByteTrie::ByteTrie(std::span<const Entry> entries, int32_t num_roots) {
  ByteTrieBuilder builder(*this, num_roots, entries.size());
  for (const Entry& entry : entries) builder.insert(entry);
  builder.place();
}

int32_t ByteTrie::longest_match(std::string_view text, size_t at, size_t* length) const {
  int32_t found = -1;
  int32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    node = child(node, static_cast<uint8_t>(text[i]));
    if (node < 0) break;
    const int32_t value = nodes_[static_cast<size_t>(node)].value;
    if (value >= 0) {
      found = value;
      *length = i + 1 - at;
    }
  }
  return found;
}

}  // namespace headrace
