// Reads tensors that stand in JSON, without an object for each number: what a client sends to a model of
// tensors.
//
//   [[1, 2.5], [3, 4]]                     an array [2, 2]
//   {"x": [1, 2.5], "id": 7}               members that are such arrays
//
// It reads the plain cases alone. Whatever else may stand there (texts, null, rows of different lengths,
// numbers of more digits than are exact) gives nothing, and is left to a general reader, whose errors are
// good.
//
// Thread-safe: no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace {

struct JsonNumbers {
  std::vector<int64_t> shape;  // of a number alone, none
  std::vector<double> values;  // row-major, each the nearest double
  bool are_integers = true;    // all are written without a point and an exponent; below 10^15, so exact
};

// The value that the whole text is.
std::optional<JsonNumbers> read_json_numbers(std::string_view json);

// The members of the object that the whole text is, in its order. None for names that repeat, or are more
// than printable ASCII without escapes.
std::optional<std::vector<std::pair<std::string, JsonNumbers>>> read_json_tensors(std::string_view json);

}  // namespace headrace
