// Parses arbitrary bytes as JSON and walks everything that was read.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

namespace {

// Returns how many values there are, so that a walk that goes astray is noticed.
size_t walk(headrace::JsonValue value) {
  size_t count = 1;
  switch (value.type()) {
    case headrace::JsonType::kString:
      if (headrace::utf8_first_invalid(value.as_string()) != value.as_string().size()) std::abort();
      break;
    case headrace::JsonType::kArray:
      for (headrace::JsonValue item : value.items()) count += walk(item);
      break;
    case headrace::JsonType::kObject:
      for (auto [key, member] : value.members()) {
        if (!value.find(key)) std::abort();
        count += walk(member);
      }
      break;
    case headrace::JsonType::kInt:
    case headrace::JsonType::kDouble:
      if (value.as_double() != value.as_double()) std::abort();
      break;
    default:
      break;
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // find() takes time in proportion to the members before it; long objects would only slow the search down.
  if (size > 4096) return 0;
  try {
    const headrace::JsonDocument document(std::string_view(reinterpret_cast<const char*>(data), size),
                                          "fuzz");
    if (walk(document.root()) > size) std::abort();
  } catch (const headrace::Error& error) {
    if (error.kind() != headrace::ErrorKind::kCorruptFile) std::abort();
  }
  return 0;
}
