// Encoding for Python.
#include "bindings/encoding.h"

#include "bindings/bindings.h"
#include "bindings/text_arguments.h"

namespace headrace {
py::str PyEncoding::token(size_t index) const {
  std::string_view shown = tokenizer->token(encoding.ids[index]);
  for (const auto& spelling : encoding.spellings)
    if (spelling.index == static_cast<int32_t>(index)) shown = spelling.text;
  return py::str(shown.data(), shown.size());
}

py::list PyEncoding::tokens() const {
  py::list list(encoding.ids.size());
  for (size_t i = 0; i < encoding.ids.size(); ++i) list[i] = token(i);
  return list;
}

std::vector<std::pair<int64_t, int64_t>> PyEncoding::byte_offsets() const {
  std::vector<int64_t> starts[2];  // by character
  for (int number = 0; number < (pair.is_none() ? 1 : 2); ++number) {
    const std::string_view bytes = text_argument(number == 0 ? py::object(text) : pair, "text");
    for (size_t i = 0; i < bytes.size(); ++i)
      if ((static_cast<uint8_t>(bytes[i]) & 0xC0) != 0x80) starts[number].push_back(static_cast<int64_t>(i));
    starts[number].push_back(static_cast<int64_t>(bytes.size()));
  }
  std::vector<std::pair<int64_t, int64_t>> offsets;
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    const auto& of = starts[encoding.sequence_ids[i] == 1 ? 1 : 0];
    const auto [begin, end] = encoding.offsets[i];
    offsets.emplace_back(of[static_cast<size_t>(begin)], of[static_cast<size_t>(end)]);
  }
  return offsets;
}

std::vector<PyEncoding> PyEncoding::overflowing() const {
  std::vector<PyEncoding> parts;
  for (const Encoding& part : encoding.overflowing) parts.push_back({part, tokenizer, text, pair});
  return parts;
}

namespace {

py::str encoding_repr(const PyEncoding& self) {
  constexpr size_t kShown = 12;
  py::list shown;
  for (size_t i = 0; i < std::min(kShown, self.encoding.ids.size()); ++i) shown.append(self.token(i));
  return py::str("Encoding({} tokens: {}{})")
      .format(self.encoding.ids.size(), py::str(", ").attr("join")(shown),
              self.encoding.ids.size() > kShown ? ", ..." : "");
}

py::str encoding_html(const PyEncoding& self) {
  static constexpr const char* kColours[] = {"#cfe8ff", "#d9f2d0", "#fff0c2", "#ffd9d9", "#e6dcff"};
  const py::object escape = py::module_::import("html").attr("escape");
  const py::str span(
      "<span style=\"background:{};color:#111;padding:1px 3px;margin:1px;border-radius:3px;"
      "display:inline-block;white-space:pre\" title=\"id {}, characters {}:{}\">{}</span>");
  py::list parts;
  for (size_t i = 0; i < self.encoding.ids.size(); ++i) {
    const auto [begin, end] = self.encoding.offsets[i];
    const char* const colour = self.encoding.special_mask[i] ? "#dddddd" : kColours[i % std::size(kColours)];
    parts.append(span.format(colour, self.encoding.ids[i], begin, end, escape(self.token(i))));
  }
  return py::str("<div>{}</div><small>{} tokens</small>")
      .format(py::str("").attr("join")(parts), self.encoding.ids.size());
}

}  // namespace

void register_encoding(py::module_& module) {
  py::class_<PyEncoding>(module, "Encoding",
                         "One encoded text: ids, and where in the text each token stands.")
      .def_property_readonly(
          "ids", [](const PyEncoding& self) { return self.encoding.ids; }, "The token ids.")
      .def_property_readonly("tokens", &PyEncoding::tokens, "The tokens as strings.")
      .def_property_readonly(
          "offsets", [](const PyEncoding& self) { return self.encoding.offsets; },
          "For each token its (begin, end) in characters of the text; (0, 0) for tokens that the template "
          "added.")
      .def_property_readonly("byte_offsets", &PyEncoding::byte_offsets,
                             "The offsets in bytes of the UTF-8 form of the text.")
      .def_property_readonly(
          "sequence_ids",
          [](const PyEncoding& self) {
            py::list ids;
            for (const int32_t number : self.encoding.sequence_ids)
              ids.append(number < 0 ? py::object(py::none()) : py::object(py::int_(number)));
            return ids;
          },
          "For each token 0 or 1, the text it is from, or None if the template added it.")
      .def_property_readonly(
          "type_ids", [](const PyEncoding& self) { return self.encoding.type_ids; },
          "For each token the segment that it belongs to.")
      .def_property_readonly(
          "special_tokens_mask",
          [](const PyEncoding& self) {
            return std::vector<int>(self.encoding.special_mask.begin(), self.encoding.special_mask.end());
          },
          "For each token 1 if the template added it, else 0.")
      .def_property_readonly("overflowing", &PyEncoding::overflowing,
                             "What max_tokens cut off, in parts with the same template around them; empty "
                             "unless a stride was given.")
      .def_property_readonly(
          "num_tokens", [](const PyEncoding& self) { return self.encoding.num_tokens; },
          "How many tokens the text has without max_tokens.")
      .def_readonly("text", &PyEncoding::text, "The text that was encoded.")
      .def_readonly("pair", &PyEncoding::pair, "The second text, or None.")
      .def("__len__", [](const PyEncoding& self) { return self.encoding.ids.size(); })
      .def("__repr__", &encoding_repr)
      .def("_repr_html_", &encoding_html);
}

}  // namespace headrace
