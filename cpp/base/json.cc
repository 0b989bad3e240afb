#include "base/json.h"

#include <charconv>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace headrace {

const char* json_type_name(JsonType type) {
  switch (type) {
    case JsonType::kNull:
      return "null";
    case JsonType::kBool:
      return "a boolean";
    case JsonType::kInt:
      return "an integer";
    case JsonType::kDouble:
      return "a number";
    case JsonType::kString:
      return "a string";
    case JsonType::kArray:
      return "an array";
    case JsonType::kObject:
      return "an object";
  }
  return "unknown";
}

// Iterative, with its own stack of open containers, so nesting costs heap and never the C++ stack.
class JsonParser {
 public:
  JsonParser(std::string_view text, JsonDocument& document) : text_(text), document_(document) {}

  void parse() {
    // Node indices are 32 bits, and a value takes at least one byte of text.
    if (text_.size() >= std::numeric_limits<uint32_t>::max()) fail("larger than 4 GiB");
    document_.nodes_.reserve(text_.size() / 16 + 16);  // as in files of many short strings
    do {
      skip_space();
      if (!open_.empty() && before_item()) continue;
      value();
    } while (!open_.empty());
    skip_space();
    if (at_ != text_.size()) fail("text after the value");
  }

 private:
  using Node = JsonDocument::Node;

  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorKind::kCorruptFile,
                concat(document_.name(), ": not valid JSON at byte ", at_, ": ", what));
  }
  char peek() const {
    if (at_ >= text_.size()) fail("the text ends too early");
    return text_[at_];
  }
  void expect(char c, const char* what) {
    if (peek() != c) fail(what);
    ++at_;
  }
  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }

  // Inside an open container, before its next item: closes it (true), or reads the comma and the key (false).
  bool before_item() {
    const uint32_t index = open_.back();
    const bool is_object = document_.nodes_[index].type == JsonType::kObject;
    if (peek() == (is_object ? '}' : ']')) {
      ++at_;
      document_.nodes_[index].end = static_cast<uint32_t>(document_.nodes_.size());
      open_.pop_back();
      return true;
    }
    if (document_.nodes_[index].size++ > 0) {
      expect(',', is_object ? "expected ',' or '}'" : "expected ',' or ']'");
      skip_space();
    }
    if (is_object) {
      if (peek() != '"') fail("expected a string as key");
      string();
      skip_space();
      expect(':', "expected ':' after a key");
      skip_space();
    }
    return false;
  }

  void value() {
    switch (peek()) {
      case '{':
        return container(JsonType::kObject);
      case '[':
        return container(JsonType::kArray);
      case '"':
        return string();
      case 't':
        literal("true");
        return leaf(JsonType::kBool).boolean = true, void();
      case 'f':
        literal("false");
        return leaf(JsonType::kBool).boolean = false, void();
      case 'n':
        literal("null");
        leaf(JsonType::kNull);
        return;
      default:
        return number();
    }
  }

  Node& leaf(JsonType type) {
    Node node{};
    node.type = type;
    node.end = static_cast<uint32_t>(document_.nodes_.size() + 1);
    document_.nodes_.push_back(node);
    return document_.nodes_.back();
  }

  void container(JsonType type) {
    ++at_;
    if (open_.size() >= JsonDocument::kMaxDepth) fail("nested deeper than 64 levels");
    open_.push_back(static_cast<uint32_t>(document_.nodes_.size()));
    leaf(type);
  }

  void literal(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("expected a value");
    at_ += word.size();
  }

  void number() {
    const size_t start = at_;
    const auto digits = [&] {
      const size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      if (at_ == first) fail("expected a value");
    };
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else {
      digits();
    }
    // "-0" is a fraction: no integer has that value, and readers that expect a size must not take it for 0.
    bool integral = text_.substr(start, at_ - start) != "-0";
    if (at_ < text_.size() && text_[at_] == '.') {
      integral = false;
      ++at_;
      digits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      integral = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + at_;
    if (integral) {
      int64_t parsed = 0;
      if (std::from_chars(first, last, parsed).ec == std::errc()) {
        Node& node = leaf(JsonType::kInt);
        node.integer = parsed;
        node.size = uint64_t{start} << 32 | (at_ - start);
        return;
      }
    }
    double parsed = 0;
    if (std::from_chars(first, last, parsed).ec != std::errc())
      fail("a number outside the range of a double");
    Node& node = leaf(JsonType::kDouble);
    node.number = parsed;
    node.size = uint64_t{start} << 32 | (at_ - start);
  }

  void string() {
    const size_t start = ++at_;
    for (;;) {
      skip_plain_ascii();
      const auto c = static_cast<uint8_t>(peek());
      if (c == '"') break;
      if (c == '\\') return escaped_string(start);
      plain_character(c);
    }
    store(text_.data() + start, at_ - start);
    ++at_;
  }

  // Past characters that need no look, sixteen at a time.
  void skip_plain_ascii() {
#if defined(__SSE2__)
    while (text_.size() - at_ >= 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text_.data() + at_));
      const __m128i special =
          _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
      // Signed: control characters and all that is not ASCII.
      const __m128i unusual = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
      const int stops = _mm_movemask_epi8(_mm_or_si128(special, unusual));
      if (stops != 0) {
        at_ += static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(stops)));
        return;
      }
      at_ += 16;
    }
#endif
  }

  void plain_character(uint8_t c) {
    if (c < 0x20) fail("a control character inside a string");
    const size_t length = utf8_sequence_length(text_, at_);
    if (length == 0) fail("a string that is not UTF-8");
    at_ += length;
  }

  void escaped_string(size_t start) {
    std::string& out = document_.unescaped_.emplace_back(text_.substr(start, at_ - start));
    for (;;) {
      const auto c = static_cast<uint8_t>(peek());
      if (c == '"') break;
      if (c == '\\') {
        ++at_;
        escape(out);
      } else {
        const size_t from = at_;
        plain_character(c);
        out.append(text_.substr(from, at_ - from));
      }
    }
    store(out.data(), out.size());
    ++at_;
  }

  void escape(std::string& out) {
    const char c = peek();
    ++at_;
    switch (c) {
      case '"':
      case '\\':
      case '/':
        return out.push_back(c);
      case 'b':
        return out.push_back('\b');
      case 'f':
        return out.push_back('\f');
      case 'n':
        return out.push_back('\n');
      case 'r':
        return out.push_back('\r');
      case 't':
        return out.push_back('\t');
      case 'u': {
        char32_t code = hex4();
        if (code >= 0xD800 && code < 0xDC00) {
          expect('\\', "a lone high surrogate");
          expect('u', "a lone high surrogate");
          const char32_t low = hex4();
          if (low < 0xDC00 || low > 0xDFFF) fail("a lone high surrogate");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xDC00 && code < 0xE000) {
          fail("a lone low surrogate");
        }
        return utf8_append(code, out);
      }
      default:
        fail("an unknown escape");
    }
  }

  char32_t hex4() {
    char32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      code <<= 4;
      if (c >= '0' && c <= '9') {
        code |= static_cast<char32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        code |= static_cast<char32_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        code |= static_cast<char32_t>(c - 'A' + 10);
      } else {
        fail("\\u needs four hexadecimal digits");
      }
    }
    return code;
  }

  void store(const char* data, size_t size) {
    Node& node = leaf(JsonType::kString);
    node.data = data;
    node.size = size;
  }

  std::string_view text_;
  size_t at_ = 0;
  JsonDocument& document_;
  std::vector<uint32_t> open_;
};

JsonDocument::JsonDocument(std::string_view text, std::string name) : name_(std::move(name)), text_(text) {
  JsonParser(text, *this).parse();
}

JsonValue JsonDocument::root() const { return JsonValue(this, 0); }

void JsonValue::fail(const std::string& what) const {
  throw Error(ErrorKind::kCorruptFile, concat(document_->name(), ": ", what));
}

void JsonValue::fail_type(const char* expected) const {
  fail(concat("expected ", expected, ", found ", json_type_name(type())));
}

bool JsonValue::as_bool() const {
  if (type() != JsonType::kBool) fail_type("a boolean");
  return node().boolean;
}

int64_t JsonValue::as_int(int64_t low, int64_t high) const {
  if (type() != JsonType::kInt) fail_type("an integer");
  const int64_t value = node().integer;
  if (value < low || value > high) fail(concat(value, " is outside [", low, ", ", high, "]"));
  return value;
}

double JsonValue::as_double() const {
  if (type() == JsonType::kInt) return static_cast<double>(node().integer);
  if (type() != JsonType::kDouble) fail_type("a number");
  return node().number;
}

std::string_view JsonValue::number_text() const {
  if (type() != JsonType::kInt && type() != JsonType::kDouble) fail_type("a number");
  return document_->text_.substr(node().size >> 32, node().size & 0xFFFFFFFF);
}

std::string_view JsonValue::as_string() const {
  if (type() != JsonType::kString) fail_type("a string");
  return {node().data, node().size};
}

std::optional<JsonValue> JsonValue::find(std::string_view key) const {
  for (auto [name, value] : members())
    if (name == key) return value;
  return std::nullopt;
}

JsonValue JsonValue::at(std::string_view key) const {
  if (auto value = find(key)) return *value;
  fail(concat("the key '", key, "' is missing"));
}

JsonValue::ItemRange JsonValue::items() const {
  if (!is_array()) fail_type("an array");
  return ItemRange(*this);
}

JsonValue::MemberRange JsonValue::members() const {
  if (!is_object()) fail_type("an object");
  return MemberRange(*this);
}

}  // namespace headrace
