// Error -> the Python class of its kind. The classes live in headrace/errors.py, where their docstrings and
// bases are plain Python; they are looked up when the first error is raised, not at import.
#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>

#include <array>
#include <iterator>
#include <tuple>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {
namespace {

// In the order of ErrorKind.
constexpr const char* kClassNames[] = {
    "InvalidArgumentError", "ModelNotFoundError", "CorruptFileError", "UnsupportedError",
    "OverloadedError",      "DeadlineError",      "CancelledError",   "InternalError",
};
using Classes = std::array<py::object, std::size(kClassNames)>;
static_assert(std::tuple_size_v<Classes> == static_cast<size_t>(ErrorKind::kInternal) + 1);

// Looked up once: importing even what is there cost a refusal 30 microseconds, measured with cold caches.
const py::object& class_of(ErrorKind kind) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Classes> storage;
  const auto look_up = [] {
    const py::module_ errors = py::module_::import("headrace.errors");
    Classes classes;
    for (size_t i = 0; i < classes.size(); ++i) classes[i] = errors.attr(kClassNames[i]);
    return classes;
  };
  return storage.call_once_and_store_result(look_up).get_stored()[static_cast<size_t>(kind)];
}

}  // namespace

py::object exception_of(const Error& error) {
  // A message may quote a user's bytes; they are shown escaped when they are not UTF-8.
  const auto message = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      error.message().data(), static_cast<Py_ssize_t>(error.message().size()), "backslashreplace"));
  py::object instance = class_of(error.kind())(message);
  if (!error.code().empty()) instance.attr("code") = error.code();
  if (error.retry_after_ms() > 0)
    instance.attr("retry_after") = static_cast<double>(error.retry_after_ms()) / 1000.0;
  return instance;
}

void register_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      const py::object instance = exception_of(error);
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(instance.ptr())), instance.ptr());
    }
  });
}

}  // namespace headrace
