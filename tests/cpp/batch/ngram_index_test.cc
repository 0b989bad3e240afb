// The index of n-grams against a search through all that was said before.
#include "batch/ngram_index.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace headrace {
namespace {

using Tokens = std::vector<int32_t>;

Tokens proposal(const NgramIndex& index, const Tokens& tokens, size_t count) {
  Tokens proposed(count, -1);
  proposed.resize(static_cast<size_t>(index.propose(tokens, proposed)));
  return proposed;
}

TEST(NgramIndex, proposes_what_followed_the_latest_time) {
  NgramIndex index;
  const Tokens tokens{1, 2, 3, 10, 11, 1, 2, 3, 20, 21, 22, 1, 2, 3};
  index.read(tokens);
  EXPECT_EQ(index.match().next, 8);
  EXPECT_EQ(index.match().length, 3);
  EXPECT_EQ(proposal(index, tokens, 3), (Tokens{20, 21, 22}));
}

TEST(NgramIndex, a_bigram_will_do_and_a_single_token_will_not) {
  NgramIndex index;
  Tokens tokens{5, 6, 7, 8, 6, 7};
  index.read(tokens);
  EXPECT_EQ(index.match().length, 2);
  EXPECT_EQ(proposal(index, tokens, 2), (Tokens{8, 6}));
  tokens = {5, 6, 7, 8, 5};
  NgramIndex other;
  other.read(tokens);
  EXPECT_EQ(other.match().length, 0);
  EXPECT_TRUE(proposal(other, tokens, 4).empty());
}

TEST(NgramIndex, a_period_goes_on) {
  NgramIndex index;
  const Tokens tokens{9, 1, 2, 3, 1, 2, 3};
  index.read(tokens);
  EXPECT_EQ(proposal(index, tokens, 7), (Tokens{1, 2, 3, 1, 2, 3, 1}));
  NgramIndex same;
  const Tokens one(5, 4);
  same.read(one);
  EXPECT_EQ(proposal(same, one, 4), Tokens(4, 4));
}

TEST(NgramIndex, the_match_that_agrees_goes_on_before_a_shorter_one_that_is_later) {
  NgramIndex index;
  // 1 2 3 4 5 was followed by 6; later 3 4 5 by 7.
  const Tokens tokens{1, 2, 3, 4, 5, 6, 0, 3, 4, 5, 7, 0, 0, 1, 2, 3, 4, 5};
  index.read(tokens);
  EXPECT_EQ(index.match().length, 5);
  EXPECT_EQ(proposal(index, tokens, 1), Tokens{6});
}

TEST(NgramIndex, is_the_same_read_at_once_or_token_by_token) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    Tokens tokens;
    NgramIndex single;
    const uint32_t alphabet = 2 + random() % 30;
    for (int i = 0; i < 400; ++i) {
      tokens.push_back(static_cast<int32_t>(random() % alphabet));
      single.read(tokens);
    }
    NgramIndex whole;
    whole.read(tokens);
    ASSERT_EQ(single.tokens(), 400);
    ASSERT_EQ(whole.match().next, single.match().next);
    ASSERT_EQ(whole.match().length, single.match().length);
  }
}

// The latest earlier place behind the last n tokens; 0: none.
int64_t search(const Tokens& tokens, int64_t n) {
  const auto end = static_cast<int64_t>(tokens.size());
  for (int64_t next = end - 1; next >= n; --next)
    if (std::equal(tokens.end() - n, tokens.end(), tokens.begin() + next - n)) return next;
  return 0;
}

TEST(NgramIndex, finds_what_a_search_finds) {
  std::mt19937 random(2);
  int64_t found = 0, missed = 0;
  for (int round = 0; round < 200; ++round) {
    Tokens tokens;
    NgramIndex index;
    const uint32_t alphabet = 2 + random() % 40;
    for (int i = 0; i < 500; ++i) {
      tokens.push_back(static_cast<int32_t>(random() % alphabet));
      index.read(tokens);
      const NgramIndex::Match match = index.match();
      // Whatever it says agrees, as far as it says.
      ASSERT_LT(match.next, static_cast<int64_t>(tokens.size()));
      ASSERT_LE(match.length, match.next);
      ASSERT_TRUE(match.length == 0 || match.length >= NgramIndex::kShortest);
      ASSERT_TRUE(
          std::equal(tokens.end() - match.length, tokens.end(), tokens.begin() + match.next - match.length));
      const int64_t n = search(tokens, 3) ? 3 : 2, expected = search(tokens, n);
      if (expected == 0) {
        ASSERT_EQ(match.length, 0);
        continue;
      }
      // A table that is at most half full loses few n-grams.
      if (match.length < n) ++missed;
      ++found;
      if (match.length == n) {
        ASSERT_GE(match.next, n == 3 ? 3 : 2);
      }
    }
  }
  EXPECT_GT(found, 40'000);
  EXPECT_LT(missed, found / 200);
}

TEST(NgramIndex, a_long_text_of_new_tokens_and_its_copy) {
  NgramIndex index;
  Tokens tokens;
  for (int32_t i = 0; i < 100'000; ++i) tokens.push_back(i * 7919);
  index.read(tokens);
  EXPECT_EQ(index.match().length, 0);
  for (int32_t i = 0; i < 1000; ++i) {
    tokens.push_back((50'000 + i) * 7919);
    index.read(tokens);
  }
  EXPECT_EQ(index.match().length, NgramIndex::kCounted);
  EXPECT_EQ(index.match().next, 51'000);
}

}  // namespace
}  // namespace headrace
