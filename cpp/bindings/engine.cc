// Engine, Ticket and CompletionQueue for Python. The GIL is released around tokenising, loading and every
// wait.
#include "engine/engine.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bindings/bindings.h"
#include "bindings/delete_where_made.h"
#include "bindings/encoding.h"
#include "bindings/memory_file.h"
#include "bindings/picture_arguments.h"
#include "bindings/text_arguments.h"

namespace py = pybind11;

namespace headrace {
namespace {

// The list as a tuple of its own, so that nobody changes it while the GIL is away.
py::tuple frozen(const py::list& items) {
  auto copy = py::reinterpret_steal<py::tuple>(PyList_AsTuple(items.ptr()));
  if (!copy) throw py::error_already_set();
  return copy;
}

std::vector<std::vector<int32_t>> id_sequences(const py::tuple& items) {
  std::vector<std::vector<int32_t>> sequences;
  sequences.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const py::handle item = items[i];
    if (!py::isinstance<py::list>(item) && !py::isinstance<py::tuple>(item))
      throw Error(ErrorKind::kInvalidArgument,
                  concat("input[", i, "] is of type ", type_name(item), "; expected a list of token ids"));
    const auto ids = py::reinterpret_borrow<py::sequence>(item);
    std::vector<int32_t>& sequence = sequences.emplace_back();
    sequence.reserve(ids.size());
    for (const py::handle id : ids) {
      int overflow = 0;
      const bool is_int = PyLong_Check(id.ptr()) && !PyBool_Check(id.ptr());
      const long long value = is_int ? PyLong_AsLongLongAndOverflow(id.ptr(), &overflow) : 0;
      if (!is_int || overflow != 0 || value < 0 || value > INT32_MAX)
        throw Error(ErrorKind::kInvalidArgument,
                    concat("input[", i, "] holds ", py::cast<std::string>(py::repr(id)),
                           "; token ids are integers between 0 and 2147483647"));
      sequence.push_back(static_cast<int32_t>(value));
    }
  }
  return sequences;
}

// One input for each text; with pairs, as many of them.
std::vector<TextInput> text_inputs(const TextsArgument& texts, const std::optional<TextsArgument>& pairs) {
  std::vector<TextInput> inputs;
  if (pairs && pairs->views().size() != texts.views().size())
    throw Error(ErrorKind::kInvalidArgument,
                concat("there are ", texts.views().size(), " texts and ", pairs->views().size(),
                       " second texts; give one for each"));
  for (size_t i = 0; i < texts.views().size(); ++i) {
    inputs.push_back({texts.views()[i]});
    if (pairs) inputs.back().pair = pairs->views()[i];
  }
  return inputs;
}

// What Python sees of a Window: arrays of its own, so that no object is made per token.
struct PyWindow {
  int32_t input;
  py::array ids;           // int32 [L]
  py::array offsets;       // int32 [L, 2]
  py::array sequence_ids;  // int32 [L]
};

std::vector<PyWindow> windows(const Ticket& ticket) {
  std::vector<PyWindow> list;
  for (const Window& window : ticket.windows()) {
    const Encoding& encoding = window.encoding;
    const auto length = static_cast<py::ssize_t>(encoding.ids.size());
    std::vector<int32_t> flat;
    flat.reserve(encoding.offsets.size() * 2);
    for (const auto& [begin, end] : encoding.offsets) {
      flat.push_back(begin);
      flat.push_back(end);
    }
    list.push_back({window.input, as_array(std::vector<int32_t>(encoding.ids)),
                    as_array(std::move(flat), {length, 2}),
                    as_array(std::vector<int32_t>(encoding.sequence_ids))});
  }
  return list;
}

// Arrays of pixels, uint8 [height, width, 3], or of planes, float32 [3, height, width].
PictureInput picture_input(const py::handle& item, size_t index) {
  using Planes = py::array_t<float, py::array::c_style>;
  if (py::isinstance<Pixels>(item))
    return {picture_argument(py::reinterpret_borrow<Pixels>(item), concat("images[", index, "]"))};
  if (!py::isinstance<Planes>(item))
    throw Error(ErrorKind::kInvalidArgument,
                concat("images[", index, "] is of type ", type_name(item),
                       "; expected an array, uint8 [height, width, 3] or float32 [3, height, width]"));
  const auto planes = py::reinterpret_borrow<Planes>(item);
  if (planes.ndim() != 3 || planes.shape(0) != 3 || planes.size() == 0)
    throw Error(ErrorKind::kInvalidArgument,
                concat("images[", index, "]: floats must have the shape [3, height, width]"));
  return {{nullptr, planes.shape(2), planes.shape(1)}, planes.data()};
}

SubmitOptions submit_options(bool truncate, int priority, bool wait, int64_t timeout_us,
                             std::shared_ptr<CompletionQueue> completions) {
  if (priority < 0 || priority > 2)
    throw Error(ErrorKind::kInvalidArgument, concat("priority=", priority, ": must be 0, 1 or 2"));
  if (timeout_us < 0)
    throw Error(ErrorKind::kInvalidArgument,
                concat("timeout of ", timeout_us, " microseconds: must not be negative"));
  return {.truncate = truncate,
          .priority = static_cast<Priority>(priority),
          .admission = wait ? Admission::kWait : Admission::kRefuse,
          .timeout_us = timeout_us,
          .completions = std::move(completions)};
}

py::dict histogram(const Histogram& h) {
  py::dict dict;
  dict["bounds"] = h.bounds();
  dict["counts"] = h.counts();
  dict["sum"] = h.sum();
  return dict;
}

}  // namespace

py::dict metrics_dict(const ModelMetrics& m) {
  py::dict dict;
  dict["requests"] = m.requests;
  dict["sequences"] = m.sequences;
  dict["tokens"] = m.tokens;
  dict["batches"] = m.batches;
  dict["refused"] = m.refused;
  dict["expired"] = m.expired;
  dict["cancelled"] = m.cancelled;
  dict["failed"] = m.failed;
  dict["queued_tokens"] = m.queued_tokens;
  dict["running_tokens"] = m.running_tokens;
  dict["tokens_per_second"] = m.tokens_per_second;
  dict["queue_seconds"] = histogram(m.queue_seconds);
  dict["compute_seconds"] = histogram(m.compute_seconds);
  dict["forward_seconds"] = histogram(m.forward_seconds);
  dict["batch_tokens"] = histogram(m.batch_tokens);
  dict["batch_sequences"] = histogram(m.batch_sequences);
  return dict;
}

namespace {

py::dict info(const Engine& engine, const std::string& name) {
  const ModelInfo i = engine.info(name);
  py::dict dict;
  dict["task"] = i.task;
  dict["architecture"] = i.architecture;
  dict["isa"] = i.isa;
  dict["precision"] = i.precision;
  dict["dimensions"] = i.dimensions;
  dict["labels"] = py::tuple(py::cast(i.labels));
  dict["activation"] = i.activation;
  if (i.task == "embed") {
    dict["normalized"] = i.normalized;
    dict["similarity"] = i.similarity;
    dict["default_prompt"] = i.default_prompt;
    py::dict prompts;
    for (const auto& [prompt, text] : i.prompts) prompts[py::str(prompt)] = text;
    dict["prompts"] = prompts;
  }
  py::list inputs;
  if (i.reads) inputs.append("text");
  if (i.picture_tokens > 0) {
    inputs.append("image");
    dict["image_size"] = py::make_tuple(i.picture_width, i.picture_height);
  }
  dict["modalities"] = py::tuple(inputs);
  dict["max_tokens"] = i.max_tokens;
  dict["vocabulary"] = i.vocabulary;
  dict["parameters"] = i.parameters;
  dict["weight_bytes"] = i.weight_bytes;
  return dict;
}

// The answer as an array that shares the ticket's memory and keeps it alive.
py::array_t<float> vectors(const std::shared_ptr<Ticket>& ticket) {
  if (ticket->state() == Ticket::State::kPending)
    throw Error(ErrorKind::kInternal, "the ticket is not finished; wait for it first");
  if (ticket->state() == Ticket::State::kFailed) throw ticket->error();
  auto* owner = new std::shared_ptr<Ticket>(ticket);
  const py::capsule keep(owner, [](void* p) { delete static_cast<std::shared_ptr<Ticket>*>(p); });
  return py::array_t<float>({ticket->rows(), ticket->dimensions()}, ticket->vectors(), keep);
}

}  // namespace

void register_engine(py::module_& module) {
  py::class_<CompletionQueue, std::shared_ptr<CompletionQueue>>(
      module, "CompletionQueue", "Finished tickets on their way to one event loop.")
      .def(py::init<>())
      .def("fileno", &CompletionQueue::fd, "Readable while finished tickets wait.")
      .def("drain", &CompletionQueue::drain, "The ids of finished tickets, in order.")
      .def("wake", &CompletionQueue::wake,
           "Makes it readable though nothing finished: for news of another kind.");

  py::class_<PyWindow>(module, "Window", "A piece of a long text that was run as a sequence of its own.")
      .def_readonly("input", &PyWindow::input, "Which of the request's texts it is from.")
      .def_readonly("ids", &PyWindow::ids, "int32 [L]: the token ids.")
      .def_readonly("offsets", &PyWindow::offsets,
                    "int32 [L, 2]: where each token begins and ends, in characters of its text.")
      .def_readonly("sequence_ids", &PyWindow::sequence_ids,
                    "int32 [L]: 0 or 1, the text a token is from; -1: the model's template.");

  py::class_<Ticket, std::shared_ptr<Ticket>>(module, "Ticket", "One submitted request.")
      .def_property_readonly("id", &Ticket::id)
      .def_property_readonly("done", [](const Ticket& t) { return t.state() != Ticket::State::kPending; })
      .def_property_readonly("sequences", &Ticket::sequences)
      .def_property_readonly("tokens", &Ticket::tokens)
      .def_property_readonly("truncated", &Ticket::truncated)
      .def(
          "lengths",
          [](const Ticket& t, size_t limit) {
            const auto lengths = t.lengths().first(std::min(limit, t.lengths().size()));
            return std::vector<int32_t>(lengths.begin(), lengths.end());
          },
          py::arg("limit"), "The tokens of each sequence, of the first `limit` ones.")
      .def_property_readonly(
          "error",
          [](const Ticket& t) -> std::optional<py::object> {
            if (t.state() != Ticket::State::kFailed) return std::nullopt;
            return exception_of(t.error());
          },
          "The exception that `vectors` would raise: at once when the queue was full; else None.")
      .def("vectors", &vectors,
           "float32 [rows, dimensions], sharing the engine's memory; raises what failed. A sequence has one "
           "row, "
           "one for each token or one for each place to fill, as the model's task has it.")
      .def_property_readonly(
          "row_starts",
          [](const Ticket& t) { return std::vector<int64_t>(t.row_starts().begin(), t.row_starts().end()); },
          "The first row of each sequence, and the number of all rows.")
      .def("windows", &windows, "By sequence, for a request with a stride; else empty.");

  py::class_<Engine, std::unique_ptr<Engine, DeleteWhereMade>>(module, "Engine",
                                                               "The serving core. Use headrace.Engine.")
      .def(py::init([](int threads, int64_t queue_budget_us, int64_t max_batch_tokens) {
             if (threads < 0 || threads > 1024)
               throw Error(
                   ErrorKind::kInvalidArgument,
                   concat("threads=", threads, ": must be between 1 and 1024, or 0 for all processors"));
             if (queue_budget_us < 1000)
               throw Error(ErrorKind::kInvalidArgument, concat("a queue budget of ", queue_budget_us,
                                                               " microseconds: must be at least 1000"));
             if (max_batch_tokens < 1 || max_batch_tokens > 1 << 20)
               throw Error(ErrorKind::kInvalidArgument,
                           concat("max_batch_tokens=", max_batch_tokens, ": must be between 1 and 1048576"));
             return new Engine(EngineOptions{.threads = threads,
                                             .queue_budget_us = queue_budget_us,
                                             .max_batch_tokens = max_batch_tokens});
           }),
           py::kw_only(), py::arg("threads") = 0, py::arg("queue_budget_us") = 500'000,
           py::arg("max_batch_tokens") = EngineOptions{}.max_batch_tokens)
      .def(
          "add",
          [](Engine& engine, const std::string& name, const std::string& directory, const std::string& task,
             const std::string& precision, const std::optional<py::dict>& files, const std::string& device) {
            ModelPath place = model_path(directory, files);
            const py::gil_scoped_release unlocked;
            engine.add(name, std::move(place),
                       LoadOptions{.task = task, .precision = precision, .device = device});
          },
          py::arg("name"), py::arg("directory"), py::kw_only(), py::arg("task") = "",
          py::arg("precision") = "auto", py::arg("files") = py::none(), py::arg("device") = "cpu",
          "files: what the directory holds, by path inside it, where that is in memory and not on disk; the "
          "dict is emptied.")
      .def("remove", &Engine::remove, py::arg("name"), py::call_guard<py::gil_scoped_release>())
      .def("names", &Engine::names)
      .def("info", &info, py::arg("name"))
      .def("tokenizer", &Engine::tokenizer, py::arg("name"))
      .def(
          "metrics",
          [](const Engine& engine, const std::string& name) { return metrics_dict(engine.metrics(name)); },
          py::arg("name"))
      .def_property_readonly("threads", &Engine::threads)
      .def(
          "submit_texts",
          [](Engine& engine, const std::string& model, const py::list& texts, bool truncate, int priority,
             bool wait, int64_t timeout_us, std::optional<std::shared_ptr<CompletionQueue>> completions,
             const std::string& prompt) {
            const TextsArgument items(texts, "input");
            SubmitOptions options =
                submit_options(truncate, priority, wait, timeout_us, completions.value_or(nullptr));
            options.prompt = prompt;
            const py::gil_scoped_release unlocked;
            return engine.submit(model, items.views(), options);
          },
          py::arg("model"), py::arg("texts"), py::arg("truncate"), py::arg("priority"), py::arg("wait"),
          py::arg("timeout_us"), py::arg("completions"), py::arg("prompt") = "",
          "Each text behind the prompt, as one text.")
      .def(
          "submit_ids",
          [](Engine& engine, const std::string& model, const py::list& ids, bool truncate, int priority,
             bool wait, int64_t timeout_us, std::optional<std::shared_ptr<CompletionQueue>> completions) {
            const std::vector<std::vector<int32_t>> sequences = id_sequences(frozen(ids));
            const SubmitOptions options =
                submit_options(truncate, priority, wait, timeout_us, completions.value_or(nullptr));
            const py::gil_scoped_release unlocked;
            return engine.submit(model, sequences, options);
          },
          py::arg("model"), py::arg("ids"), py::arg("truncate"), py::arg("priority"), py::arg("wait"),
          py::arg("timeout_us"), py::arg("completions"))
      .def(
          "submit_inputs",
          [](Engine& engine, const std::string& model, const py::list& texts,
             const std::optional<py::list>& pairs, const std::string& argument,
             const std::string& first_argument, bool truncate, std::optional<int64_t> stride,
             int64_t window_tokens, int priority, bool wait, int64_t timeout_us,
             std::optional<std::shared_ptr<CompletionQueue>> completions) {
            const TextsArgument first(texts, first_argument.c_str());
            std::optional<TextsArgument> second;
            if (pairs) second.emplace(*pairs, argument.c_str());
            SubmitOptions options =
                submit_options(truncate, priority, wait, timeout_us, completions.value_or(nullptr));
            options.argument = argument.c_str();
            options.first_argument = first_argument.c_str();
            options.stride = stride;
            options.window_tokens = window_tokens;
            const py::gil_scoped_release unlocked;
            return engine.submit(model, text_inputs(first, second), options);
          },
          py::arg("model"), py::arg("texts"), py::arg("pairs"), py::arg("argument"),
          py::arg("first_argument"), py::arg("truncate"), py::arg("stride"), py::arg("window_tokens"),
          py::arg("priority"), py::arg("wait"), py::arg("timeout_us"), py::arg("completions"),
          "Texts, or pairs of texts, of which the second is cut; with a stride, windows over long ones.")
      .def(
          "prepare_picture",
          [](const Engine& engine, const std::string& model, const Pixels& pixels) {
            const Picture picture = picture_argument(pixels, "picture");
            const ModelInfo info = engine.info(model);
            py::array_t<float> planes({int64_t{3}, info.picture_height, info.picture_width});
            std::vector<float> made;
            {
              const py::gil_scoped_release unlocked;
              made = engine.prepare(model, picture);
            }
            std::copy(made.begin(), made.end(), planes.mutable_data());
            return planes;
          },
          py::arg("model"), py::arg("picture").noconvert(),
          "uint8 [height, width, 3] -> float32 [3, height, width] by the model's own preprocessing.")
      .def(
          "submit_pictures",
          [](Engine& engine, const std::string& model, const py::list& pictures, int priority, bool wait,
             int64_t timeout_us, std::optional<std::shared_ptr<CompletionQueue>> completions) {
            const py::tuple items = frozen(pictures);
            std::vector<PictureInput> inputs;
            for (size_t i = 0; i < items.size(); ++i) inputs.push_back(picture_input(items[i], i));
            const SubmitOptions options =
                submit_options(false, priority, wait, timeout_us, completions.value_or(nullptr));
            const py::gil_scoped_release unlocked;
            return engine.submit(model, std::span<const PictureInput>(inputs), options);
          },
          py::arg("model"), py::arg("pictures"), py::arg("priority"), py::arg("wait"), py::arg("timeout_us"),
          py::arg("completions"),
          "Arrays of pixels, uint8 [height, width, 3], or of what the model's own preprocessing makes of "
          "them, "
          "float32 [3, height, width].")
      .def(
          "check_texts",
          [](const Engine& engine, const std::string& model, const py::list& texts,
             const std::string& prompt) {
            const TextsArgument items(texts, "input");
            const py::gil_scoped_release unlocked;
            engine.check(model, items.views(), prompt);
          },
          py::arg("model"), py::arg("texts"), py::arg("prompt") = "",
          "Raises what submitting these texts would.")
      .def("cancel", &Engine::cancel, py::arg("model"), py::arg("ticket"),
           py::call_guard<py::gil_scoped_release>())
      .def(
          "wait",
          [](Engine& engine, const Ticket& ticket, int64_t timeout_us) {
            return engine.wait(ticket, timeout_us);
          },
          py::arg("ticket"), py::arg("timeout_us"), py::call_guard<py::gil_scoped_release>(),
          "Waits for a ticket; True when it is finished.")
      .def("close", &Engine::close, py::arg("drain"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace headrace
