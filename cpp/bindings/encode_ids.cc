// By Python's own calling convention: a short text is encoded in a sixth of a microsecond, and pybind11 takes
// half of one to sort the arguments.
#include "bindings/encode_ids.h"

#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "bindings/text_arguments.h"
#include "text/tokenizer.h"

namespace py = pybind11;

namespace headrace {
namespace {

constexpr const char* kDoc =
    "encode_ids(self: headrace._core.Tokenizer, text: object, *, add_special_tokens: bool = True, "
    "allow_special: "
    "bool = False) -> list[int]\n\nThe ids of one text alone, as a list: quicker than encode().";

struct Flag {
  const char* name;
  bool* value;
};

void read_flag(PyObject* name, PyObject* value, std::span<const Flag> flags) {
  for (const Flag& flag : flags) {
    if (PyUnicode_CompareWithASCIIString(name, flag.name) != 0) continue;
    if (!PyBool_Check(value))
      throw py::type_error(concat("encode_ids(): ", flag.name, " must be a bool, not ", type_name(value)));
    *flag.value = value == Py_True;
    return;
  }
  throw py::type_error(concat("encode_ids() got an unexpected keyword argument '",
                              py::cast<std::string>(py::handle(name)), "'"));
}

PyObject* encode(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  EncodeOptions options{.allow_special = false};
  const Flag flags[] = {{"add_special_tokens", &options.add_special_tokens},
                        {"allow_special", &options.allow_special}};
  PyObject* text = count == 1 ? arguments[0] : nullptr;
  const Py_ssize_t num_names = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < num_names; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(names, i);
    if (count == 0 && PyUnicode_CompareWithASCIIString(name, "text") == 0) {
      text = arguments[i];
    } else {
      read_flag(name, arguments[count + i], flags);
    }
  }
  if (text == nullptr)
    throw py::type_error(concat("encode_ids() takes one text and keyword arguments, but ", count,
                                " positional arguments were given"));
  const auto& tokenizer = py::cast<const Tokenizer&>(py::handle(self));
  const std::string_view view = text_argument(text, "text");
  options.is_utf8 = PyUnicode_Check(text);
  std::vector<int32_t> ids;
  ids.reserve(view.size() / 4 + 8);
  {
    // A short text is done before another thread could have the GIL.
    std::optional<py::gil_scoped_release> release;
    if (view.size() > 2000) release.emplace();
    tokenizer.encode_ids(view, options, ids);
  }
  PyObject* const list = PyList_New(static_cast<Py_ssize_t>(ids.size()));
  if (list == nullptr) throw py::error_already_set();
  for (size_t i = 0; i < ids.size(); ++i) {
    PyObject* const id = PyLong_FromLong(ids[i]);
    if (id == nullptr) {
      Py_DECREF(list);
      throw py::error_already_set();
    }
    PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i), id);
  }
  return list;
}

// Exceptions become Python's as pybind11 translates them.
PyObject* encode_or_raise(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  try {
    return encode(self, arguments, count, names);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (...) {
    py::detail::try_translate_exceptions();
  }
  return nullptr;
}

PyMethodDef method = {"encode_ids", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(&encode_or_raise)),
                      METH_FASTCALL | METH_KEYWORDS, kDoc};

}  // namespace

void add_encode_ids(py::handle tokenizer_class) {
  PyObject* const descriptor =
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(tokenizer_class.ptr()), &method);
  if (descriptor == nullptr) throw py::error_already_set();
  tokenizer_class.attr("encode_ids") = py::reinterpret_steal<py::object>(descriptor);
}

}  // namespace headrace
