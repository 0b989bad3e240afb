#include "text/charsmap.h"

#include <stdexcept>

#include "base/utf8.h"

namespace headrace {
namespace {

uint32_t read_u32(std::string_view bytes, size_t at) {
  const auto byte = [&](size_t i) { return uint32_t{static_cast<uint8_t>(bytes[at + i])}; };
  return byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
}

[[noreturn]] void fail(const char* what) { throw std::invalid_argument(what); }

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  if (bytes.size() < 4) fail("it has no size");
  const size_t trie_bytes = read_u32(bytes, 0) / 4 * size_t{4};
  if (trie_bytes > bytes.size() - 4) fail("its double array is cut off");
  if (trie_bytes == 0) fail("its double array is empty");
  units_.reserve(trie_bytes / 4);
  for (size_t at = 4; at < 4 + trie_bytes; at += 4) units_.push_back({read_u32(bytes, at)});
  strings_ = bytes.substr(4 + trie_bytes);
  if (utf8_first_invalid(strings_) != strings_.size()) fail("its strings are not UTF-8");
  for (uint32_t byte = 1; byte < 256; ++byte) {
    const uint32_t child = units_[0].offset() ^ byte;
    begins_[byte] = child < units_.size() && units_[child].label() == byte;
  }
  check_values();
}

void Charsmap::check_values() const {
  for (uint32_t at = 1; at < units_.size(); ++at) {
    if (!units_[at].is_node() || !units_[at].has_leaf()) continue;
    const uint32_t leaf = at ^ units_[at].offset();
    if (leaf >= units_.size()) fail("an entry of its double array has no value");
    const uint32_t value = units_[leaf].value();
    if (value > strings_.size()) fail("a value is behind the end of its strings");
    if (value < strings_.size() && (static_cast<uint8_t>(strings_[value]) & 0xC0) == 0x80)
      fail("a value points into a character");
  }
}

std::optional<std::string_view> Charsmap::look_up(std::string_view text) const {
  uint32_t at = units_[0].offset();
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    at ^= byte;
    if (byte == 0 || at >= units_.size() || units_[at].label() != byte) return std::nullopt;
    const Unit unit = units_[at];
    at ^= unit.offset();
    if (unit.has_leaf()) {
      const std::string_view rest = std::string_view(strings_).substr(units_[at].value());
      return rest.substr(0, rest.find('\0'));
    }
  }
  return std::nullopt;
}

std::optional<Charsmap::Entry> Charsmap::longest_entry(std::string_view text) const {
  constexpr int kMostEntries = 32;  // SentencePiece looks no further
  std::optional<Entry> found;
  uint32_t at = units_[0].offset();
  int num_entries = 0;
  for (size_t i = 0; i < text.size() && num_entries < kMostEntries; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    at ^= byte;
    if (byte == 0 || at >= units_.size() || units_[at].label() != byte) break;
    const Unit unit = units_[at];
    at ^= unit.offset();
    if (!unit.has_leaf()) continue;
    const size_t value = units_[at].value();
    const std::string_view rest = std::string_view(strings_).substr(value);
    // An entry without a string counts as none, and hides the shorter ones.
    found =
        value < strings_.size() ? std::optional(Entry{i + 1, rest.substr(0, rest.find('\0'))}) : std::nullopt;
    ++num_entries;
  }
  return found;
}

bool Charsmap::keeps_ascii(uint8_t byte) const {
  const uint32_t at = units_[0].offset() ^ byte;
  if (byte == 0 || at >= units_.size() || units_[at].label() != byte) return true;
  if (units_[at].has_leaf()) return false;
  for (uint32_t next = 1; next < 0x80; ++next) {
    const uint32_t child = at ^ units_[at].offset() ^ next;
    if (child < units_.size() && units_[child].label() == next) return false;
  }
  return true;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t pending = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    uint32_t digit = 0;
    if (c >= 'A' && c <= 'Z') {
      digit = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      digit = static_cast<uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      digit = static_cast<uint32_t>(c - '0') + 52;
    } else if (c == '+' || c == '/') {
      digit = c == '+' ? 62 : 63;
    } else if (i < text.size() - padding) {
      return std::nullopt;
    }
    pending = pending << 6 | digit;
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(pending >> shift & 0xFF));
    pending = 0;
  }
  for (size_t i = 0; i < padding; ++i) {
    if (bytes.back() != '\0') return std::nullopt;  // bits that belong to no byte
    bytes.pop_back();
  }
  return bytes;
}

}  // namespace headrace
