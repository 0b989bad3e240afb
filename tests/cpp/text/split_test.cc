#include "text/split.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace headrace {
namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> result;
  split_bert(text, [&](size_t begin, size_t end) { result.emplace_back(text.substr(begin, end - begin)); });
  return result;
}

using Strings = std::vector<std::string>;

TEST(SplitTest, SpacesSeparateAndPunctuationStandsAlone) {
  EXPECT_EQ(words(""), Strings{});
  EXPECT_EQ(words(" \t "), Strings{});
  EXPECT_EQ(words("a bc"), (Strings{"a", "bc"}));
  EXPECT_EQ(words("don't..."), (Strings{"don", "'", "t", ".", ".", "."}));
  EXPECT_EQ(words("$5~"), (Strings{"$", "5", "~"}));
}

TEST(SplitTest, KnowsUnicodeSpacesAndPunctuation) {
  EXPECT_EQ(words("a\xE3\x80\x80"
                  "b"),
            (Strings{"a", "b"}));
  EXPECT_EQ(words("\xE3\x80\x8C"
                  "a\xE3\x80\x8D"),
            (Strings{"\xE3\x80\x8C", "a", "\xE3\x80\x8D"}));
  EXPECT_EQ(words("\xE2\x82\xAC"
                  "5"),
            (Strings{"\xE2\x82\xAC"
                     "5"}));  // the euro sign is a symbol
}

}  // namespace
}  // namespace headrace
