// Decoders of tokens that stand for bytes.
#include <optional>

#include "base/utf8.h"
#include "text/byte_spelling.h"
#include "text/decode_steps.h"

namespace headrace {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// How many bytes from `at` on begin a character that then breaks off; at least one. None begins there whole.
size_t broken_length(std::string_view bytes, size_t at) {
  const auto byte = [&](size_t i) { return at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0; };
  const int lead = byte(0);
  if (lead < 0xC2 || lead > 0xF4) return 1;
  const int lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const int highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (lead < 0xE0 || byte(1) < lowest || byte(1) > highest) return 1;
  return lead >= 0xF0 && (byte(2) & 0xC0) == 0x80 ? 3 : 2;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte of a token "<0xHH>". The reference's parser takes "+H", too.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const int high = token[3] == '+' ? 0 : hex_digit(token[3]);
  const int low = hex_digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high << 4 | low);
}

}  // namespace

std::string utf8_repaired(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (true) {
    const size_t bad = utf8_first_invalid(bytes);
    text.append(bytes.substr(0, bad));
    if (bad == bytes.size()) return text;
    text.append(kReplacement);
    bytes.remove_prefix(bad + broken_length(bytes, bad));
  }
}

void ByteLevelDecoder::apply(std::vector<std::string>& tokens) const {
  std::string bytes;
  for (const std::string& token : tokens)
    if (!append_spelled_bytes(token, bytes)) bytes += token;
  if (utf8_first_invalid(bytes) != bytes.size()) bytes = utf8_repaired(bytes);
  tokens.assign(1, std::move(bytes));
}

void ByteFallbackDecoder::apply(std::vector<std::string>& tokens) const {
  std::vector<std::string> result;
  result.reserve(tokens.size());
  std::string row;
  const auto end_row = [&] {
    if (row.empty()) return;
    if (utf8_first_invalid(row) == row.size()) {
      result.push_back(row);
    } else {
      result.insert(result.end(), row.size(), std::string(kReplacement));
    }
    row.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      row.push_back(*byte);
      continue;
    }
    end_row();
    result.push_back(std::move(token));
  }
  end_row();
  tokens = std::move(result);
}

}  // namespace headrace
