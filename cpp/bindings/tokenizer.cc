// Tokenizer, Encoding and Ragged for Python.
#include "text/tokenizer.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "base/cpu.h"
#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/text_arguments.h"

namespace py = pybind11;

namespace headrace {
namespace {

using TokenizerPtr = std::shared_ptr<Tokenizer>;

// One encoded text, with what it takes to show its tokens.
struct PyEncoding {
  Encoding encoding;
  TokenizerPtr tokenizer;
  py::str text;

  py::str token(size_t index) const {
    std::string_view shown = tokenizer->token(encoding.ids[index]);
    for (const auto& spelling : encoding.spellings)
      if (spelling.index == static_cast<int32_t>(index)) shown = spelling.text;
    return py::str(shown.data(), shown.size());
  }

  py::list tokens() const {
    py::list list(encoding.ids.size());
    for (size_t i = 0; i < encoding.ids.size(); ++i) list[i] = token(i);
    return list;
  }
};

// Several sequences of ids, one after the other: sequence i is ids[cu_lengths[i]:cu_lengths[i + 1]].
struct Ragged {
  py::array ids;
  py::array cu_lengths;
};

// A numpy array that owns the vector's memory; nothing is copied.
py::array as_array(std::vector<int32_t>&& values) {
  auto owned = std::make_unique<std::vector<int32_t>>(std::move(values));
  std::vector<int32_t>* const vector = owned.get();
  const py::capsule owner(owned.release(), [](void* p) { delete static_cast<std::vector<int32_t>*>(p); });
  return py::array_t<int32_t>(static_cast<py::ssize_t>(vector->size()), vector->data(), owner);
}

EncodeOptions make_options(bool add_special_tokens, std::optional<int64_t> max_tokens, bool allow_special) {
  if (max_tokens && *max_tokens < 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat("max_tokens=", *max_tokens, ": must be at least 1, or None for no limit"));
  return {.add_special_tokens = add_special_tokens,
          .allow_special = allow_special,
          .max_tokens = max_tokens.value_or(0)};
}

PyEncoding encode(const TokenizerPtr& tokenizer, const py::object& text, bool add_special_tokens,
                  std::optional<int64_t> max_tokens, bool allow_special, std::vector<uint32_t> guarded) {
  EncodeOptions options = make_options(add_special_tokens, max_tokens, allow_special);
  std::sort(guarded.begin(), guarded.end());
  options.guarded = guarded;
  const std::string_view view = text_argument(text, "text");
  Encoding encoding;
  {
    const py::gil_scoped_release release;
    encoding = tokenizer->encode(view, options);
  }
  return {std::move(encoding), tokenizer, py::str(view.data(), view.size())};
}

Ragged encode_batch(const Tokenizer& tokenizer, const py::object& texts, bool add_special_tokens,
                    std::optional<int64_t> max_tokens, bool allow_special, std::optional<int> threads) {
  const EncodeOptions options = make_options(add_special_tokens, max_tokens, allow_special);
  if (threads && *threads < 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat("threads=", *threads, ": must be at least 1, or None for every processor"));
  const TextsArgument argument(texts, "texts");
  RaggedIds ragged;
  {
    const py::gil_scoped_release release;
    ragged = tokenizer.encode_batch(argument.views(), options, threads.value_or(available_cpus()));
  }
  return {as_array(std::move(ragged.ids)), as_array(std::move(ragged.cu_lengths))};
}

std::vector<int32_t> encode_ids(const Tokenizer& tokenizer, const py::object& text, bool add_special_tokens,
                                bool allow_special) {
  const std::string_view view = text_argument(text, "text");
  std::vector<int32_t> ids;
  // A short text is done before another thread could have the GIL.
  std::optional<py::gil_scoped_release> release;
  if (view.size() > 2000) release.emplace();
  tokenizer.encode_ids(view, {.add_special_tokens = add_special_tokens, .allow_special = allow_special}, ids);
  return ids;
}

int64_t count(const Tokenizer& tokenizer, const py::object& text, bool add_special_tokens,
              bool allow_special) {
  const std::string_view view = text_argument(text, "text");
  const py::gil_scoped_release release;
  return tokenizer.count(view, {add_special_tokens, allow_special});
}

std::optional<py::str> id_to_token(const Tokenizer& tokenizer, int32_t id) {
  const std::string_view token = tokenizer.token(id);
  if (token.data() == nullptr) return std::nullopt;
  return py::str(token.data(), token.size());
}

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

py::object ragged_item(const Ragged& self, py::ssize_t index) {
  const py::ssize_t size = self.cu_lengths.size() - 1;
  if (index < 0) index += size;
  if (index < 0 || index >= size)
    throw py::index_error(concat("index out of range for ", size, " sequences"));
  const auto* const bounds = static_cast<const int32_t*>(self.cu_lengths.data());
  return self.ids[py::slice(bounds[index], bounds[index + 1], 1)];
}

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
      .def_property_readonly(
          "type_ids", [](const PyEncoding& self) { return self.encoding.type_ids; },
          "For each token the segment that it belongs to.")
      .def_property_readonly(
          "special_tokens_mask",
          [](const PyEncoding& self) {
            return std::vector<int>(self.encoding.special_mask.begin(), self.encoding.special_mask.end());
          },
          "For each token 1 if the template added it, else 0.")
      .def_property_readonly(
          "num_tokens", [](const PyEncoding& self) { return self.encoding.num_tokens; },
          "How many tokens the text has without max_tokens.")
      .def_readonly("text", &PyEncoding::text, "The text that was encoded.")
      .def("__len__", [](const PyEncoding& self) { return self.encoding.ids.size(); })
      .def("__repr__", &encoding_repr)
      .def("_repr_html_", &encoding_html);
}

void register_ragged(py::module_& module) {
  py::class_<Ragged>(module, "Ragged",
                     "Sequences of different lengths without padding: sequence i is "
                     "ids[cu_lengths[i]:cu_lengths[i + 1]].")
      .def_readonly("ids", &Ragged::ids, "All token ids, int32.")
      .def_readonly("cu_lengths", &Ragged::cu_lengths, "Where each sequence begins, and the total; int32.")
      .def("__len__", [](const Ragged& self) { return self.cu_lengths.size() - 1; })
      .def("__getitem__", &ragged_item, py::arg("index"), "The ids of one sequence, a view.")
      .def("__repr__", [](const Ragged& self) {
        return concat("Ragged(", self.cu_lengths.size() - 1, " sequences, ", self.ids.size(), " tokens)");
      });
}

}  // namespace

void register_tokenizer(py::module_& module) {
  register_encoding(module);
  register_ragged(module);
  py::class_<Tokenizer, std::shared_ptr<Tokenizer>>(module, "Tokenizer",
                                                    R"(Text to token ids, as a tokenizer.json says.

Ids, tokens and offsets are those of the `tokenizers` library. The file's truncation and padding are ignored:
pass max_tokens to truncate.

>>> tokenizer = headrace.Tokenizer.from_model("path/to/model")  # doctest: +SKIP
>>> tokenizer.encode("Hello world").tokens  # doctest: +SKIP
['[CLS]', 'hello', 'world', '[SEP]']
)")
      .def_static(
          "from_file",
          [](const py::object& path) {
            const auto name = py::module_::import("os").attr("fsdecode")(path).cast<std::string>();
            const py::gil_scoped_release release;
            return std::shared_ptr<Tokenizer>(Tokenizer::from_file(name));
          },
          py::arg("path"), "Reads a tokenizer.json.")
      .def_static(
          "from_str",
          [](std::string_view json) {
            const py::gil_scoped_release release;
            return std::shared_ptr<Tokenizer>(Tokenizer::from_json(json, "the tokenizer.json given"));
          },
          py::arg("json"), "Reads the text of a tokenizer.json.")
      .def_static(
          "from_model",
          [](const py::object& model) {
            const py::object directory = py::module_::import("headrace.repository").attr("resolve")(model);
            const auto name = py::str(directory).cast<std::string>();
            const py::gil_scoped_release release;
            return std::shared_ptr<Tokenizer>(Tokenizer::from_file(name + "/tokenizer.json"));
          },
          py::arg("model"), "Reads the tokenizer.json of a model's directory, or of demo:minilm.")
      .def("encode", &encode, py::arg("text"), py::kw_only(), py::arg("add_special_tokens") = true,
           py::arg("max_tokens") = py::none(), py::arg("allow_special") = false,
           py::arg("guarded") = std::vector<uint32_t>(),
           "Encodes one text. max_tokens keeps that many tokens, special ones included. Special "
           "tokens spelled out in the text stay text unless allow_special; with `guarded`, byte offsets in "
           "the text, "
           "those stay text that cover such a byte (see ChatTemplate).")
      .def("encode_ids", &encode_ids, py::arg("text"), py::kw_only(), py::arg("add_special_tokens") = true,
           py::arg("allow_special") = false, "The ids of one text alone, as a list: quicker than encode().")
      .def("encode_batch", &encode_batch, py::arg("texts"), py::kw_only(),
           py::arg("add_special_tokens") = true, py::arg("max_tokens") = py::none(),
           py::arg("allow_special") = false, py::arg("threads") = py::none(),
           "Encodes several texts to ids only, on `threads` threads, by default one for every processor. "
           "Releases "
           "the GIL.")
      .def("count", &count, py::arg("text"), py::kw_only(), py::arg("add_special_tokens") = true,
           py::arg("allow_special") = false, "How many tokens the text has; no ids are made for Python.")
      .def(
          "decode",
          [](const Tokenizer& self, const std::vector<int32_t>& ids, bool skip_special_tokens) {
            return self.decode(ids, skip_special_tokens);
          },
          py::arg("ids"), py::kw_only(), py::arg("skip_special_tokens") = true,
          "The text that the ids stand for; ids that no token has are left out.")
      .def(
          "special_tokens",
          [](const Tokenizer& self) {
            std::vector<std::string_view> tokens;
            for (const int32_t id : self.special_ids()) tokens.push_back(self.token(id));
            return tokens;
          },
          "The special tokens, which a text spells in vain unless allow_special.")
      .def(
          "token_to_id", [](const Tokenizer& self, std::string_view token) { return self.token_id(token); },
          py::arg("token"), "The id of a token, or None.")
      .def("id_to_token", &id_to_token, py::arg("id"), "The token of an id, or None.")
      .def_property_readonly("vocab_size", &Tokenizer::vocab_size,
                             "The largest id + 1, added tokens included.")
      .def("__repr__", [](const Tokenizer& self) {
        return concat("Tokenizer(", self.kind(), ", ", self.vocab_size(), " tokens)");
      });
}

}  // namespace headrace
