// Any bytes either raise kCorruptFile or parse into a tree that, written out and parsed again, is the same.
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

namespace {

using namespace headrace;

void check(bool holds) {
  if (!holds) __builtin_trap();
}

void write_string(std::string_view text, std::string& out) {
  check(utf8_first_invalid(text) == text.size());
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
      continue;
    }
    constexpr char kHex[] = "0123456789abcdef";
    out += "\\u00";
    out += kHex[c >> 4];
    out += kHex[c & 15];
  }
  out += '"';
}

template <typename Number>
void write_number(Number number, std::string& out) {
  char digits[32];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), number).ptr);
}

// Depth is bounded by JsonDocument::kMaxDepth.
void write(const JsonValue& value, std::string& out) {
  switch (value.type()) {
    case JsonType::kNull:
      out += "null";
      return;
    case JsonType::kBool:
      out += value.as_bool() ? "true" : "false";
      return;
    case JsonType::kInt:
      return write_number(value.as_int(INT64_MIN, INT64_MAX), out);
    case JsonType::kDouble:
      // With an exponent, or 1e3 would come back as an integer.
      write_number(value.as_double(), out);
      if (out.find_first_of(".e", out.find_last_of(" ") + 1) == std::string::npos) out += "e0";
      return;
    case JsonType::kString:
      return write_string(value.as_string(), out);
    case JsonType::kArray: {
      size_t count = 0;
      out += '[';
      for (const JsonValue item : value.items()) {
        if (count++ > 0) out += ',';
        out += ' ';
        write(item, out);
      }
      check(count == value.size());
      out += ']';
      return;
    }
    case JsonType::kObject: {
      size_t count = 0;
      out += '{';
      for (const auto [key, item] : value.members()) {
        check(value.find(key).has_value());
        if (count++ > 0) out += ',';
        write_string(key, out);
        out += ": ";
        write(item, out);
        if (count > 64) break;  // find() is linear; long objects would only be slow
      }
      out += '}';
      return;
    }
  }
}

std::string written(std::string_view text) {
  const JsonDocument document(text, "input");
  std::string out;
  write(document.root(), out);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string once;
  try {
    once = written({reinterpret_cast<const char*>(data), size});
  } catch (const Error& error) {
    check(error.kind() == ErrorKind::kCorruptFile);
    return 0;
  }
  check(written(once) == once);  // and does not throw
  return 0;
}
