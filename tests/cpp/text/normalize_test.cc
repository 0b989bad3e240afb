#include "text/normalize.h"

#include <gtest/gtest.h>

#include <string>

namespace headrace {
namespace {

using Origins = std::vector<int32_t>;

constexpr BertNormalizer::Config kUncased = {true, true, true, true};

NormalizedText normalize(const BertNormalizer::Config& config, std::string_view text) {
  NormalizedText out;
  BertNormalizer(config).append(text, true, 0, out);
  EXPECT_EQ(out.text.size(), out.origins.size());
  NormalizedText without;
  BertNormalizer(config).append(text, false, 0, without);
  EXPECT_EQ(out.text, without.text);
  EXPECT_TRUE(without.origins.empty());
  return out;
}

TEST(NormalizeTest, NothingIsChangedByDefault) {
  const std::string text("A\t\0\xC3\xA9 \xE4\xB8\xAD", 9);
  const auto out = normalize({}, text);
  EXPECT_EQ(out.text, text);
  EXPECT_EQ(out.origins, (Origins{0, 1, 2, 3, 3, 4, 5, 5, 5}));
}

TEST(NormalizeTest, LowersAndStripsAccents) {
  const auto out = normalize(kUncased, "H\xC3\x89llo");
  EXPECT_EQ(out.text, "hello");
  EXPECT_EQ(out.origins, (Origins{0, 1, 2, 3, 4}));
}

TEST(NormalizeTest, DropsControlsAndUnifiesSpaces) {
  const auto out = normalize(kUncased, std::string("a\0\tb\r\x7F\v\xC2\xA0\xEF\xBF\xBD\xE2\x80\x8D!", 16));
  EXPECT_EQ(out.text, "a b  !");
  EXPECT_EQ(out.origins, (Origins{0, 2, 3, 4, 7, 10}));
}

TEST(NormalizeTest, SpacesAroundIdeographsShareTheirOrigin) {
  const auto out = normalize(kUncased, "a\xE4\xB8\xAD\xE3\x81\x82");
  EXPECT_EQ(out.text, "a \xE4\xB8\xAD \xE3\x81\x82");
  EXPECT_EQ(out.origins, (Origins{0, 1, 1, 1, 1, 1, 2, 2, 2}));
}

TEST(NormalizeTest, OneCapitalHasTwoSmallLetters) {
  BertNormalizer::Config config;
  config.lowercase = true;
  const auto out = normalize(config, "\xC4\xB0x");
  EXPECT_EQ(out.text, "i\xCC\x87x");
  EXPECT_EQ(out.origins, (Origins{0, 0, 0, 1}));
}

TEST(NormalizeTest, HangulFallsIntoLetters) {
  const auto out = normalize(kUncased, "\xEA\xB0\x81");
  EXPECT_EQ(out.text, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");
  EXPECT_EQ(out.origins, Origins(9, 0));
}

// U+302E and U+1D165 are combining marks that are not non-spacing (classes 224 and 216), so they stay,
// sorted.
TEST(NormalizeTest, MarksThatStayAreSorted) {
  BertNormalizer::Config config;
  config.strip_accents = true;
  const auto out = normalize(config, "a\xE3\x80\xAE\xF0\x9D\x85\xA5");
  EXPECT_EQ(out.text, "a\xF0\x9D\x85\xA5\xE3\x80\xAE");
  EXPECT_EQ(out.origins, (Origins{0, 1, 1, 1, 1, 2, 2, 2}));  // paired by counting, as in the reference
}

TEST(NormalizeTest, DroppedControlsDoNotPartMarks) {
  BertNormalizer::Config config;
  config.clean_text = true;
  config.strip_accents = true;
  const std::string text = std::string("a\xE3\x80\xAE") + '\0' + "\xF0\x9D\x85\xA5";
  EXPECT_EQ(normalize(config, text).text, "a\xF0\x9D\x85\xA5\xE3\x80\xAE");
}

TEST(NormalizeTest, AMillionMarksAreSortedInTime) {
  std::string text = "a";
  for (int i = 0; i < 250000; ++i) text += "\xE3\x80\xAE\xF0\x9D\x85\xA5";
  EXPECT_EQ(normalize(kUncased, text).text.size(), text.size());
}

TEST(NormalizeTest, CountsCharactersAndAppends) {
  const BertNormalizer normalizer(kUncased);
  NormalizedText out;
  EXPECT_EQ(normalizer.append("x\xC3\xA9", true, 10, out), 2);
  EXPECT_EQ(normalizer.append("y", true, 12, out), 1);
  EXPECT_EQ(out.text, "xey");
  EXPECT_EQ(out.origins, (Origins{10, 11, 12}));
}

TEST(NormalizeTest, AsciiClassesDependOnCleaning) {
  using Ascii = BertNormalizer::Ascii;
  const auto cleaned = BertNormalizer(kUncased).ascii_class();
  EXPECT_EQ(cleaned['\v'], Ascii::kDropped);
  EXPECT_EQ(cleaned['\n'], Ascii::kSpace);
  EXPECT_EQ(cleaned[0x7F], Ascii::kDropped);
  EXPECT_EQ(cleaned['$'], Ascii::kPunctuation);
  EXPECT_EQ(cleaned['7'], Ascii::kWord);
  EXPECT_EQ(cleaned[0x80], Ascii::kNotAscii);
  const auto raw = BertNormalizer({}).ascii_class();
  EXPECT_EQ(raw['\v'], Ascii::kSpace);
  EXPECT_EQ(raw[1], Ascii::kWord);
}

}  // namespace
}  // namespace headrace
