// MemoryFile for Python: a buffer to decrypt a file into, and for the core to read it from.
#include "bindings/memory_file.h"

#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {

ModelPath model_path(const std::string& name, const std::optional<py::dict>& files) {
  if (!files) return name;
  auto taken = std::make_shared<MemoryFiles>();
  for (const auto& [path, file] : *files)
    taken->emplace(path.cast<std::string>(), file.cast<std::shared_ptr<MemoryFile>>());
  py::dict(*files).clear();
  return {name, std::move(taken)};
}

void register_memory_file(py::module_& module) {
  py::class_<MemoryFile, std::shared_ptr<MemoryFile>>(
      module, "MemoryFile", py::buffer_protocol(),
      "A file of so many bytes in memory of its own, zeros at first; a buffer.")
      .def(py::init([](int64_t size) {
             if (size < 0)
               throw Error(ErrorKind::kInvalidArgument, concat("size=", size, ": must not be negative"));
             return std::make_shared<MemoryFile>(static_cast<size_t>(size));
           }),
           py::arg("size"))
      .def("__len__", [](const MemoryFile& file) { return file.bytes().size(); })
      .def(
          "view", [](const py::object& self) { return py::memoryview(self); },
          "Its bytes, to read and write.")
      .def_buffer([](MemoryFile& file) {
        const auto bytes = file.bytes();
        return py::buffer_info(reinterpret_cast<uint8_t*>(bytes.data()),
                               static_cast<py::ssize_t>(bytes.size()));
      });
}

}  // namespace headrace
