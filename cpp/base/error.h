// The one error type of the core. Thrown at boundaries (a request, a file); kernels never throw.
//
// Message form: what was given, what is allowed, what to do.
//   throw Error(ErrorKind::kInvalidArgument, concat("max_tokens=", n, ": must be between 1 and 4096"));
#pragma once

#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
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

// Joins the parts into one string: concat("rows=", 3) == "rows=3".
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

}  // namespace headrace
