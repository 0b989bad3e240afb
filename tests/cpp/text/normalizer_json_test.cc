#include "text/normalizer_json.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/test_stages.h"

namespace headrace {
namespace {

using Origins = std::vector<int32_t>;

std::string replace(const char* from, const char* to) {
  return std::string(R"({"type":"Replace","pattern":{"String":")") + from + R"("},"content":")" + to + "\"}";
}

ErrorKind refusal(std::string_view json) {
  try {
    normalized(json, "x");
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::kInternal;
}

TEST(NormalizerJsonTest, SpacesBecomeUnderlines) {
  const std::string text = " a  b and a longer one, over several blocks of the loop ";
  const auto out = normalized(replace(" ", "\\u2581"), text);
  std::string expected;
  for (const char c : text) expected += c == ' ' ? std::string("\xE2\x96\x81") : std::string(1, c);
  EXPECT_EQ(out.text, expected);
  for (size_t i = 0; i < text.size(); ++i) EXPECT_EQ(out.origins[i], static_cast<int32_t>(i));
  EXPECT_TRUE(out.begins_original);
}

TEST(NormalizerJsonTest, ReplacementsStemFromTheLastCharacterOfTheMatch) {
  EXPECT_EQ(normalized(replace("ab", "xyz"), "cab").origins, (Origins{0, 2, 2, 2}));
  EXPECT_EQ(normalized(replace("ab", ""), "cabd").text, "cd");
  EXPECT_EQ(normalized(replace("a", ""), "aab").origins, (Origins{2}));
  EXPECT_FALSE(normalized(replace("a", ""), "aab").begins_original);
  EXPECT_EQ(normalized(replace("\\u4e2d", "x"), "\xE4\xB8\xADy").origins, (Origins{0, 1}));
}

TEST(NormalizerJsonTest, AnEmptyStringIsEverywhere) {
  const auto out = normalized(replace("", "-"), "ab");
  EXPECT_EQ(out.text, "-a-b-");
  EXPECT_EQ(out.origins, (Origins{AlignedText::kNoOrigin, 0, 0, 1, 1}));
  EXPECT_EQ(normalized(replace("", "-"), "").text, "");
}

TEST(NormalizerJsonTest, PrependsToWhatIsNotEmpty) {
  const char prepend[] = R"({"type":"Prepend","prepend":"ab"})";
  EXPECT_EQ(normalized(prepend, "").text, "");
  EXPECT_EQ(normalized(prepend, "\xC3\xA9x").text, "ab\xC3\xA9x");
  EXPECT_EQ(normalized(prepend, "\xC3\xA9x").origins, (Origins{0, 0, 0, 1}));
  EXPECT_EQ(normalized(R"({"type":"Prepend","prepend":""})", "xy").origins,
            (Origins{AlignedText::kNoOrigin, 1}));
}

TEST(NormalizerJsonTest, CharactersOneByOne) {
  EXPECT_EQ(normalized(R"({"type":"Lowercase"})", "AbC \xC3\x89\xC4\xB0\xCE\xA3 ABCDEFGHIJKLMNOPQRST").text,
            "abc \xC3\xA9i\xCC\x87\xCF\x83 abcdefghijklmnopqrst");
  EXPECT_EQ(normalized(R"({"type":"Lowercase"})", "\xC4\xB0x").origins, (Origins{0, 0, 1}));
  EXPECT_EQ(normalized(R"({"type":"StripAccents"})", "e\xCC\x81\xC3\xA9").text, "e\xC3\xA9");
  EXPECT_EQ(normalized(R"({"type":"Nmt"})", "a\x01\tb\xE2\x80\x8B\x7F\xC2\x8F\xEF\xBB\xBF").text, "a b  ");
  EXPECT_EQ(normalized(R"({"type":"ByteLevel"})", "a \xC3\xA9").text, "a\xC4\xA0\xC3\x83\xC2\xA9");
  EXPECT_EQ(normalized(R"({"type":"ByteLevel"})", "a \xC3\xA9").origins, (Origins{0, 1, 2, 2}));
}

TEST(NormalizerJsonTest, StripsEitherEnd) {
  const auto strip = [](bool left, bool right) {
    return std::string(R"({"type":"Strip","strip_left":)") + (left ? "true" : "false") +
           R"(,"strip_right":)" + (right ? "true" : "false") + "}";
  };
  const char text[] = " \t\xE3\x80\x80x y\xC2\xA0\n";
  EXPECT_EQ(normalized(strip(true, true), text).text, "x y");
  EXPECT_EQ(normalized(strip(true, true), text).origins, (Origins{3, 4, 5}));
  EXPECT_EQ(normalized(strip(true, false), text).text, "x y\xC2\xA0\n");
  EXPECT_EQ(normalized(strip(false, true), text).text, " \t\xE3\x80\x80x y");
  EXPECT_EQ(normalized(strip(true, true), "  ").text, "");
  EXPECT_FALSE(normalized(strip(true, true), text).begins_original);
}

TEST(NormalizerJsonTest, BertAgreesOnOrigins) {
  const char bert[] = R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,
                          "strip_accents":null,"lowercase":true})";
  const auto out = normalized(bert, std::string("\0\xC3\x89\xE4\xB8\xAD!", 7));
  EXPECT_EQ(out.text, "e \xE4\xB8\xAD !");
  EXPECT_EQ(out.origins, (Origins{1, 2, 2, 2, 3}));
  EXPECT_FALSE(out.begins_original);
}

TEST(NormalizerJsonTest, SequencesRunInOrder) {
  const std::string llama = R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\u2581"},)" +
                            replace(" ", "\\u2581") + "]}";
  const auto out = normalized(llama, "a b");
  EXPECT_EQ(out.text,
            "\xE2\x96\x81"
            "a\xE2\x96\x81"
            "b");
  EXPECT_EQ(out.origins, (Origins{0, 0, 1, 2}));
  EXPECT_EQ(normalized(R"({"type":"Sequence","normalizers":[]})", "a").text, "a");
  // What is left of a first character that decomposes is still the beginning.
  EXPECT_TRUE(
      normalized(R"({"type":"Sequence","normalizers":[{"type":"NFKD"},{"type":"Strip","strip_left":true,
                            "strip_right":false}]})",
                 "\xC2\xA8x")
          .begins_original);
}

TEST(NormalizerJsonTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(read_normalizer(std::nullopt), nullptr);
  EXPECT_EQ(refusal(R"({"type":"Nonsense"})"), ErrorKind::kUnsupported);
  EXPECT_EQ(refusal(R"({"type":"Replace","pattern":{},"content":""})"), ErrorKind::kCorruptFile);
  EXPECT_EQ(refusal(R"({"type":"Precompiled","precompiled_charsmap":"!"})"), ErrorKind::kCorruptFile);
  EXPECT_EQ(refusal(R"({"type":"Precompiled","precompiled_charsmap":""})"), ErrorKind::kCorruptFile);
  EXPECT_EQ(refusal(R"({"type":"Precompiled","precompiled_charsmap":"/////w=="})"), ErrorKind::kCorruptFile);
}

}  // namespace
}  // namespace headrace
