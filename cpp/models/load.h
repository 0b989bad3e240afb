// A model directory to the model that it describes.
#pragma once

#include <memory>

#include "base/model_path.h"
#include "kernels/kernels.h"
#include "models/model.h"

namespace headrace {

// By config.json's model_type: an encoder of texts, of pictures, or the two of CLIP or SigLIP. Throws what
// Encoder::load, Vision::load and TextTower::load throw.
std::unique_ptr<Model> load_model(const ModelPath& directory, const Kernels& kernels,
                                  const LoadOptions& options);

}  // namespace headrace
