#include "base/json.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace headrace {
namespace {

std::string error_of(std::string_view text) {
  try {
    const JsonDocument document(text, "test.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile);
    return error.message();
  }
  return "";
}

TEST(JsonTest, ReadsEveryType) {
  const JsonDocument document(
      R"( {"n": null, "t": true, "f": false, "i": -12, "d": 2.5e1, "s": "x", "a": [1, [], {}],
                                   "o": {"k": "v"}} )",
      "test.json");
  const JsonValue root = document.root();
  EXPECT_EQ(root.size(), 8u);
  EXPECT_TRUE(root.at("n").is_null());
  EXPECT_TRUE(root.at("t").as_bool());
  EXPECT_FALSE(root.at("f").as_bool());
  EXPECT_EQ(root.at("i").as_int(-100, 100), -12);
  EXPECT_EQ(root.at("d").as_double(), 25.0);
  EXPECT_EQ(root.at("i").as_double(), -12.0);
  EXPECT_EQ(root.at("s").as_string(), "x");
  EXPECT_EQ(root.at("a").size(), 3u);
  EXPECT_EQ(root.at("o").at("k").as_string(), "v");
  EXPECT_FALSE(root.find("missing").has_value());
  std::string keys;
  for (auto [key, value] : root.members()) keys += key;
  EXPECT_EQ(keys, "ntfidsao");
  int items = 0;
  for (JsonValue item : root.at("a").items()) items += static_cast<int>(item.size()) + 1;
  EXPECT_EQ(items, 3);
}

TEST(JsonTest, OneValueOfAnyTypeIsADocument) {
  EXPECT_EQ(JsonDocument("7", "t").root().as_int(0, 9), 7);
  EXPECT_EQ(JsonDocument("\"\"", "t").root().as_string(), "");
  EXPECT_TRUE(JsonDocument(" null\n", "t").root().is_null());
  EXPECT_EQ(JsonDocument("[]", "t").root().size(), 0u);
}

TEST(JsonTest, UnescapesStrings) {
  const JsonDocument document(
      R"(["\"\\\/\b\f\n\r\t", "\u00e9\u4E2D\uD83D\uDE00\u0000", "a\u0062c", "plain"])", "t");
  std::vector<std::string> strings;
  for (JsonValue item : document.root().items()) strings.emplace_back(item.as_string());
  EXPECT_EQ(strings[0], "\"\\/\b\f\n\r\t");
  EXPECT_EQ(strings[1], std::string("\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80\0", 10));
  EXPECT_EQ(strings[2], "abc");
  EXPECT_EQ(strings[3], "plain");
}

TEST(JsonTest, IntegersThatDoNotFitAreDoubles) {
  const JsonDocument document("[9223372036854775807, 9223372036854775808, -9223372036854775808, -0, 1e3]",
                              "t");
  std::vector<JsonType> types;
  for (JsonValue item : document.root().items()) types.push_back(item.type());
  EXPECT_EQ(types, (std::vector<JsonType>{JsonType::kInt, JsonType::kDouble, JsonType::kInt,
                                          JsonType::kDouble, JsonType::kDouble}));
}

TEST(JsonTest, ARepeatedKeyYieldsTheFirst) {
  EXPECT_EQ(JsonDocument(R"({"a":1,"a":2})", "t").root().at("a").as_int(0, 9), 1);
}

TEST(JsonTest, AccessorsNameWhatTheyFound) {
  const JsonDocument document(R"({"a": 1, "b": "x"})", "some.json");
  const auto message = [](auto&& access) -> std::string {
    try {
      access();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile);
      return error.message();
    }
    return "no error";
  };
  const JsonValue root = document.root();
  EXPECT_EQ(message([&] { root.at("a").as_string(); }), "some.json: expected a string, found an integer");
  EXPECT_EQ(message([&] { root.at("b").as_int(0, 1); }), "some.json: expected an integer, found a string");
  EXPECT_EQ(message([&] { root.at("a").as_int(2, 3); }), "some.json: 1 is outside [2, 3]");
  EXPECT_EQ(message([&] { root.at("c"); }), "some.json: the key 'c' is missing");
  EXPECT_EQ(message([&] { root.at("a").at("b"); }), "some.json: expected an object, found an integer");
  EXPECT_EQ(message([&] { root.items(); }), "some.json: expected an array, found an object");
  EXPECT_EQ(message([&] { root.at("b").as_bool(); }), "some.json: expected a boolean, found a string");
  EXPECT_EQ(message([&] { root.at("b").as_double(); }), "some.json: expected a number, found a string");
}

TEST(JsonTest, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[",
                           "\"",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{1:2}",
                           "[1 2]",
                           "1 2",
                           "nul",
                           "nulll",
                           "True",
                           "NaN",
                           "Infinity",
                           "-",
                           "+1",
                           "01",
                           "1.",
                           ".5",
                           "1e",
                           "1e+",
                           "0x1",
                           "--1",
                           "[1]]",
                           "}",
                           "]",
                           "'a'",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12G4\"",
                           "\"\\uD800\"",
                           "\"\\uD800x\"",
                           "\"\\uDC00\"",
                           "\"\\uD800\\uD800\"",
                           "\"\n\"",
                           "\"\x01\"",
                           "\"\xFF\"",
                           "\"\xC3\"",
                           "// c\n1",
                           "1e999"})
    EXPECT_NE(error_of(text), "") << text;
}

TEST(JsonTest, ErrorsSayWhere) {
  EXPECT_EQ(error_of("[1,]"), "test.json: not valid JSON at byte 3: expected a value");
}

TEST(JsonTest, DepthIsLimited) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') + std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_EQ(error_of(nested(JsonDocument::kMaxDepth)), "");
  EXPECT_NE(error_of(nested(JsonDocument::kMaxDepth + 1)), "");
  EXPECT_NE(error_of(std::string(1000000, '[')), "");
}

TEST(JsonTest, LargeArraysAreWalkedInOrder) {
  std::string text = "[";
  for (int i = 0; i < 10000; ++i) {
    if (i > 0) text.push_back(',');
    text.append("{\"i\":").append(std::to_string(i)).append("}");
  }
  text += "]";
  const JsonDocument document(text, "t");
  int64_t expected = 0;
  for (JsonValue item : document.root().items()) EXPECT_EQ(item.at("i").as_int(0, 10000), expected++);
  EXPECT_EQ(expected, 10000);
}

}  // namespace
}  // namespace headrace
