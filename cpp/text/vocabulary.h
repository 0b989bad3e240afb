// Token strings and their ids, both ways.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace headrace {

class Vocabulary {
 public:
  // Ids above this are refused: no model has so many rows, and a lying file must not make us allocate them.
  static constexpr int64_t kMaxId = (int64_t{1} << 24) - 1;

  // Copies the token. Returns false, changing nothing, when the token or the id is already there.
  // 0 <= id <= kMaxId.
  bool add(std::string_view token, int32_t id);

  // Gives another string to an id that is there, for token() only: id() still knows it by its first one.
  void show_as(int32_t id, std::string_view shown);

  // The string of an id; empty when no token has it.
  std::string_view token(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens_.size() ? tokens_[static_cast<size_t>(id)]
                                                               : std::string_view();
  }
  bool contains(int32_t id) const { return token(id).data() != nullptr; }
  std::optional<int32_t> id(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

  size_t num_tokens() const { return ids_.size(); }
  // The largest id + 1.
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  std::string_view keep(std::string_view text);

  // The characters live in blocks that never move, so that the views stay valid when the object moves.
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* block_end_ = nullptr;
  size_t block_left_ = 0;
  std::vector<std::string_view> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;
};

}  // namespace headrace
