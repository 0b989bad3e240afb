#include "text/byte_trie.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace headrace {
namespace {

int32_t longest(const ByteTrie& trie, std::string_view text, size_t at, size_t expected_length) {
  size_t length = 0;
  const int32_t value = trie.longest_match(text, at, &length);
  EXPECT_EQ(length, expected_length);
  return value;
}

TEST(ByteTrieTest, AnEmptyTrieMatchesNothing) {
  const ByteTrie trie;
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ(trie.child(0, static_cast<uint8_t>(byte)), -1);
  EXPECT_EQ(longest(trie, "abc", 0, 0), -1);
  EXPECT_EQ(longest(trie, "", 0, 0), -1);
}

TEST(ByteTrieTest, TheLongestMatchWins) {
  const std::vector<ByteTrie::Entry> entries = {{"a", 1, 0}, {"abc", 2, 0}, {"abcde", 3, 0}, {"b", 4, 0}};
  const ByteTrie trie(entries, 1);
  EXPECT_EQ(longest(trie, "abcd", 0, 3), 2);
  EXPECT_EQ(longest(trie, "abcde", 0, 5), 3);
  EXPECT_EQ(longest(trie, "ab", 0, 1), 1);
  EXPECT_EQ(longest(trie, "ab", 1, 1), 4);
  EXPECT_EQ(longest(trie, "c", 0, 0), -1);
}

TEST(ByteTrieTest, OfEqualKeysTheFirstCounts) {
  const std::vector<ByteTrie::Entry> entries = {{"x", 5, 0}, {"x", 1, 0}};
  EXPECT_EQ(longest(ByteTrie(entries, 1), "x", 0, 1), 5);
}

TEST(ByteTrieTest, RootsAreApart) {
  const std::vector<ByteTrie::Entry> entries = {{"ab", 1, 0}, {"cd", 2, 1}};
  const ByteTrie trie(entries, 2);
  EXPECT_GE(trie.child(0, 'a'), 0);
  EXPECT_EQ(trie.child(0, 'c'), -1);
  EXPECT_EQ(trie.child(1, 'a'), -1);
  EXPECT_GE(trie.child(1, 'c'), 0);
}

TEST(ByteTrieTest, EdgesComeShortestFirst) {
  const std::vector<ByteTrie::Entry> entries = {{"abc", 1, 0}, {"xy", 2, 1}, {"az", 3, 0}};
  const ByteTrie trie(entries, 2);
  std::map<int32_t, int> depth = {{0, 0}, {1, 0}};
  int last = 0;
  for (const auto& edge : trie.edges()) {
    ASSERT_TRUE(depth.contains(edge.parent));
    depth[edge.node] = depth[edge.parent] + 1;
    EXPECT_GE(depth[edge.node], last);
    last = depth[edge.node];
    EXPECT_EQ(trie.child(edge.parent, edge.byte), edge.node);
  }
  EXPECT_EQ(depth.size(), 2u + 6u);
}

TEST(ByteTrieTest, RandomStringsAreAllFoundAndNoOthers) {
  std::mt19937 random(3);
  std::map<std::string, int32_t> keys;
  while (keys.size() < 3000) {
    std::string key;
    const auto length = 1 + random() % 6;
    for (unsigned i = 0; i < length; ++i)
      key.push_back(static_cast<char>(random() % (random() % 2 ? 256 : 4)));
    keys.emplace(key, static_cast<int32_t>(keys.size()));
  }
  std::vector<ByteTrie::Entry> entries;
  for (const auto& [key, value] : keys) entries.push_back({key, value, 0});
  const ByteTrie trie(entries, 1);
  for (const auto& [key, value] : keys) EXPECT_EQ(longest(trie, key, 0, key.size()), value);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (int j = 0; j < 6; ++j) text.push_back(static_cast<char>(random() % 4));
    size_t expected = 0;
    for (size_t length = 1; length <= text.size(); ++length)
      if (keys.contains(text.substr(0, length))) expected = length;
    EXPECT_EQ(longest(trie, text, 0, expected), expected ? keys.at(text.substr(0, expected)) : -1);
  }
}

}  // namespace
}  // namespace headrace
