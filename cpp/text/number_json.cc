#include "text/number_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>

namespace headrace {
namespace {

constexpr size_t kMaxDepth = 16, kExactDigits = 15;

class Reader {
 public:
  explicit Reader(std::string_view json) : at_(json.data()), end_(json.data() + json.size()) {}

  bool at_end() {
    skip_space();
    return at_ == end_;
  }
  bool take(char wanted) {
    skip_space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }
  bool read_name(std::string& out) {
    if (!take('"')) return false;
    const char* const begin = at_;
    while (at_ != end_ && *at_ >= ' ' && *at_ <= '~' && *at_ != '"' && *at_ != '\\') ++at_;
    out.assign(begin, at_);
    return at_ != end_ && *at_++ == '"';
  }
  bool read_tensor(JsonNumbers& out) {
    axes_ = 0;
    leaf_depth_ = -1;
    if (!read_value(out, 0)) return false;
    out.shape.assign(sizes_.begin(), sizes_.begin() + static_cast<ptrdiff_t>(axes_));
    return true;
  }

 private:
  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  // All numbers stand at one depth, and all arrays of one depth have one length.
  bool read_value(JsonNumbers& out, size_t depth) {
    if (!take('[')) {
      if (leaf_depth_ < 0 && depth == axes_) leaf_depth_ = static_cast<int64_t>(depth);
      return leaf_depth_ == static_cast<int64_t>(depth) && read_number(out);
    }
    if (depth == kMaxDepth || leaf_depth_ == static_cast<int64_t>(depth)) return false;
    if (depth == axes_) sizes_[axes_++] = -1;
    int64_t count = 0;
    while (!take(']')) {
      if ((count > 0 && !take(',')) || !read_value(out, depth + 1)) return false;
      ++count;
    }
    if (sizes_[depth] < 0) sizes_[depth] = count;
    return sizes_[depth] == count;
  }

  size_t skip_digits() {
    const char* const begin = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return static_cast<size_t>(at_ - begin);
  }

  // RFC 8259, section 6.
  bool read_number(JsonNumbers& out) {
    const char* const begin = at_;
    if (at_ != end_ && *at_ == '-') ++at_;
    const char* const first = at_;
    const size_t digits = skip_digits();
    if (digits == 0 || (digits > 1 && *first == '0')) return false;
    bool is_integer = true;
    if (at_ != end_ && *at_ == '.') {
      is_integer = false;
      ++at_;
      if (skip_digits() == 0) return false;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      is_integer = false;
      ++at_;
      if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (skip_digits() == 0) return false;
    }
    if (is_integer && digits > kExactDigits) return false;
    double value = 0;
    const auto [stop, error] = std::from_chars(begin, at_, value);
    if (stop != at_ || error != std::errc()) return false;
    out.are_integers = out.are_integers && is_integer;
    out.values.push_back(value);
    return true;
  }

  const char* at_;
  const char* const end_;
  std::array<int64_t, kMaxDepth> sizes_{};
  size_t axes_ = 0;
  int64_t leaf_depth_ = -1;  // of the numbers, once there is one
};

}  // namespace

std::optional<JsonNumbers> read_json_numbers(std::string_view json) {
  Reader reader(json);
  JsonNumbers found;
  if (!reader.read_tensor(found) || !reader.at_end()) return std::nullopt;
  return found;
}

std::optional<std::vector<std::pair<std::string, JsonNumbers>>> read_json_tensors(std::string_view json) {
  Reader reader(json);
  std::vector<std::pair<std::string, JsonNumbers>> found;
  if (!reader.take('{')) return std::nullopt;
  do {
    std::string name;
    if (!reader.read_name(name) || !reader.take(':')) return std::nullopt;
    if (std::any_of(found.begin(), found.end(), [&](const auto& each) { return each.first == name; }))
      return std::nullopt;
    if (!reader.read_tensor(found.emplace_back(std::move(name), JsonNumbers{}).second)) return std::nullopt;
  } while (reader.take(','));
  if (!reader.take('}') || !reader.at_end()) return std::nullopt;
  return found;
}

}  // namespace headrace
