#include "text/regex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "base/error.h"

namespace headrace {
namespace {

using Strings = std::vector<std::string>;

Strings parts(const Regex& regex, std::string_view text, Regex::Parts wanted) {
  std::vector<Piece> pieces;
  regex.append_pieces(text, {0, static_cast<uint32_t>(text.size())}, wanted, pieces);
  Strings found;
  for (const Piece piece : pieces) found.emplace_back(text.substr(piece.begin, piece.end - piece.begin));
  return found;
}

Strings matches(std::string_view pattern, std::string_view text) {
  return parts(Regex(pattern), text, Regex::kMatches);
}

ErrorKind error_of(std::string_view pattern) {
  try {
    Regex regex(pattern);
  } catch (const Error& error) {
    EXPECT_FALSE(error.message().empty());
    return error.kind();
  }
  ADD_FAILURE() << pattern << " is accepted";
  return ErrorKind::kInternal;
}

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

TEST(RegexTest, SplitsAsGpt2Does) {
  EXPECT_EQ(matches(kGpt2, "Hello  world's 42nd day!?\n\n  x "),
            (Strings{"Hello", " ", " world", "'s", " 42", "nd", " day", "!?", "\n\n ", " x", " "}));
  EXPECT_EQ(matches(kGpt2, "\xC3\xA9t\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87\xF0\x9F\x98\x80"),
            (Strings{"\xC3\xA9t\xC3\xA9", " \xE4\xB8\xAD\xE6\x96\x87", "\xF0\x9F\x98\x80"}));
}

TEST(RegexTest, FirstAlternativeWinsAndNotTheLongest) {
  EXPECT_EQ(matches("a|ab", "ab"), (Strings{"a"}));
  EXPECT_EQ(matches("(a|ab)(c|bcd)", "abcd"), (Strings{"abcd"}));
  EXPECT_EQ(matches("a+?b??", "aab"), (Strings{"a", "a"}));
  EXPECT_EQ(matches("a{2,3}?", "aaaaa"), (Strings{"aa", "aa"}));
  EXPECT_EQ(matches("(a*)*b|.", "aabc"), (Strings{"aab", "c"}));
}

TEST(RegexTest, FindReportsPlaces) {
  const Regex regex("b+");
  size_t begin = 0;
  size_t end = 0;
  ASSERT_TRUE(regex.find("abbcb", 0, &begin, &end));
  EXPECT_EQ(begin, 1u);
  EXPECT_EQ(end, 3u);
  ASSERT_TRUE(regex.find("abbcb", 3, &begin, &end));
  EXPECT_EQ(begin, 4u);
  EXPECT_FALSE(regex.find("abbcb", 5, &begin, &end));
  EXPECT_EQ(regex.pattern(), "b+");
}

TEST(RegexTest, EmptyMatchesDoNotFollowMatches) {
  std::vector<Piece> found;
  const Regex regex("x*");
  Regex::Matches matches_of(regex, "axb");
  for (Piece match; matches_of.next(&match);) found.push_back(match);
  EXPECT_EQ(found, (std::vector<Piece>{{0, 0}, {1, 2}, {3, 3}}));
}

TEST(RegexTest, PiecesCoverTheText) {
  EXPECT_EQ(parts(Regex("[0-9]+"), "a12b3", Regex::kAll), (Strings{"a", "12", "b", "3"}));
  EXPECT_EQ(parts(Regex("[0-9]+"), "a12b3", Regex::kBetween), (Strings{"a", "b"}));
}

TEST(RegexTest, APieceIsATextOfItsOwn) {
  std::vector<Piece> pieces;
  Regex(R"(^a|\s+(?!\S))").append_pieces("xa  b", {1, 4}, Regex::kMatches, pieces);
  EXPECT_EQ(pieces, (std::vector<Piece>{{1, 2}, {2, 4}}));
}

TEST(RegexTest, Anchors) {
  EXPECT_EQ(matches("^a", "a\na\nba"), (Strings{"a", "a"}));
  EXPECT_EQ(matches("a$", "a\nab\na"), (Strings{"a", "a"}));
  EXPECT_EQ(matches(R"(\Aa|a\z)", "aaa"), (Strings{"a", "a"}));
  EXPECT_EQ(matches(R"(\bfoo\b)", "foo foo_ foo"), (Strings{"foo", "foo"}));
  EXPECT_EQ(matches(R"((?<!\S)\w)", "ab cd"), (Strings{"a", "c"}));
  EXPECT_EQ(matches(R"(\w(?=\s|$))", "ab cd"), (Strings{"b", "d"}));
}

TEST(RegexTest, PossessiveRunsGiveNothingBack) {
  EXPECT_EQ(matches("a++b", "aab"), (Strings{"aab"}));
  EXPECT_EQ(matches("a++a", "aaa"), (Strings{}));
  EXPECT_EQ(matches("a?+ab", "abaab"), (Strings{"aab"}));
  EXPECT_EQ(matches("(?>a*)b|.", "aac"), (Strings{"a", "a", "c"}));
  EXPECT_EQ(matches(R"(\R)", "\r\n\n\r"), (Strings{"\r\n", "\n", "\r"}));
}

// Braces behind braces are no possessive or lazy forms in this syntax, as they are in others.
TEST(RegexTest, IntervalsAreThoseOfOniguruma) {
  EXPECT_EQ(matches(R"(\d{1,3}+)", "123456"), (Strings{"123456"}));
  EXPECT_EQ(matches(R"(\d{2}?)", "12345"), (Strings{"12", "34"}));
  EXPECT_EQ(matches(R"(\d{3,1})", "12345"), (Strings{"123", "45"}));
  EXPECT_EQ(matches("a{,2}", "aaa"), (Strings{"aa", "a"}));
  EXPECT_EQ(matches("a{2", "a{2"), (Strings{"a{2"}));
}

TEST(RegexTest, LetterCase) {
  EXPECT_EQ(matches("(?i:'s)", "'s 'S '\xC5\xBF"), (Strings{"'s", "'S", "'\xC5\xBF"}));
  EXPECT_EQ(matches("(?i)[^a]", "aAb"), (Strings{"b"}));
  EXPECT_EQ(matches("(?i)stra\xC3\x9F"
                    "e",
                    "STRASSE stra\xC3\x9F"
                    "e"),
            (Strings{"STRASSE",
                     "stra\xC3\x9F"
                     "e"}));
  EXPECT_EQ(matches("a(?i)b|c", "aB C c"), (Strings{"aB"}));
  EXPECT_EQ(matches(R"((?i)\p{Lu}|[\p{Lu}])", "aA"), (Strings{"a", "A"}));
}

TEST(RegexTest, Brackets) {
  EXPECT_EQ(matches("[a-z&&[^aeiou]]+", "abcde"), (Strings{"bcd"}));
  EXPECT_EQ(matches("[]a-]", "]-a"), (Strings{"]", "-", "a"}));
  EXPECT_EQ(matches("[[:alpha:]_]+|[[:^alpha:]&&[^ ]]", "a_1 b"), (Strings{"a_", "1", "b"}));
  EXPECT_EQ(matches(R"([\x41-\x{43}\u00e9]+)", "ABCD\xC3\xA9"), (Strings{"ABC", "\xC3\xA9"}));
}

TEST(RegexTest, Properties) {
  EXPECT_EQ(matches(R"(\p{Lu}\p{Ll}|\p{^L}|\P{L})", "Ab1"), (Strings{"Ab", "1"}));
  EXPECT_EQ(matches(R"(\p{Han}+|\p{Script=Hiragana})", "\xE4\xB8\xAD\xE3\x81\x82"),
            (Strings{"\xE4\xB8\xAD", "\xE3\x81\x82"}));
  // Superscripts are word characters, but not within brackets.
  EXPECT_EQ(matches(R"(\w)", "\xC2\xB2"), (Strings{"\xC2\xB2"}));
  EXPECT_EQ(matches(R"([\w])", "\xC2\xB2"), (Strings{}));
}

TEST(RegexTest, MalformedPatterns) {
  for (std::string_view pattern : {"(", ")", "[", "[]", "*", "a|*", "[z-a]", "(?s:.)", "\\", "\\p{L",
                                   "[[:foo:]]", "(?", "(?<n", "a{100001}", "\xFF", "\\x{110000}", "[\\d-a]"})
    EXPECT_EQ(error_of(pattern), ErrorKind::kCorruptFile) << pattern;
}

TEST(RegexTest, UnsupportedPatterns) {
  for (std::string_view pattern : {"(a)\\1", "(?<=ab)c", "(?=ab)c", "\\G", "\\X", "(?~a)", "\\p{Foo}",
                                   "(?>a|ab)c", "(?:ab)++c", "(((a{99}){99}){99}){99}", "(|a)+", "(a|b*)*"})
    EXPECT_EQ(error_of(pattern), ErrorKind::kUnsupported) << pattern;
  EXPECT_EQ(error_of(std::string(200, '(') + std::string(200, ')')), ErrorKind::kUnsupported);
  EXPECT_EQ(error_of(std::string(1 << 17, 'a')), ErrorKind::kUnsupported);
  // The states must remember where among the last 30 characters an a was: 2^30 of them.
  EXPECT_EQ(error_of("[ab]*a[ab]{30}c"), ErrorKind::kUnsupported);
}

// Attempts that go a long way in vain must not be repeated from each place: these would take minutes.
TEST(RegexTest, LinearTime) {
  const std::string letters(1 << 16, 'a');
  const std::string spaces(1 << 16, ' ');
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(matches("a*b|a", letters).size(), letters.size());
  EXPECT_EQ(matches("[a-z]*1|[a-z]", letters).size(), letters.size());
  EXPECT_EQ(matches("(a|aa)*b|.", letters).size(), letters.size());
  EXPECT_EQ(matches("[a-z]+1", letters).size(), 0u);
  EXPECT_EQ(matches(R"(\s*x|\s)", spaces).size(), spaces.size());
  EXPECT_EQ(matches(kGpt2, spaces).size(), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

// Around the lengths where the matcher changes its way: 16-byte blocks and long attempts.
TEST(RegexTest, RunsOfEveryLength) {
  const Regex words("[a-z]+|[^a-z]");
  const Regex hopeless("[a-z]+1|[a-z]");
  for (size_t length = 1; length < 300; ++length) {
    const std::string run(length, 'q');
    EXPECT_EQ(parts(words, run + " " + run, Regex::kAll), (Strings{run, " ", run}));
    EXPECT_EQ(parts(hopeless, run + "1" + run, Regex::kAll).size(), 1 + length);
  }
}

}  // namespace
}  // namespace headrace
