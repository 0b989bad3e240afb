// Tokenizer, Encoding and Ragged for Python.
#include "text/tokenizer.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "base/cpu.h"
#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/encode_ids.h"
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
  py::object pair;  // the second text, or None

  py::str token(size_t index) const {
    std::string_view shown = tokenizer->token(encoding.ids[index]);
    for (const auto& spelling : encoding.spellings)
      if (spelling.index == static_cast<int32_t>(index)) shown = spelling.text;
    return py::str(shown.data(), shown.size());
  }

  // The offsets in bytes of the UTF-8 form of the text.
  std::vector<std::pair<int64_t, int64_t>> byte_offsets() const {
    std::vector<int64_t> starts[2];  // by character
    for (int number = 0; number < (pair.is_none() ? 1 : 2); ++number) {
      const std::string_view bytes = text_argument(number == 0 ? py::object(text) : pair, "text");
      for (size_t i = 0; i < bytes.size(); ++i)
        if ((static_cast<uint8_t>(bytes[i]) & 0xC0) != 0x80)
          starts[number].push_back(static_cast<int64_t>(i));
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

  py::list tokens() const {
    py::list list(encoding.ids.size());
    for (size_t i = 0; i < encoding.ids.size(); ++i) list[i] = token(i);
    return list;
  }
};

struct PyStreamDecoder {
  TokenizerPtr tokenizer;  // outlives the decoder
  StreamDecoder decoder;
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

PyEncoding encode(const TokenizerPtr& tokenizer, const py::object& text, const py::object& pair,
                  bool add_special_tokens, std::optional<int64_t> max_tokens, bool allow_special,
                  std::vector<uint32_t> guarded) {
  EncodeOptions options = make_options(add_special_tokens, max_tokens, allow_special);
  std::sort(guarded.begin(), guarded.end());
  options.guarded = guarded;
  const std::string_view first = text_argument(text, "text");
  const bool is_pair = !pair.is_none();
  const std::string_view second = is_pair ? text_argument(pair, "pair") : std::string_view();
  Encoding encoding;
  {
    const py::gil_scoped_release release;
    encoding = is_pair ? tokenizer->encode_pair(first, second, options) : tokenizer->encode(first, options);
  }
  return {std::move(encoding), tokenizer, py::str(first.data(), first.size()),
          is_pair ? py::object(py::str(second.data(), second.size())) : py::object(py::none())};
}

Ragged encode_batch(const Tokenizer& tokenizer, const py::object& texts, bool add_special_tokens,
                    std::optional<int64_t> max_tokens, bool allow_special, std::optional<int> threads) {
  EncodeOptions options = make_options(add_special_tokens, max_tokens, allow_special);
  if (threads && *threads < 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat("threads=", *threads, ": must be at least 1, or None for every processor"));
  const TextsArgument argument(texts, "texts");
  options.is_utf8 = argument.are_str();
  RaggedIds ragged;
  {
    const py::gil_scoped_release release;
    ragged = tokenizer.encode_batch(argument.views(), options, threads.value_or(available_cpus()));
  }
  return {as_array(std::move(ragged.ids)), as_array(std::move(ragged.cu_lengths))};
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
      .def_property_readonly(
          "num_tokens", [](const PyEncoding& self) { return self.encoding.num_tokens; },
          "How many tokens the text has without max_tokens.")
      .def_readonly("text", &PyEncoding::text, "The text that was encoded.")
      .def_readonly("pair", &PyEncoding::pair, "The second text, or None.")
      .def("__len__", [](const PyEncoding& self) { return self.encoding.ids.size(); })
      .def("__repr__", &encoding_repr)
      .def("_repr_html_", &encoding_html);
}

void register_stream_decoder(py::module_& module) {
  py::class_<PyStreamDecoder>(module, "StreamDecoder", R"(Text of ids that come one by one.

What is handed out is certain: never half a character, and all of it together is decode() of all ids.

>>> stream = tokenizer.stream_decoder()  # doctest: +SKIP
>>> "".join(map(stream.push, ids)) + stream.finish()  # doctest: +SKIP
)")
      .def(
          "push", [](PyStreamDecoder& self, int32_t id) { return self.decoder.push(id); }, py::arg("id"),
          "The text that this id makes certain; may be empty.")
      .def(
          "finish", [](PyStreamDecoder& self) { return self.decoder.finish(); },
          "The text that was still waiting; the decoder is then as new.");
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
  register_stream_decoder(module);
  py::class_<Tokenizer, std::shared_ptr<Tokenizer>> tokenizer(module, "Tokenizer",
                                                              R"(Text to token ids, as a tokenizer.json says.

Ids, tokens and offsets are those of the `tokenizers` library. The file's truncation and padding are ignored:
pass max_tokens to truncate.

>>> tokenizer = headrace.Tokenizer.from_model("path/to/model")  # doctest: +SKIP
>>> tokenizer.encode("Hello world").tokens  # doctest: +SKIP
['[CLS]', 'hello', 'world', '[SEP]']
)");
  add_encode_ids(tokenizer);
  tokenizer
      .def_static(
          "from_file",
          [](const py::object& path, const std::string& encoding) {
            const auto name = py::module_::import("os").attr("fsdecode")(path).cast<std::string>();
            const py::gil_scoped_release release;
            return std::shared_ptr<Tokenizer>(Tokenizer::from_file(name, encoding));
          },
          py::arg("path"), py::kw_only(), py::arg("encoding") = "",
          "Reads a tokenizer.json, vocab.txt, SentencePiece .model, tiktoken rank file or GGUF. encoding: "
          "how a "
          "rank file's text is split, such as 'o200k_base'; by default the file's name.")
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
            const py::object directory =
                py::module_::import("headrace.repository")
                    .attr("resolve")(py::module_::import("os").attr("fsdecode")(model));
            const auto name = py::str(directory).cast<std::string>();
            const py::gil_scoped_release release;
            return std::shared_ptr<Tokenizer>(Tokenizer::from_model(name));
          },
          py::arg("model"), "Reads the tokenizer of a model's directory, or of demo:minilm.")
      .def("encode", &encode, py::arg("text"), py::arg("pair") = py::none(), py::kw_only(),
           py::arg("add_special_tokens") = true, py::arg("max_tokens") = py::none(),
           py::arg("allow_special") = false, py::arg("guarded") = std::vector<uint32_t>(),
           "Encodes one text, or two as the model joins them. max_tokens keeps that many tokens, special "
           "ones included. Special "
           "tokens spelled out in the text stay text unless allow_special; with `guarded`, byte offsets in "
           "the text, "
           "those stay text that cover such a byte (see ChatTemplate).")
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
          "decode_batch",
          [](const Tokenizer& self, const std::vector<std::vector<int32_t>>& batch,
             bool skip_special_tokens) {
            std::vector<std::string> texts;
            for (const auto& ids : batch) texts.push_back(self.decode(ids, skip_special_tokens));
            return texts;
          },
          py::arg("batch"), py::kw_only(), py::arg("skip_special_tokens") = true,
          "The texts of several lists of ids.")
      .def(
          "stream_decoder",
          [](const TokenizerPtr& self, bool skip_special_tokens) {
            return PyStreamDecoder{self, self->stream_decoder(skip_special_tokens)};
          },
          py::kw_only(), py::arg("skip_special_tokens") = true,
          "A decoder for ids that come one by one, as a model generates them.")
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
