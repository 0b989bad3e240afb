// Adapters of a generator: added, removed, and chosen by requests.
#include "engine/generator.h"

namespace headrace {

void Generator::add_adapter(const std::string& name, const std::string& directory) {
  if (model_->device())
    throw Error(ErrorKind::kUnsupported,
                "adapters run on the processor only: load the model with device='cpu'");
  std::shared_ptr<const Adapter> adapter =
      Adapter::load(directory, config(), model_->weights(), model_->kernels());
  const std::lock_guard lock(mutex_);
  adapters_.insert_or_assign(name, Named{.adapter = std::move(adapter), .number = ++adapters_added_});
}

void Generator::remove_adapter(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (adapters_.erase(name) == 0)
    throw Error(ErrorKind::kNotFound, concat("no adapter is named '", name, "'"));
}

// What was computed with an adapter is shared with nobody who has another one.
uint64_t Generator::choose_adapter(Stream& stream) const {
  const std::string& name = stream.options_.adapter;
  if (name.empty()) return 0;
  const auto found = adapters_.find(name);
  if (found == adapters_.end()) throw Error(ErrorKind::kNotFound, concat("no adapter is named '", name, "'"));
  stream.adapter_ = found->second.adapter;
  return found->second.number;
}

}  // namespace headrace
