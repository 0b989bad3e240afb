// Error -> the Python class of its kind. The classes live in headrace/errors.py, where their docstrings and
// bases are plain Python; they are looked up when the first error is raised, not at import.
#include <pybind11/pybind11.h>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {
namespace {

const char* class_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
      return "InvalidArgumentError";
    case ErrorKind::kNotFound:
      return "ModelNotFoundError";
    case ErrorKind::kCorruptFile:
      return "CorruptFileError";
    case ErrorKind::kUnsupported:
      return "UnsupportedError";
    case ErrorKind::kOverloaded:
      return "OverloadedError";
    case ErrorKind::kDeadline:
      return "DeadlineError";
    case ErrorKind::kCancelled:
      return "CancelledError";
    case ErrorKind::kInternal:
      break;
  }
  return "InternalError";
}

}  // namespace

py::object exception_of(const Error& error) {
  // A message may quote a user's bytes; they are shown escaped when they are not UTF-8.
  const auto message = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      error.message().data(), static_cast<Py_ssize_t>(error.message().size()), "backslashreplace"));
  const py::object type = py::module_::import("headrace.errors").attr(class_name(error.kind()));
  const py::object instance = type(message);
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
