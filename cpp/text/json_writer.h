// Writes the parts of a tokenizer.json, for vocabularies that come in other formats.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

// A JSON string with its quotes. text: well-formed UTF-8.
std::string json_string(std::string_view text);

// The shortest decimal that reads back as the same double. value: finite.
std::string json_number(double value);

// Commas between items: `JsonList list(out); list.next() += "1"; list.next() += "2";` appends 1,2.
class JsonList {
 public:
  explicit JsonList(std::string& out) : out_(out) {}
  std::string& next() {
    if (!is_first_) out_ += ',';
    is_first_ = false;
    return out_;
  }

 private:
  std::string& out_;
  bool is_first_ = true;
};

// An entry of "added_tokens", found in the text as given.
std::string json_added_token(int32_t id, std::string_view content, bool is_special);

// A post_processor that puts tokens before and behind each text.
struct NamedToken {
  std::string_view content;
  int32_t id;
};
std::string json_template(std::span<const NamedToken> before, std::span<const NamedToken> behind);

// The members of a tokenizer.json as JSON texts, in the order of the format.
struct TokenizerJson {
  std::string added_tokens;  // the entries, without brackets
  std::string normalizer = "null";
  std::string pre_tokenizer = "null";
  std::string post_processor = "null";
  std::string decoder = "null";
  std::string model;

  std::string text() const;
};

}  // namespace headrace
