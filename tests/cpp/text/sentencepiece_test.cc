// SentencePiece's own normalizer and decoder; its models are in sources_test.cc and in the parity tests.
#include <gtest/gtest.h>

#include "base/error.h"
#include "test_model.h"
#include "text/spelled_spans.h"
#include "text/test_stages.h"

namespace headrace {
namespace {

using Origins = std::vector<int32_t>;

const std::string kSpace = "\xE2\x96\x81";

std::string normalizer(bool prefix, bool removes, bool escapes = true, bool suffix = false) {
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  return concat(R"({"type":"SentencePiece","add_dummy_prefix":)", flag(prefix),
                R"(,"remove_extra_whitespaces":)", flag(removes), R"(,"escape_whitespaces":)", flag(escapes),
                R"(,"treat_whitespace_as_suffix":)", flag(suffix),
                R"(,"user_defined_symbols":["<x>","a b"],"precompiled_charsmap":""})");
}

TEST(SentencePieceNormalizerTest, SpacesAtTheEndsAndTwoInARowGo) {
  const auto out = normalized(normalizer(true, true), "  c  \xC3\xA9 ");
  EXPECT_EQ(out.text, kSpace + "c" + kSpace + "\xC3\xA9");
  EXPECT_EQ(out.origins, (Origins{2, 2, 3, 5}));
  EXPECT_EQ(normalized(normalizer(false, true), " c  d ").text, "c" + kSpace + "d");
  EXPECT_EQ(normalized(normalizer(true, true), "   ").text, "");
  EXPECT_EQ(normalized(normalizer(true, true), "").text, "");
  // A space of the text's own spelling goes with them.
  EXPECT_EQ(normalized(normalizer(true, true), "c" + kSpace + " " + kSpace).text, kSpace + "c");
  EXPECT_EQ(normalized(normalizer(true, true), kSpace).text, "");
}

TEST(SentencePieceNormalizerTest, WithoutThatAllOfThemStay) {
  EXPECT_EQ(normalized(normalizer(true, false), " c  ").text, kSpace + kSpace + "c" + kSpace + kSpace);
  EXPECT_EQ(normalized(normalizer(false, false), " ").text, kSpace);
  EXPECT_EQ(normalized(normalizer(true, false, false), "c d").text, " c d");
  const auto behind = normalized(normalizer(true, true, true, true), "c d");
  EXPECT_EQ(behind.text, "c" + kSpace + "d" + kSpace);
  EXPECT_EQ(behind.origins, (Origins{0, 1, 2, 2}));
}

TEST(SentencePieceNormalizerTest, UserDefinedSymbolsBearTheirSpaces) {
  EXPECT_EQ(normalized(normalizer(false, true), "a b  a  b<x>").text,
            "a" + kSpace + "b" + kSpace + "a" + kSpace + "b<x>");
}

TEST(SentencePieceDecoderTest, SpacesBytesAndTheUnknown) {
  const auto decoder = [](const char* removes) {
    return concat(R"({"type":"SentencePiece","unk_token":"<unk>","unk_surface":"?","byte_fallback":true,)"
                  R"("add_dummy_prefix":true,"remove_extra_whitespaces":)",
                  removes, "}");
  };
  EXPECT_EQ(decoded(decoder("false"), {kSpace, kSpace + "a", "b" + kSpace + "c", "<unk>"}), " ab c?");
  EXPECT_EQ(decoded(decoder("true"), {kSpace, kSpace + "a", kSpace + "b"}), "a b");
  EXPECT_EQ(decoded(decoder("true"), {"<0xE4>", "<0xB8>", "<0xAD>", "<0xB8>", kSpace + "a", "<0xE4>"}),
            "\xE4\xB8\xAD\xEF\xBF\xBD a\xEF\xBF\xBD");
  EXPECT_EQ(decoded(decoder("true"), {}), "");
}

TEST(SentencePieceJsonTest, WhatContradictsItselfIsRefused) {
  const auto kind = [](const char* vocab, const char* settings) {
    return error_of(
               [&] { TestModel(concat(R"({"type":"SentencePiece","vocab":[)", vocab, "],", settings, "}")); })
        .kind();
  };
  constexpr char kBpe[] = R"("algorithm":"bpe","byte_fallback":false)";
  EXPECT_EQ(kind(R"(["a",-1,1])", kBpe), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2],["b",-1,2])", kBpe), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2],["a",-1,1])", kBpe), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2],["",-1,1])", kBpe), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2],["b",-1])", kBpe), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2],["b",-1,7])", kBpe), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2],["b",1e300,1])", kBpe), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2])", R"("algorithm":"bpe","byte_fallback":true)"), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(R"(["a",-1,2])", R"("algorithm":"word","byte_fallback":false)"), ErrorKind::kCorruptFile);
}

TEST(SpelledSpansTest, WhatStandsBehindAVanishedByteIsPlacedTooEarly) {
  std::array<int32_t, 256> ids;
  ids.fill(0);
  std::vector<Piece> spans = {{0, 1}, {1, 3}};
  place_as_spelled("abc", ids, spans);
  EXPECT_EQ(spans, (std::vector<Piece>{{0, 1}, {1, 3}}));
  // A spelling of two bytes vanishes from the front of two of one byte.
  ids[0x01] = -1;
  spans = {{0, 1}, {1, 3}};
  place_as_spelled(
      "\x01"
      "abc",
      ids, spans);
  EXPECT_EQ(spans, (std::vector<Piece>{{0, 1}, {0, 2}}));
}

}  // namespace
}  // namespace headrace
