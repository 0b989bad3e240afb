#include "models/load.h"

#include "base/error.h"
#include "models/encoder.h"
#include "models/head_config.h"
#include "models/sentence_config.h"
#include "models/text_tower.h"
#include "models/two_towers.h"
#include "models/vision.h"

namespace headrace {

std::unique_ptr<Model> load_model(const ModelPath& directory, const Kernels& kernels,
                                  const LoadOptions& options) {
  const ModelPath files = transformer_directory(directory);
  const std::string family = tower_family(files);
  if (family.empty()) return Encoder::load(directory, kernels, options);
  if (options.device != "cpu")
    throw Error(ErrorKind::kUnsupported,
                concat(directory.name(), ": models of pictures run on the processor only; use device='cpu'"));
  if (family.ends_with("_text_model")) return TextTower::load(files, family, kernels, options);
  // A classifier of pictures has the settings of both towers, and one of them.
  if (!has_two_towers(family) || read_head_config(files, "").task == "classify")
    return Vision::load(files, family, kernels, options);
  auto texts = TextTower::load(files, family, kernels, options);
  return std::make_unique<TwoTowers>(std::move(texts), Vision::load(files, family, kernels, options));
}

}  // namespace headrace
