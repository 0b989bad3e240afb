#include "models/load.h"

#include "base/error.h"
#include "models/clip_text.h"
#include "models/encoder.h"
#include "models/sentence_config.h"
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
  if (family == "clip_text_model") return ClipText::load(files, family, kernels, options);
  if (family != "clip") return Vision::load(files, family, kernels, options);
  auto texts = ClipText::load(files, family, kernels, options);
  return std::make_unique<TwoTowers>(std::move(texts), Vision::load(files, family, kernels, options));
}

}  // namespace headrace
