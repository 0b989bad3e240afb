// config.json and preprocessor_config.json of a vision tower, reduced to the fields in use, every number
// checked.
#pragma once

#include <cstdint>
#include <string>

#include "base/model_path.h"
#include "media/transform.h"
#include "models/encoder_config.h"

namespace headrace {

// What a directory's model_type makes of it: "vit", "clip_vision_model", "clip_text_model" or "clip", which
// is both of the others, and the like of "siglip"; "" for an encoder of texts alone. Throws what
// read_settings_file and JsonDocument throw.
std::string tower_family(const ModelPath& directory);

// Whether a family has texts and pictures, and is of the SigLIP models (Zhai et al. 2023, arXiv:2303.15343).
bool has_two_towers(const std::string& family);
bool is_siglip(const std::string& family);

// A tower over patches of pictures.
struct VisionConfig {
  EncoderConfig encoder;   // positions: the patches of a picture and its class token
  int64_t side = 0;        // of the square pictures, in pixels
  int64_t patch = 0;       // side of a patch
  int64_t projection = 0;  // width of the vectors; 0: that of the hidden states
  bool has_class_token = true;
  bool has_patch_bias = false;
  bool has_embedding_norm = false;
  bool has_attention_pool = false;

  int64_t patches() const { return (side / patch) * (side / patch); }
};

// A tower over tokens: each of CLIP's sees those before it, of SigLIP's all, in texts of one length.
struct TextTowerConfig {
  EncoderConfig encoder;
  int64_t projection = 0;
  int64_t end = 0;  // of CLIP: the id of the token whose hidden state stands for the text
};

// family: tower_family(directory). Throw kNotFound, kCorruptFile or kUnsupported as read_encoder_config does.
VisionConfig read_vision_config(const ModelPath& directory, const std::string& family);
TextTowerConfig read_text_tower_config(const ModelPath& directory, const std::string& family);

// What preprocessor_config.json asks for, or where there is none what the family usually does, ending in
// pictures of config.side. Throws kCorruptFile or kUnsupported: other sizes, or steps that are not known.
PictureTransform read_picture_transform(const ModelPath& directory, const VisionConfig& config);

}  // namespace headrace
