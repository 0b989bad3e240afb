#include "bindings/text_arguments.h"

#include "base/error.h"

namespace py = pybind11;

namespace headrace {
namespace {

// "text" or "texts[3]"; made only when something is wrong with it.
std::string name_of(const char* what, int64_t index) {
  return index < 0 ? std::string(what) : concat(what, "[", index, "]");
}

[[noreturn]] void fail_surrogate(py::handle text, const std::string& what) {
  PyErr_Clear();
  const Py_ssize_t length = PyUnicode_GetLength(text.ptr());
  Py_ssize_t at = 0;
  while (at < length && !Py_UNICODE_IS_SURROGATE(PyUnicode_ReadChar(text.ptr(), at))) ++at;
  throw Error(ErrorKind::kInvalidArgument,
              concat(what, " holds a lone surrogate at character ", at,
                     ", which is no text: decode its bytes with errors='replace' or repair it"));
}

}  // namespace

std::string type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

std::string_view text_argument(py::handle object, const char* what, int64_t index) {
  if (PyUnicode_Check(object.ptr())) {
    Py_ssize_t size = 0;
    const char* const data = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
    if (data == nullptr) fail_surrogate(object, name_of(what, index));
    return {data, static_cast<size_t>(size)};
  }
  if (PyBytes_Check(object.ptr()))
    return {PyBytes_AS_STRING(object.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(object.ptr()))};
  throw py::type_error(concat(name_of(what, index), " must be a str, not ", type_name(object)));
}

TextsArgument::TextsArgument(py::handle iterable, const char* what) {
  if (PyUnicode_Check(iterable.ptr()) || PyBytes_Check(iterable.ptr()))
    throw py::type_error(
        concat(what, " must be several texts, such as a list of str, not one ", type_name(iterable)));
  PyObject* const objects = PySequence_Tuple(iterable.ptr());
  if (objects == nullptr) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    throw py::type_error(
        concat(what, " must be several texts, such as a list of str, not ", type_name(iterable)));
  }
  objects_ = py::reinterpret_steal<py::tuple>(objects);
  views_.reserve(objects_.size());
  for (size_t i = 0; i < objects_.size(); ++i) {
    PyObject* const text = PyTuple_GET_ITEM(objects, static_cast<Py_ssize_t>(i));
    are_str_ = are_str_ && PyUnicode_Check(text);
    views_.push_back(text_argument(text, what, static_cast<int64_t>(i)));
  }
}

}  // namespace headrace
