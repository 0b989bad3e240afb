#include "base/pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace headrace {
namespace {

struct Block {
  char* begin;
  size_t bytes;
  char mark;
};

bool is_all(const Block& block, char value) {
  for (size_t i = 0; i < block.bytes; ++i)
    if (block.begin[i] != value) return false;
  return true;
}

// Pages of the block that take memory; none of addresses that are no longer there.
size_t resident_pages(const void* block, size_t bytes) {
  std::vector<unsigned char> is_resident(bytes / 4096);
  if (mincore(const_cast<void*>(block), bytes, is_resident.data()) != 0) return 0;
  return static_cast<size_t>(
      std::count_if(is_resident.begin(), is_resident.end(), [](int page) { return page & 1; }));
}

TEST(Pages, BlocksAreZerosApartAndAligned) {
  std::mt19937 random(1);
  std::vector<Block> blocks;
  for (int round = 0; round < 500; ++round) {
    if (blocks.size() > 20 && random() % 2) {
      const size_t i = random() % blocks.size();
      ASSERT_TRUE(is_all(blocks[i], blocks[i].mark));
      return_pages(blocks[i].begin, blocks[i].bytes);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
    }
    // Small ones, and now and then one that has addresses of its own.
    const size_t bytes = 1 + random() % (round % 200 == 7 ? size_t{48} << 20 : size_t{1} << 17);
    Block block{static_cast<char*>(take_pages(bytes)), bytes, static_cast<char>(1 + round % 100)};
    ASSERT_EQ(reinterpret_cast<uintptr_t>(block.begin) % 64, 0u);
    ASSERT_TRUE(is_all(block, 0));
    std::memset(block.begin, block.mark, block.bytes);
    blocks.push_back(block);
  }
  for (const Block& block : blocks) {
    ASSERT_TRUE(is_all(block, block.mark));
    return_pages(block.begin, block.bytes);
  }
}

TEST(Pages, WhatIsReturnedGoesBackAtOnce) {
  constexpr size_t kBytes = size_t{1} << 20, kBlocks = 200;
  std::vector<void*> blocks;
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(take_pages(kBytes));
    std::memset(blocks.back(), 1, kBytes);
    EXPECT_EQ(resident_pages(blocks.back(), kBytes), kBytes / 4096);
  }
  // All but one, so that what stays keeps the addresses around it.
  for (size_t i = 1; i < kBlocks; ++i) {
    return_pages(blocks[i], kBytes);
    EXPECT_EQ(resident_pages(blocks[i], kBytes), 0u) << i;
  }
  EXPECT_EQ(resident_pages(blocks[0], kBytes), kBytes / 4096);
  return_pages(blocks[0], kBytes);
}

TEST(Pages, ManyThreadsTakeAndReturn) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int round = 0; round < 300; ++round) {
        const size_t bytes = size_t{1000} * (1 + static_cast<size_t>(round) % 50);
        Block block{static_cast<char*>(take_pages(bytes)), bytes, static_cast<char>(t + 1)};
        EXPECT_TRUE(is_all(block, 0));
        std::memset(block.begin, block.mark, bytes);
        EXPECT_TRUE(is_all(block, block.mark));
        return_pages(block.begin, bytes);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace headrace
