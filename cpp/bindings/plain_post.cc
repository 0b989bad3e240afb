// plain_post: where the body of a plain request is, for the connections of `headrace serve`.
#include "http/plain_post.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string_view>
#include <tuple>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {
namespace {

using Place = std::tuple<size_t, size_t, std::optional<std::string_view>>;

std::optional<Place> plain_post(const py::bytes& data, const py::bytes& target, size_t max_body_bytes) {
  const auto found = match_plain_post(std::string_view(data), std::string_view(target), max_body_bytes);
  if (!found) return std::nullopt;
  std::optional<std::string_view> request_id;
  if (!found->request_id.empty()) request_id = found->request_id;
  return Place{found->body, found->end, request_id};
}

}  // namespace

void register_plain_post(py::module_& module) {
  module.def(
      "plain_post", &plain_post, py::arg("data"), py::arg("target"), py::arg("max_body_bytes"),
      "Where the body of the plain POST at the start of `data` begins and ends, with its x-request-id; "
      "None for anything unusual.");
}

}  // namespace headrace
