#include "text/piece_cache.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace headrace {
namespace {

std::vector<int32_t> ids_of(const std::string& piece) {
  std::vector<int32_t> ids(piece.size() % 9);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((hash_bytes(piece, i) & 0xFFFFFF));
  return ids;
}

// Whatever it remembers is right, and most of what was just inserted is remembered.
TEST(PieceCacheTest, FindsWhatWasInserted) {
  PieceCache cache;
  std::mt19937 random(3);
  std::vector<std::string> pieces;
  for (int i = 0; i < 40000; ++i) {
    std::string piece;
    for (size_t k = 1 + random() % (i % 10 == 0 ? 600 : 20); k > 0; --k)
      piece += static_cast<char>(random() % 3 == 0 ? 0 : 'a' + random() % 26);
    pieces.push_back(piece);
  }
  size_t found = 0;
  size_t tried = 0;
  for (int round = 0; round < 2; ++round) {
    for (const std::string& piece : pieces) {
      // At the end of its memory, and with something behind it.
      const std::string longer = piece + "0123456789abcdef";
      const Piece place = {0, static_cast<uint32_t>(piece.size())};
      const PieceCache::Key key = cache.key(piece, place);
      const PieceCache::Key same = cache.key(longer, place);
      EXPECT_EQ(key.low, same.low);
      EXPECT_EQ(key.high, same.high);
      const auto expected = ids_of(piece);
      IdBuffer ids;
      if (cache.find(key, piece, ids)) {
        EXPECT_EQ(std::vector<int32_t>(ids.data(), ids.data() + ids.size()), expected);
        found += round == 1 ? 1 : 0;
      } else {
        cache.insert(key, piece, expected.data(), expected.size());
      }
      tried += round == 1 && piece.size() <= PieceCache::kMaxPieceBytes ? 1 : 0;
    }
  }
  EXPECT_GT(found, tried * 8 / 10);
}

TEST(PieceCacheTest, ZerosAreNotPadding) {
  PieceCache cache;
  const std::string piece("a\0", 2);
  const int32_t id = 5;
  cache.insert(cache.key(piece, {0, 2}), piece, &id, 1);
  IdBuffer ids;
  EXPECT_TRUE(cache.find(cache.key(piece, {0, 2}), piece, ids));
  EXPECT_FALSE(cache.find(cache.key(piece, {0, 1}), piece.substr(0, 1), ids));
  EXPECT_EQ(ids.size(), 1u);
}

TEST(PieceCacheTest, ForgetsAllWhenFull) {
  PieceCache cache;
  const std::vector<int32_t> many(1000, 7);
  std::string last;
  for (int i = 0; i < 3000; ++i) {
    last = "piece" + std::to_string(i);
    cache.insert(cache.key(last, {0, static_cast<uint32_t>(last.size())}), last, many.data(), many.size());
  }
  IdBuffer ids;
  EXPECT_TRUE(cache.find(cache.key(last, {0, static_cast<uint32_t>(last.size())}), last, ids));
  EXPECT_EQ(ids.size(), many.size());
}

}  // namespace
}  // namespace headrace
