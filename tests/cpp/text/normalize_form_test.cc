#include "text/normalize_form.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "text/test_stages.h"

namespace headrace {
namespace {

using Origins = std::vector<int32_t>;

constexpr char kNfc[] = R"({"type":"NFC"})";
constexpr char kNfd[] = R"({"type":"NFD"})";
constexpr char kNfkc[] = R"({"type":"NFKC"})";
constexpr char kNfkd[] = R"({"type":"NFKD"})";

TEST(NormalizeFormTest, ComposesAndDecomposes) {
  EXPECT_EQ(normalized(kNfc, "e\xCC\x81!").text, "\xC3\xA9!");
  EXPECT_EQ(normalized(kNfc, "e\xCC\x81!").origins, (Origins{0, 2}));
  EXPECT_EQ(normalized(kNfd, "x\xC3\xA9!").text, "xe\xCC\x81!");
  EXPECT_EQ(normalized(kNfd, "x\xC3\xA9!").origins, (Origins{0, 1, 1, 2}));
  EXPECT_EQ(normalized(kNfkc, "\xEF\xAC\x81n").text, "fin");  // U+FB01, the ligature fi
  EXPECT_EQ(normalized(kNfkc, "\xEF\xAC\x81n").origins, (Origins{0, 0, 1}));
  EXPECT_EQ(normalized(kNfkd, "\xC2\xBD").text, "1\xE2\x81\x84\x32");  // one half: 1, U+2044, 2
}

// UAX 15, figure 5: U+1E9B U+0323.
TEST(NormalizeFormTest, LongSWithTwoDots) {
  const char text[] = "\xE1\xBA\x9B\xCC\xA3";
  EXPECT_EQ(normalized(kNfc, text).text, "\xE1\xBA\x9B\xCC\xA3");
  EXPECT_EQ(normalized(kNfd, text).text, "\xC5\xBF\xCC\xA3\xCC\x87");
  EXPECT_EQ(normalized(kNfkc, text).text, "\xE1\xB9\xA9");
  EXPECT_EQ(normalized(kNfkd, text).text, "s\xCC\xA3\xCC\x87");
  EXPECT_EQ(normalized(kNfkc, text).origins, (Origins{0}));
}

TEST(NormalizeFormTest, HangulIsArithmetic) {
  EXPECT_EQ(normalized(kNfd, "\xEA\xB0\x81").text, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");
  EXPECT_EQ(normalized(kNfc, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8z").text, "\xEA\xB0\x81z");
  EXPECT_EQ(normalized(kNfc, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8z").origins, (Origins{0, 3}));
  // U+11A7 is no final consonant.
  EXPECT_EQ(normalized(kNfc, "\xEA\xB0\x80\xE1\x86\xA7").text, "\xEA\xB0\x80\xE1\x86\xA7");
}

TEST(NormalizeFormTest, BlockedMarksDoNotCompose) {
  // a, U+0305 (class 230), U+0301 (230): the second is blocked.
  EXPECT_EQ(normalized(kNfc, "a\xCC\x85\xCC\x81").text, "a\xCC\x85\xCC\x81");
  // a, U+0323 (220), U+0302 (230) makes U+1EAD in two steps, in any order.
  EXPECT_EQ(normalized(kNfc, "a\xCC\x82\xCC\xA3").text, "\xE1\xBA\xAD");
}

TEST(NormalizeFormTest, SecondTimeChangesNothing) {
  for (const char* form : {kNfc, kNfd, kNfkc, kNfkd}) {
    for (char32_t c = 0; c < 0x30000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string text = "a";
      utf8_append(c, text);
      text += "\xCC\xA3";
      const std::string once = normalized(form, text).text;
      ASSERT_EQ(normalized(form, once).text, once) << form << " U+" << std::hex << static_cast<uint32_t>(c);
    }
  }
}

TEST(NormalizeFormTest, WhatIsNormalizedIsNotCopied) {
  const std::string text = "plain text, \xC3\xA9t\xC3\xA9, \xE4\xB8\xAD\xE6\x96\x87, \xED\x95\x9C";
  AlignedText aligned;
  aligned.assign(text, true, 0);
  FormNormalizer(Form::kNfc).apply(aligned);
  EXPECT_EQ(aligned.bytes().data(), text.data());
}

TEST(NormalizeFormTest, AMillionMarksAreSortedInTime) {
  std::string text = "a";
  for (int i = 0; i < 250000; ++i) text += "\xCC\x81\xCC\xA3";
  EXPECT_EQ(normalized(kNfd, text).text.size(), text.size());
}

}  // namespace
}  // namespace headrace
