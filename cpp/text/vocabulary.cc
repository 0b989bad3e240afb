#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace headrace {

void Vocabulary::reserve(size_t num_tokens) {
  tokens_.reserve(num_tokens);
  const size_t num_slots = std::bit_ceil(num_tokens + num_tokens / 2 + 8);
  if (num_slots > slots_.size()) resize_slots(num_slots);
}

bool Vocabulary::add(std::string_view token, int32_t id) {
  if (contains(id)) return false;
  if (num_tokens_ * 3 >= slots_.size() * 2) resize_slots(std::max<size_t>(16, slots_.size() * 2));
  const uint32_t token_hash = hash(token);
  Slot& slot = slots_[slot_of(token, token_hash)];
  if (slot.id >= 0) return false;
  set_token(keep(token), id);
  slot = {token_hash, id};
  return true;
}

bool Vocabulary::add_again(std::string_view token, int32_t id) {
  if (contains(id)) return false;
  if (add(token, id)) return true;
  is_one_to_one_ = false;
  set_token(keep(token), id);
  slots_[slot_of(token, hash(token))].id = id;
  return true;
}

void Vocabulary::find_all(std::span<const std::string_view> tokens, int32_t* ids) const {
  constexpr size_t kBlock = 32;
  if (slots_.empty()) {
    std::fill_n(ids, tokens.size(), -1);
    return;
  }
  const size_t mask = slots_.size() - 1;
  uint32_t hashes[kBlock];
  for (size_t first = 0; first < tokens.size(); first += kBlock) {
    const size_t count = std::min(kBlock, tokens.size() - first);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = hash(tokens[first + i]);
      __builtin_prefetch(slots_.data() + (hashes[i] & mask));
    }
    const auto likely_id = [&](size_t i) { return std::max(0, slots_[hashes[i] & mask].id); };
    for (size_t i = 0; i < count; ++i) __builtin_prefetch(tokens_.data() + likely_id(i));
    for (size_t i = 0; i < count; ++i) __builtin_prefetch(tokens_[static_cast<size_t>(likely_id(i))].data());
    for (size_t i = 0; i < count; ++i) ids[first + i] = slots_[slot_of(tokens[first + i], hashes[i])].id;
  }
}

void Vocabulary::show_as(int32_t id, std::string_view shown) {
  is_one_to_one_ = false;
  std::string_view& token = tokens_[static_cast<size_t>(id)];
  if (token == shown) return;
  renamed_.try_emplace(id, token);
  token = keep(shown);
}

void Vocabulary::set_token(std::string_view kept, int32_t id) {
  if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1);
  tokens_[static_cast<size_t>(id)] = kept;
  ++num_tokens_;
}

void Vocabulary::resize_slots(size_t num_slots) {
  std::vector<Slot> old(num_slots, {0, -1});
  old.swap(slots_);
  const size_t mask = num_slots - 1;
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].id >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
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
