#include "base/utf8.h"

#include <gtest/gtest.h>

namespace headrace {
namespace {

TEST(Utf8Test, EveryScalarValueSurvivesTheRoundTrip) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    utf8_append(c, text);
    const size_t length = utf8_sequence_length(text, 0);
    ASSERT_EQ(length, text.size());
    ASSERT_EQ(static_cast<uint32_t>(utf8_decode(text.data(), length)), static_cast<uint32_t>(c));
    ASSERT_EQ(utf8_first_invalid(text), text.size());
  }
}

// All strings of one to three bytes, and all four-byte starts with the continuations that matter.
TEST(Utf8Test, AcceptsExactlyTheWellFormedSequences) {
  size_t accepted[5] = {};
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b)
      for (const int c : {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF})
        for (const int d : {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF}) {
          const std::string text = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c),
                                    static_cast<char>(d)};
          const size_t length = utf8_sequence_length(text, 0);
          ASSERT_LE(length, 4u);
          ++accepted[length];
        }
  EXPECT_EQ(accepted[1], 128u * 256 * 36);
  EXPECT_EQ(accepted[2], 30u * 64 * 36);
  EXPECT_EQ(accepted[3],
            (32u + 14 * 64 + 32) * 2 * 6);  // after E0 and ED half of the second bytes are allowed
  EXPECT_EQ(accepted[4], (48u + 3 * 64 + 16) * 2 * 2);  // after F0 three quarters, after F4 one quarter
}

TEST(Utf8Test, CutOffSequencesAreIllFormed) {
  const std::string text = "\xF0\x9F\x98\x80";
  for (size_t size = 1; size < 4; ++size) EXPECT_EQ(utf8_sequence_length(text.substr(0, size), 0), 0u);
}

TEST(Utf8Test, NamesTheFirstBadByte) {
  EXPECT_EQ(utf8_first_invalid(""), 0u);
  for (size_t at = 0; at < 40; ++at) {
    std::string text(40, 'x');
    text[at] = '\xFF';
    EXPECT_EQ(utf8_first_invalid(text), at);
  }
  EXPECT_EQ(utf8_first_invalid("ab\xC3"), 2u);
  EXPECT_EQ(utf8_first_invalid("\xC3\xA9\xED\xA0\x80"), 2u);
}

}  // namespace
}  // namespace headrace
