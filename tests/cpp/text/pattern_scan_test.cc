// The known patterns against the automaton, which is made of the same pattern in brackets.
#include "text/pattern_scan.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "text/regex.h"

namespace headrace {
namespace {

constexpr const char* kPatterns[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// What the patterns treat differently, one of each; plain ASCII first.
const std::vector<std::string> kAtoms = {"a",      "b",      "s",      "t",          "r",
                                         "e",      "v",      "l",      "m",          "d",
                                         "S",      "T",      "R",      "E",          "L",
                                         "A",      "Z",      "'",      "'",          "'s",
                                         "'re",    "'LL",    "'t",     " ",          " ",
                                         "  ",     "\n",     "\r",     "\t",         "\n\n",
                                         "/",      "!",      ".",      "(",          "1",
                                         "23",     "456",    "The",    "word",       "   ",
                                         "\u00e9", "\u00c9", "\u017f", "\u4e2d",     "\u6587",
                                         "\u0301", "\u0e31", "\u0e01", "\u00a0",     "\u3000",
                                         "\u2028", "\u0085", "\u0660", "\u00b2",     "\u2160",
                                         "\u201c", "\u01c5", "\u02b0", "\u0905",     "\u093e",
                                         "\x0b",   "\x1c",   "\u200d", "\U0001F600", std::string(1, '\0')};
constexpr size_t kAsciiAtoms = 40;

std::string random_text(std::mt19937_64& random) {
  const size_t kinds[] = {kAtoms.size(), kAsciiAtoms, 17, 8};
  const size_t kind = random() % 4;
  std::string text;
  for (size_t left = random() % 60; left > 0; --left) {
    const bool is_rare = random() % 4 == 0;
    // The last kind is white space and line ends above all.
    const size_t first = kind == 3 && !is_rare ? 23 : 0;
    text += kAtoms[first + random() % (is_rare ? kinds[kind / 2] : kinds[kind])];
  }
  return text;
}

TEST(PatternScanTest, KnowsThePatterns) {
  EXPECT_EQ(known_pattern(kPatterns[0]), KnownPattern::kGpt2);
  EXPECT_EQ(known_pattern(kPatterns[1]), KnownPattern::kCl100k);
  EXPECT_EQ(known_pattern(kPatterns[2]), KnownPattern::kQwen2);
  EXPECT_EQ(known_pattern(kPatterns[3]), KnownPattern::kO200k);
  EXPECT_EQ(known_pattern("\\s+"), KnownPattern::kNone);
}

TEST(PatternScanTest, MatchesAreTheAutomatons) {
  std::mt19937_64 random(7);
  for (const char* pattern : kPatterns) {
    const Regex scanned(pattern);
    const Regex automaton(std::string("(?:") + pattern + ")");
    for (int i = 0; i < 20'000; ++i) {
      const std::string before(random() % 3, 'x'), behind(random() % 2 * 70, 'q');
      const std::string inner = random_text(random);
      const std::string text = before + inner + behind;
      const Piece piece{static_cast<uint32_t>(before.size()),
                        static_cast<uint32_t>(before.size() + inner.size())};
      std::vector<Piece> found, expected;
      scanned.append_pieces(text, piece, Regex::kAll, found);
      automaton.append_pieces(text, piece, Regex::kAll, expected);
      ASSERT_EQ(found, expected) << pattern << "\n" << testing::PrintToString(inner);
    }
  }
}

// Matches longer than a window, and ends at each place within one.
TEST(PatternScanTest, RunsOfEveryLength) {
  for (const char* pattern : kPatterns) {
    const Regex scanned(pattern);
    const Regex automaton(std::string("(?:") + pattern + ")");
    for (const char* unit : {"a", "A", " ", "\n", "1", "!", "\u4e2d", "\u0301", "\u3000", "'"}) {
      std::string run;
      for (int length = 1; length < 150; ++length) {
        run += unit;
        for (const std::string& text : {run, "it's " + run, run + " a", run + "\nB", "x" + run + "'ll"}) {
          std::vector<Piece> found, expected;
          const Piece piece{0, static_cast<uint32_t>(text.size())};
          scanned.append_pieces(text, piece, Regex::kMatches, found);
          automaton.append_pieces(text, piece, Regex::kMatches, expected);
          ASSERT_EQ(found, expected) << pattern << "\n" << testing::PrintToString(text);
        }
      }
    }
  }
}

}  // namespace
}  // namespace headrace
