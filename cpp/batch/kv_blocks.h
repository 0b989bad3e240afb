// Which blocks of a cache of keys and values are whose. Pure logic: no tensors, no threads, no clock.
//
// A sequence's tokens fill blocks in order. A full block can be shared: whoever has the same tokens from the
// very start, and belongs to the same tenant, finds it by them. (Kwon et al. 2023, "PagedAttention",
// arXiv:2309.06180; the chain of blocks is what vLLM and SGLang share prefixes by.) Blocks that nobody uses
// keep what they hold until they are needed for something else, the longest unused first.
//
//   KvBlocks blocks(1024);
//   int64_t known = blocks.attach(tenant, prompt, sequence);     // tokens that need not be computed again
//   if (!blocks.extend(sequence, known + 64)) ...                // no room: nothing has changed
//   blocks.publish(tenant, tokens, sequence);                    // those that are computed and full
//   blocks.release(sequence);
//
// A found block is compared token by token, from the root on: no collision of hashes can mix two prompts.
// Hashes are keyed, so that nobody can choose prompts that make the search slow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace headrace {

class KvBlocks {
 public:
  static constexpr int64_t kBlockTokens = 32;

  // What a sequence holds. Made empty; to be released before it goes.
  struct Sequence {
    std::vector<int32_t> blocks;
    int64_t published = 0;  // of the blocks, from the first on: those that are found or can be
    uint64_t last = 0;      // identity of the last of them
  };

  struct Counts {
    int64_t blocks = 0;     // all
    int64_t used = 0;       // held by sequences
    int64_t cached = 0;     // held by none, but can be found
    int64_t hits = 0;       // tokens that attach() found
    int64_t misses = 0;     // tokens that it did not
    int64_t evictions = 0;  // cached blocks that were taken for something else
  };

  // key: of the hashes; random in service.
  explicit KvBlocks(int64_t blocks, uint64_t key = 0);

  // Gives the empty sequence the blocks that hold the beginning of `tokens`; returns how many tokens those
  // are, always fewer than all: the last must be computed, for its logits.
  int64_t attach(const std::string& tenant, std::span<const int32_t> tokens, Sequence& sequence);

  // Makes room for so many tokens in all. False, and nothing changed, when there are not enough free blocks.
  bool extend(Sequence& sequence, int64_t tokens);

  // Lets the full blocks among the first `tokens.size()` tokens of the sequence, all computed, be found.
  void publish(const std::string& tenant, std::span<const int32_t> tokens, Sequence& sequence);

  void release(Sequence& sequence);

  // Blocks that extend() could still give out.
  int64_t free() const { return free_; }
  const Counts& counts() const { return counts_; }

  // Throws std::logic_error when the books do not agree. sequences: all that hold blocks. For tests.
  void check(std::span<const Sequence* const> sequences) const;

 private:
  struct Block {
    int32_t uses = 0;
    int32_t before = -1, after = -1;  // in the list of those without use
    uint64_t identity = 0;            // of what it holds; 0: cannot be found. Never given twice.
    uint64_t parent = 0;              // identity of the block before, or of the tenant
    uint64_t hash = 0;
    std::array<int32_t, kBlockTokens> tokens;
  };

  uint64_t root(const std::string& tenant);
  uint64_t hash_of(uint64_t parent, std::span<const int32_t> tokens) const;
  int32_t find(uint64_t parent, std::span<const int32_t> tokens) const;
  int32_t take();
  void use(int32_t index);
  void give_back(int32_t index);
  void forget(Block& block, int32_t index);
  void unlink(Block& block);

  std::vector<Block> blocks_;
  int32_t oldest_ = -1, newest_ = -1;  // of the list
  int64_t free_ = 0;
  uint64_t key_;
  uint64_t next_identity_ = 1;
  std::unordered_map<std::string, uint64_t> roots_;
  std::unordered_multimap<uint64_t, int32_t> by_hash_;
  Counts counts_;
};

}  // namespace headrace
