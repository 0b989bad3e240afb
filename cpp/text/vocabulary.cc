#include "text/vocabulary.h"

#include <algorithm>
#include <cstring>

namespace headrace {

bool Vocabulary::add(std::string_view token, int32_t id) {
  if (contains(id) || ids_.contains(token)) return false;
  const std::string_view kept = keep(token);
  if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1);
  tokens_[static_cast<size_t>(id)] = kept;
  ids_.emplace(kept, id);
  return true;
}

void Vocabulary::show_as(int32_t id, std::string_view shown) {
  tokens_[static_cast<size_t>(id)] = keep(shown);
}

std::string_view Vocabulary::keep(std::string_view text) {
  constexpr size_t kBlockBytes = size_t{1} << 18;
  if (blocks_.empty() || block_left_ < text.size() + 1) {
    block_left_ = std::max(kBlockBytes, text.size() + 1);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_left_));
    block_end_ = blocks_.back().get() + block_left_;
  }
  char* const at = block_end_ - block_left_;
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  block_left_ -= text.size() + 1;  // one byte more, so that an empty string has an address of its own
  return {at, text.size()};
}

}  // namespace headrace
