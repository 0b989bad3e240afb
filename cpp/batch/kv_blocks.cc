#include "batch/kv_blocks.h"

#include <algorithm>
#include <stdexcept>

namespace headrace {
namespace {

// The finalizer of SplitMix64 (Steele, Lea & Flood 2014): every bit of the sum reaches every bit.
uint64_t mix(uint64_t x) {
  x ^= x >> 30, x *= 0xBF58476D1CE4E5B9ull;
  x ^= x >> 27, x *= 0x94D049BB133111EBull;
  return x ^ x >> 31;
}

}  // namespace

KvBlocks::KvBlocks(int64_t blocks, uint64_t key) : blocks_(static_cast<size_t>(blocks)), key_(key) {
  by_hash_.reserve(blocks_.size());
  counts_.blocks = blocks;
  for (int32_t i = 0; i < static_cast<int32_t>(blocks); ++i) give_back(i);
  counts_.used = 0;
}

uint64_t KvBlocks::root(const std::string& tenant) {
  const auto [at, is_new] = roots_.try_emplace(tenant, next_identity_);
  if (is_new) ++next_identity_;
  return at->second;
}

uint64_t KvBlocks::hash_of(uint64_t parent, std::span<const int32_t> tokens) const {
  uint64_t hash = mix(key_ ^ parent);
  for (const int32_t token : tokens) hash = mix(hash + static_cast<uint32_t>(token) + 0x9E3779B97F4A7C15ull);
  return hash;
}

int32_t KvBlocks::find(uint64_t parent, std::span<const int32_t> tokens) const {
  const auto [begin, end] = by_hash_.equal_range(hash_of(parent, tokens));
  for (auto at = begin; at != end; ++at) {
    const Block& block = blocks_[static_cast<size_t>(at->second)];
    if (block.parent == parent && std::equal(tokens.begin(), tokens.end(), block.tokens.begin()))
      return at->second;
  }
  return -1;
}

int64_t KvBlocks::attach(const std::string& tenant, std::span<const int32_t> tokens, Sequence& sequence) {
  sequence.last = root(tenant);
  const auto full = (static_cast<int64_t>(tokens.size()) - 1) / kBlockTokens;
  for (int64_t i = 0; i < full; ++i) {
    const int32_t index = find(sequence.last, tokens.subspan(static_cast<size_t>(i * kBlockTokens),
                                                             static_cast<size_t>(kBlockTokens)));
    if (index < 0) break;
    use(index);
    sequence.blocks.push_back(index);
    sequence.last = blocks_[static_cast<size_t>(index)].identity;
    ++sequence.published;
  }
  const int64_t known = sequence.published * kBlockTokens;
  counts_.hits += known;
  counts_.misses += static_cast<int64_t>(tokens.size()) - known;
  return known;
}

bool KvBlocks::extend(Sequence& sequence, int64_t tokens) {
  const int64_t wanted = (tokens + kBlockTokens - 1) / kBlockTokens;
  const int64_t more = wanted - static_cast<int64_t>(sequence.blocks.size());
  if (more > free_) return false;
  for (int64_t i = 0; i < more; ++i) sequence.blocks.push_back(take());
  return true;
}

void KvBlocks::publish(const std::string& tenant, std::span<const int32_t> tokens, Sequence& sequence) {
  if (sequence.published == 0 && sequence.last == 0) sequence.last = root(tenant);
  const auto full = static_cast<int64_t>(tokens.size()) / kBlockTokens;
  for (; sequence.published < full; ++sequence.published) {
    const auto part = tokens.subspan(static_cast<size_t>(sequence.published * kBlockTokens),
                                     static_cast<size_t>(kBlockTokens));
    const int32_t index = sequence.blocks[static_cast<size_t>(sequence.published)];
    Block& block = blocks_[static_cast<size_t>(index)];
    block.parent = sequence.last;
    block.identity = next_identity_++;
    std::copy(part.begin(), part.end(), block.tokens.begin());
    // Where another sequence was first with the same tokens, both stay: each is somebody's parent.
    block.hash = hash_of(block.parent, part);
    by_hash_.emplace(block.hash, index);
    sequence.last = block.identity;
  }
}

// The last block first: of a chain, what comes later is worth less, and useless without what came before.
void KvBlocks::release(Sequence& sequence) {
  for (size_t i = sequence.blocks.size(); i-- > 0;) {
    Block& block = blocks_[static_cast<size_t>(sequence.blocks[i])];
    if (--block.uses == 0) give_back(sequence.blocks[i]);
  }
  sequence = {};
}

int32_t KvBlocks::take() {
  const int32_t index = oldest_;
  Block& block = blocks_[static_cast<size_t>(index)];
  if (block.identity != 0) {
    ++counts_.evictions;
    forget(block, index);
  }
  use(index);
  return index;
}

void KvBlocks::use(int32_t index) {
  Block& block = blocks_[static_cast<size_t>(index)];
  if (block.uses++ > 0) return;
  unlink(block);
  --free_;
  ++counts_.used;
  if (block.identity != 0) --counts_.cached;
}

// Blocks that cannot be found go to the front: they are the first to be taken.
void KvBlocks::give_back(int32_t index) {
  Block& block = blocks_[static_cast<size_t>(index)];
  const bool to_front = block.identity == 0;
  block.before = to_front ? -1 : newest_;
  block.after = to_front ? oldest_ : -1;
  (block.before >= 0 ? blocks_[static_cast<size_t>(block.before)].after : oldest_) = index;
  (block.after >= 0 ? blocks_[static_cast<size_t>(block.after)].before : newest_) = index;
  ++free_;
  --counts_.used;
  if (block.identity != 0) ++counts_.cached;
}

void KvBlocks::forget(Block& block, int32_t index) {
  const auto [begin, end] = by_hash_.equal_range(block.hash);
  for (auto at = begin; at != end; ++at)
    if (at->second == index) {
      by_hash_.erase(at);
      break;
    }
  block.identity = 0;
  --counts_.cached;
}

void KvBlocks::unlink(Block& block) {
  (block.before >= 0 ? blocks_[static_cast<size_t>(block.before)].after : oldest_) = block.after;
  (block.after >= 0 ? blocks_[static_cast<size_t>(block.after)].before : newest_) = block.before;
  block.before = block.after = -1;
}

void KvBlocks::check(std::span<const Sequence* const> sequences) const {
  const auto must = [](bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  };
  std::vector<int32_t> uses(blocks_.size());
  for (const Sequence* sequence : sequences)
    for (const int32_t index : sequence->blocks) ++uses[static_cast<size_t>(index)];
  int64_t unused = 0, cached = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    must(blocks_[i].uses == uses[i], "a block's uses are not those of the sequences");
    unused += uses[i] == 0;
    cached += uses[i] == 0 && blocks_[i].identity != 0;
    must(uses[i] <= 1 || blocks_[i].identity != 0, "a block is shared that cannot be found");
  }
  int64_t listed = 0;
  for (int32_t index = oldest_, before = -1; index >= 0;
       before = index, index = blocks_[static_cast<size_t>(index)].after) {
    must(blocks_[static_cast<size_t>(index)].before == before, "the list is broken");
    must(uses[static_cast<size_t>(index)] == 0, "a block in use is in the list");
    must(++listed <= unused, "the list has a ring");
  }
  must(listed == unused && free_ == unused, "the list has not all blocks without use");
  must(counts_.used == counts_.blocks - unused && counts_.cached == cached, "the counts are off");
}

}  // namespace headrace
