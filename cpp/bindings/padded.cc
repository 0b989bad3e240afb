// Padded for Python, and the arguments that say how texts are cut and filled up.
#include <limits>

#include "base/cpu.h"
#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/encoding.h"
#include "bindings/text_arguments.h"
#include "text/encode_padded.h"

namespace headrace {
namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kInvalidArgument, message); }

int64_t count_argument(std::optional<int64_t> value, const char* name) {
  if (!value) return 0;
  if (*value < 1 || *value > std::numeric_limits<int32_t>::max())
    fail(concat(name, "=", *value, ": must be from 1 to 2147483647, or None"));
  return *value;
}

}  // namespace

py::array as_array(std::vector<int32_t>&& values, std::vector<py::ssize_t> shape) {
  auto owned = std::make_unique<std::vector<int32_t>>(std::move(values));
  std::vector<int32_t>* const vector = owned.get();
  const py::capsule owner(owned.release(), [](void* p) { delete static_cast<std::vector<int32_t>*>(p); });
  if (shape.empty()) shape.push_back(static_cast<py::ssize_t>(vector->size()));
  return py::array_t<int32_t>(std::move(shape), vector->data(), owner);
}

EncodeOptions make_options(bool add_special_tokens, std::optional<int64_t> max_tokens, bool allow_special) {
  if (max_tokens && *max_tokens < 1)
    fail(concat("max_tokens=", *max_tokens, ": must be at least 1, or None for no limit"));
  return {.add_special_tokens = add_special_tokens,
          .allow_special = allow_special,
          .max_tokens = max_tokens.value_or(0)};
}

Direction side_argument(const std::string& side, const char* name) {
  if (side != "left" && side != "right") fail(concat(name, "='", side, "': must be 'left' or 'right'"));
  return side == "left" ? Direction::kLeft : Direction::kRight;
}

void set_truncation(EncodeOptions& options, const std::string& strategy, const std::string& side,
                    std::optional<int64_t> stride) {
  using Strategy = Truncation::Strategy;
  if (strategy != "longest_first" && strategy != "only_first" && strategy != "only_second")
    fail(concat("truncation='", strategy, "': must be 'longest_first', 'only_first' or 'only_second'"));
  if (stride && options.max_tokens == 0) fail("stride: there is nothing to cut off without max_tokens");
  options.strategy = strategy == "longest_first" ? Strategy::kLongestFirst
                     : strategy == "only_first"  ? Strategy::kOnlyFirst
                                                 : Strategy::kOnlySecond;
  options.direction = side_argument(side, "truncation_side");
  options.stride = stride;
}

int threads_argument(std::optional<int> threads) {
  if (threads && *threads < 1)
    fail(concat("threads=", *threads, ": must be at least 1, or None for every processor"));
  return threads.value_or(available_cpus());
}

Padded encode_padded_arrays(const Tokenizer& tokenizer, const py::object& texts, const py::object& pairs,
                            bool add_special_tokens, std::optional<int64_t> max_tokens,
                            const std::string& truncation, const std::string& truncation_side,
                            std::optional<int64_t> stride, std::optional<int64_t> length,
                            std::optional<int64_t> multiple_of, const std::string& padding_side,
                            int32_t pad_id, int32_t pad_type_id, bool allow_special,
                            std::optional<int> threads) {
  EncodeOptions options = make_options(add_special_tokens, max_tokens, allow_special);
  set_truncation(options, truncation, truncation_side, stride);
  const Padding padding = {.length = count_argument(length, "length"),
                           .multiple_of = count_argument(multiple_of, "multiple_of"),
                           .direction = side_argument(padding_side, "padding_side"),
                           .id = pad_id,
                           .type_id = pad_type_id};
  const int num_threads = threads_argument(threads);
  const TextsArgument first(texts, "texts");
  std::optional<TextsArgument> second;
  if (!pairs.is_none()) second.emplace(pairs, "pairs");
  if (second && second->views().size() != first.views().size())
    fail(concat("pairs: must be as many as texts, ", first.views().size(), ", not ", second->views().size()));
  const auto pair_views = second ? second->views() : std::vector<std::string_view>();
  PaddedBatch batch;
  {
    const py::gil_scoped_release release;
    batch = encode_padded(tokenizer, first.views(), pair_views, options, padding, num_threads);
  }
  const py::ssize_t rows = batch.num_rows, width = batch.width;
  const auto matrix = [&](std::vector<int32_t>& values) {
    return as_array(std::move(values), {rows, width});
  };
  return {matrix(batch.ids),
          matrix(batch.type_ids),
          matrix(batch.attention_mask),
          matrix(batch.special_tokens_mask),
          matrix(batch.sequence_ids),
          as_array(std::move(batch.offsets), {rows, width, 2}),
          as_array(std::move(batch.rows), {rows})};
}

void register_padded(py::module_& module) {
  py::class_<Padded>(module, "Padded",
                     "Several encoded texts, or pairs of texts, as one matrix: int32 arrays [rows, width].")
      .def_readonly("ids", &Padded::ids, "The token ids.")
      .def_readonly("attention_mask", &Padded::attention_mask, "0 for padding, else 1.")
      .def_readonly("type_ids", &Padded::type_ids, "For each token the segment that it belongs to.")
      .def_readonly("special_tokens_mask", &Padded::special_tokens_mask,
                    "1 for tokens that the template added and for padding, else 0.")
      .def_readonly("sequence_ids", &Padded::sequence_ids,
                    "For each token 0 or 1, the text it is from, or -1 if it is from neither.")
      .def_readonly("offsets", &Padded::offsets,
                    "[rows, width, 2]: where each token begins and ends, in characters of its text.")
      .def_readonly("rows", &Padded::rows,
                    "[rows]: the number of each row's text; parts that overflowed follow their text.")
      .def("__len__", [](const Padded& self) { return self.ids.shape(0); })
      .def("__repr__", [](const Padded& self) {
        return concat("Padded(", self.ids.shape(0), " rows of ", self.ids.shape(1), " tokens)");
      });
}

}  // namespace headrace
