// Tokenizer.encode_ids for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace headrace {

// Adds the method to the class.
void add_encode_ids(pybind11::handle tokenizer_class);

}  // namespace headrace
