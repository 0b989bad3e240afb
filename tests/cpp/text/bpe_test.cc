#include "text/bpe.h"

#include <algorithm>
#include <random>

#include "base/utf8.h"
#include "test_model.h"

namespace headrace {
namespace {

using Ids = std::vector<int32_t>;
using Tokens = std::vector<TestToken>;

std::string bpe_json(const std::string& vocab, const std::string& merges, const std::string& options = "") {
  return R"({"type":"BPE",)" + options + R"("vocab":{)" + vocab + R"(},"merges":[)" + merges + "]}";
}

TEST(BpeTest, MergesTheLowestRankFirstAndTheLeftmostOfEquals) {
  TestModel model(bpe_json(R"("a":0,"b":1,"ab":2,"ba":3,"aba":4,"aa":5)", R"("b a","a b","ab a","a a")"));
  EXPECT_EQ(model.ids({"ab"}), (Ids{2}));
  EXPECT_EQ(model.ids({"aba"}), (Ids{0, 3}));
  EXPECT_EQ(model.ids({"aaa"}), (Ids{5, 0}));
  EXPECT_EQ(model.ids({"aab", "b"}), (Ids{0, 2, 1}));
  EXPECT_EQ(model.encode({"a", "ba"}), (Tokens{{0, 0, 1}, {3, 1, 3}}));
}

TEST(BpeTest, OfRepeatedMergesTheLastRankCounts) {
  TestModel model(bpe_json(R"("a":0,"b":1,"ab":2,"ba":3)", R"("a b","b a","a b")"));
  EXPECT_EQ(model.ids({"bab"}), (Ids{3, 1}));
}

TEST(BpeTest, WholePiecesAreTokensOnlyIfTheMergesSaySo) {
  const char* const vocab = R"("a":0,"b":1,"c":2,"ab":3,"abc":4)";
  EXPECT_EQ(TestModel(bpe_json(vocab, R"("a b")")).ids({"abc"}), (Ids{3, 2}));
  EXPECT_EQ(TestModel(bpe_json(vocab, R"("a b")", R"("ignore_merges":true,)")).ids({"abc", "abcc"}),
            (Ids{4, 3, 2, 2}));
  TestModel merged(bpe_json(vocab, R"("a b","ab c")"));
  EXPECT_EQ(merged.ids({"abc", "abc"}), (Ids{4, 4}));
}

TEST(BpeTest, UnknownCharacters) {
  const char* const vocab = R"("a":0,"<unk>":1,"<0xC3>":2,"<0xA9>":3)";
  EXPECT_EQ(TestModel(bpe_json(vocab, "")).encode({"xaya"}), (Tokens{{0, 0, 1}, {0, 1, 2}}));
  EXPECT_EQ(TestModel(bpe_json(vocab, "", R"("unk_token":"<unk>",)")).encode({"xya"}),
            (Tokens{{1, 0, 1}, {1, 1, 2}, {0, 2, 3}}));
  TestModel fused(bpe_json(vocab, "", R"("unk_token":"<unk>","fuse_unk":true,)"));
  EXPECT_EQ(fused.encode({"x\xC3\xA9"
                          "a",
                          "z"}),
            (Tokens{{1, 0, 3}, {0, 3, 4}, {1, 4, 5}}));
  // Byte tokens come before an unknown character that still waits to be fused.
  TestModel bytes(bpe_json(vocab, "", R"("unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,)"));
  EXPECT_EQ(bytes.encode({"x\xC3\xA9"
                          "a"}),
            (Tokens{{2, 0, 1}, {3, 1, 2}, {1, 2, 3}, {0, 3, 4}}));
  const Error error =
      error_of([&] { TestModel(bpe_json(R"("a":0)", "", R"("unk_token":"<unk>",)")).ids({"x"}); });
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
}

TEST(BpeTest, PrefixesAndSuffixes) {
  TestModel model(bpe_json(R"("a":0,"##b":1,"##b</w>":2,"ab</w>":3,"a</w>":4,"ab":5)",
                           R"(["a","##b</w>"],["a","##b"])",
                           R"("continuing_subword_prefix":"##","end_of_word_suffix":"</w>",)"));
  EXPECT_EQ(model.encode({"ab", "a", "abb"}), (Tokens{{3, 0, 2}, {4, 2, 3}, {5, 3, 5}, {2, 5, 6}}));
}

TEST(BpeTest, RawBytesAreSpelledInTheVocabulary) {
  // U+0120 spells the space, U+00C3 U+00A9 the two bytes of U+00E9.
  TestModel model(bpe_json(R"("\u0120":0,"a":1,"\u0120a":2,"\u00c3":3,"\u00a9":4,"\u00c3\u00a9":5)",
                           R"("\u0120 a","\u00c3 \u00a9")"),
                  true);
  EXPECT_EQ(model.encode({" a\xC3\xA9", "\xA9"}), (Tokens{{2, 0, 2}, {5, 2, 4}, {4, 4, 5}}));
}

// The definition: every step looks at all pairs.
Ids slow_bpe(const Vocabulary& vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
             const std::vector<std::string>& pieces) {
  Ids ids;
  for (const std::string& piece : pieces) {
    std::vector<std::string> symbols;
    for (size_t at = 0; at < piece.size();) {
      const size_t length = utf8_sequence_length(piece, at);
      if (vocabulary.find(piece.substr(at, length)) >= 0) {
        symbols.push_back(piece.substr(at, length));
      } else if (symbols.empty() || symbols.back() != "<unk>") {
        symbols.push_back("<unk>");  // fused
      }
      at += length;
    }
    for (;;) {
      size_t best = merges.size();
      size_t at = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto rank = static_cast<size_t>(
            std::find(merges.begin(), merges.end(), std::pair(symbols[i], symbols[i + 1])) - merges.begin());
        if (rank < best) best = rank, at = i;
      }
      if (best == merges.size()) break;
      symbols[at] += symbols[at + 1];
      symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
    for (const std::string& symbol : symbols) ids.push_back(vocabulary.find(symbol));
  }
  return ids;
}

TEST(BpeTest, AgreesWithTheDefinition) {
  std::mt19937 random(1);
  const auto below = [&](size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
  };
  const std::vector<std::string> letters = {"a", "b", "c", "\xC3\xA9", "\xE2\x96\x81"};
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> tokens = {"<unk>"};
    tokens.insert(tokens.end(), letters.begin(), letters.end());
    std::vector<std::pair<std::string, std::string>> merges;
    for (size_t i = below(40); i > 0; --i) {
      const std::pair pair(tokens[1 + below(tokens.size() - 1)], tokens[1 + below(tokens.size() - 1)]);
      if (std::find(merges.begin(), merges.end(), pair) != merges.end()) continue;
      merges.push_back(pair);
      const std::string joined = pair.first + pair.second;
      if (std::find(tokens.begin(), tokens.end(), joined) == tokens.end()) tokens.push_back(joined);
    }
    std::shuffle(merges.begin(), merges.end(), random);
    std::string vocab;
    std::string pairs;
    for (size_t i = 0; i < tokens.size(); ++i)
      vocab += (i > 0 ? "," : "") + ("\"" + tokens[i] + "\":") + std::to_string(i);
    for (const auto& [left, right] : merges)
      pairs += (pairs.empty() ? "\"" : ",\"") + left + " " + right + "\"";
    TestModel model(bpe_json(vocab, pairs, R"("unk_token":"<unk>","fuse_unk":true,)"));
    for (int text = 0; text < 20; ++text) {
      std::vector<std::string> pieces(1 + below(3));
      for (std::string& piece : pieces)
        for (size_t i = 1 + below(text % 2 == 0 ? 12 : 100); i > 0; --i)
          piece += below(20) == 0 ? "z" : letters[below(letters.size())];
      EXPECT_EQ(model.ids(pieces), slow_bpe(model.parts().vocabulary, merges, pieces));
    }
  }
}

TEST(BpeTest, LongRunsOfOneLetter) {
  TestModel model(bpe_json(R"("a":0,"aa":1,"aaaa":2)", R"("a a","aa aa")"));
  const size_t count = (size_t{1} << 18) + 3;
  const auto tokens = model.encode({std::string(count, 'a')});
  ASSERT_EQ(tokens.size(), count / 4 + 2);
  EXPECT_EQ(tokens[count / 4 - 1],
            (TestToken{2, static_cast<uint32_t>(count - 7), static_cast<uint32_t>(count - 3)}));
  EXPECT_EQ(tokens[count / 4].id, 1);
  EXPECT_EQ(tokens[count / 4 + 1].id, 0);
}

// The right part adds nothing to the left one: the order of merges then hangs on stale pairs.
TEST(BpeTest, EmptyRightParts) {
  TestModel model(bpe_json(R"("a":0,"##":1,"###":2,"a#":3,"#":4)", R"(["a","##"],["a","###"])",
                           R"("continuing_subword_prefix":"##",)"));
  EXPECT_EQ(model.ids({"a#"}), (Ids{3}));
}

TEST(BpeTest, RefusesWhatItMust) {
  const auto kind = [](const std::string& json) { return error_of([&] { TestModel{json}; }).kind(); };
  EXPECT_EQ(kind(bpe_json(R"("a":0)", R"("a b")")), ErrorKind::kCorruptFile);        // no b
  EXPECT_EQ(kind(bpe_json(R"("a":0,"b":1)", R"("a b")")), ErrorKind::kCorruptFile);  // no ab
  EXPECT_EQ(kind(bpe_json(R"("a":0)", R"("aa")")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":0,"aa":1)", R"("a a ")")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":0,"aa":1)", R"("a a",["a","a"])")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":0,"aa":1)", R"(["a","a","a"])")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":0,"aa":1)", R"(7)")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":0,"b":0)", "")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":99999999)", "")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":0,"aa":1)", R"(["a","a"])", R"("continuing_subword_prefix":"##",)")),
            ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bpe_json(R"("a":0)", "", R"("dropout":0.1,)")), ErrorKind::kUnsupported);
  EXPECT_EQ(TestModel(bpe_json(R"("a":0)", "", R"("dropout":0.0,)")).ids({"a"}), (Ids{0}));
  EXPECT_EQ(kind(R"({"type":"BPE","vocab":[],"merges":[]})"), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"({"type":"BPE","vocab":{}})"), ErrorKind::kCorruptFile);
}

}  // namespace
}  // namespace headrace
