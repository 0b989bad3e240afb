// The one error type of the core. Thrown at boundaries (a request, a file); kernels never throw.
//
// Message form: what was given, what is allowed, what to do.
//   throw Error(ErrorKind::kInvalidArgument, concat("max_tokens=", n, ": must be between 1 and 4096"));
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace headrace {

enum class ErrorKind {
  kInvalidArgument,  // the caller can fix the request
  kNotFound,         // no such model or file
  kCorruptFile,      // a file contradicts its format or its own size
  kUnsupported,      // valid, but not something this build or machine can do
  kOverloaded,       // try again after retry_after_ms
  kDeadline,         // the request's own time limit passed
  kCancelled,        // the caller withdrew the request
  kInternal,         // a bug in headrace
};

class Error : public std::exception {
 public:
  // code: a short machine-readable name ("context_length_exceeded") or "" when the kind says it all.
  Error(ErrorKind kind, std::string message, std::string code = {}, int64_t retry_after_ms = 0)
      : kind_(kind), message_(std::move(message)), code_(std::move(code)), retry_after_ms_(retry_after_ms) {}

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& code() const { return code_; }
  int64_t retry_after_ms() const { return retry_after_ms_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorKind kind_;
  std::string message_;
  std::string code_;
  int64_t retry_after_ms_;
};

template <typename Part>
void append_part(std::string& out, const Part& part) {
  if constexpr (std::convertible_to<const Part&, std::string_view>) {
    out += std::string_view(part);
  } else if constexpr (std::same_as<Part, char>) {
    out += part;
  } else if constexpr (std::integral<Part> && sizeof(Part) > 1) {
    // A stream costs microseconds to make, and refusals under overload are made of these two.
    char digits[24];
    out.append(digits, std::to_chars(digits, digits + sizeof(digits), part).ptr);
  } else {
    std::ostringstream stream;
    stream << part;
    out += std::move(stream).str();
  }
}

// Joins the parts into one string, each as a stream would write it: concat("rows=", 3) == "rows=3".
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::string out;
  (append_part(out, parts), ...);
  return out;
}

}  // namespace headrace
