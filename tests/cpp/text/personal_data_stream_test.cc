#include "text/personal_data_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"

namespace headrace {
namespace {

// Feeds the text in random pieces and compares with a search of the whole.
void compare(const std::string& text, std::mt19937& random, size_t longest,
             PersonalKinds kinds = kAllPersonalKinds) {
  PersonalDataStream stream(kinds);
  std::string out;
  std::vector<Finding> found;
  const auto take = [&](const PersonalDataStream::Released& released) {
    for (const Finding& finding : released.findings)
      found.push_back({finding.kind, finding.begin + out.size(), finding.end + out.size()});
    out += released.text;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t length = std::min(text.size() - at, 1 + random() % longest);
    take(stream.feed(std::string_view(text).substr(at, length)));
    at += length;
    ASSERT_LE(at - out.size(), kReachAhead + kReachBehind + 4);
  }
  take(stream.finish());
  ASSERT_EQ(out, text);
  ASSERT_EQ(found, find_personal_data(text, kinds)) << text;
}

// Parts of numbers and what joins them, so that random rows of them are often nearly a number.
const std::vector<std::string> kParts = {"13800138000",
                                         "138",
                                         "0013",
                                         "8000",
                                         "+86",
                                         "86",
                                         "11010519491231002X",
                                         "110105",
                                         "19491231",
                                         "002X",
                                         "4111 1111 1111 1111",
                                         "4111",
                                         "1111",
                                         "GB82",
                                         "WEST",
                                         "1234",
                                         "5698",
                                         "7654",
                                         "32",
                                         "a@b.com",
                                         "maria",
                                         "@",
                                         "example.com",
                                         "10.0.0.1",
                                         "2001:db8::1",
                                         "fe80",
                                         "::",
                                         ":",
                                         "(",
                                         ")",
                                         "(3)",
                                         "A123456",
                                         "E12345678",
                                         "E",
                                         "A",
                                         "1",
                                         "2",
                                         "tel: ",
                                         "passport ",
                                         "order ",
                                         "version ",
                                         "<EMAIL_1>",
                                         "<",
                                         "_1>",
                                         "EMAIL",
                                         "\u4eac",
                                         "A12345",
                                         "\u00b7",
                                         "\u6d59\u6c5f\u7701",
                                         "\u676d\u5dde\u5e02",
                                         "\u897f\u6e56\u533a",
                                         "\u6587\u4e09\u8def",
                                         "478",
                                         "\u53f7",
                                         "\u5ba4",
                                         "\u5728",
                                         "\u7535\u8bdd",
                                         "\uff11\uff13\uff18",
                                         "\uff10",
                                         "\uff20",
                                         "\uff0c",
                                         "\u3002",
                                         "wheels ",
                                         "XPXXX",
                                         "water",
                                         "_",
                                         "\xff",
                                         "\xef\xbc",
                                         "\xe5"};
const std::vector<std::string> kJoints = {"", "", "", " ", " ", "-", ".", ", ", "\n", "/", "\u3000", "  "};

TEST(PersonalDataStream, WholeAndPiecesAgree) {
  std::mt19937 random(1);
  const auto pick = [&](const std::vector<std::string>& from) { return from[random() % from.size()]; };
  for (int round = 0; round < 6000; ++round) {
    std::string text;
    for (size_t parts = random() % 30; parts > 0; --parts) text += pick(kParts) + pick(kJoints);
    compare(text, random, 1 + random() % 20,
            kAllPersonalKinds | (round % 2 ? bit_of(PersonalKind::kPlaceholder) : 0));
    if (HasFatalFailure()) return;
  }
}

TEST(PersonalDataStream, LongRunsWithoutABreakGoOutToo) {
  std::mt19937 random(2);
  for (const std::string unit : {"1",
                                 "1 ",
                                 "a",
                                 "@",
                                 "a@",
                                 "1.",
                                 "a.1@b.c",
                                 "13800138000 ",
                                 "4111 1111 ",
                                 "1:",
                                 "\u8def",
                                 "\u6587\u4e09\u8def"
                                 "1\u53f7",
                                 "\uff11",
                                 "\xe5",
                                 "+1 ",
                                 "(1) ",
                                 "A1 ",
                                 "ab 12 ",
                                 "110105 ",
                                 "<EMAIL_1"}) {
    std::string text;
    while (text.size() < 12'000) text += unit;
    compare(text, random, 50);
    compare("x" + text + " a@b.com", random, 700);
    if (HasFatalFailure()) return;
  }
}

TEST(PersonalDataStream, LongTextsOfManyParts) {
  std::mt19937 random(3);
  const auto pick = [&](const std::vector<std::string>& from) { return from[random() % from.size()]; };
  const std::vector<std::string> close = {"", " ", "-", "."};
  for (int round = 0; round < 60; ++round) {
    std::string text;
    while (text.size() < 20'000) text += pick(kParts) + pick(round % 2 ? close : kJoints);
    compare(text, random, 1 + random() % 300);
    if (HasFatalFailure()) return;
  }
}

TEST(PersonalDataStream, AWordWithDigitsInItIsNoBreak) {
  std::mt19937 random(4);
  for (int round = 0; round < 200; ++round) compare("19514 5477 72XPXXX 520405", random, 4);
}

TEST(PersonalDataStream, ProseGoesOutAtOnce) {
  PersonalDataStream stream;
  EXPECT_EQ(stream.feed("The water turns the wheel, ").text, "The water turns the wheel,");
  EXPECT_EQ(stream.feed("a mill's stones").text, " a mill'");
  EXPECT_EQ(stream.finish().text, "s stones");
}

}  // namespace
}  // namespace headrace
