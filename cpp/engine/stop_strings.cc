#include "engine/stop_strings.h"

#include <algorithm>

namespace headrace {

std::string StopStrings::push(std::string_view piece) {
  if (strings_.empty()) return std::string(piece);
  held_ += piece;
  size_t first = std::string::npos;
  for (const std::string& string : strings_) first = std::min(first, held_.find(string));
  if (first != std::string::npos) {
    found_ = true;
    held_.resize(first);
    return std::move(held_);
  }
  // The longest end of the text that begins one of the strings may still become it.
  size_t kept = 0;
  for (const std::string& string : strings_)
    for (size_t length = std::min(string.size() - 1, held_.size()); length > kept; --length)
      if (held_.ends_with(std::string_view(string).substr(0, length))) kept = length;
  std::string certain = held_.substr(0, held_.size() - kept);
  held_.erase(0, held_.size() - kept);
  return certain;
}

}  // namespace headrace
