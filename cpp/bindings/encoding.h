// What Python sees of encoded texts: Encoding and Padded.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace headrace {

namespace py = pybind11;

using TokenizerPtr = std::shared_ptr<Tokenizer>;

// One encoded text, with what it takes to show its tokens.
struct PyEncoding {
  Encoding encoding;
  TokenizerPtr tokenizer;
  py::str text;
  py::object pair;  // the second text, or None

  py::str token(size_t index) const;
  py::list tokens() const;
  // The offsets in bytes of the UTF-8 form of the text.
  std::vector<std::pair<int64_t, int64_t>> byte_offsets() const;
  std::vector<PyEncoding> overflowing() const;
};

// Several encoded texts as one matrix, each member a numpy array.
struct Padded {
  py::array ids;
  py::array type_ids;
  py::array attention_mask;
  py::array special_tokens_mask;
  py::array sequence_ids;
  py::array offsets;
  py::array rows;
};

// A numpy array that owns the vector's memory; nothing is copied. shape: by default that of a vector.
py::array as_array(std::vector<int32_t>&& values, std::vector<py::ssize_t> shape = {});

// Arguments that several methods have. They throw Error(kInvalidArgument) for values that are not allowed.
EncodeOptions make_options(bool add_special_tokens, std::optional<int64_t> max_tokens, bool allow_special);
Direction side_argument(const std::string& side, const char* name);
void set_truncation(EncodeOptions& options, const std::string& strategy, const std::string& side,
                    std::optional<int64_t> stride);
int threads_argument(std::optional<int> threads);

Padded encode_padded_arrays(const Tokenizer& tokenizer, const py::object& texts, const py::object& pairs,
                            bool add_special_tokens, std::optional<int64_t> max_tokens,
                            const std::string& truncation, const std::string& truncation_side,
                            std::optional<int64_t> stride, std::optional<int64_t> length,
                            std::optional<int64_t> multiple_of, const std::string& padding_side,
                            int32_t pad_id, int32_t pad_type_id, bool allow_special,
                            std::optional<int> threads);

}  // namespace headrace
