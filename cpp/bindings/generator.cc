// Generator and Stream for Python. The GIL is released around loading, submitting and every wait.
#include "engine/generator.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bindings/bindings.h"
#include "bindings/delete_where_made.h"
#include "bindings/encoding.h"
#include "bindings/memory_file.h"
#include "kernels/dispatch.h"
#include "models/precision.h"
#include "models/settings_file.h"

namespace py = pybind11;

namespace headrace {
namespace {

using Ids = py::array_t<int32_t, py::array::c_style>;

py::dict metrics(const Generator& generator) {
  const GeneratorMetrics m = generator.metrics();
  py::dict dict;
  dict["requests"] = m.requests;
  dict["refused"] = m.refused;
  dict["cancelled"] = m.cancelled;
  dict["expired"] = m.expired;
  dict["failed"] = m.failed;
  dict["prompt_tokens"] = m.prompt_tokens;
  dict["cached_tokens"] = m.cached_tokens;
  dict["generated_tokens"] = m.generated_tokens;
  dict["proposed_tokens"] = m.proposed_tokens;
  dict["accepted_tokens"] = m.accepted_tokens;
  dict["steps"] = m.steps;
  dict["preemptions"] = m.preemptions;
  dict["running"] = m.running;
  dict["waiting"] = m.waiting;
  dict["queued_tokens"] = m.queued_tokens;
  dict["cache_blocks"] = m.cache_blocks;
  dict["cache_bytes"] = m.cache_bytes;
  dict["cache_used"] = m.cache_used;
  dict["cache_cached"] = m.cache_cached;
  dict["cache_evictions"] = m.cache_evictions;
  dict["step_seconds"] = m.step_seconds;
  dict["row_cost"] = m.row_cost;
  dict["draft_steps"] = m.draft_steps;
  dict["draft_seconds"] = m.draft_seconds;
  dict["draft_blocks"] = m.draft_blocks;
  return dict;
}

py::dict info(const Generator& generator) {
  const ModelInfo& i = generator.info();
  py::dict dict;
  dict["task"] = i.task;
  dict["architecture"] = i.architecture;
  dict["dimensions"] = i.dimensions;
  dict["max_tokens"] = generator.context();
  dict["vocabulary"] = i.vocabulary;
  dict["parameters"] = i.parameters;
  dict["weight_bytes"] = i.weight_bytes;
  dict["cache_bytes"] = generator.cache_bytes();
  dict["precision"] = i.precision;
  dict["isa"] = i.isa;
  return dict;
}

Draft read_model(const ModelPath& place, const LoadOptions& options) {
  const std::optional<ModelPath> gguf = gguf_path(place);
  // A GGUF need not hold its tokenizer where tokenizer.json lies beside it.
  const bool is_within = gguf && !(place / "tokenizer.json").exists();
  auto tokenizer = is_within ? Tokenizer::from_file(*gguf) : Tokenizer::from_model(place);
  return {LanguageModel::load(place, kernels(), options), std::move(tokenizer)};
}

// (text, [(id, logprob, [(id, logprob), ...]), ...], finish reason or None, exception or None)
py::tuple take(Stream& stream) {
  const StreamNews news = stream.take();
  py::list tokens;
  for (const Sampled& token : news.tokens)
    tokens.append(py::make_tuple(token.token, token.logprob, token.top));
  const py::object reason = news.finish_reason.empty() ? py::object(py::none()) : py::str(news.finish_reason);
  const py::object error = news.error ? exception_of(*news.error) : py::object(py::none());
  return py::make_tuple(news.text, tokens, reason, error);
}

// Asks a Python object: fill(address, bytes) writes a bit for each token that may come next,
// count_allowed(tokens) says how many of them may come in a row, take(token) whether the text is complete.
// Called and destroyed by the generator's thread, so it takes the interpreter's lock itself.
class PythonMask final : public TokenMask {
 public:
  explicit PythonMask(py::object object) : object_(std::move(object)) {}
  ~PythonMask() override {
    const py::gil_scoped_acquire locked;
    object_.release().dec_ref();
  }
  PythonMask(const PythonMask&) = delete;
  PythonMask& operator=(const PythonMask&) = delete;

  void fill(std::span<uint32_t> allowed) override {
    guarded([&] { object_.attr("fill")(reinterpret_cast<uintptr_t>(allowed.data()), allowed.size_bytes()); });
  }
  int64_t count_allowed(std::span<const int32_t> tokens) override {
    int64_t count = 0;
    guarded([&] {
      const std::vector<int32_t> list(tokens.begin(), tokens.end());
      count = std::clamp<int64_t>(object_.attr("count_allowed")(list).cast<int64_t>(), 0, std::ssize(list));
    });
    return count;
  }
  bool take(int32_t token) override {
    bool is_complete = false;
    guarded([&] { is_complete = object_.attr("take")(token).cast<bool>(); });
    return is_complete;
  }

 private:
  template <typename Call>
  void guarded(const Call& call) {
    const py::gil_scoped_acquire locked;
    try {
      call();
    } catch (const py::error_already_set& error) {
      throw Error(ErrorKind::kInternal, concat("the text's form could not be kept: ", error.what()));
    }
  }

  py::object object_;
};

}  // namespace

void register_generator(py::module_& module) {
  module.def("language_families", &language_families, "Every model_type of a language model that is known.");

  py::class_<Stream, std::shared_ptr<Stream>>(module, "Stream", "One request for generated text.")
      .def_property_readonly("id", &Stream::id)
      .def_property_readonly("prompt_tokens", &Stream::prompt_tokens)
      .def_property_readonly("cached_tokens", &Stream::cached_tokens,
                             "Of the prompt, tokens that another request had computed before.")
      .def_property_readonly("generated_tokens", &Stream::generated_tokens)
      .def_property_readonly("accepted_tokens", &Stream::accepted_tokens,
                             "Of the generated tokens, those that had been proposed.")
      .def_property_readonly("done", &Stream::has_news, "Whether `take` has something to give.")
      .def_property_readonly("ended", &Stream::ended)
      .def(
          "take", &take,
          "(text, [(id, logprob, top), ...], finish reason or None, exception or None) since the last call.");

  py::class_<Generator, std::unique_ptr<Generator, DeleteWhereMade>>(
      module, "Generator", "Runs one language model for many requests. Use headrace.load.")
      .def(py::init([](const std::string& path, const std::string& precision, std::optional<int> threads,
                       int64_t context, int64_t cache_tokens, int64_t step_tokens, int64_t max_sequences,
                       int64_t speculation, const std::string& kv, const std::optional<py::dict>& files,
                       const std::optional<std::string>& draft, const std::optional<py::dict>& draft_files,
                       const std::string& device) {
             const int count = threads_argument(threads);
             const auto must = [](const char* name, int64_t value, int64_t low, int64_t high) {
               if (value < low || value > high)
                 throw Error(ErrorKind::kInvalidArgument,
                             concat(name, "=", value, ": must be between ", low, " and ", high));
             };
             must("context", context, 0, 1 << 24);
             must("cache_tokens", cache_tokens, 0, int64_t{1} << 32);
             must("step_tokens", step_tokens, 1, 8192);
             must("max_sequences", max_sequences, 1, 4096);
             must("speculation", speculation, kAdaptiveSpeculation, 32);
             const std::optional<KvType> type = kv_type_by_name(kv);
             const ModelPath place = model_path(path, files);
             std::optional<ModelPath> draft_place;
             if (draft) draft_place = model_path(*draft, draft_files);
             const py::gil_scoped_release unlocked;
             const LoadOptions load{.precision = precision, .device = device};
             Draft model = read_model(place, load), guessing;
             if (draft_place) guessing = read_model(*draft_place, load);
             return std::unique_ptr<Generator, DeleteWhereMade>(new Generator(std::move(model.model),
                                                                              std::move(model.tokenizer),
                                                                              {.threads = count,
                                                                               .context = context,
                                                                               .cache_tokens = cache_tokens,
                                                                               .kv = type,
                                                                               .step_tokens = step_tokens,
                                                                               .max_sequences = max_sequences,
                                                                               .speculation = speculation},
                                                                              std::move(guessing)));
           }),
           py::arg("path"), py::kw_only(), py::arg("precision") = "auto", py::arg("threads") = py::none(),
           py::arg("context") = 0, py::arg("cache_tokens") = 0, py::arg("step_tokens") = 256,
           py::arg("max_sequences") = 64, py::arg("speculation") = kAdaptiveSpeculation,
           py::arg("kv") = "auto", py::arg("files") = py::none(), py::arg("draft") = py::none(),
           py::arg("draft_files") = py::none(), py::arg("device") = "cpu")
      .def(
          "submit",
          [](Generator& self, const Ids& prompt, float temperature, int64_t top_k, float top_p, float min_p,
             float repetition_penalty, float presence_penalty, float frequency_penalty,
             const std::vector<std::pair<int32_t, float>>& logit_bias, uint64_t seed, int64_t top_logprobs,
             int64_t max_tokens, int64_t min_tokens, const std::vector<std::string>& stop,
             const std::vector<int32_t>& stop_ids, bool ignore_eos, int priority, int64_t timeout_us,
             const std::string& tenant, std::optional<std::shared_ptr<CompletionQueue>> queue,
             const py::object& mask, const std::string& adapter) {
            if (priority < 0 || priority > 2)
              throw Error(ErrorKind::kInvalidArgument, concat("priority=", priority, ": must be 0, 1 or 2"));
            const GenerateOptions options{
                .sampling = {.temperature = temperature,
                             .top_k = top_k,
                             .top_p = top_p,
                             .min_p = min_p,
                             .repetition_penalty = repetition_penalty,
                             .presence_penalty = presence_penalty,
                             .frequency_penalty = frequency_penalty,
                             .logit_bias = logit_bias,
                             .seed = seed,
                             .top_logprobs = top_logprobs},
                .max_tokens = max_tokens,
                .min_tokens = min_tokens,
                .stop = stop,
                .stop_ids = stop_ids,
                .ignore_eos = ignore_eos,
                .priority = static_cast<Priority>(priority),
                .timeout_us = timeout_us,
                .tenant = tenant,
                .adapter = adapter,
                .completions = queue ? std::move(*queue) : nullptr,
                .mask = mask.is_none() ? nullptr : std::make_shared<PythonMask>(mask)};
            const std::vector<int32_t> ids(prompt.data(), prompt.data() + prompt.size());
            const py::gil_scoped_release unlocked;
            return self.submit(ids, options);
          },
          py::arg("prompt"), py::kw_only(), py::arg("temperature") = 1.0f, py::arg("top_k") = 0,
          py::arg("top_p") = 1.0f, py::arg("min_p") = 0.0f, py::arg("repetition_penalty") = 1.0f,
          py::arg("presence_penalty") = 0.0f, py::arg("frequency_penalty") = 0.0f,
          py::arg("logit_bias") = std::vector<std::pair<int32_t, float>>(), py::arg("seed") = 0,
          py::arg("top_logprobs") = -1, py::arg("max_tokens") = 0, py::arg("min_tokens") = 0,
          py::arg("stop") = std::vector<std::string>(), py::arg("stop_ids") = std::vector<int32_t>(),
          py::arg("ignore_eos") = false, py::arg("priority") = 0, py::arg("timeout_us") = 0,
          py::arg("tenant") = "", py::arg("queue") = py::none(), py::arg("mask") = py::none(),
          py::arg("adapter") = "",
          "Queues a prompt of token ids; raises InvalidArgumentError, OverloadedError or CancelledError.")
      .def("add_adapter", &Generator::add_adapter, py::arg("name"), py::arg("directory"),
           py::call_guard<py::gil_scoped_release>())
      .def("remove_adapter", &Generator::remove_adapter, py::arg("name"),
           py::call_guard<py::gil_scoped_release>())
      .def("cancel", &Generator::cancel, py::arg("stream"), py::call_guard<py::gil_scoped_release>())
      .def("wait", &Generator::wait, py::arg("stream"), py::arg("timeout_us"),
           py::call_guard<py::gil_scoped_release>(), "Whether the stream has news before the time is over.")
      .def("close", &Generator::close, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("tokenizer", &Generator::tokenizer)
      .def_property_readonly("threads", &Generator::threads)
      .def_property_readonly(
          "kv", [](const Generator& self) { return kv_type_name(self.kv()); },
          "What keys and values are kept in: f32, bf16 or int8.")
      .def_property_readonly("end_ids",
                             [](const Generator& self) {
                               return std::vector<int32_t>(self.end_ids().begin(), self.end_ids().end());
                             })
      .def_property_readonly(
          "chat_template", [](const Generator& self) { return self.config().chat_template; },
          "The Jinja template of a GGUF; empty where there is none.")
      .def_property_readonly("begin_id", [](const Generator& self) { return self.config().begin_id; })
      .def("info", &info)
      .def("metrics", &metrics);
}

}  // namespace headrace
