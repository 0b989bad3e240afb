// Token strings and their ids, both ways.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/hash.h"

namespace headrace {

class Vocabulary {
 public:
  // Ids above this are refused: no model has so many rows, and a lying file must not make us allocate them.
  static constexpr int64_t kMaxId = (int64_t{1} << 24) - 1;

  // Makes room for so many tokens at once; they may become more.
  void reserve(size_t num_tokens);

  // Copies the token. Returns false, changing nothing, when the token or the id is already there.
  // 0 <= id <= kMaxId.
  bool add(std::string_view token, int32_t id);

  // As add(), but a token may have several ids; id() knows the latest. False when the id is already there.
  bool add_again(std::string_view token, int32_t id);

  // Gives another string to an id that is there, for token() only: id() still knows it by its first one.
  void show_as(int32_t id, std::string_view shown);

  // The string of an id; empty when no token has it.
  std::string_view token(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens_.size() ? tokens_[static_cast<size_t>(id)]
                                                               : std::string_view();
  }
  bool contains(int32_t id) const { return token(id).data() != nullptr; }
  std::optional<int32_t> id(std::string_view token) const {
    const int32_t found = find(token);
    return found < 0 ? std::nullopt : std::optional(found);
  }
  // The id of a token; -1 when it has none.
  int32_t find(std::string_view token) const {
    if (slots_.empty()) return -1;
    return slots_[slot_of(token, hash(token))].id;
  }

  // find() of many tokens; ids has as many places. Faster than one by one, since the table is large and the
  // memory's answers are awaited together.
  void find_all(std::span<const std::string_view> tokens, int32_t* ids) const;

  // Whether no two ids have the same string, and none was given another one: find(token(id)) is id.
  bool is_one_to_one() const { return is_one_to_one_; }
  // Ids in use.
  size_t num_tokens() const { return num_tokens_; }
  // The largest id + 1.
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  struct Slot {
    uint32_t hash;
    int32_t id;  // negative: free
  };

  uint32_t hash(std::string_view token) const {
    return static_cast<uint32_t>(hash_bytes(token, hash_seed()));
  }
  // Where the token is, or the free slot where it would go.
  size_t slot_of(std::string_view token, uint32_t hash) const {
    const size_t mask = slots_.size() - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
      const Slot& slot = slots_[at];
      if (slot.id < 0 || (slot.hash == hash && known_as(slot.id) == token)) return at;
    }
  }
  std::string_view known_as(int32_t id) const {
    if (!renamed_.empty()) {
      if (const auto first = renamed_.find(id); first != renamed_.end()) return first->second;
    }
    return tokens_[static_cast<size_t>(id)];
  }
  void set_token(std::string_view kept, int32_t id);
  void resize_slots(size_t num_slots);
  std::string_view keep(std::string_view text);

  // The characters live in blocks that never move, so that the views stay valid when the object moves.
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* block_end_ = nullptr;
  size_t block_left_ = 0;
  std::vector<std::string_view> tokens_;
  std::unordered_map<int32_t, std::string_view> renamed_;  // the first string of ids that show_as changed
  std::vector<Slot> slots_;  // open addressing; a power of two, at most two thirds in use
  size_t num_tokens_ = 0;
  bool is_one_to_one_ = true;
};

}  // namespace headrace
