#include "text/charsmap.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <utility>

#include "text/graphemes.h"
#include "text/normalize_precompiled.h"

namespace headrace {
namespace {

using Origins = std::vector<int32_t>;

// A character map of entries with distinct first bytes, none a prefix of another; every entry has a chain of
// 512 units of its own.
class CharsmapBytes {
 public:
  CharsmapBytes& add(std::string_view from, std::string_view to) {
    uint32_t node = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      const auto byte = static_cast<uint8_t>(from[i]);
      // The children of a node are in a block of 512 of their own.
      const uint32_t block = i == 0 ? 512 : next_block_;
      if (i > 0) next_block_ += 512;
      set_children(node, block);
      node = block ^ byte;
      unit(node) |= byte;
    }
    set_children(node, next_block_);
    unit(node) |= 1U << 8;
    unit(next_block_) = 0x80000000U | static_cast<uint32_t>(strings_.size());
    next_block_ += 512;
    strings_.append(to).push_back('\0');
    return *this;
  }

  uint32_t& unit(uint32_t at) {
    if (units_.size() <= at) units_.resize(at + 512);
    return units_[at];
  }
  std::string strings_;

  std::string bytes() const {
    std::string result;
    const auto put = [&](uint32_t value) {
      for (int i = 0; i < 4; ++i) result.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
    };
    put(static_cast<uint32_t>(units_.size() * 4));
    for (const uint32_t value : units_) put(value);
    return result + strings_;
  }

 private:
  void set_children(uint32_t node, uint32_t block) {
    const uint32_t offset = node ^ block;
    unit(node) = (unit(node) & 0x1FF) | offset << 10;
  }

  std::vector<uint32_t> units_ = std::vector<uint32_t>(512);
  uint32_t next_block_ = 1024;
};

std::string normalize(const CharsmapBytes& map, std::string_view text, Origins* origins = nullptr) {
  const Precompiled normalizer{Charsmap(map.bytes())};
  AlignedText tracked, plain;
  tracked.assign(text, true, 0);
  plain.assign(text, false, 0);
  normalizer.apply(tracked);
  normalizer.apply(plain);
  EXPECT_EQ(tracked.bytes(), plain.bytes());
  if (origins) origins->assign(tracked.origins().begin(), tracked.origins().end());
  return std::string(tracked.bytes());
}

TEST(CharsmapTest, ReplacesCharactersAndClusters) {
  CharsmapBytes map;
  map.add("\t", " ").add("\xEF\xAC\x81", "fi").add("a\xCC\x81", "\xC3\xA1").add("\x01", "");
  Origins origins;
  EXPECT_EQ(normalize(map, "x\t\xEF\xAC\x81 a\xCC\x81 a", &origins), "x fi \xC3\xA1 a");
  EXPECT_EQ(origins, (Origins{0, 1, 2, 2, 3, 4, 4, 6, 7}));
  EXPECT_EQ(normalize(map, "nothing to do, at some length"), "nothing to do, at some length");
  EXPECT_EQ(normalize(map, ""), "");
}

// The reference's rules: of a cluster under six bytes the shortest entry counts, and all of it is replaced.
TEST(CharsmapTest, AClusterIsReplacedAsAWhole) {
  CharsmapBytes map;
  map.add("\r", " ").add("\xEF\xAC\x81", "fi");
  EXPECT_EQ(normalize(map, "a\r\nb"), "a b");
  EXPECT_EQ(normalize(map, "\xEF\xAC\x81\xCC\x81x"), "fix");
  EXPECT_EQ(normalize(map, "\xEF\xAC\x81\xCC\x81\xCC\x81x"), "fi\xCC\x81\xCC\x81x");  // seven bytes
}

// So do its origins: what is dropped at the beginning is not counted, and later it is taken off the last.
TEST(CharsmapTest, OriginsAreCountedAsTheReferenceDoes) {
  CharsmapBytes map;
  map.add("\x01", "");
  Origins origins;
  EXPECT_EQ(normalize(map,
                      "\x01"
                      "ab",
                      &origins),
            "ab");
  EXPECT_EQ(origins, (Origins{0, 1}));
  EXPECT_EQ(normalize(map,
                      "a\x01"
                      "b",
                      &origins),
            "ab");
  EXPECT_EQ(origins, (Origins{0, 2}));
}

TEST(CharsmapTest, RefusesDamage) {
  CharsmapBytes map;
  map.add("\t", " ");
  const std::string good = map.bytes();
  EXPECT_NO_THROW(Charsmap{good});
  EXPECT_THROW(Charsmap{""}, std::invalid_argument);
  EXPECT_THROW(Charsmap{std::string(4, '\0')}, std::invalid_argument);
  EXPECT_THROW(Charsmap{good.substr(0, 100)}, std::invalid_argument);
  EXPECT_THROW(Charsmap{good + "\xFF"}, std::invalid_argument);
  CharsmapBytes outside = map;
  outside.unit(1024) = 0x80001000U;
  EXPECT_THROW(Charsmap{outside.bytes()}, std::invalid_argument);
  CharsmapBytes inside = map;
  inside.strings_ = "\xC3\xA9";
  inside.unit(1024) = 0x80000001U;
  EXPECT_THROW(Charsmap{inside.bytes()}, std::invalid_argument);
  CharsmapBytes no_value = map;
  no_value.unit(512 ^ '\t') |= 0x7FFFFCU << 8;
  EXPECT_THROW(Charsmap{no_value.bytes()}, std::invalid_argument);
}

TEST(CharsmapTest, Base64) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("Zg=="), "f");
  EXPECT_EQ(decode_base64("Zm8="), "fo");
  EXPECT_EQ(decode_base64("Zm9v+/8="), "foo\xFB\xFF");
  for (const char* bad : {"Z", "Zg=", "Zh==", "Zg==Zg==", "====", "Z!==", "Zm9=", "Zm 9"})
    EXPECT_EQ(decode_base64(bad), std::nullopt) << bad;
}

TEST(GraphemesTest, ClustersEndWhereReadersSay) {
  const auto first = [](std::string_view text) { return grapheme_end(text, 0); };
  EXPECT_EQ(first("ab"), 1U);
  EXPECT_EQ(first("\r\n\n"), 2U);
  EXPECT_EQ(first("\n\xCC\x81"), 1U);  // nothing joins a control
  EXPECT_EQ(first("a\xCC\x81\xCC\xA3"
                  "b"),
            5U);                                                  // marks
  EXPECT_EQ(first("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8x"), 9U);  // L V T
  EXPECT_EQ(first("\xEA\xB0\x80\xE1\x86\xA8\xE1\x85\xA1"), 6U);   // LV T, then V
  EXPECT_EQ(first("\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7"
                  "a"),
            9U);                                     // k, virama, sh
  EXPECT_EQ(first("\xE0\xA4\x95\xE0\xA4\xB7"), 3U);  // without it
  EXPECT_EQ(first("\xE2\x9D\xA4\xEF\xB8\x8F\xE2\x80\x8D\xE2\x9D\xA4"
                  "a"),
            12U);                                     // hearts joined
  EXPECT_EQ(first("a\xE2\x80\x8D\xE2\x9D\xA4"), 4U);  // a letter joins no heart
  EXPECT_EQ(first("\xD8\x80x"), 3U);                  // U+0600 comes before a number
}

}  // namespace
}  // namespace headrace
