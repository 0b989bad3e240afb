// Fields of a model's config.json that may be left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace headrace {

// A member that is there and not null.
inline std::optional<JsonValue> given(JsonValue object, std::string_view key) {
  const auto value = object.find(key);
  return value && !value->is_null() ? value : std::nullopt;
}

inline int64_t size_or(JsonValue object, std::string_view key, int64_t high, int64_t fallback) {
  const auto value = given(object, key);
  return value ? value->as_int(1, high) : fallback;
}

inline double number_or(JsonValue object, std::string_view key, double low, double high, double fallback) {
  const auto value = given(object, key);
  if (!value) return fallback;
  const double number = value->as_double();
  if (!(number >= low && number <= high))
    value->fail(concat(key, " must lie between ", low, " and ", high, ", not at ", number));
  return number;
}

inline bool flag_or(JsonValue object, std::string_view key, bool fallback) {
  const auto value = given(object, key);
  return value ? value->as_bool() : fallback;
}

[[noreturn]] inline void refuse(const std::string& path, const std::string& what,
                                std::string_view supported) {
  throw Error(ErrorKind::kUnsupported, concat(path, ": ", what, ": supported are ", supported));
}

}  // namespace headrace
