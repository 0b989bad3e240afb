// PersonalDataFinder and PersonalDataStream: findings as tuples (kind, begin, end), in characters of the str.
#include "text/personal_data.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/text_arguments.h"
#include "text/personal_data_stream.h"

namespace py = pybind11;

namespace headrace {
namespace {

using FoundTuple = std::tuple<std::string_view, size_t, size_t>;

std::vector<std::string_view> kind_names() {
  std::vector<std::string_view> names;
  for (size_t kind = 0; (kAllPersonalKinds >> kind & 1) != 0; ++kind)
    names.push_back(personal_kind_name(static_cast<PersonalKind>(kind)));
  return names;
}

PersonalKinds kinds_of(const std::vector<std::string>& wanted, bool placeholders) {
  PersonalKinds kinds = placeholders ? bit_of(PersonalKind::kPlaceholder) : 0;
  const std::vector<std::string_view> names = kind_names();
  for (const std::string& name : wanted) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      std::string allowed;
      for (const std::string_view one : names) allowed += concat(allowed.empty() ? "" : ", ", one);
      throw Error(
          ErrorKind::kInvalidArgument,
          concat("kinds: got '", name, "', which is no kind of personal data; choose from ", allowed));
    }
    kinds |= PersonalKinds{1} << (found - names.begin());
  }
  return kinds;
}

// Byte offsets as offsets in characters, for findings in their order.
std::vector<FoundTuple> in_characters(std::string_view text, const std::vector<Finding>& findings) {
  std::vector<FoundTuple> out;
  out.reserve(findings.size());
  size_t at = 0;
  size_t characters = 0;
  const auto count_to = [&](size_t end) {
    for (; at < end; ++at) characters += (static_cast<uint8_t>(text[at]) & 0xC0) != 0x80 ? 1 : 0;
    return characters;
  };
  for (const Finding& finding : findings) {
    const size_t begin = count_to(finding.begin);
    out.emplace_back(personal_kind_name(finding.kind), begin, count_to(finding.end));
  }
  return out;
}

std::vector<FoundTuple> find(PersonalKinds kinds, const py::object& text) {
  const std::string_view view = text_argument(text, "text");
  const py::gil_scoped_release release;
  return in_characters(view, find_personal_data(view, kinds));
}

using ReleasedTuple = std::pair<py::str, std::vector<FoundTuple>>;

ReleasedTuple released(const PersonalDataStream::Released& out) {
  // A lone surrogate of a str is three bytes here and goes back to what it was.
  PyObject* const text =
      PyUnicode_DecodeUTF8(out.text.data(), static_cast<Py_ssize_t>(out.text.size()), "surrogatepass");
  if (text == nullptr) throw py::error_already_set();
  return {py::reinterpret_steal<py::str>(text), in_characters(out.text, out.findings)};
}

struct PersonalDataFinder {
  PersonalKinds kinds;
};

}  // namespace

void register_personal_data(py::module_& module) {
  module.def("personal_data_kinds", &kind_names,
             "The names of the kinds of personal data that can be found.");

  py::class_<PersonalDataStream>(module, "PersonalDataStream",
                                 "Finds personal data in text that arrives in pieces.")
      .def(
          "feed",
          [](PersonalDataStream& self, const py::object& piece) {
            return released(self.feed(text_argument(piece, "piece")));
          },
          py::arg("piece"), "Takes a piece; returns the text that is settled by now, and its findings.")
      .def(
          "finish", [](PersonalDataStream& self) { return released(self.finish()); },
          "The rest and its findings; another text may follow.");

  py::class_<PersonalDataFinder>(module, "PersonalDataFinder",
                                 "Finds personal data of some kinds. Thread-safe.")
      .def(py::init([](const std::vector<std::string>& kinds, bool placeholders) {
             return PersonalDataFinder{kinds_of(kinds, placeholders)};
           }),
           py::arg("kinds"), py::kw_only(), py::arg("placeholders") = false)
      .def(
          "find",
          [](const PersonalDataFinder& self, const py::object& text) { return find(self.kinds, text); },
          py::arg("text"), "(kind, begin, end) for each finding, in their order; offsets in characters.")
      .def(
          "stream", [](const PersonalDataFinder& self) { return PersonalDataStream(self.kinds); },
          "For a text that arrives in pieces.");
}

}  // namespace headrace
