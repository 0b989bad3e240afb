#include "text/json_writer.h"

#include <charconv>

#include "base/error.h"

namespace headrace {

std::string json_string(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
  return out;
}

std::string json_number(double value) {
  char digits[40];
  return std::string(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

std::string json_added_token(int32_t id, std::string_view content, bool is_special) {
  return concat("{\"id\":", id, ",\"content\":", json_string(content),
                ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":",
                is_special ? "true" : "false", "}");
}

std::string json_template(std::span<const NamedToken> before, std::span<const NamedToken> behind) {
  std::string tokens;
  JsonList token_list(tokens);
  const auto sequence = [&](char name, int type_id) {
    std::string parts;
    JsonList list(parts);
    const auto special = [&](const NamedToken& token) {
      list.next() +=
          concat("{\"SpecialToken\":{\"id\":", json_string(token.content), ",\"type_id\":", type_id, "}}");
      if (name == 'A')
        token_list.next() +=
            concat(json_string(token.content), ":{\"id\":", json_string(token.content), ",\"ids\":[",
                   token.id, "],\"tokens\":[", json_string(token.content), "]}");
    };
    for (const NamedToken& token : before) special(token);
    list.next() += concat("{\"Sequence\":{\"id\":\"", name, "\",\"type_id\":", type_id, "}}");
    for (const NamedToken& token : behind) special(token);
    return parts;
  };
  const std::string first = sequence('A', 0);
  return concat("{\"type\":\"TemplateProcessing\",\"single\":[", first, "],\"pair\":[", first, ",",
                sequence('B', 1), "],\"special_tokens\":{", tokens, "}}");
}

std::string TokenizerJson::text() const {
  return concat("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[", added_tokens,
                "],\"normalizer\":", normalizer, ",\"pre_tokenizer\":", pre_tokenizer,
                ",\"post_processor\":", post_processor, ",\"decoder\":", decoder, ",\"model\":", model, "}");
}

}  // namespace headrace
