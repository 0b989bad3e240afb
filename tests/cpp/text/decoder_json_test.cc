#include "text/decoder_json.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/decode_steps.h"
#include "text/test_stages.h"

namespace headrace {
namespace {

TEST(DecoderJsonTest, BytesAreJoinedBeforeTheyAreRead) {
  const char json[] = R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  EXPECT_EQ(decoded(json, {"\xC4\xA0", "\xC3\xA4", "\xC2\xB8", "\xC5\x83"}), " \xE4\xB8\xAD");
  EXPECT_EQ(decoded(json, {"\xC3\xA4", "a"}),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(decoded(json, {"\xE4\xB8\xAD", "a b"}),
            "\xE4\xB8\xAD"
            "a b");  // spell no bytes
  EXPECT_EQ(decoded(json, {}), "");
}

TEST(DecoderJsonTest, BrokenBytesAreRepairedByTheirLongestParts) {
  const auto repaired = [](std::string_view bytes) {
    std::string text = utf8_repaired(bytes);
    for (size_t at; (at = text.find("\xEF\xBF\xBD")) != std::string::npos;) text.replace(at, 3, "?");
    return text;
  };
  EXPECT_EQ(repaired("abc"), "abc");
  EXPECT_EQ(repaired("\xE4\xB8"), "?");
  EXPECT_EQ(repaired("\xF0\x9F\x98"
                     "a"),
            "?a");
  EXPECT_EQ(repaired("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
  EXPECT_EQ(repaired("\xC0\x80\xFF"), "???");
  EXPECT_EQ(repaired("\xED\xA0\x80"), "???");       // a surrogate
  EXPECT_EQ(repaired("\xE0\x80\x80"), "???");       // overlong
  EXPECT_EQ(repaired("\xF4\x90\x80\x80"), "????");  // above U+10FFFF
  EXPECT_EQ(repaired("\xE4\xE4\xB8\xAD\xB8"), "?\xE4\xB8\xAD?");
}

TEST(DecoderJsonTest, FallbackBytesAreJudgedByRows) {
  const char json[] = R"({"type":"ByteFallback"})";
  EXPECT_EQ(decoded(json, {"<0xE4>", "<0xB8>", "<0xaD>", "x"}), "\xE4\xB8\xADx");
  EXPECT_EQ(decoded(json, {"<0x41>", "<0xFF>", "x"}), "\xEF\xBF\xBD\xEF\xBF\xBDx");
  EXPECT_EQ(decoded(json, {"<0x4>", "<0xGG>", "<0x041>"}), "<0x4><0xGG><0x041>");
}

TEST(DecoderJsonTest, WordsAndSpaces) {
  EXPECT_EQ(decoded(R"({"type":"WordPiece","prefix":"##","cleanup":true})", {"un", "##able", ",", "do not"}),
            "unable, don't");
  const std::string hi = "\xE2\x96\x81Hi";
  EXPECT_EQ(decoded(R"({"type":"Metaspace","replacement":"\u2581"})", {hi, hi}), "Hi Hi");
  EXPECT_EQ(decoded(R"({"type":"Metaspace","replacement":"\u2581","prepend_scheme":"never"})", {hi, hi}),
            " Hi Hi");
  EXPECT_EQ(decoded(R"({"type":"BPEDecoder","suffix":"</w>"})", {"a", "b</w>", "c</w>"}), "ab c");
  EXPECT_EQ(decoded(R"({"type":"Strip","content":"\u2581","start":1,"stop":2})",
                    {hi, "\xE2\x96\x81", "", hi + "\xE2\x96\x81\xE2\x96\x81\xE2\x96\x81"}),
            "HiHi\xE2\x96\x81");
  EXPECT_EQ(decoded(R"({"type":"Replace","pattern":{"String":"ab"},"content":"-"})", {"abcab", "a", "b"}),
            "-c-ab");
}

TEST(DecoderJsonTest, RepeatedTokensCountOnce) {
  const char json[] = R"({"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true})";
  EXPECT_EQ(decoded(json, {"<pad>", "h", "h", "<pad>", "h", "|", "|", "i", "<pad>"}), "hh i");
}

TEST(DecoderJsonTest, SequencesRunInOrder) {
  const char llama[] = R"({"type":"Sequence","decoders":[
      {"type":"Replace","pattern":{"String":"\u2581"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},
      {"type":"Strip","content":" ","start":1,"stop":0}]})";
  EXPECT_EQ(decoded(llama, {"\xE2\x96\x81",
                            "\xE2\x96\x81"
                            "a",
                            "<0x0A>"}),
            " a\n");
  EXPECT_EQ(decoded(llama, {}), "");
}

TEST(DecoderJsonTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(read_decoder(std::nullopt), nullptr);
  const auto refusal = [](const char* json) {
    try {
      decoded(json, {});
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kInternal;
  };
  EXPECT_EQ(refusal(R"({"type":"Nonsense"})"), ErrorKind::kUnsupported);
  EXPECT_EQ(refusal(R"({"type":"Strip","content":"ab","start":1,"stop":0})"), ErrorKind::kCorruptFile);
  EXPECT_EQ(refusal(R"({"type":"Metaspace","replacement":"_","add_prefix_space":false})"),
            ErrorKind::kCorruptFile);
  EXPECT_EQ(refusal(R"({"type":"Metaspace","replacement":"_","prepend_scheme":"often"})"),
            ErrorKind::kCorruptFile);
}

TEST(DecoderJsonTest, ReplaceAllKnowsTheEmptyString) {
  EXPECT_EQ(replace_all("a\xC3\xA9", "", "-"), "-a-\xC3\xA9-");
  EXPECT_EQ(replace_all("aaa", "aa", "b"), "ba");
  EXPECT_EQ(replace_all("", "", "-"), "-");
}

}  // namespace
}  // namespace headrace
