// What threads of a warp do together, and asynchronous copies.
#include <bit>
#include <cstring>

#include "simt_block.h"

namespace simt {
namespace {

float from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t half_of(uint32_t pair, unsigned which) { return static_cast<uint16_t>(pair >> (16 * which)); }

// Waits until every lane of the mask is here.
void meet(uint32_t mask, Where where) {
  Fibre& self = *block->running;
  self.mask = mask;
  self.where = where;
  set_state(self, State::kInExchange);
  char& sync = block->warp_sync[self.index / kWarp];
  release(&sync);
  yield();
  acquire(&sync);
}

// All lanes' bytes, once each lane of a full warp has given its own; they stay until the next meeting.
std::array<const unsigned char*, kWarp> all_lanes(const void* given, size_t bytes, Where where) {
  Fibre& self = *block->running;
  std::memcpy(self.given.data(), given, bytes);
  meet(kAllLanes, where);
  std::array<const unsigned char*, kWarp> all{};
  for (unsigned lane = 0; lane < kWarp; ++lane)
    all[lane] = block->fibres[self.index / kWarp * kWarp + lane]->given.data();
  return all;
}

}  // namespace

void exchange(uint32_t mask, const void* given, void* got, size_t bytes, int source, Where where) {
  Fibre& self = *block->running;
  if (!(mask >> lane_of(self) & 1)) fail("a lane that is not in the mask takes part", where);
  if (source < 0 || source >= static_cast<int>(kWarp) || !(mask >> source & 1))
    fail("a lane asks one that is not in the mask", where);
  std::memcpy(self.given.data(), given, bytes);
  meet(mask, where);
  const size_t other = self.index / kWarp * kWarp + static_cast<size_t>(source);
  std::memcpy(got, block->fibres[other]->given.data(), bytes);
  meet(mask, where);  // nobody may give something new before all have read
}

void warp_barrier(uint32_t mask, Where where) {
  if (!(mask >> lane_of(*block->running) & 1)) fail("a lane that is not in the mask takes part", where);
  meet(mask, where);
}

uint32_t ballot(uint32_t mask, bool predicate, Where where) {
  uint32_t found = 0;
  for (int lane = 0; lane < static_cast<int>(kWarp); ++lane) {
    if (!(mask >> lane & 1)) continue;
    bool theirs = false;
    exchange(mask, &predicate, &theirs, sizeof(bool), lane, where);
    found |= static_cast<uint32_t>(theirs) << lane;
  }
  return found;
}

void copy_async(void* to, const void* from, bool valid, Where where) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || (valid && reinterpret_cast<uintptr_t>(from) % 16 != 0))
    fail("an asynchronous copy of 16 bytes from or to an address that is no multiple of 16", where);
  has_written(to, 16);
  std::memset(to, 0xff, 16);
  block->running->open.push_back({to, valid ? from : nullptr});
}

void copy_commit() {
  block->running->groups.push_back(std::move(block->running->open));
  block->running->open.clear();
}

void copy_wait(int groups_left) {
  auto& groups = block->running->groups;
  while (static_cast<int>(groups.size()) > groups_left) {
    for (const Copy& copy : groups.front()) {
      has_written(copy.to, 16);
      if (copy.from == nullptr) {
        std::memset(copy.to, 0, 16);
      } else {
        std::memcpy(copy.to, copy.from, 16);
      }
    }
    groups.erase(groups.begin());
  }
}

void load_matrices(uint32_t out[4], const void* row, bool transposed, Where where) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    fail("a row of a matrix begins at no multiple of 16 bytes", where);
  uint16_t values[8];
  std::memcpy(values, row, 16);
  has_read(row, 16);
  const auto all = all_lanes(values, 16, where);
  const unsigned lane = lane_of(*block->running);
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    uint16_t pair[2];
    for (unsigned k = 0; k < 2; ++k) {
      // Lane i holds of row i / 4 the columns 2 (i % 4) and the next; transposed, of column i / 4 those rows.
      const unsigned a = lane / 4, b = 2 * (lane % 4) + k;
      const unsigned from_row = transposed ? b : a, from_column = transposed ? a : b;
      std::memcpy(&pair[k], all[8 * matrix + from_row] + 2 * from_column, 2);
    }
    out[matrix] = static_cast<uint32_t>(pair[0]) | static_cast<uint32_t>(pair[1]) << 16;
  }
  meet(kAllLanes, where);
}

void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], Where where) {
  uint32_t given[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const auto all = all_lanes(given, sizeof(given), where);
  const auto value = [&](unsigned lane, unsigned word, unsigned which) {
    uint32_t pair;
    std::memcpy(&pair, all[lane] + 4 * word, 4);
    return from_bf16(half_of(pair, which));
  };
  const unsigned lane = lane_of(*block->running), group = lane / 4, quad = lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = group + (i >= 2 ? 8 : 0), column = 2 * quad + (i & 1);
    float sum = d[i];
    for (unsigned k = 0; k < 16; ++k) {
      // a: rows group and group + 8, columns 2 quad + {0, 1} and the same + 8, in the order of the PTX
      // figure.
      const unsigned a_lane = 4 * (row % 8) + k % 8 / 2, a_word = (row >= 8 ? 1 : 0) + (k >= 8 ? 2 : 0);
      const unsigned b_lane = 4 * column + k % 8 / 2, b_word = k >= 8 ? 1 : 0;
      sum += value(a_lane, a_word, k % 2) * value(b_lane, 4 + b_word, k % 2);
    }
    d[i] = sum;
  }
  meet(kAllLanes, where);
}

void mma_int8(int32_t d[4], const uint32_t a[4], const uint32_t b[2], Where where) {
  uint32_t given[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const auto all = all_lanes(given, sizeof(given), where);
  const auto value = [&](unsigned lane, unsigned word, unsigned which) {
    return static_cast<int32_t>(static_cast<int8_t>(all[lane][4 * word + which]));
  };
  const unsigned lane = lane_of(*block->running), group = lane / 4, quad = lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = group + (i >= 2 ? 8 : 0), column = 2 * quad + (i & 1);
    for (unsigned k = 0; k < 32; ++k) {
      const unsigned a_lane = 4 * (row % 8) + k % 16 / 4, a_word = (row >= 8 ? 1 : 0) + (k >= 16 ? 2 : 0);
      const unsigned b_lane = 4 * column + k % 16 / 4, b_word = k >= 16 ? 1 : 0;
      d[i] += value(a_lane, a_word, k % 4) * value(b_lane, 4 + b_word, k % 4);
    }
  }
  meet(kAllLanes, where);
}

}  // namespace simt
