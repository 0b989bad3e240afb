// Text that comes from Python.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace headrace {

// The name of an object's type, for messages: "int".
std::string type_name(pybind11::handle object);

// The UTF-8 form of a str or bytes object, owned by that object. `what` names the argument in messages, and
// index, unless negative, its item.
// Throws py::type_error for other types and kInvalidArgument for a str with a lone surrogate, which no UTF-8
// has.
std::string_view text_argument(pybind11::handle object, const char* what, int64_t index = -1);

// Several texts. The objects are kept alive, so the views stay valid without the GIL.
class TextsArgument {
 public:
  // Any iterable of str but a str itself.
  TextsArgument(pybind11::handle iterable, const char* what);
  const std::vector<std::string_view>& views() const { return views_; }
  // Whether each is a str, and so well-formed UTF-8; bytes may be anything.
  bool are_str() const { return are_str_; }

 private:
  pybind11::tuple objects_;
  std::vector<std::string_view> views_;
  bool are_str_ = true;
};

}  // namespace headrace
