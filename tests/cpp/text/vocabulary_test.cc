#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include <string>

namespace headrace {
namespace {

TEST(VocabularyTest, FindsBothWays) {
  Vocabulary vocabulary;
  EXPECT_TRUE(vocabulary.add("b", 5));
  EXPECT_TRUE(vocabulary.add("a", 0));
  EXPECT_EQ(vocabulary.size(), 6);
  EXPECT_EQ(vocabulary.num_tokens(), 2u);
  EXPECT_EQ(vocabulary.token(5), "b");
  EXPECT_EQ(vocabulary.id("a"), 0);
  EXPECT_EQ(vocabulary.id("c"), std::nullopt);
  EXPECT_FALSE(vocabulary.contains(3));
  EXPECT_FALSE(vocabulary.contains(-1));
  EXPECT_FALSE(vocabulary.contains(6));
}

TEST(VocabularyTest, RefusesRepeatedTokensAndIds) {
  Vocabulary vocabulary;
  EXPECT_TRUE(vocabulary.add("a", 1));
  EXPECT_FALSE(vocabulary.add("a", 2));
  EXPECT_FALSE(vocabulary.add("b", 1));
  EXPECT_EQ(vocabulary.size(), 2);
  EXPECT_EQ(vocabulary.token(1), "a");
}

TEST(VocabularyTest, TheEmptyTokenIsAToken) {
  Vocabulary vocabulary;
  EXPECT_TRUE(vocabulary.add("", 1));
  EXPECT_TRUE(vocabulary.contains(1));
  EXPECT_FALSE(vocabulary.contains(0));
  EXPECT_EQ(vocabulary.id(""), 1);
}

TEST(VocabularyTest, AShownTokenKeepsItsName) {
  Vocabulary vocabulary;
  vocabulary.add("Foo", 0);
  vocabulary.show_as(0, "foo");
  EXPECT_EQ(vocabulary.token(0), "foo");
  EXPECT_EQ(vocabulary.id("Foo"), 0);
  EXPECT_EQ(vocabulary.id("foo"), std::nullopt);
}

TEST(VocabularyTest, SurvivesMovesAndLargeTokens) {
  Vocabulary vocabulary;
  for (int32_t id = 0; id < 20000; ++id) ASSERT_TRUE(vocabulary.add(std::to_string(id), id));
  vocabulary.add(std::string(1 << 20, 'x'), 20000);
  vocabulary.add("after", 20001);
  const Vocabulary moved = std::move(vocabulary);
  for (int32_t id = 0; id < 20000; ++id) {
    ASSERT_EQ(moved.token(id), std::to_string(id));
    ASSERT_EQ(moved.id(std::to_string(id)), id);
  }
  EXPECT_EQ(moved.token(20000).size(), size_t{1} << 20);
  EXPECT_EQ(moved.id("after"), 20001);
}

TEST(VocabularyTest, ATokenMayHaveSeveralIds) {
  Vocabulary vocabulary;
  EXPECT_TRUE(vocabulary.add_again("a", 0));
  EXPECT_TRUE(vocabulary.add_again("a", 2));
  EXPECT_FALSE(vocabulary.add_again("b", 2));
  EXPECT_EQ(vocabulary.id("a"), 2);
  EXPECT_EQ(vocabulary.token(0), "a");
  EXPECT_EQ(vocabulary.num_tokens(), 2u);
}

TEST(VocabularyTest, FindsManyAtOnce) {
  Vocabulary vocabulary;
  int32_t none = 0;
  const std::string_view any = "x";
  vocabulary.find_all({&any, 1}, &none);
  EXPECT_EQ(none, -1);
  std::vector<std::string> tokens;
  for (int32_t i = 0; i < 5000; ++i) {
    tokens.push_back("token" + std::to_string(i * 7 % 5000));
    if (i % 3 != 0) {
      EXPECT_TRUE(vocabulary.add(tokens.back(), i));
    }
  }
  vocabulary.show_as(1, "shown");
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  std::vector<int32_t> ids(views.size());
  vocabulary.find_all(views, ids.data());
  for (int32_t i = 0; i < 5000; ++i) EXPECT_EQ(ids[static_cast<size_t>(i)], i % 3 != 0 ? i : -1);
}

}  // namespace
}  // namespace headrace
