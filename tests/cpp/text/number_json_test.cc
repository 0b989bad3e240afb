#include "text/number_json.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>

#include "base/error.h"

namespace headrace {
namespace {

TEST(JsonNumbers, ReadsNumbersAndNestedArrays) {
  const auto alone = read_json_numbers(" -7 ");
  ASSERT_TRUE(alone);
  EXPECT_TRUE(alone->shape.empty());
  EXPECT_EQ(alone->values, std::vector<double>{-7});
  EXPECT_TRUE(alone->are_integers);
  const auto nested = read_json_numbers("[[1, 2.5e0 ,0.1],\n[-0,4E2,\t-1.5e-3]]");
  ASSERT_TRUE(nested);
  EXPECT_EQ(nested->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(nested->values, (std::vector<double>{1, 2.5, 0.1, 0, 400, -0.0015}));
  EXPECT_FALSE(nested->are_integers);
  EXPECT_TRUE(read_json_numbers("[999999999999999]")->are_integers);
  EXPECT_EQ(read_json_numbers("[]")->shape, std::vector<int64_t>{0});
  EXPECT_EQ(read_json_numbers("[[],[]]")->shape, (std::vector<int64_t>{2, 0}));
}

TEST(JsonNumbers, LeavesEverythingElse) {
  for (const char* const text : {"",
                                 " ",
                                 "[",
                                 "]",
                                 "[1",
                                 "[1,",
                                 "[1,]",
                                 "[,1]",
                                 "[1 2]",
                                 "[1]]",
                                 "[1] 2",
                                 "[[1],[2,3]]",
                                 "[1,[2]]",
                                 "[[1],2]",
                                 "[[],1]",
                                 "[[],[1]]",
                                 "[[[]],[]]",
                                 "[null]",
                                 "[true]",
                                 "[\"1\"]",
                                 "{}",
                                 "01",
                                 "-",
                                 "-01",
                                 "1.",
                                 ".5",
                                 "1e",
                                 "1e+",
                                 "+1",
                                 "0x1",
                                 "NaN",
                                 "[Infinity]",
                                 "1e999",
                                 "1000000000000000",
                                 "[1,1000000000000000]",
                                 "1-1",
                                 "1.2.3",
                                 "[1/*a*/]",
                                 "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]"})
    EXPECT_FALSE(read_json_numbers(text)) << text;
}

// The nearest double, however many digits, wherever the point, before any character.
TEST(JsonNumbers, RoundsAsTheLibraryDoes) {
  std::mt19937_64 random(7);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (int i = 0; i < 200'000; ++i) {
    std::string text = pick(0, 1) ? "-" : "";
    const int whole = pick(0, 3) ? 1 : pick(1, 15), fraction = pick(0, 3) ? pick(14, 18) : pick(0, 25);
    text += static_cast<char>(whole == 1 ? pick('0', '9') : pick('1', '9'));
    for (int k = 1; k < whole; ++k) text += static_cast<char>(pick('0', '9'));
    if (fraction > 0) text += '.';
    for (int k = 0; k < fraction; ++k) text += static_cast<char>(pick('0', '9'));
    if (pick(0, 4) == 0) text += concat("e", pick(-30, 30));
    double wanted = 0;
    std::from_chars(text.data(), text.data() + text.size(), wanted);
    const auto found = read_json_numbers(concat("[", text, ",", text, " ]"));
    ASSERT_TRUE(found) << text;
    for (const double value : found->values)
      ASSERT_EQ(std::bit_cast<uint64_t>(value), std::bit_cast<uint64_t>(wanted)) << text;
  }
}

TEST(JsonTensors, ReadsMembers) {
  const auto found = read_json_tensors(" {\"x\": [1, 2.5], \"the id\" :7} ");
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].first, "x");
  EXPECT_EQ((*found)[0].second.shape, std::vector<int64_t>{2});
  EXPECT_EQ((*found)[1].first, "the id");
  EXPECT_TRUE((*found)[1].second.are_integers);
  for (const char* const text : {"", "{}", "[1]", "{\"x\"}", "{\"x\":}", "{\"x\":1,}", "{\"x\":1",
                                 "{\"x\":1}}", "{\"x\":1,\"x\":2}", "{\"x\":\"a\"}", "{\"x\":{\"y\":1}}",
                                 "{\"\\u0078\":1}", "{\"\xc3\xa4\":1}", "{x:1}", "{\"x\":1 \"y\":2}"})
    EXPECT_FALSE(read_json_tensors(text)) << text;
}

}  // namespace
}  // namespace headrace
