// Where we are in a binary file; nothing is read behind its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.h"

namespace headrace {

class ByteCursor {
 public:
  // name, of the file, and part, of what is read, are used in messages; all outlive this.
  ByteCursor(std::string_view bytes, const std::string& name, const char* part, size_t at)
      : bytes_(bytes), name_(name), part_(part), at_(at) {}

  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }

  // Little-endian, as the machine is.
  template <typename Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view take(uint64_t count) {
    if (count > left()) fail("the file ends too early");
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kCorruptFile, concat(name_, ": ", part_, " at byte ", at_, ": ", what));
  }

 private:
  std::string_view bytes_;
  const std::string& name_;
  const char* part_;
  size_t at_;
};

}  // namespace headrace
