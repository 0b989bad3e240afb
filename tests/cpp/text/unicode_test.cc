#include "text/unicode.h"

#include <gtest/gtest.h>

#include <vector>

namespace headrace {
namespace {

std::vector<uint32_t> parts_of(char32_t c) {
  std::vector<uint32_t> parts;
  decompose(c, [&](char32_t part) { parts.push_back(part); });
  return parts;
}

TEST(UnicodeTest, FlagsFollowTheReference) {
  EXPECT_TRUE(char_info(0).has(CharInfo::kControl));
  EXPECT_TRUE(char_info(0xFFFD).has(CharInfo::kControl));
  EXPECT_TRUE(char_info(0x200D).has(CharInfo::kControl));  // a zero width joiner is a format character
  EXPECT_FALSE(char_info('\t').has(CharInfo::kControl));
  EXPECT_FALSE(char_info(0x890).has(CharInfo::kControl));   // Cf, but only since Unicode 14
  EXPECT_FALSE(char_info(0x0378).has(CharInfo::kControl));  // unassigned
  EXPECT_TRUE(char_info(0x3000).has(CharInfo::kSpace));
  EXPECT_TRUE(char_info('\v').has(CharInfo::kSpace));
  EXPECT_FALSE(char_info(0x200B).has(CharInfo::kSpace));
  EXPECT_TRUE(char_info('$').has(CharInfo::kPunctuation));  // category S, ASCII
  EXPECT_FALSE(char_info(0x20AC).has(CharInfo::kPunctuation));
  EXPECT_TRUE(char_info(0x3001).has(CharInfo::kPunctuation));
  EXPECT_TRUE(char_info(0x301).has(CharInfo::kNonspacing));
  EXPECT_FALSE(char_info(0x903).has(CharInfo::kNonspacing));  // Mc
  EXPECT_TRUE(char_info(0x4E2D).has(CharInfo::kIdeograph));
  EXPECT_FALSE(char_info(0x3042).has(CharInfo::kIdeograph));  // hiragana
  EXPECT_TRUE(char_info('_').has(CharInfo::kWord));
  EXPECT_TRUE(char_info(0x24B6).has(CharInfo::kWord));  // a circled letter is alphabetic
  EXPECT_FALSE(char_info('-').has(CharInfo::kWord));
}

TEST(UnicodeTest, LowerCaseIsADistance) {
  EXPECT_EQ('A' + char_info('A').lower_distance, 'a');
  EXPECT_EQ(0xC9 + char_info(0xC9).lower_distance, 0xE9);
  EXPECT_EQ(0x1E9E + char_info(0x1E9E).lower_distance, 0xDF);
  EXPECT_EQ(0x212A + char_info(0x212A).lower_distance, 'k');
  EXPECT_EQ(0x16EA0 + char_info(0x16EA0).lower_distance, 0x16EBB);  // Unicode 17
  EXPECT_EQ(char_info('a').lower_distance, 0);
  EXPECT_EQ(char_info(0xDF).lower_distance, 0);
}

TEST(UnicodeTest, DecompositionIsFull) {
  EXPECT_EQ(parts_of('a'), (std::vector<uint32_t>{'a'}));
  EXPECT_EQ(parts_of(0xE9), (std::vector<uint32_t>{'e', 0x301}));
  EXPECT_EQ(parts_of(0x1D6), (std::vector<uint32_t>{'u', 0x308, 0x304}));  // in two steps in the data
  EXPECT_EQ(parts_of(0x212B), (std::vector<uint32_t>{'A', 0x30A}));
  EXPECT_EQ(parts_of(0x2F800), (std::vector<uint32_t>{0x4E3D}));
  EXPECT_EQ(parts_of(0x11938), (std::vector<uint32_t>{0x11938}));
}

TEST(UnicodeTest, HangulDecomposesByArithmetic) {
  EXPECT_EQ(parts_of(0xAC00), (std::vector<uint32_t>{0x1100, 0x1161}));
  EXPECT_EQ(parts_of(0xAC01), (std::vector<uint32_t>{0x1100, 0x1161, 0x11A8}));
  EXPECT_EQ(parts_of(0xD7A3), (std::vector<uint32_t>{0x1112, 0x1175, 0x11C2}));
  EXPECT_EQ(parts_of(0xD7A4), (std::vector<uint32_t>{0xD7A4}));
  EXPECT_EQ(parts_of(0xABFF), (std::vector<uint32_t>{0xABFF}));
}

TEST(UnicodeTest, FlagAndTableOfDecompositionsAgree) {
  for (char32_t c = 0; c < 0x110000; ++c)
    ASSERT_EQ(char_info(c).has(CharInfo::kDecomposes), !canonical_decomposition(c).empty())
        << static_cast<uint32_t>(c);
}

}  // namespace
}  // namespace headrace
