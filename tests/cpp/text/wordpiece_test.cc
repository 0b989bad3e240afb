#include "text/wordpiece.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>

#include "base/error.h"

namespace headrace {
namespace {

const std::array<uint8_t, 256> kSame = [] {
  std::array<uint8_t, 256> map{};
  for (size_t i = 0; i < 256; ++i) map[i] = static_cast<uint8_t>(i);
  return map;
}();

Vocabulary make_vocabulary(const std::vector<std::string>& tokens) {
  Vocabulary vocabulary;
  for (const std::string& token : tokens)
    vocabulary.add(token, static_cast<int32_t>(vocabulary.num_tokens()));
  return vocabulary;
}

std::vector<std::string> pieces(const Vocabulary& vocabulary, const WordPiece& model,
                                const std::string& word) {
  std::vector<int32_t> ids(word.size() + 1, -7);
  const size_t count = model.look_up(word, kSame.data(), ids.data());
  EXPECT_GE(count, 1u);
  EXPECT_LE(count, word.size());
  EXPECT_EQ(ids[word.size()], -7);
  std::vector<std::string> tokens;
  for (size_t i = 0; i < count; ++i) tokens.emplace_back(vocabulary.token(ids[i]));
  return tokens;
}

// The definition, character by character: quadratic, and nothing like the trie.
std::vector<std::string> slow_pieces(const Vocabulary& vocabulary, const std::string& prefix,
                                     const std::string& word) {
  std::vector<std::string> tokens;
  for (size_t begin = 0; begin < word.size();) {
    size_t end = word.size();
    const auto candidate = [&] { return (begin > 0 ? prefix : "") + word.substr(begin, end - begin); };
    while (end > begin && !vocabulary.id(candidate())) --end;
    if (end == begin) return {"[UNK]"};
    tokens.push_back(candidate());
    begin = end;
  }
  return tokens;
}

using Strings = std::vector<std::string>;

TEST(WordPieceTest, TakesTheLongestPiecesFirst) {
  const Vocabulary vocabulary =
      make_vocabulary({"[UNK]", "a", "ab", "abcd", "##b", "##c", "##cd", "##cdef", "##e"});
  const WordPiece model(vocabulary, {});
  EXPECT_EQ(pieces(vocabulary, model, "a"), (Strings{"a"}));
  EXPECT_EQ(pieces(vocabulary, model, "abc"), (Strings{"ab", "##c"}));
  EXPECT_EQ(pieces(vocabulary, model, "abcde"), (Strings{"abcd", "##e"}));
  EXPECT_EQ(pieces(vocabulary, model, "abbcdef"), (Strings{"ab", "##b", "##cdef"}));
  EXPECT_EQ(pieces(vocabulary, model, "abbcdeb"), (Strings{"ab", "##b", "##cd", "##e", "##b"}));
}

TEST(WordPieceTest, OneGapMakesTheWholeWordUnknown) {
  const Vocabulary vocabulary = make_vocabulary({"[UNK]", "a", "ab", "##b"});
  const WordPiece model(vocabulary, {});
  EXPECT_EQ(pieces(vocabulary, model, "abbx"), (Strings{"[UNK]"}));
  EXPECT_EQ(pieces(vocabulary, model, "x"), (Strings{"[UNK]"}));
  EXPECT_EQ(pieces(vocabulary, model, "ba"), (Strings{"[UNK]"}));
  EXPECT_EQ(pieces(vocabulary, model, "abba"), (Strings{"[UNK]"}));
}

TEST(WordPieceTest, AWordMaySpellTheContinuingPrefix) {
  const Vocabulary vocabulary = make_vocabulary({"[UNK]", "#", "##a", "###", "##b"});
  const WordPiece model(vocabulary, {});
  EXPECT_EQ(pieces(vocabulary, model, "##a"), (Strings{"##a"}));
  EXPECT_EQ(pieces(vocabulary, model, "##b"), (Strings{"##b"}));
  EXPECT_EQ(pieces(vocabulary, model, "#a"), (Strings{"#", "##a"}));
  EXPECT_EQ(pieces(vocabulary, model, "##"), (Strings{"#", "###"}));
}

TEST(WordPieceTest, LengthIsCountedInCharacters) {
  const Vocabulary vocabulary = make_vocabulary({"[UNK]", "\xC3\xA9", "##\xC3\xA9", "a", "##a"});
  WordPiece::Config config;
  config.max_input_chars_per_word = 3;
  const WordPiece model(vocabulary, config);
  EXPECT_EQ(pieces(vocabulary, model, "\xC3\xA9\xC3\xA9\xC3\xA9").size(), 3u);
  EXPECT_EQ(pieces(vocabulary, model, "aaa").size(), 3u);
  EXPECT_EQ(pieces(vocabulary, model, "aaaa"), (Strings{"[UNK]"}));
  EXPECT_EQ(pieces(vocabulary, model, "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"), (Strings{"[UNK]"}));
}

TEST(WordPieceTest, BytesAreMappedOnTheWay) {
  const Vocabulary vocabulary = make_vocabulary({"[UNK]", "ab"});
  const WordPiece model(vocabulary, {});
  auto lower = kSame;
  for (size_t c = 'A'; c <= 'Z'; ++c) lower[c] = static_cast<uint8_t>(c | 0x20);
  int32_t ids[2] = {};
  EXPECT_EQ(model.look_up("AB", lower.data(), ids), 1u);
  EXPECT_EQ(ids[0], 1);
}

TEST(WordPieceTest, TheUnknownTokenMustBeThere) {
  const Vocabulary vocabulary = make_vocabulary({"a"});
  EXPECT_THROW(WordPiece(vocabulary, {}), Error);
}

TEST(WordPieceTest, EqualsTheDefinitionOnRandomVocabularies) {
  std::mt19937 random(5);
  const auto word_of = [&](size_t longest) {
    std::string word;
    const size_t length = 1 + random() % longest;
    for (size_t i = 0; i < length; ++i) word.push_back("abc"[random() % (1 + random() % 3)]);
    return word;
  };
  for (const std::string prefix : {"##", "", "a", "ab"}) {
    for (int round = 0; round < 60; ++round) {
      Strings tokens = {"[UNK]"};
      for (unsigned i = 0; i < 1 + random() % 14; ++i) tokens.push_back(word_of(5));
      for (unsigned i = 0; i < random() % 14; ++i) tokens.push_back(prefix + word_of(6));
      const Vocabulary vocabulary = [&] {
        Vocabulary result;
        for (const std::string& token : tokens)
          if (!result.id(token)) result.add(token, static_cast<int32_t>(result.num_tokens()));
        return result;
      }();
      WordPiece::Config config;
      config.continuing_subword_prefix = prefix;
      const WordPiece model(vocabulary, config);
      for (int i = 0; i < 200; ++i) {
        const std::string word = word_of(16);
        ASSERT_EQ(pieces(vocabulary, model, word), slow_pieces(vocabulary, prefix, word)) << word;
      }
    }
  }
}

TEST(WordPieceTest, LongTokensDoNotBlowUpTheLinks) {
  // Each prefix of the long token is certain to be all its letters, which is quadratic in its length.
  const Vocabulary vocabulary = make_vocabulary({"[UNK]", "a", "##a", std::string(20000, 'a') + "b"});
  const WordPiece model(vocabulary, {});
  EXPECT_EQ(pieces(vocabulary, model, std::string(90, 'a')).size(), 90u);

  WordPiece::Config config;
  config.max_input_chars_per_word = 1000000;
  EXPECT_THROW(WordPiece(vocabulary, config), Error);
}

}  // namespace
}  // namespace headrace
