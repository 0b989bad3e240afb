#include "kernels/devices.h"

#include <atomic>
#include <charconv>

#include "base/error.h"

namespace headrace {
namespace {

std::atomic<const cuda::DeviceFactory*> known{nullptr};

int index_of(const std::string& name) {
  int index = name == "cuda" ? 0 : -1;
  if (name.starts_with("cuda:")) {
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + 5, end, index);
    if (stop != end || error != std::errc()) index = -1;
  }
  if (index < 0)
    throw Error(
        ErrorKind::kInvalidArgument,
        concat("device='", name, "': must be 'auto', 'cpu', 'cuda' or 'cuda:N' with a device's number"));
  return index;
}

}  // namespace

void register_devices(const cuda::DeviceFactory* factory) {
  if (factory->version != cuda::DeviceFactory::kVersion)
    throw Error(ErrorKind::kInternal, concat("the library for CUDA has version ", factory->version,
                                             " of the kernel table, this one ", cuda::DeviceFactory::kVersion,
                                             ": install headrace again"));
  known.store(factory);
}

std::unique_ptr<cuda::DeviceTable> open_device(const std::string& name) {
  const int index = index_of(name);
  const cuda::DeviceFactory* const factory = known.load();
  if (!factory)
    throw Error(
        ErrorKind::kUnsupported,
        concat("device='", name, "': the library for it is not loaded; load models by headrace.load"));
  char why[512] = "";
  std::unique_ptr<cuda::DeviceTable> table(factory->open(index, why, sizeof(why)));
  if (!table) throw Error(ErrorKind::kUnsupported, concat("device='", name, "': ", why));
  return table;
}

}  // namespace headrace
