#include "text/unigram.h"

#include <random>

#include "test_model.h"

namespace headrace {
namespace {

using Ids = std::vector<int32_t>;
using Tokens = std::vector<TestToken>;

std::string unigram_json(const std::string& vocab, const std::string& options = R"("unk_id":0,)") {
  return R"({"type":"Unigram",)" + options + R"("vocab":[)" + vocab + "]}";
}

TEST(UnigramTest, TakesTheLargestSum) {
  TestModel model(
      unigram_json(R"(["<unk>",0],["a",0],["b",0],["c",0],["d",0],["cd",1],["ab",2],["abc",5],["abcd",10])"));
  EXPECT_EQ(model.encode({"abcdacdxx"}), (Tokens{{8, 0, 4}, {1, 4, 5}, {5, 5, 7}, {0, 7, 9}}));
  EXPECT_EQ(model.ids({"x", "abc"}), (Ids{0, 7}));
}

TEST(UnigramTest, OfEqualSumsTheEarliestLastTokenStays) {
  TestModel model(unigram_json(R"(["<unk>",0],["a",-1],["aa",-2],["b",-1],["aab",-3])"));
  EXPECT_EQ(model.ids({"aa"}), (Ids{2}));
  EXPECT_EQ(model.ids({"aab"}), (Ids{4}));
  EXPECT_EQ(model.ids({"aaa"}), (Ids{1, 2}));
}

TEST(UnigramTest, UnknownCharactersAreFusedAndMayBeATokenAfterAll) {
  // So high a score that two unknown characters beat the token that they spell.
  TestModel model(unigram_json(R"(["<unk>",40],["xy",30],["a",40])"));
  EXPECT_EQ(model.encode({"xya"}), (Tokens{{1, 0, 2}, {2, 2, 3}}));
  EXPECT_EQ(model.encode({"xyza"}), (Tokens{{0, 0, 3}, {2, 3, 4}}));
}

TEST(UnigramTest, BytesStandForUnknownCharactersIfThereAreAll) {
  const char* const vocab = R"(["<unk>",0],["a",-1],["<0xC3>",0],["<0xA9>",0])";
  TestModel model(unigram_json(vocab, R"("unk_id":0,"byte_fallback":true,)"));
  EXPECT_EQ(model.encode({"a\xC3\xA9"}), (Tokens{{1, 0, 1}, {2, 1, 3}, {3, 1, 3}}));
  EXPECT_EQ(model.encode({"\xC3\xA9z"}), (Tokens{{0, 0, 3}}));
}

TEST(UnigramTest, OfRepeatedTokensTheLastCounts) {
  TestModel model(unigram_json(R"(["<unk>",0],["ab",-9],["a",-1],["b",-1],["ab",-1.5])"));
  EXPECT_EQ(model.ids({"ab"}), (Ids{4}));
  EXPECT_EQ(model.parts().vocabulary.token(1), "ab");
  EXPECT_EQ(model.parts().vocabulary.num_tokens(), 5u);
}

TEST(UnigramTest, WithoutUnknownTokenUnknownTextIsRefused) {
  TestModel model(unigram_json(R"(["a",-1])", R"("unk_id":null,)"));
  EXPECT_EQ(model.ids({"aa"}), (Ids{0, 0}));
  EXPECT_EQ(error_of([&] { model.ids({"ab"}); }).kind(), ErrorKind::kInvalidArgument);
}

// All ways to cut a short text; scores are halves, so sums are exact.
double best_sum(const std::vector<std::pair<std::string, double>>& vocab, const std::string& text,
                double unknown) {
  if (text.empty()) return 0;
  double best = -1e9;
  bool has_single = false;
  for (const auto& [token, score] : vocab) {
    if (!text.starts_with(token)) continue;
    has_single = has_single || token.size() == 1;
    best = std::max(best, score + best_sum(vocab, text.substr(token.size()), unknown));
  }
  if (!has_single) best = std::max(best, unknown + best_sum(vocab, text.substr(1), unknown));
  return best;
}

TEST(UnigramTest, NoCutIsBetter) {
  std::mt19937 random(2);
  const auto below = [&](int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random); };
  for (int round = 0; round < 40; ++round) {
    std::vector<std::pair<std::string, double>> vocab;
    std::string json = R"(["<unk>",-6])";
    for (int i = 0; i < 12; ++i) {
      std::string token;
      for (int k = 1 + below(4); k > 0; --k) token += static_cast<char>('a' + below(3));
      bool is_new = true;
      for (const auto& known : vocab) is_new = is_new && known.first != token;
      if (!is_new) continue;
      vocab.emplace_back(token, -0.5 * below(12));
      json += ",[\"" + token + "\"," + std::to_string(vocab.back().second) + "]";
    }
    TestModel model(unigram_json(json));
    for (int i = 0; i < 20; ++i) {
      std::string text;
      for (int k = 1 + below(9); k > 0; --k) text += static_cast<char>('a' + below(4));
      double sum = 0;
      for (const TestToken& token : model.encode({text}))
        sum += token.id == 0 ? -16.0 * (token.end - token.begin)
                             : vocab[static_cast<size_t>(token.id) - 1].second;
      EXPECT_EQ(sum, best_sum(vocab, text, -16)) << text << " " << json;
    }
  }
}

TEST(UnigramTest, ReadsNumbersAsTheReferenceDoes) {
  EXPECT_EQ(reference_number("0"), 0.0);
  EXPECT_EQ(reference_number("-12"), -12.0);
  EXPECT_EQ(reference_number("-2.5"), -2.5);
  EXPECT_EQ(reference_number("1e3"), 1000.0);
  EXPECT_EQ(reference_number("25E-1"), 2.5);
  EXPECT_EQ(reference_number("1.5e+2"), 150.0);
  // More digits than 53 bits hold: rounded twice.
  EXPECT_EQ(reference_number("-7.4715776443481445"), -7.471577644348144);
  EXPECT_EQ(reference_number("184467440737095516150"), 184467440737095516150.0);
  EXPECT_EQ(reference_number("0.00000000000000000000000000001"), 1 / 1e29);
  EXPECT_EQ(reference_number("1e-320"), 1e-320);
}

TEST(UnigramTest, RefusesMalformedVocabularies) {
  const auto kind = [](const std::string& json) { return error_of([&] { TestModel{json}; }).kind(); };
  EXPECT_EQ(kind(unigram_json("")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unigram_json(R"(["a",0])", R"("unk_id":1,)")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unigram_json(R"(["a",0,0])")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unigram_json(R"(["a","0"])")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unigram_json(R"("a")")), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"({"type":"Unigram","vocab":{"a":0}})"), ErrorKind::kCorruptFile);
}

}  // namespace
}  // namespace headrace
