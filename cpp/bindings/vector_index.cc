// VectorIndex for Python. The GIL is released while it packs and searches.
#include "models/vector_index.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>

#include "base/cpu.h"
#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/encoding.h"
#include "kernels/dispatch.h"

namespace py = pybind11;

namespace headrace {
namespace {

using Matrix = py::array_t<float, py::array::c_style>;

Metric metric_named(const std::string& name) {
  if (name == "cosine") return Metric::kCosine;
  if (name == "dot") return Metric::kDot;
  if (name == "euclidean") return Metric::kEuclidean;
  if (name == "manhattan") return Metric::kManhattan;
  throw Error(ErrorKind::kInvalidArgument,
              concat("metric='", name, "': must be 'cosine', 'dot', 'euclidean' or 'manhattan'"));
}

std::span<const float> numbers(const Matrix& matrix) {
  return {matrix.data(), static_cast<size_t>(matrix.size())};
}

void check_queries(const VectorIndex& index, const Matrix& queries) {
  if (queries.ndim() != 2 || queries.shape(1) != index.dimensions())
    throw Error(ErrorKind::kInvalidArgument,
                concat("queries have ", queries.ndim() == 2 ? queries.shape(1) : queries.ndim(),
                       queries.ndim() == 2 ? " numbers each" : " dimensions", "; the index has vectors of ",
                       index.dimensions()));
}

py::tuple search(VectorIndex& index, const Matrix& queries, int64_t k) {
  check_queries(index, queries);
  if (k < 1 || k > index.size())
    throw Error(ErrorKind::kInvalidArgument,
                concat("k=", k, ": must be between 1 and ", index.size(), ", the number of vectors"));
  py::array_t<int64_t> indices({queries.shape(0), static_cast<py::ssize_t>(k)});
  py::array_t<float> scores({queries.shape(0), static_cast<py::ssize_t>(k)});
  int64_t* const index_data = indices.mutable_data();
  float* const score_data = scores.mutable_data();
  {
    const auto given = numbers(queries);
    const int64_t rows = queries.shape(0);
    const py::gil_scoped_release unlocked;
    index.search(given, rows, k, index_data, score_data);
  }
  return py::make_tuple(indices, scores);
}

py::array_t<float> all_scores(VectorIndex& index, const Matrix& queries) {
  check_queries(index, queries);
  py::array_t<float> out({queries.shape(0), static_cast<py::ssize_t>(index.size())});
  float* const data = out.mutable_data();
  const auto given = numbers(queries);
  const int64_t rows = queries.shape(0);
  {
    const py::gil_scoped_release unlocked;
    index.scores(given, rows, data);
  }
  return out;
}

}  // namespace

void register_vector_index(py::module_& module) {
  py::class_<VectorIndex>(module, "VectorIndex", "Exact search in memory. Use headrace.VectorIndex.")
      .def(py::init([](const Matrix& vectors, const std::string& metric, std::optional<int> threads) {
             if (vectors.ndim() != 2)
               throw Error(ErrorKind::kInvalidArgument,
                           concat("vectors have ", vectors.ndim(), " dimensions; give a matrix [n, d]"));
             const Metric kind = metric_named(metric);
             const int count = threads_argument(threads);
             const auto given = numbers(vectors);
             const int64_t n = vectors.shape(0), d = vectors.shape(1);
             const py::gil_scoped_release unlocked;
             return std::make_unique<VectorIndex>(given, n, d, kind, kernels(), count);
           }),
           py::arg("vectors").noconvert(), py::arg("metric"), py::arg("threads"))
      .def("search", &search, py::arg("queries").noconvert(), py::arg("k"),
           "(int64 [q, k], float32 [q, k]): the nearest vectors, best first, and their scores.")
      .def("scores", &all_scores, py::arg("queries").noconvert(),
           "float32 [q, n]: the scores of all vectors.")
      .def_property_readonly("size", &VectorIndex::size)
      .def_property_readonly("dimensions", &VectorIndex::dimensions)
      .def_property_readonly("threads", &VectorIndex::threads);
}

}  // namespace headrace
