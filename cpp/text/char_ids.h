// Ids by character: two array reads.
#pragma once

#include <cstdint>
#include <vector>

namespace headrace {

class CharIds {
 public:
  CharIds() : pages_((0x110000 >> kPageBits) + 1, 0), ids_(kPageSize, -1) {}

  void set(char32_t c, int32_t id) {
    uint32_t& page = pages_[c >> kPageBits];
    if (page == 0) {
      page = static_cast<uint32_t>(ids_.size());
      ids_.resize(ids_.size() + kPageSize, -1);
    }
    ids_[page + (c & (kPageSize - 1))] = id;
  }

  // -1 when the character has none. c: at most U+10FFFF.
  int32_t operator[](char32_t c) const { return ids_[pages_[c >> kPageBits] + (c & (kPageSize - 1))]; }

 private:
  static constexpr int kPageBits = 7;
  static constexpr uint32_t kPageSize = 1u << kPageBits;

  std::vector<uint32_t> pages_;  // where each 128 characters begin in ids_; the first page there is empty
  std::vector<int32_t> ids_;
};

}  // namespace headrace
