#include "text/decode.h"

#include <gtest/gtest.h>

#include <vector>

namespace headrace {
namespace {

std::string decode(const WordPieceDecoder& decoder, const std::vector<std::string>& tokens) {
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) decoder.append(tokens[i], i == 0, text);
  return text;
}

TEST(DecodeTest, JoinsPiecesAndSpacesWords) {
  const WordPieceDecoder decoder{"##", false};
  EXPECT_EQ(decode(decoder, {}), "");
  EXPECT_EQ(decode(decoder, {"un", "##believ", "##able", "!"}), "unbelievable !");
  EXPECT_EQ(decode(decoder, {"##x", "##y", "z"}), "##xy z");
}

TEST(DecodeTest, CleansEachTokenByItself) {
  const WordPieceDecoder decoder{"##", true};
  EXPECT_EQ(decode(decoder, {"hello", ",", "world", "!", "?", "."}), "hello, world!?.");
  EXPECT_EQ(decode(decoder, {"don", "'", "t"}), "don ' t");
  EXPECT_EQ(decode(decoder, {"it", "'s", "n't"}), "it'sn't");
}

}  // namespace
}  // namespace headrace
