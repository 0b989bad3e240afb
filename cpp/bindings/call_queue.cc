#include "engine/call_queue.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {
namespace {

// A Python object for as long as the queue wants it; let go of with the interpreter's lock.
std::shared_ptr<void> held(py::object object) {
  return {new py::object(std::move(object)), [](void* pointer) {
            if (!Py_IsInitialized()) return;  // at exit: the memory goes with the process
            const py::gil_scoped_acquire locked;
            delete static_cast<py::object*>(pointer);
          }};
}

py::object payload_of(const Call& call) { return *static_cast<py::object*>(call.payload().get()); }

// A batch with its slots joined to runs of neighbours of one call.
struct PyBatch {
  CallBatch batch;
  std::vector<size_t> starts;  // the first slot of each part

  explicit PyBatch(CallBatch given) : batch(std::move(given)) {
    const auto& slots = batch.batch.slots;
    for (size_t i = 0; i < slots.size(); ++i)
      if (i == 0 || slots[i].request != slots[i - 1].request || slots[i].index != slots[i - 1].index + 1)
        starts.push_back(i);
  }

  py::list parts() const {
    py::list list;
    for (size_t i = 0; i < starts.size(); ++i) {
      const size_t end = i + 1 < starts.size() ? starts[i + 1] : batch.batch.slots.size();
      const int32_t first = batch.batch.slots[starts[i]].index;
      list.append(py::make_tuple(payload_of(*batch.calls[starts[i]]), first,
                                 first + static_cast<int32_t>(end - starts[i])));
    }
    return list;
  }
};

ErrorKind kind_by_name(const std::string& name) {
  constexpr std::pair<const char*, ErrorKind> kKinds[] = {
      {"invalid_argument", ErrorKind::kInvalidArgument},
      {"not_found", ErrorKind::kNotFound},
      {"corrupt_file", ErrorKind::kCorruptFile},
      {"unsupported", ErrorKind::kUnsupported},
      {"overloaded", ErrorKind::kOverloaded},
      {"deadline", ErrorKind::kDeadline},
      {"cancelled", ErrorKind::kCancelled},
      {"internal", ErrorKind::kInternal},
  };
  for (const auto& [known, kind] : kKinds)
    if (name == known) return kind;
  throw Error(ErrorKind::kInvalidArgument, concat("there is no kind of error named '", name, "'"));
}

using Failure = std::tuple<size_t, std::string, std::string, std::string>;

}  // namespace

void register_call_queue(py::module_& module) {
  py::class_<Call, std::shared_ptr<Call>>(module, "Call", "One submitted request of a CallQueue.")
      .def_property_readonly("id", &Call::id)
      .def_property_readonly("items", &Call::items)
      .def_property_readonly("done", [](const Call& c) { return c.state() != Call::State::kPending; })
      .def_property_readonly("payload", &payload_of)
      .def_property_readonly(
          "error",
          [](const Call& c) -> std::optional<py::object> {
            if (c.state() != Call::State::kFailed) return std::nullopt;
            return exception_of(c.error());
          },
          "The exception that it failed with; else None.");

  py::class_<PyBatch>(module, "CallBatch", "Items that run together.")
      .def_property_readonly(
          "parts", &PyBatch::parts,
          "A tuple (payload, start, stop) for each run of neighbouring items of one call, in order.");

  py::class_<CallQueue, std::shared_ptr<CallQueue>>(
      module, "CallQueue", "The queue in front of a model that runs outside the core.")
      .def(py::init([](int64_t max_batch, int64_t max_wait_us, int64_t queue_budget_us) {
             return std::make_shared<CallQueue>(CallQueueOptions{
                 .max_batch = max_batch, .max_wait_us = max_wait_us, .queue_budget_us = queue_budget_us});
           }),
           py::kw_only(), py::arg("max_batch"), py::arg("max_wait_us"), py::arg("queue_budget_us"))
      .def(
          "submit",
          [](CallQueue& queue, int64_t items, py::object payload, int priority, bool wait, int64_t timeout_us,
             std::optional<std::shared_ptr<CompletionQueue>> completions) {
            if (priority < 0 || priority > 2)
              throw Error(ErrorKind::kInvalidArgument, concat("priority=", priority, ": must be 0, 1 or 2"));
            return queue.submit(items, held(std::move(payload)),
                                {.priority = static_cast<Priority>(priority),
                                 .admission = wait ? Admission::kWait : Admission::kRefuse,
                                 .timeout_us = timeout_us,
                                 .completions = completions.value_or(nullptr)});
          },
          py::arg("items"), py::arg("payload"), py::arg("priority"), py::arg("wait"), py::arg("timeout_us"),
          py::arg("completions"))
      .def(
          "next",
          [](CallQueue& queue, int64_t timeout_us) -> std::optional<PyBatch> {
            std::optional<CallBatch> found;
            {
              const py::gil_scoped_release unlocked;
              found = queue.next(timeout_us);
            }
            if (!found) return std::nullopt;
            return PyBatch(*std::move(found));
          },
          py::arg("timeout_us"), "The next batch; None when none came in time, and once it is closed.")
      .def(
          "finish",
          [](CallQueue& queue, const PyBatch& batch, const std::vector<Failure>& failures) {
            std::vector<std::pair<size_t, Error>> failed;
            for (const auto& [part, kind, message, code] : failures) {
              if (part >= batch.starts.size())
                throw Error(ErrorKind::kInvalidArgument, concat("there is no part ", part));
              failed.emplace_back(batch.starts[part], Error(kind_by_name(kind), message, code));
            }
            const py::gil_scoped_release unlocked;
            queue.finish(batch.batch, failed);
          },
          py::arg("batch"), py::arg("failures"),
          "failures: (part, kind, message, code) of parts that failed, which ends their calls.")
      .def("cancel", &CallQueue::cancel, py::arg("call"), py::call_guard<py::gil_scoped_release>())
      .def("wait", &CallQueue::wait, py::arg("call"), py::arg("timeout_us"),
           py::call_guard<py::gil_scoped_release>(), "Waits for a call; True when it is finished.")
      .def("close", &CallQueue::close, py::arg("drain"), py::arg("timeout_us"),
           py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("closed", &CallQueue::closed)
      .def("metrics", [](const CallQueue& queue) { return metrics_dict(queue.metrics()); });
}

}  // namespace headrace
