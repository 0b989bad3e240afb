#include "text/added_tokens.h"

#include <gtest/gtest.h>

namespace headrace {
namespace {

AddedToken token(std::string content, int32_t id) {
  AddedToken result;
  result.content = std::move(content);
  result.id = id;
  return result;
}

AddedTokens make(std::vector<AddedToken> tokens) {
  std::vector<std::string> contents;
  for (const AddedToken& each : tokens) contents.push_back(each.content);
  return AddedTokens(std::move(tokens), contents);
}

// The pieces as "text" and "<token>".
std::vector<std::string> split(const AddedTokens& set, std::string_view text, bool allow_special = true) {
  std::vector<std::string> pieces;
  set.split(text, SpecialsAllowed{allow_special}, [&](size_t begin, size_t end, const AddedToken* found) {
    const std::string piece(text.substr(begin, end - begin));
    pieces.push_back(found ? "<" + piece + ">" : piece);
  });
  return pieces;
}

using Strings = std::vector<std::string>;

TEST(AddedTokensTest, NoTokensMeansOnePiece) {
  EXPECT_EQ(split(AddedTokens(), "abc"), (Strings{"abc"}));
  EXPECT_EQ(split(AddedTokens(), ""), Strings{});
  EXPECT_EQ(split(make({token("", 1)}), "abc"), (Strings{"abc"}));
}

TEST(AddedTokensTest, LeftmostThenLongest) {
  const AddedTokens set = make({token("ab", 1), token("abcd", 2), token("bcde", 3)});
  EXPECT_EQ(split(set, "xabcdey"), (Strings{"x", "<abcd>", "ey"}));
  EXPECT_EQ(split(set, "abcab"), (Strings{"<ab>", "c", "<ab>"}));
  EXPECT_EQ(split(set, "bcde"), (Strings{"<bcde>"}));
}

TEST(AddedTokensTest, OneFirstByteOrSeveral) {
  EXPECT_EQ(split(make({token("[A]", 1), token("[B]", 2)}), "x[[A][B]["),
            (Strings{"x[", "<[A]>", "<[B]>", "["}));
  EXPECT_EQ(split(make({token("[A]", 1), token("z", 2)}), "z[A]["), (Strings{"<z>", "<[A]>", "["}));
}

TEST(AddedTokensTest, SingleWordsStandAlone) {
  AddedToken one = token("one", 1);
  one.single_word = true;
  const AddedTokens set = make({one});
  EXPECT_EQ(split(set, "one ones (one) \xC3\xA9one one_"),
            (Strings{"<one>", " ones (", "<one>", ") \xC3\xA9one one_"}));
}

TEST(AddedTokensTest, StripsSpacesOfAnyKind) {
  AddedToken left = token("L", 1);
  left.lstrip = true;
  AddedToken right = token("R", 2);
  right.rstrip = true;
  const AddedTokens set = make({left, right});
  EXPECT_EQ(split(set, "a \xE3\x80\x80L b"), (Strings{"a", "< \xE3\x80\x80L>", " b"}));
  EXPECT_EQ(split(set, "a R \n b"), (Strings{"a ", "<R \n >", "b"}));
  EXPECT_EQ(split(set, "R  L"), (Strings{"<R  >", "<L>"}));
}

TEST(AddedTokensTest, SpecialTokensMayBeLeftInTheText) {
  AddedToken special = token("[S]", 1);
  special.special = true;
  const AddedTokens set = make({special, token("[T]", 2)});
  EXPECT_EQ(split(set, "[S][T]"), (Strings{"<[S]>", "<[T]>"}));
  EXPECT_EQ(split(set, "[S][T]", false), (Strings{"[S]", "<[T]>"}));
}

TEST(AddedTokensTest, ManySpacesAreLookedAtOnce) {
  AddedToken left = token("L", 1);
  left.lstrip = true;
  std::string text;
  for (int i = 0; i < 200000; ++i) text += ' ';
  text += "L";
  EXPECT_EQ(split(make({left}), text).size(), 1u);
  AddedToken space = token(" ", 2);
  space.lstrip = true;
  EXPECT_EQ(split(make({space}), text).size(), 200001u);
}

}  // namespace
}  // namespace headrace
