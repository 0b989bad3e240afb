#include "text/decode_sentencepiece.h"

#include "base/utf8.h"
#include "text/decode_steps.h"

namespace headrace {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The byte that a token like <0x0A> stands for, or -1.
int byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const int high = hex_digit(token[3]), low = hex_digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// Each byte that begins no character becomes U+FFFD.
void append_repaired(std::string_view bytes, std::string& text) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = utf8_sequence_length(bytes, at);
    text += length == 0 ? "\xEF\xBF\xBD" : bytes.substr(at, length);
    at += length == 0 ? 1 : length;
  }
}

}  // namespace

void SentencePieceDecoder::apply(std::vector<std::string>& tokens) const {
  std::string text;
  std::string bytes;
  bool is_first = true;  // a space here is not the text's own
  bool took_space = false;
  for (const std::string& token : tokens) {
    if (const int byte = config_.byte_fallback ? byte_of(token) : -1; byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    append_repaired(bytes, text);
    bytes.clear();
    if (took_space || !text.empty()) is_first = false;
    took_space = false;
    if (token == config_.unk_token) {
      text += config_.unk_surface;
      continue;
    }
    std::string_view shown = token;
    if (is_first && config_.strips_first && shown.starts_with(kSpace)) {
      shown.remove_prefix(kSpace.size());
      took_space = !config_.strips_all;
    }
    text += replace_all(shown, kSpace, " ");
  }
  append_repaired(bytes, text);
  tokens.assign(1, std::move(text));
}

}  // namespace headrace
