// Strings that end a generated text, found across the borders of its pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace headrace {

class StopStrings {
 public:
  // None of them empty.
  explicit StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {}

  // Adds a piece; returns the text that is certain not to be, or begin, one of the strings. Once one is
  // found, what stood before it is returned, found() is true, and the rest is dropped.
  std::string push(std::string_view piece);
  // What was held back, when no more comes.
  std::string finish() { return std::move(held_); }
  bool found() const { return found_; }

 private:
  std::vector<std::string> strings_;
  std::string held_;
  bool found_ = false;
};

}  // namespace headrace
