// Tokenizer, Encoding and Ragged for Python.
#include "text/tokenizer.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/encode_ids.h"
#include "bindings/encoding.h"
#include "bindings/memory_file.h"
#include "bindings/text_arguments.h"

namespace py = pybind11;

namespace headrace {
namespace {

struct PyStreamDecoder {
  TokenizerPtr tokenizer;  // outlives the decoder
  StreamDecoder decoder;
};

// Several sequences of ids, one after the other: sequence i is ids[cu_lengths[i]:cu_lengths[i + 1]].
struct Ragged {
  py::array ids;
  py::array cu_lengths;
};

PyEncoding encode(const TokenizerPtr& tokenizer, const py::object& text, const py::object& pair,
                  bool add_special_tokens, std::optional<int64_t> max_tokens, const std::string& truncation,
                  const std::string& truncation_side, std::optional<int64_t> stride, bool allow_special,
                  std::vector<uint32_t> guarded) {
  EncodeOptions options = make_options(add_special_tokens, max_tokens, allow_special);
  set_truncation(options, truncation, truncation_side, stride);
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
                    std::optional<int64_t> max_tokens, const std::string& truncation_side, bool allow_special,
                    std::optional<int> threads) {
  EncodeOptions options = make_options(add_special_tokens, max_tokens, allow_special);
  options.direction = side_argument(truncation_side, "truncation_side");
  const int num_threads = threads_argument(threads);
  const TextsArgument argument(texts, "texts");
  options.is_utf8 = argument.are_str();
  RaggedIds ragged;
  {
    const py::gil_scoped_release release;
    ragged = tokenizer.encode_batch(argument.views(), options, num_threads);
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

constexpr char kEncodeDoc[] = R"(Encodes one text, or two as the model joins them.

Special tokens spelled out in the text stay text unless allow_special; with `guarded`, byte offsets in the text,
those stay text that cover such a byte (see ChatTemplate).

max_tokens keeps that many tokens, special ones included. truncation says which text gives tokens: the longer of
two ("longest_first"), "only_first" or "only_second"; truncation_side, from which end: "right" or "left". With a
stride, what is cut off comes in Encoding.overflowing, in parts that share that many tokens with the part before.

>>> encoding = tokenizer.encode(question, context, max_tokens=384, truncation="only_second", stride=128)  # doctest: +SKIP
>>> parts = [encoding, *encoding.overflowing]  # doctest: +SKIP
)";

constexpr char kEncodePaddedDoc[] = R"(Encodes several texts, or pairs of texts, as one matrix; see Padded.

add_special_tokens to stride: as in encode; with a stride, parts that overflow are rows of their own. Rows are
filled up to the longest, or to `length` where that is more, rounded up to a multiple of multiple_of, with pad_id
and pad_type_id at padding_side. Releases the GIL.

>>> batch = tokenizer.encode_padded(["one", "two words"], pad_id=0)  # doctest: +SKIP
>>> model(batch.ids, batch.attention_mask)  # doctest: +SKIP
)";

py::object ragged_item(const Ragged& self, py::ssize_t index) {
  const py::ssize_t size = self.cu_lengths.size() - 1;
  if (index < 0) index += size;
  if (index < 0 || index >= size)
    throw py::index_error(concat("index out of range for ", size, " sequences"));
  const auto* const bounds = static_cast<const int32_t*>(self.cu_lengths.data());
  return self.ids[py::slice(bounds[index], bounds[index + 1], 1)];
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
  register_ragged(module);
  register_stream_decoder(module);
  py::class_<Tokenizer, std::shared_ptr<Tokenizer>> tokenizer(module, "Tokenizer",
                                                              R"(Text to token ids, as a tokenizer.json says.

Ids, tokens and offsets are those of the `tokenizers` library. The file's truncation and padding are ignored:
pass max_tokens to truncate, and call encode_padded for a matrix.

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
          "json_of_file",
          [](const py::object& path, const std::string& encoding) {
            const auto name = py::module_::import("os").attr("fsdecode")(path).cast<std::string>();
            const py::gil_scoped_release release;
            return Tokenizer::json_of_file(name, encoding);
          },
          py::arg("path"), py::kw_only(), py::arg("encoding") = "",
          "The text of the tokenizer.json that from_file reads or, of other kinds of files, makes.")
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
            const auto files = py::module_::import("headrace.repository")
                                   .attr("tokenizer_files")(directory)
                                   .cast<std::optional<py::dict>>();
            const ModelPath place = model_path(name, files);
            const py::gil_scoped_release release;
            return std::shared_ptr<Tokenizer>(Tokenizer::from_model(place));
          },
          py::arg("model"), "Reads the tokenizer of a model's directory, sealed or not, or of demo:minilm.")
      .def("encode", &encode, py::arg("text"), py::arg("pair") = py::none(), py::kw_only(),
           py::arg("add_special_tokens") = true, py::arg("max_tokens") = py::none(),
           py::arg("truncation") = "longest_first", py::arg("truncation_side") = "right",
           py::arg("stride") = py::none(), py::arg("allow_special") = false,
           py::arg("guarded") = std::vector<uint32_t>(), kEncodeDoc)
      .def("encode_batch", &encode_batch, py::arg("texts"), py::kw_only(),
           py::arg("add_special_tokens") = true, py::arg("max_tokens") = py::none(),
           py::arg("truncation_side") = "right", py::arg("allow_special") = false,
           py::arg("threads") = py::none(),
           "Encodes several texts to ids only, without padding, on `threads` threads, by default one for "
           "every processor. max_tokens and truncation_side: as in encode. Releases the GIL.")
      .def("encode_padded", &encode_padded_arrays, py::arg("texts"), py::arg("pairs") = py::none(),
           py::kw_only(), py::arg("add_special_tokens") = true, py::arg("max_tokens") = py::none(),
           py::arg("truncation") = "longest_first", py::arg("truncation_side") = "right",
           py::arg("stride") = py::none(), py::arg("length") = py::none(),
           py::arg("multiple_of") = py::none(), py::arg("padding_side") = "right", py::arg("pad_id") = 0,
           py::arg("pad_type_id") = 0, py::arg("allow_special") = false, py::arg("threads") = py::none(),
           kEncodePaddedDoc)
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
      .def_property_readonly("kind", &Tokenizer::kind,
                             "The name of its model: WordPiece, BPE, Unigram or WordLevel.")
      .def_property_readonly("vocab_size", &Tokenizer::vocab_size,
                             "The largest id + 1, added tokens included.")
      .def("__repr__", [](const Tokenizer& self) {
        return concat("Tokenizer(", self.kind(), ", ", self.vocab_size(), " tokens)");
      });
}

}  // namespace headrace
