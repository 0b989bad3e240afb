#include "text/word_cache.h"

#include <gtest/gtest.h>

#include <cctype>
#include <memory>
#include <random>
#include <string>

namespace headrace {
namespace {

std::string spelled(const WordKey& key) {
  std::string text(16, '\0');
  std::memcpy(text.data(), &key.low, 8);
  std::memcpy(text.data() + 8, &key.high, 8);
  return text.substr(0, key.size);
}

TEST(WordCacheTest, AsciiKeysEndAtTheFirstOtherByte) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = std::string("aZ9") + static_cast<char>(byte) + "bbbbbbbbbbbbbbbb";
    const bool is_word = byte < 0x80 && std::isalnum(byte);
    const WordKey key = ascii_word_key(text.data(), text.size(), false);
    EXPECT_EQ(key.size, is_word ? 16u : 3u) << byte;
    EXPECT_EQ(spelled(key), text.substr(0, key.size));
  }
}

TEST(WordCacheTest, AsciiKeysLowerLettersOnly) {
  std::string every;
  for (int byte = 0; byte < 128; ++byte)
    if (std::isalnum(byte)) every.push_back(static_cast<char>(byte));
  for (size_t begin = 0; begin < every.size(); ++begin) {
    const WordKey key = ascii_word_key(every.data() + begin, every.size() - begin, true);
    std::string expected = every.substr(begin, 16);
    for (char& c : expected) c = static_cast<char>(std::tolower(c));
    EXPECT_EQ(spelled(key), expected);
  }
}

TEST(WordCacheTest, AsciiKeysNeverReadBeyondTheText) {
  for (size_t size = 0; size <= 20; ++size) {
    const std::unique_ptr<char[]> text(new char[size + 1]);  // ASan sees a read behind it
    std::memset(text.get(), 'a', size);
    EXPECT_EQ(ascii_word_key(text.get(), size, true).size, std::min<size_t>(size, 16));
  }
}

TEST(WordCacheTest, BothKindsOfKeysAgree) {
  const std::string text = "Tokenizer9 and more text";
  const WordKey ascii = ascii_word_key(text.data(), text.size(), false);
  const WordKey plain = word_key("Tokenizer9");
  EXPECT_EQ(ascii.low, plain.low);
  EXPECT_EQ(ascii.high, plain.high);
  EXPECT_EQ(ascii.size, plain.size);
}

TEST(WordCacheTest, FindsWhatWasInserted) {
  WordCache cache;
  int32_t ids[4] = {};
  EXPECT_EQ(cache.find(word_key("word"), ids), 0u);
  const int32_t pieces[] = {(1 << 24) - 1, 0, 5, 6};
  cache.insert(word_key("word"), pieces, 3);
  ASSERT_EQ(cache.find(word_key("word"), ids), 3u);
  EXPECT_EQ(ids[0], pieces[0]);
  EXPECT_EQ(ids[1], 0);
  EXPECT_EQ(ids[2], 5);
  EXPECT_EQ(cache.find(word_key("Word"), ids), 0u);
}

TEST(WordCacheTest, TrailingZerosCount) {
  WordCache cache;
  int32_t ids[4] = {};
  const int32_t piece = 3;
  EXPECT_EQ(cache.find(word_key(std::string(1, '\0')), ids), 0u);  // an empty slot looks like this key
  cache.insert(word_key("a"), &piece, 1);
  EXPECT_EQ(cache.find(word_key(std::string("a\0", 2)), ids), 0u);
}

TEST(WordCacheTest, ManyWordsPushEachOtherOutButNeverMix) {
  WordCache cache;
  std::mt19937 random(1);
  for (int i = 0; i < 300000; ++i) {
    const auto number = static_cast<int32_t>(random() % 100000);
    const WordKey key = word_key(std::to_string(number));
    int32_t ids[4] = {};
    if (const size_t found = cache.find(key, ids)) {
      ASSERT_EQ(found, 2u);
      ASSERT_EQ(ids[0], number);
      ASSERT_EQ(ids[1], number + 1);
    } else {
      const int32_t pieces[] = {number, number + 1};
      cache.insert(key, pieces, 2);
    }
  }
}

TEST(WordCacheTest, LongListsAreNotKept) {
  WordCache cache;
  const int32_t pieces[5] = {1, 2, 3, 4, 5};
  int32_t ids[4] = {};
  cache.insert(word_key("x"), pieces, 5);
  EXPECT_EQ(cache.find(word_key("x"), ids), 0u);
}

}  // namespace
}  // namespace headrace
