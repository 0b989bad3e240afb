// GgufFile and GgufWeights for Python: the tensors of a GGUF as f32 arrays, as the file has them and as a
// checkpoint of Hugging Face's form would.
#include "tensor/gguf.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "models/gguf_weights.h"

namespace py = pybind11;

namespace headrace {
namespace {

py::array_t<float> tensor(const GgufFile& file, const std::string& name) {
  const GgufTensor* const found = file.find(name);
  if (!found)
    throw Error(ErrorKind::kInvalidArgument, concat(file.name(), ": there is no tensor '", name, "'"));
  py::array_t<float> out(found->shape);
  float* const data = out.mutable_data();
  const py::gil_scoped_release unlocked;
  dequantize(found->type, found->bytes, data);
  return out;
}

py::array_t<float> weights(const GgufWeights& file, const std::string& name) {
  const std::vector<int64_t>* const shape = file.shape_of(name);
  if (!shape)
    throw Error(ErrorKind::kInvalidArgument,
                concat(file.path_of(name), ": there is no tensor for '", name, "'"));
  py::array_t<float> out(*shape);
  float* const data = out.mutable_data();
  const py::gil_scoped_release unlocked;
  file.read(name, data);
  return out;
}

py::dict rotary(const RotaryConfig& config) {
  py::dict out;
  out["type"] = config.type;
  out["theta"] = config.theta;
  out["factor"] = config.factor;
  out["original_positions"] = config.original_positions;
  out["divisors"] = config.divisors;
  return out;
}

// What config.json says elsewhere, under the names of LanguageConfig.
py::dict settings(const GgufWeights& file) {
  const LanguageConfig config = file.config();
  py::dict out;
  out["family"] = config.family;
  out["hidden"] = config.hidden;
  out["layers"] = config.layers;
  out["heads"] = config.heads;
  out["kv_heads"] = config.kv_heads;
  out["head_dim"] = config.head_dim;
  out["rotated"] = config.rotated;
  out["feed_forward"] = config.feed_forward;
  out["vocabulary"] = config.vocabulary;
  out["positions"] = config.positions;
  out["norm_eps"] = config.norm_eps;
  out["is_tied"] = config.is_tied;
  out["rotary"] = rotary(config.rotary);
  out["end_ids"] = config.end_ids;
  out["begin_id"] = config.begin_id;
  out["chat_template"] = config.chat_template;
  return out;
}

}  // namespace

void register_gguf(py::module_& module) {
  py::class_<GgufFile>(module, "GgufFile", "A GGUF file, llama.cpp's format, as read-only memory.")
      .def_static(
          "open", [](const std::string& path) { return GgufFile::open(path); }, py::arg("path"),
          py::call_guard<py::gil_scoped_release>(),
          "Raises ModelNotFoundError, CorruptFileError or UnsupportedError.")
      .def("names",
           [](const GgufFile& file) {
             std::vector<std::string_view> names;
             for (const GgufTensor& each : file.tensors()) names.push_back(each.name);
             return names;
           })
      .def("tensor", &tensor, py::arg("name"), "float32: the numbers that the tensor stands for.");
  py::class_<GgufWeights>(
      module, "GgufWeights",
      "A GGUF's tensors under the names, and in the order of rows, that Hugging Face checkpoints "
      "have them.")
      .def_static(
          "open", [](const std::string& path) { return GgufWeights::open(path); }, py::arg("path"),
          py::call_guard<py::gil_scoped_release>(),
          "Raises ModelNotFoundError, CorruptFileError or UnsupportedError.")
      .def("settings", &settings,
           "What config.json says elsewhere. Raises UnsupportedError for an architecture that is not known.")
      .def("__contains__",
           [](const GgufWeights& file, const std::string& name) { return file.shape_of(name) != nullptr; })
      .def("tensor", &weights, py::arg("name"), "float32: the numbers of the tensor of that name.");
}

}  // namespace headrace
