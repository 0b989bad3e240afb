#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "text/pre_tokenizer_json.h"

namespace headrace {
namespace {

struct Part {
  std::string text;
  int32_t begin;  // characters of the original
  int32_t end;

  bool operator==(const Part&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Part& part) {
  return out << "{\"" << part.text << "\", " << part.begin << ", " << part.end << "}";
}

using Parts = std::vector<Part>;
using Strings = std::vector<std::string>;

std::unique_ptr<PreTokenizer> read(std::string_view json, bool takes_raw_bytes = false,
                                   bool* raw_bytes = nullptr) {
  const JsonDocument document(json, "test");
  bool ignored = false;
  return read_pre_tokenizer(document.root(), takes_raw_bytes, raw_bytes ? raw_bytes : &ignored);
}

Parts split(const PreTokenizer& pre_tokenizer, std::string_view text) {
  AlignedText aligned;
  aligned.assign(text, true, 0);
  std::vector<Piece> pieces = {{0, static_cast<uint32_t>(text.size())}};
  pre_tokenizer.split(aligned, pieces);
  Parts parts;
  for (const Piece piece : pieces)
    parts.push_back({std::string(aligned.bytes().substr(piece.begin, piece.end - piece.begin)),
                     aligned.origins()[piece.begin], aligned.origins()[piece.end - 1] + 1});
  AlignedText plain;
  plain.assign(text, false, 0);
  std::vector<Piece> same = {{0, static_cast<uint32_t>(text.size())}};
  pre_tokenizer.split(plain, same);
  EXPECT_EQ(same, pieces);
  EXPECT_EQ(plain.bytes(), aligned.bytes());
  return parts;
}

Parts split(std::string_view json, std::string_view text) { return split(*read(json), text); }

Strings strings(std::string_view json, std::string_view text) {
  Strings found;
  for (const Part& part : split(json, text)) found.push_back(part.text);
  return found;
}

std::string split_json(std::string_view pattern, std::string_view behavior, bool invert) {
  return concat(R"({"type":"Split","pattern":)", pattern, R"(,"behavior":")", behavior, R"(","invert":)",
                invert ? "true}" : "false}");
}

TEST(PreTokenizerTest, NullIsNone) {
  bool raw_bytes = true;
  EXPECT_EQ(read_pre_tokenizer(std::nullopt, true, &raw_bytes), nullptr);
  EXPECT_FALSE(raw_bytes);
  EXPECT_EQ(read("null"), nullptr);
}

TEST(PreTokenizerTest, ByteLevelWritesBytesAsCharacters) {
  const char* const json = R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true})";
  EXPECT_EQ(split(json, "a \xC3\xA9!"), (Parts{{"\xC4\xA0"
                                                "a",
                                                0, 1},
                                               {"\xC4\xA0\xC3\x83\xC2\xA9", 1, 3},
                                               {"!", 3, 4}}));
  EXPECT_EQ(split(json, " a\n"), (Parts{{"\xC4\xA0"
                                         "a",
                                         0, 2},
                                        {"\xC4\x8A", 2, 3}}));
}

TEST(PreTokenizerTest, ByteLevelLeavesBytesToAModelThatTakesThem) {
  bool raw_bytes = false;
  const char* const last =
      R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
          {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
  EXPECT_EQ(split(*read(last, true, &raw_bytes), "\xC3\xA9 1"), (Parts{{"\xC3\xA9 ", 0, 2}, {"1", 2, 3}}));
  EXPECT_TRUE(raw_bytes);
  const char* const first =
      R"({"type":"Sequence","pretokenizers":[
          {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false},
          {"type":"Digits","individual_digits":true}]})";
  EXPECT_EQ(split(*read(first, true, &raw_bytes), " 1"), (Parts{{"\xC4\xA0", 0, 1}, {"1", 1, 2}}));
  EXPECT_FALSE(raw_bytes);
}

TEST(PreTokenizerTest, Whitespace) {
  EXPECT_EQ(strings(R"({"type":"Whitespace"})", " Hey, you!? \xC3\xA9_1 "),
            (Strings{"Hey", ",", "you", "!?", "\xC3\xA9_1"}));
  EXPECT_EQ(strings(R"({"type":"WhitespaceSplit"})", " Hey, you!?\n"), (Strings{"Hey,", "you!?"}));
  EXPECT_EQ(strings(R"({"type":"BertPreTokenizer"})", "Hey, you!?"), (Strings{"Hey", ",", "you", "!", "?"}));
}

TEST(PreTokenizerTest, MetaspaceBeginsPieces) {
  const char* const always =
      R"({"type":"Metaspace","replacement":"_","prepend_scheme":"always","split":true})";
  EXPECT_EQ(split(always, "a  b"), (Parts{{"_a", 0, 1}, {"_", 1, 2}, {"_b", 2, 4}}));
  EXPECT_EQ(split(always, "_a b"), (Parts{{"_a", 0, 2}, {"_b", 2, 4}}));
  const char* const never =
      R"({"type":"Metaspace","replacement":"_","prepend_scheme":"never","split":false})";
  EXPECT_EQ(split(never, "a b"), (Parts{{"a_b", 0, 3}}));
}

TEST(PreTokenizerTest, MetaspaceBeforeTheFirstPieceOnly) {
  const char* const json =
      R"({"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},
          {"type":"Metaspace","replacement":"_","prepend_scheme":"first"}]})";
  EXPECT_EQ(strings(json, "a b"), (Strings{"_a", "b"}));
  EXPECT_EQ(strings(json, " a b"), (Strings{"a", "b"}));
}

TEST(PreTokenizerTest, SplitBehaviors) {
  const char* const hyphen = R"({"String":"-"})";
  const char* const text = "The-final--countdown";
  const auto result = [&](const char* behavior) {
    return strings(split_json(hyphen, behavior, false), text);
  };
  EXPECT_EQ(result("Removed"), (Strings{"The", "final", "countdown"}));
  EXPECT_EQ(result("Isolated"), (Strings{"The", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(result("MergedWithPrevious"), (Strings{"The-", "final-", "-", "countdown"}));
  EXPECT_EQ(result("MergedWithNext"), (Strings{"The", "-final", "-", "-countdown"}));
  EXPECT_EQ(result("Contiguous"), (Strings{"The", "-", "final", "--", "countdown"}));
  EXPECT_EQ(strings(split_json(R"({"Regex":"\\w+"})", "Removed", true), "a, b"), (Strings{"a", "b"}));
  EXPECT_EQ(strings(split_json(R"({"String":".+"})", "Isolated", false), "a.+b"), (Strings{"a", ".+", "b"}));
}

TEST(PreTokenizerTest, StepsSeeThePiecesOfTheStepBefore) {
  const std::string json = concat(R"({"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},)",
                                  split_json(R"({"Regex":"^.|.$"})", "Isolated", false), "]}");
  EXPECT_EQ(split(json, "abc de"), (Parts{{"a", 0, 1}, {"b", 1, 2}, {"c", 2, 3}, {"d", 4, 5}, {"e", 5, 6}}));
}

TEST(PreTokenizerTest, SingleCharacters) {
  EXPECT_EQ(strings(R"({"type":"Digits","individual_digits":false})", "a12\xC2\xBD b"),
            (Strings{"a", "12\xC2\xBD", " b"}));
  EXPECT_EQ(strings(R"({"type":"Digits","individual_digits":true})", "a12"), (Strings{"a", "1", "2"}));
  EXPECT_EQ(strings(R"({"type":"Punctuation"})", "a,b"), (Strings{"a", ",", "b"}));
  EXPECT_EQ(strings(R"({"type":"Punctuation","behavior":"Contiguous"})", "a,.b"), (Strings{"a", ",.", "b"}));
  EXPECT_EQ(strings(R"({"type":"CharDelimiterSplit","delimiter":"x"})", "axbxxc"), (Strings{"a", "b", "c"}));
  EXPECT_EQ(strings(R"({"type":"FixedLength","length":2})", "a\xC3\xA9xyz"),
            (Strings{"a\xC3\xA9", "xy", "z"}));
}

// Japanese syllabaries go with Han; spaces with what is before, and are lost at the beginning.
TEST(PreTokenizerTest, UnicodeScripts) {
  EXPECT_EQ(strings(R"({"type":"UnicodeScripts"})", " a \xE4\xB8\xAD\xE3\x81\x82 \xD0\x96!"),
            (Strings{"a ", "\xE4\xB8\xAD\xE3\x81\x82 ", "\xD0\x96", "!"}));
}

TEST(PreTokenizerTest, OldSpellings) {
  EXPECT_EQ(strings(R"({"type":"Metaspace","replacement":"_","add_prefix_space":true,"str_rep":"_"})", "a"),
            (Strings{"_a"}));
  EXPECT_THROW(read(R"({"type":"Metaspace","replacement":"_","add_prefix_space":false})"), Error);
}

TEST(PreTokenizerTest, FaultyFiles) {
  for (const char* json :
       {"{}", "3", R"({"type":"ByteLevel"})", R"({"type":"Digits"})", R"({"type":"FixedLength","length":0})",
        R"({"type":"CharDelimiterSplit","delimiter":"ab"})", R"({"type":"Metaspace","replacement":""})",
        R"({"type":"Metaspace","replacement":"_","prepend_scheme":"Always"})",
        R"({"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated","invert":false})",
        R"({"type":"Split","pattern":{},"behavior":"Isolated","invert":false})",
        R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"isolated","invert":false})"}) {
    try {
      read(json);
      ADD_FAILURE() << json;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile) << json;
    }
  }
  try {
    read(R"({"type":"Foo"})");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(error.message().find("'Foo'"), std::string::npos);
  }
}

}  // namespace
}  // namespace headrace
