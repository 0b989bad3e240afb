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

using Text = std::optional<std::string_view>;
using Place = std::tuple<size_t, size_t, std::string_view, Text, Text, Text>;

Text given(std::string_view value) { return value.empty() ? Text() : Text(value); }

std::optional<Place> plain_post(const py::bytes& data, const py::bytes& target, size_t max_body_bytes,
                                bool any_body) {
  const auto found = match_plain_post(std::string_view(data), std::string_view(target), max_body_bytes,
                                      any_body ? PlainBody::kAny : PlainBody::kJson);
  if (!found) return std::nullopt;
  return Place{found->body,
               found->end,
               found->host,
               given(found->request_id),
               given(found->authorization),
               given(found->json_length)};
}

}  // namespace

void register_plain_post(py::module_& module) {
  module.def("plain_post", &plain_post, py::arg("data"), py::arg("target"), py::arg("max_body_bytes"),
             py::arg("any_body") = false,
             "Where the body of the plain POST at the start of `data` begins and ends, with its host, "
             "x-request-id, authorization and, of a route that takes any body, "
             "inference-header-content-length; None "
             "for anything unusual.");
}

}  // namespace headrace
