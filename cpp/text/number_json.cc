#include "text/number_json.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace headrace {
namespace {

constexpr size_t kMaxDepth = 16, kExactDigits = 15, kMaxDigits = 19;  // which any number of fits 64 bits

constexpr auto kPowers = [] {  // of ten, all that fit 64 bits
  std::array<uint64_t, kMaxDigits + 1> powers{1};
  for (size_t i = 1; i < powers.size(); ++i) powers[i] = 10 * powers[i - 1];
  return powers;
}();

// mantissa / 10^fraction, rounded once: the double nearest to the decimal. fraction <= kMaxDigits.
double nearest(uint64_t mantissa, size_t fraction) {
  constexpr uint64_t kExact = uint64_t{1} << 53;
  constexpr size_t kExactPowers = 22;  // of ten, that a double holds exactly
  static_assert(kMaxDigits <= kExactPowers);
  if (mantissa <= kExact) return static_cast<double>(mantissa) / static_cast<double>(kPowers[fraction]);
  // Both with their highest bit set, the quotient of 63 more bits has 63 or 64: ten and more beyond those of
  // a double, the last of which stands for the remainder too. The conversion rounds them, the power of two
  // changes none.
  __extension__ using Wide = unsigned __int128;
  const int up = std::countl_zero(mantissa), down = std::countl_zero(kPowers[fraction]);
  const Wide above = static_cast<Wide>(mantissa << up) << 63;
  const uint64_t divisor = kPowers[fraction] << down;
  const auto quotient = static_cast<uint64_t>(above / divisor);
  const bool is_inexact = static_cast<uint64_t>(above) != quotient * divisor;  // modulo 2^64 is enough
  const auto power = static_cast<uint64_t>(1023 + down - up - 63);  // of a normal double, as its bits have it
  return static_cast<double>(quotient | uint64_t{is_inexact}) * std::bit_cast<double>(power << 52);
}

uint64_t eight_bytes(const char* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Of eight bytes in the order of their addresses, which little-endian machines read backwards.
bool are_digits(uint64_t word) {
  constexpr uint64_t kHigh = 0xF0F0F0F0F0F0F0F0, kSix = 0x0606060606060606, kZeros = 0x3030303030303030;
  return (word & kHigh) == kZeros && ((word + kSix) & kHigh) == kZeros;
}

// Neighbours become numbers of two digits, then of four, then of eight.
uint64_t value_of_digits(uint64_t word) {
  word -= 0x3030303030303030;
  word = (word * 10 + (word >> 8)) & 0x00FF00FF00FF00FF;
  word = (word * 100 + (word >> 16)) & 0x0000FFFF0000FFFF;
  return (word * 10000 + (word >> 32)) & 0xFFFFFFFF;
}

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

  // How many there are; `value` goes on with them, and is of no use beyond kMaxDigits in all.
  size_t read_digits(uint64_t& value) {
    const char* const begin = at_;
    if constexpr (std::endian::native == std::endian::little) {
      while (end_ - at_ >= 8 && are_digits(eight_bytes(at_))) {
        value = value * 100'000'000 + value_of_digits(eight_bytes(at_));
        at_ += 8;
      }
    }
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9')
      value = value * 10 + static_cast<uint64_t>(*at_++ - '0');
    return static_cast<size_t>(at_ - begin);
  }

  // RFC 8259, section 6.
  bool read_number(JsonNumbers& out) {
    const char* const begin = at_;
    const bool is_negative = at_ != end_ && *at_ == '-';
    if (is_negative) ++at_;
    const char* const first = at_;
    uint64_t mantissa = 0, exponent = 0;
    const size_t digits = read_digits(mantissa);
    if (digits == 0 || (digits > 1 && *first == '0')) return false;
    size_t fraction = 0;
    bool is_integer = true, has_exponent = false;
    if (at_ != end_ && *at_ == '.') {
      is_integer = false;
      ++at_;
      fraction = read_digits(mantissa);
      if (fraction == 0) return false;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      is_integer = false;
      has_exponent = true;
      ++at_;
      if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (read_digits(exponent) == 0) return false;
    }
    if (is_integer && digits > kExactDigits) return false;
    double value = 0;
    if (!has_exponent && digits + fraction <= kMaxDigits) {
      value = nearest(mantissa, fraction);
      if (is_negative) value = -value;
    } else {
      const auto [stop, error] = std::from_chars(begin, at_, value);
      if (stop != at_ || error != std::errc()) return false;
    }
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
