// The known patterns against the automaton, which is made of the same pattern in brackets.
#include "text/pattern_scan.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "text/pre_tokenize_pattern.h"
#include "text/regex.h"

namespace headrace {
namespace {

constexpr const char* kPatterns[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

const std::string kJoint[] = {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                              R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|)"
                              "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
                              "\\s*[\r\n]+|\\s+(?!\\S)|\\s+"};

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
                                         "\x0b",   "\x1c",   "\u200d", "\U0001F600", std::string(1, '\0'),
                                         "\x7f",   "\u3042", "\u30fb", "\u3099",     "\u3040",
                                         "\u9fa6", "\u200c", "+",      "\U000E0001", "\u20ac"};
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

std::vector<Piece> split_by(const PreTokenizer& step, const std::string& text, std::vector<Piece> pieces) {
  AlignedText aligned;
  aligned.assign(text, false, 0);
  step.split(aligned, pieces);
  return pieces;
}

std::vector<Piece> split_by_automata(const std::string& text, const std::vector<Piece>& pieces) {
  static const PatternSplitter steps[] = {{Regex("(?:" + kJoint[0] + ")"), SplitBehavior::kIsolated, false},
                                          {Regex("(?:" + kJoint[1] + ")"), SplitBehavior::kIsolated, false},
                                          {Regex("(?:" + kJoint[2] + ")"), SplitBehavior::kIsolated, false}};
  std::vector<Piece> split = pieces;
  for (const PatternSplitter& step : steps) split = split_by(step, text, std::move(split));
  return split;
}

TEST(PatternScanTest, JointPatternsSplitAsOneAfterTheOther) {
  ASSERT_EQ(joint_pattern(kJoint[0], kJoint[1], kJoint[2]), KnownPattern::kDeepSeek);
  EXPECT_EQ(joint_pattern(kJoint[1], kJoint[0], kJoint[2]), KnownPattern::kNone);
  const JointSplitter joint(KnownPattern::kDeepSeek, {Regex(kJoint[0]), Regex(kJoint[1]), Regex(kJoint[2])});
  std::mt19937_64 random(17);
  for (int i = 0; i < 60'000; ++i) {
    const std::string before(random() % 3, 'x'), behind(random() % 2 * 70, 'q');
    const std::string inner = random_text(random);
    if (inner.empty()) continue;
    const std::string text = before + inner + behind;
    const std::vector<Piece> whole = {
        {static_cast<uint32_t>(before.size()), static_cast<uint32_t>(before.size() + inner.size())}};
    ASSERT_EQ(split_by(joint, text, whole), split_by_automata(text, whole)) << testing::PrintToString(inner);
  }
  for (const char* unit :
       {"a", "A", " ", "\n", "1", "!", "\u4e2d", "\u0301", "\u3000", "'", "\x01", "\u30fb"}) {
    std::string run;
    for (int length = 1; length < 150; ++length) {
      run += unit;
      for (const std::string& text : {run, "it's " + run, run + " a", run + "\nB", "." + run + "\u00e9",
                                      "\u4e2d" + run, run + "\u3042x", "\x02" + run}) {
        const std::vector<Piece> whole = {{0, static_cast<uint32_t>(text.size())}};
        ASSERT_EQ(split_by(joint, text, whole), split_by_automata(text, whole))
            << testing::PrintToString(text);
      }
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
        for (const std::string& text : {run, "it's " + run, run + " a", run + "\nB", "x" + run + "'ll",
                                        run + "\u4e2dA", run + "aB", " " + run + "\u00e9", run + "\u0301"}) {
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
