#include "text/number_json.h"

#include <gtest/gtest.h>

#include <cmath>

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
