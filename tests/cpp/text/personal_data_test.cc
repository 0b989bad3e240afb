#include "text/personal_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <random>
#include <string>

#include "base/utf8.h"
#include "text/identity_numbers.h"

namespace headrace {
namespace {

// "kind:text" of each finding, separated by '|'.
std::string found_in(std::string_view text, PersonalKinds kinds = kAllPersonalKinds) {
  std::string out;
  for (const Finding& finding : find_personal_data(text, kinds)) {
    if (!out.empty()) out += '|';
    out += personal_kind_name(finding.kind);
    out += ':';
    out += text.substr(finding.begin, finding.end - finding.begin);
  }
  return out;
}

// The ASCII of a text as full-width forms.
std::string wide(std::string_view text) {
  std::string out;
  for (const char c : text) utf8_append(static_cast<char32_t>(c) + 0xFEE0, out);
  return out;
}

// One by one, with a space between.
std::string spaced(std::string_view text) {
  std::string out;
  for (const char c : text) out += (out.empty() ? "" : " ") + std::string(1, c);
  return out;
}

struct Case {
  const char* text;
  const char* found;
};
void check(std::initializer_list<Case> cases) {
  for (const auto& [text, found] : cases) EXPECT_EQ(found_in(text), found) << text;
}

TEST(PersonalData, EmailAddresses) {
  check({{"to maria.s+x@mail.example.co.uk.", "email:maria.s+x@mail.example.co.uk"},
         {"<a@b.io>,(c_d%e@f-g.org)", "email:a@b.io|email:c_d%e@f-g.org"},
         {"13800138000@163.com", "email:13800138000@163.com"},
         {"\u90ae\u7bb1zhang@qq.com\u8bf7", "email:zhang@qq.com"},
         {"..a@b.com", "email:a@b.com"},
         {"a@b.com.", "email:a@b.com"},
         {"a@b.com.123", "email:a@b.com"},
         {"a@xn--fsq.xn--0zwm56d", "email:a@xn--fsq.xn--0zwm56d"},
         {"a@b, @b.com, a.@b.com, a@.com, a@b.c, a @ b.com, a@10.0.0", ""}});
  EXPECT_EQ(found_in(wide("a@b.com")), "email:" + wide("a@b.com"));
  EXPECT_EQ(found_in(std::string(65, 'a') + "@b.com"), "");
}

TEST(PersonalData, TelephoneNumbers) {
  check({{"+44 (0)20 7946 0958", "phone:+44 (0)20 7946 0958"},
         {"+1 (415) 555-2671", "phone:+1 (415) 555-2671"},
         {"+14155552671 2 times", "phone:+14155552671"},
         {"+49 30 901820 and 0044 20 7946 0958", "phone:+49 30 901820|phone:0044 20 7946 0958"},
         {"(415) 555-2671 (call)", "phone:(415) 555-2671"},
         {"415-555-2671, 415.555.2671, 1-800-555-0199",
          "phone:415-555-2671|phone:415.555.2671|phone:1-800-555-0199"},
         {"01 23 45 67 89; 020 7946 0958", "phone:01 23 45 67 89|phone:020 7946 0958"},
         {"010-12345678, (0571) 8765 4321", "phone:010-12345678|phone:(0571) 8765 4321"},
         {"0571-87654321-801", "phone:0571-87654321-801"},
         {"tel: 23456789", "phone:23456789"},
         {"\u7535\u8bdd\uff1a88886666", "phone:88886666"},
         {"23456789, 4155552671, 115-555-2671, 415-155-2671", ""},
         {"+999 12, +1 415 555, 1+14155552671", ""},
         {"01-02-2024 12:30, 02111-1307, 0.0428488254547119", ""},
         {"order 415-555-2671", ""}});
}

TEST(PersonalData, ChineseMobileNumbers) {
  check({{"+86 138 0013 8000", "cn_mobile:+86 138 0013 8000"},
         {"(+86)13800138000", "cn_mobile:(+86)13800138000"},
         {"8613800138000, 0086-13800138000", "cn_mobile:8613800138000|cn_mobile:0086-13800138000"},
         {"(13800138000)", "cn_mobile:13800138000"},
         {"13800138000/13900139000", "cn_mobile:13800138000|cn_mobile:13900139000"},
         {"138-0013-8000 138.0013.8000", "cn_mobile:138-0013-8000|cn_mobile:138.0013.8000"},
         {"12800138000, 1380013800, 138001380001, a13800138000, 13800138000a, 13800138000_", ""},
         {"3-13800138000, 0.13800138000, 13800138000.5", ""},
         {"1380 01380 00, 138-0013 8000", ""},
         {"\u8ba2\u5355\u53f713800138000", ""}});
  EXPECT_EQ(found_in("13800138000", bit_of(PersonalKind::kPhone)), "phone:13800138000");
  EXPECT_EQ(found_in(wide("13800138000")), "cn_mobile:" + wide("13800138000"));
  EXPECT_EQ(found_in(spaced("13800138000")), "cn_mobile:" + spaced("13800138000"));
  EXPECT_EQ(found_in(spaced("138001380001")), "");
  EXPECT_EQ(found_in(spaced("113800138000")), "");
}

TEST(PersonalData, Cards) {
  check({{"4111 1111 1111 1111", "card:4111 1111 1111 1111"},
         {"4111-1111-1111-1111 4111111111111111", "card:4111-1111-1111-1111|card:4111111111111111"},
         {"3782 822463 10005, 30569309025904", "card:3782 822463 10005|card:30569309025904"},
         {"6222020200112233438", "card:6222020200112233438"},
         {"4111 1111 1111 1112, 1111111111111117, 4111 1111-1111 1111, 41 11 1111 1111 1111", ""},
         {"14111111111111111, 4111111111111111a, 4111-1111-1111-1111-2", ""}});
  EXPECT_TRUE(is_luhn("79927398713"));
  EXPECT_FALSE(is_luhn("79927398710"));
}

TEST(PersonalData, BankAccounts) {
  check({{"GB82 WEST 1234 5698 7654 32", "iban:GB82 WEST 1234 5698 7654 32"},
         {"DE89370400440532013000", "iban:DE89370400440532013000"},
         {"MT84MALT011000012345MTLCAST001S", "iban:MT84MALT011000012345MTLCAST001S"},
         {"DE89370400440532013001, XX89370400440532013000, DE8937040044053201300", ""}});
  EXPECT_EQ(found_in(spaced("DE89370400440532013000")), "iban:" + spaced("DE89370400440532013000"));
}

TEST(PersonalData, NetworkAddresses) {
  check({{"10.0.0.1:8080, http://192.168.1.1/x", "ip:10.0.0.1|ip:192.168.1.1"},
         {"2001:db8::1, fe80::1%eth0, ::1", "ip:2001:db8::1|ip:fe80::1|ip:::1"},
         {"::ffff:1.2.3.4", "ip:::ffff:1.2.3.4"},
         {"2001:0db8:0000:0000:0000:ff00:0042:8329", "ip:2001:0db8:0000:0000:0000:ff00:0042:8329"},
         {"256.1.1.1, 1.2.3, 1.2.3.4.5, 01.2.3.4, v1.2.3.4, version 1.2.3.4, package==1.2.3.4", ""},
         {"12:30:45, 00:1A:2B:3C:4D:5E, a::1b, 1:2:3:4:5:6:7:8:9, 2001:db8::1::2", ""}});
}

TEST(PersonalData, ChineseIdentityNumbers) {
  check({{"11010519491231002X", "cn_resident_id:11010519491231002X"},
         {"110105 19491231 002x", "cn_resident_id:110105 19491231 002x"},
         {"110105491231002", "cn_resident_id:110105491231002"},
         {"110105194912310021, 11010519491331002X, 99010519491231002X, 110105491331002", ""},
         {"1101051949123100 2Xa, 911010519491231002X", ""},
         {"91350100M000100Y43", "cn_uscc:91350100M000100Y43"},
         {"91350100M000100Y44", ""}});
  EXPECT_EQ(found_in(wide("11010519491231002X")), "cn_resident_id:" + wide("11010519491231002X"));
  EXPECT_EQ(found_in(spaced("11010519491231002X")), "cn_resident_id:" + spaced("11010519491231002X"));
  EXPECT_TRUE(is_cn_resident_id("440524188001010014") == false);  // born in 1880
  EXPECT_FALSE(is_cn_resident_id("110105190002290019"));          // 1900 had no 29 February
}

TEST(PersonalData, DocumentsOfTheRegion) {
  check({{"A123456(3), A1234563, AB987654(3)", "hk_id:A123456(3)|hk_id:A1234563|hk_id:AB987654(3)"},
         {"A123456(4), A1234564, AB123456(1)", ""},
         {"1234567(8), 5234567\uff083\uff09", "macau_id:1234567(8)|macau_id:5234567\uff083\uff09"},
         {"2234567(8)", ""},
         {"A123456789, A800000014", "tw_id:A123456789|tw_id:A800000014"},
         {"A123456788, A323456789", ""},
         {"E12345678, EA1234567, passport C01X00T47",
          "passport:E12345678|passport:EA1234567|passport:C01X00T47"},
         {"passport no. 123456789", "passport:123456789"},
         {"my passport expired 2023-05-06, 123456789, e12345678, E1234567, E123456789, F12345678", ""},
         {"H12345678, M1234567890, C12345678",
          "hk_macau_permit:H12345678|hk_macau_permit:M1234567890|hk_macau_permit:C12345678"}});
}

TEST(PersonalData, ChinesePlatesAndStreets) {
  // Beijing A, Beijing A with its dot, Guangdong B of an electric car; a letter that no plate has
  check({{"\u4eacA12345", "cn_plate:\u4eacA12345"},
         {"\u4eacA\u00b712345", "cn_plate:\u4eacA\u00b712345"},
         {"\u7ca4BD12345", "cn_plate:\u7ca4BD12345"},
         {"\u4eacA1234, \u4eacI12345, \u4eacA1234567, A12345", ""}});
  // "I live in" Zhejiang, Hangzhou, Xihu district, Wensan road 478, unit 3, room 502
  const std::string street = "\u6587\u4e09\u8def478\u53f7";
  const std::string whole =
      "\u6d59\u6c5f\u7701\u676d\u5dde\u5e02\u897f\u6e56\u533a" + street + "3\u5355\u5143502\u5ba4";
  EXPECT_EQ(found_in("\u6211\u4f4f\u5728" + whole + "\uff0c"), "cn_address:" + whole);
  EXPECT_EQ(found_in(street), "cn_address:" + street);
  // line 3, building 5, "number 3", May 1, a bus
  check({{"\u5750"
          "3\u53f7\u7ebf\u5230"
          "5\u53f7\u697c\uff0c\u7b2c3\u53f7",
          ""},
         {"2024\u5e74"
          "5\u6708"
          "1\u53f7\u8857\u9053"
          "5\u53f7",
          ""},
         {"102\u8def"
          "5\u53f7\u8f66",
          ""}});
}

TEST(PersonalData, OffsetsAreBytesOfTheTextAsItIs) {
  const std::string text = "\u7535\u8bdd\uff1a" + wide("13800138000") + " \U0001f600 a@b.com";
  const auto found = find_personal_data(text);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], (Finding{PersonalKind::kCnMobile, 9, 42}));
  EXPECT_EQ(found[1], (Finding{PersonalKind::kEmail, 48, 55}));
}

TEST(PersonalData, PlaceholdersAreFoundWhenAskedFor) {
  EXPECT_EQ(found_in("<EMAIL_1> <CN_MOBILE_12>"), "");
  EXPECT_EQ(found_in("<EMAIL_1> <CN_MOBILE_12> <_1> <email_1> <A_1", bit_of(PersonalKind::kPlaceholder)),
            "placeholder:<EMAIL_1>|placeholder:<CN_MOBILE_12>");
}

TEST(PersonalData, OrdinaryNumbersAreLeftAlone) {
  check({{"1,234,567.89 and $12.50 on 2024-05-12 at 12:30:45.123", ""},
         {"978-3-16-148410-0, ISBN 9783161484100, 3.14159265358979, 1e10, 0x1234567890", ""},
         {"1700000000 1700000000000 20240512123456", ""},
         {"123e4567-e89b-12d3-a456-426614174000", ""},
         {"order no. 4155552671, SKU 415-555-2671, ver. 1.2.3.4, build 10.0.19041.1", ""}});
}

TEST(PersonalData, IllFormedTextIsData) {
  std::mt19937 random(1);
  const std::string valid = "a@b.com 13800138000 " + wide("110105") +
                            "\u6587\u4e09\u8def"
                            "478\u53f7 ::1 \u4eacA12345";
  for (int round = 0; round < 20000; ++round) {
    std::string text = valid;
    for (int edits = 0; edits < 3; ++edits) text[random() % text.size()] = static_cast<char>(random());
    text.resize(1 + random() % text.size());
    size_t at = 0;
    for (const Finding& finding : find_personal_data(text)) {
      ASSERT_LE(at, finding.begin);
      ASSERT_LT(finding.begin, finding.end);
      at = finding.end;
    }
    ASSERT_LE(at, text.size());
  }
}

// Seconds of processor time that a search takes, at best of two: how long a machine is busy with other
// things, or how much slower a sanitizer makes the search, says nothing about how time grows.
double seconds_to_search(const std::string& unit, size_t size) {
  std::string text;
  while (text.size() < size) text += unit;
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 2; ++repeat) {
    const std::clock_t start = std::clock();
    find_personal_data(text);
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

TEST(PersonalData, TimeIsLinear) {
  for (const std::string unit : {"1", "@", "1 ", "a@", "1.", "1:", "(1", "+1", "1-1 1.1 ", "A1 ", "4111 ",
                                 "a.1@", "\uff11", "\u8def1\u53f7", "\u5e02\u533a\u8def", "\u4eacA1"}) {
    const double once = seconds_to_search(unit, 20'000);
    const double eight_times = seconds_to_search(unit, 160'000);
    // Time that grew with the square of the length would be 64 times as long.
    EXPECT_LT(eight_times, 24 * once + 0.02) << unit;
  }
}

}  // namespace
}  // namespace headrace
