// What is said about a text that cannot be taken. Private to engine/.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace headrace {

// argument: the name of the caller's list.
[[noreturn]] inline void refuse_length(const char* argument, size_t index, int64_t tokens, int64_t limit) {
  throw Error(ErrorKind::kInvalidArgument,
              concat(argument, "[", index, "] has ", tokens, " tokens; this model takes at most ", limit,
                     ". Shorten it, or pass truncate=true to cut it"),
              "context_length_exceeded");
}

[[noreturn]] inline void refuse_empty(const char* argument, size_t index) {
  throw Error(ErrorKind::kInvalidArgument,
              concat(argument, "[", index, "] is an empty string; every text needs a character"));
}

// Runs work(); what it throws names the text.
template <typename Work>
void in_input(const char* argument, size_t index, Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    throw Error(error.kind(), concat(argument, "[", index, "]: ", error.message()), error.code());
  }
}

}  // namespace headrace
