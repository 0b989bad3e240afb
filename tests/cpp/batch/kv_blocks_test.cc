#include "batch/kv_blocks.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

namespace headrace {
namespace {

std::vector<int32_t> tokens(int64_t count, int32_t first = 0) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

TEST(KvBlocks, what_was_computed_is_found_again_but_for_the_last_token) {
  KvBlocks blocks(10);
  KvBlocks::Sequence first, second, other;
  const auto prompt = tokens(96);
  EXPECT_EQ(blocks.attach("a", prompt, first), 0);
  ASSERT_TRUE(blocks.extend(first, 96));
  blocks.publish("a", prompt, first);
  EXPECT_EQ(blocks.attach("a", prompt, second), 64);
  EXPECT_EQ(second.blocks[0], first.blocks[0]);
  EXPECT_EQ(second.blocks[1], first.blocks[1]);
  EXPECT_EQ(blocks.attach("a", tokens(97), other), 96);
  EXPECT_EQ(blocks.free(), 7);
  blocks.release(first);
  blocks.release(second);
  blocks.release(other);
  EXPECT_EQ(blocks.free(), 10);
  EXPECT_EQ(blocks.counts().cached, 3);
}

TEST(KvBlocks, tenants_and_other_beginnings_share_nothing) {
  KvBlocks blocks(10);
  KvBlocks::Sequence first, second, third;
  const auto prompt = tokens(64);
  blocks.attach("a", prompt, first);
  ASSERT_TRUE(blocks.extend(first, 64));
  blocks.publish("a", prompt, first);
  EXPECT_EQ(blocks.attach("b", prompt, second), 0);
  auto changed = prompt;
  changed[0] = 7;
  EXPECT_EQ(blocks.attach("a", changed, third), 0);
}

TEST(KvBlocks, no_room_changes_nothing) {
  KvBlocks blocks(3);
  KvBlocks::Sequence first, second;
  ASSERT_TRUE(blocks.extend(first, 64));
  EXPECT_FALSE(blocks.extend(second, 33));
  EXPECT_TRUE(second.blocks.empty());
  EXPECT_TRUE(blocks.extend(second, 32));
  EXPECT_FALSE(blocks.extend(first, 65));
  EXPECT_EQ(first.blocks.size(), 2u);
}

TEST(KvBlocks, the_longest_unused_goes_first_and_the_end_of_a_chain_before_its_beginning) {
  KvBlocks blocks(4);
  KvBlocks::Sequence first, second, third;
  blocks.attach("a", tokens(64), first);
  ASSERT_TRUE(blocks.extend(first, 64));
  blocks.publish("a", tokens(64), first);
  blocks.release(first);
  ASSERT_TRUE(blocks.extend(second, 64));  // the two that held nothing
  EXPECT_EQ(blocks.counts().evictions, 0);
  ASSERT_TRUE(blocks.extend(second, 96));
  EXPECT_EQ(blocks.counts().evictions, 1);
  EXPECT_EQ(blocks.attach("a", tokens(65), third), 32) << "the first block is still there";
}

TEST(KvBlocks, random_lives_leave_the_books_in_order) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    KvBlocks blocks(12, seed);
    struct Life {
      KvBlocks::Sequence sequence;
      std::vector<int32_t> ids;
      std::string tenant;
    };
    std::vector<Life> lives;
    for (int step = 0; step < 200; ++step) {
      if (lives.size() < 4 && random() % 2) {
        Life life{{}, {}, random() % 2 ? "a" : "b"};
        for (uint32_t i = 0, n = 1 + random() % 150; i < n; ++i)
          life.ids.push_back(static_cast<int32_t>(i / 32 * (random() % 40 == 0)));
        const int64_t known = blocks.attach(life.tenant, life.ids, life.sequence);
        ASSERT_LT(known, static_cast<int64_t>(life.ids.size()));
        ASSERT_EQ(known % KvBlocks::kBlockTokens, 0);
        if (blocks.extend(life.sequence, static_cast<int64_t>(life.ids.size()))) {
          blocks.publish(life.tenant, life.ids, life.sequence);
          lives.push_back(std::move(life));
        } else {
          blocks.release(life.sequence);
        }
      } else if (!lives.empty()) {
        const size_t which = random() % lives.size();
        Life& life = lives[which];
        if (random() % 3) {
          life.ids.push_back(static_cast<int32_t>(random() % 3));
          if (blocks.extend(life.sequence, static_cast<int64_t>(life.ids.size())))
            blocks.publish(life.tenant, life.ids, life.sequence);
          else
            life.ids.pop_back();
        } else {
          blocks.release(life.sequence);
          lives.erase(lives.begin() + static_cast<std::ptrdiff_t>(which));
        }
      }
      std::vector<const KvBlocks::Sequence*> held;
      for (const Life& life : lives) held.push_back(&life.sequence);
      ASSERT_NO_THROW(blocks.check(held)) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace headrace
