// A language model without an engine: the logits of a text, as evaluation wants them.
#include "models/language_model.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/encoding.h"
#include "kernels/dispatch.h"
#include "models/precision.h"

namespace py = pybind11;

namespace headrace {
namespace {

using Ids = py::array_t<int32_t, py::array::c_style>;

// A decoder with a cache for one sequence, which grows with the longest that was asked for.
class LoneModel {
 public:
  LoneModel(const std::string& path, const std::string& precision, const std::string& isa, int threads,
            KvType kv)
      : model_(LanguageModel::load(path, kernels_by_name(isa), {.precision = precision})),
        pool_(threads),
        kv_(kv) {}

  const ModelInfo& info() const { return model_->info(); }

  // logits [T, V] of ids, `step` tokens at a time.
  void logits(std::span<const int32_t> ids, int64_t step, float* out) {
    const auto tokens = static_cast<int64_t>(ids.size());
    check(ids, step);
    reserve(tokens, step);
    for (int64_t begin = 0; begin < tokens; begin += step) {
      const int64_t count = std::min(step, tokens - begin);
      const StepSpan span{count, begin, blocks_.data(), count};
      model_->step({ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(count)), {&span, 1}},
                   out + begin * info().vocabulary, pool_);
    }
  }

 private:
  void check(std::span<const int32_t> ids, int64_t step) const {
    const int64_t longest = std::max(info().max_tokens, model_->config().stretched);
    if (ids.empty() || static_cast<int64_t>(ids.size()) > longest)
      throw Error(ErrorKind::kInvalidArgument,
                  concat(ids.size(), " token ids: the model takes 1 to ", longest));
    for (const int32_t id : ids)
      if (id < 0 || id >= info().vocabulary)
        throw Error(ErrorKind::kInvalidArgument,
                    concat("token id ", id, ": must be between 0 and ", info().vocabulary - 1));
    if (step < 1 || step > 8192)
      throw Error(ErrorKind::kInvalidArgument, concat("step=", step, ": must be between 1 and 8192"));
  }

  void reserve(int64_t tokens, int64_t step) {
    const int64_t blocks = (tokens + kCacheBlock - 1) / kCacheBlock;
    if (tokens <= tokens_ && step <= step_) return;
    tokens_ = std::max(tokens, tokens_);
    step_ = std::max(step, step_);
    blocks_.resize(static_cast<size_t>(std::max(blocks, static_cast<int64_t>(blocks_.size()))));
    std::iota(blocks_.begin(), blocks_.end(), 0);
    const auto count = static_cast<int64_t>(blocks_.size());
    model_->reserve({.step_tokens = step_,
                     .step_wanted = step_,
                     .context = tokens_,
                     .blocks = count,
                     .kv = kv_,
                     .threads = pool_.threads()});
  }

  std::unique_ptr<LanguageModel> model_;
  ThreadPool pool_;
  KvType kv_;
  std::vector<int32_t> blocks_;
  int64_t step_ = 0, tokens_ = 0;
};

py::array_t<float> logits_of(LoneModel& model, const Ids& ids, int64_t step) {
  if (ids.ndim() != 1)
    throw Error(ErrorKind::kInvalidArgument, concat("ids have ", ids.ndim(), " dimensions; give a vector"));
  py::array_t<float> out({ids.shape(0), static_cast<py::ssize_t>(model.info().vocabulary)});
  float* const data = out.mutable_data();
  const std::span<const int32_t> given{ids.data(), static_cast<size_t>(ids.size())};
  {
    const py::gil_scoped_release unlocked;
    model.logits(given, step, data);
  }
  return out;
}

}  // namespace

void register_language_model(py::module_& module) {
  py::class_<LoneModel>(module, "LanguageModel", "A language model's logits, one sequence at a time.")
      .def(py::init([](const std::string& path, const std::string& precision, const std::string& isa,
                       std::optional<int> threads, const std::string& kv) {
             const int count = threads_argument(threads);
             const KvType type = kv_type_by_name(kv).value_or(KvType::kF32);
             const py::gil_scoped_release unlocked;
             return std::make_unique<LoneModel>(path, precision, isa, count, type);
           }),
           py::arg("path"), py::kw_only(), py::arg("precision") = "auto", py::arg("isa") = "auto",
           py::arg("threads") = py::none(), py::arg("kv") = "f32")
      .def("logits", &logits_of, py::arg("ids").noconvert(), py::kw_only(), py::arg("step") = 256,
           "float32 [n, V]: the logits of the token after each of ids (int32 [n]), `step` tokens at a time.")
      .def_property_readonly("vocabulary", [](const LoneModel& self) { return self.info().vocabulary; })
      .def_property_readonly("precision", [](const LoneModel& self) { return self.info().precision; })
      .def_property_readonly("parameters", [](const LoneModel& self) { return self.info().parameters; })
      .def_property_readonly("weight_bytes", [](const LoneModel& self) { return self.info().weight_bytes; });
}

}  // namespace headrace
