#include "text/byte_trie.h"

#include <algorithm>

#include "base/error.h"

namespace headrace {

// Works in two steps: a plain trie of sibling lists, then its nodes in breadth-first order into the table.
class ByteTrieBuilder {
 public:
  ByteTrieBuilder(ByteTrie& trie, int32_t num_roots) : trie_(trie), num_roots_(num_roots) {
    plain_.resize(static_cast<size_t>(num_roots));
  }

  // In the order of their strings each entry shares the way down with the one before it, as far as they
  // agree, and the rest of its nodes are new: no child is ever searched for.
  void insert(std::span<const ByteTrie::Entry> entries) {
    plain_.reserve(plain_.size() + entries.size() * 2);
    std::vector<uint32_t> way;  // the nodes of the entry before, from its root
    const ByteTrie::Entry* before = nullptr;
    for (const uint32_t index : sorted(entries)) {
      const ByteTrie::Entry& entry = entries[index];
      size_t shared = 0;
      if (before != nullptr && before->root == entry.root) {
        const size_t limit = std::min(before->key.size(), entry.key.size());
        while (shared < limit && before->key[shared] == entry.key[shared]) ++shared;
      } else {
        way.assign(1, static_cast<uint32_t>(entry.root));
      }
      uint32_t sibling = shared + 1 < way.size() ? way[shared + 1] : 0;
      way.resize(shared + 1);
      for (size_t i = shared; i < entry.key.size(); ++i, sibling = 0)
        way.push_back(new_child(way[i], sibling, static_cast<uint8_t>(entry.key[i])));
      if (plain_[way.back()].value < 0) plain_[way.back()].value = entry.value;
      before = &entry;
    }
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

  // By root, string and, of equal strings, index. Most comparisons end at the first eight bytes, which are at
  // hand as a number.
  static std::vector<uint32_t> sorted(std::span<const ByteTrie::Entry> entries) {
    struct Item {
      uint64_t start;
      uint32_t index;
    };
    std::vector<Item> items;
    items.reserve(entries.size());
    for (uint32_t i = 0; i < entries.size(); ++i) {
      uint64_t start = 0;
      for (size_t k = 0; k < 8; ++k)
        start = start << 8 | (k < entries[i].key.size() ? static_cast<uint8_t>(entries[i].key[k]) : 0u);
      items.push_back({start, i});
    }
    std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
      const ByteTrie::Entry& left = entries[a.index];
      const ByteTrie::Entry& right = entries[b.index];
      if (left.root != right.root) return left.root < right.root;
      if (a.start != b.start) return a.start < b.start;
      const int order = left.key.compare(right.key);
      return order != 0 ? order < 0 : a.index < b.index;
    });
    std::vector<uint32_t> order;
    order.reserve(items.size());
    for (const Item& item : items) order.push_back(item.index);
    return order;
  }

  // sibling: the child of parent that was added last; 0: none yet.
  uint32_t new_child(uint32_t parent, uint32_t sibling, uint8_t byte) {
    if (plain_.size() >= kMaxNodes)
      throw Error(ErrorKind::kUnsupported,
                  "vocabulary: more than 268435456 distinct prefixes; use a smaller vocabulary");
    const auto child = static_cast<uint32_t>(plain_.size());
    plain_.emplace_back().byte = byte;
    (sibling != 0 ? plain_[sibling].next_sibling : plain_[parent].first_child) = child;
    return child;
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
  std::vector<Link> links_;
  std::vector<uint8_t> bytes_;
  int32_t free_ = -1;
};

ByteTrie::ByteTrie(std::span<const Entry> entries, int32_t num_roots) {
  ByteTrieBuilder builder(*this, num_roots);
  builder.insert(entries);
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
