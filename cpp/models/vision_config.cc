#include "models/vision_config.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "models/json_fields.h"
#include "models/settings_file.h"

namespace headrace {
namespace {

constexpr int64_t kMaxPixels = 1 << 13;  // a side
constexpr int64_t kMaxTokens = 1 << 16;

int64_t size_field(JsonValue object, const char* key, int64_t high) {
  const auto value = given(object, key);
  if (!value) object.fail(concat("'", key, "' is missing"));
  return value->as_int(1, high);
}

// What all towers have; their blocks norm what they take. SigLIP's files leave out what is usual.
void read_layers(JsonValue root, EncoderConfig& config) {
  const auto size = [&](const char* key, int64_t high, int64_t usual) {
    return is_siglip(config.family) ? size_or(root, key, high, usual) : size_field(root, key, high);
  };
  config.hidden = size("hidden_size", 1 << 16, 768);
  config.layers = config.layer_groups = size("num_hidden_layers", 1 << 10, 12);
  config.heads = size("num_attention_heads", 1 << 10, 12);
  config.feed_forward = size("intermediate_size", 1 << 18, 3072);
  config.embedding = config.hidden;
  config.is_pre_norm = config.norms_first = true;
  config.windows.resize(static_cast<size_t>(config.layers));
  if (config.hidden % config.heads != 0)
    root.fail(
        concat("a hidden size of ", config.hidden, " is not a multiple of the ", config.heads, " heads"));
  config.head_dim = config.hidden / config.heads;
}

void read_clip_layers(JsonValue root, const std::string& path, EncoderConfig& config) {
  const bool siglip = is_siglip(config.family);
  config.norm_eps = static_cast<float>(number_or(root, "layer_norm_eps", 1e-14, 0.5, siglip ? 1e-6 : 1e-5));
  config.activation = read_activation(root, "hidden_act", siglip ? "gelu_pytorch_tanh" : "quick_gelu", path);
  read_layers(root, config);
}

// The settings of a tower: those of the file, or a part of them where it describes both towers.
JsonValue tower_of(JsonValue root, const std::string& family, const char* part) {
  if (!has_two_towers(family)) return root;
  const auto found = given(root, part);
  if (!found || !found->is_object()) root.fail(concat("'", part, "' is missing"));
  return *found;
}

int64_t projection_of(JsonValue root, JsonValue tower) {
  return size_or(root, "projection_dim", 1 << 16, size_or(tower, "projection_dim", 1 << 16, 512));
}

// {"height": 224, "width": 224}, {"shortest_edge": 224} or 224.
struct Size {
  int64_t width = 0, height = 0;
  bool is_shortest_edge = false;
};

Size read_size(JsonValue value) {
  if (!value.is_object()) {
    const int64_t side = value.as_int(1, kMaxPixels);
    return {side, side};
  }
  if (const auto edge = given(value, "shortest_edge")) {
    const int64_t side = edge->as_int(1, kMaxPixels);
    return {side, side, true};
  }
  return {size_field(value, "width", kMaxPixels), size_field(value, "height", kMaxPixels)};
}

std::array<float, 3> read_channels(JsonValue root, const char* key, const std::array<float, 3>& fallback) {
  const auto value = given(root, key);
  if (!value) return fallback;
  std::array<float, 3> numbers{};
  if (value->size() != 3)
    value->fail(concat(key, " has ", value->size(), " numbers: one a channel, 3, are allowed"));
  size_t i = 0;
  for (const JsonValue each : value->items()) numbers[i++] = static_cast<float>(each.as_double());
  return numbers;
}

// Pillow's numbers of its filters.
ResampleFilter read_filter(JsonValue root, ResampleFilter fallback, const std::string& path) {
  const auto value = given(root, "resample");
  if (!value) return fallback;
  switch (value->as_int(0, 5)) {
    case 1:
      return ResampleFilter::kLanczos;
    case 2:
      return ResampleFilter::kBilinear;
    case 3:
      return ResampleFilter::kBicubic;
    default:
      refuse(path, concat("resample ", value->as_int(0, 5)), "1 (Lanczos), 2 (bilinear) and 3 (bicubic)");
  }
}

struct Usual {
  ResampleFilter filter;
  bool is_shortest_edge, crops;
  std::array<float, 3> mean, std;
};

// Of OpenAI's CLIP, of ViT as Google published it, and of SigLIP.
constexpr Usual kClip{ResampleFilter::kBicubic,
                      true,
                      true,  //
                      {0.48145466f, 0.4578275f, 0.40821073f},
                      {0.26862954f, 0.26130258f, 0.27577711f}};
constexpr Usual kVit{ResampleFilter::kBilinear, false, false, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};
constexpr Usual kSiglip{ResampleFilter::kBicubic, false, false, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};

PictureTransform transform_of(const Usual& usual, int64_t side, int64_t patch) {
  PictureShape shape{.resize = usual.is_shortest_edge ? ResizeMode::kShortestEdge : ResizeMode::kExact,
                     .resize_width = side,
                     .resize_height = side,
                     .filter = usual.filter,
                     .crops = usual.crops,
                     .width = side,
                     .height = side};
  return {shape, PixelScale(1.0f / 255, usual.mean, usual.std), patch};
}

void read_shape(JsonValue root, const std::string& path, PictureShape& shape) {
  if (!flag_or(root, "do_resize", true)) refuse(path, "do_resize false", "pictures that are resized");
  // Feature extractors of old had one number, which meant the shorter edge where a crop followed.
  if (const auto value = given(root, "size")) {
    const Size size = read_size(*value);
    const bool is_edge =
        size.is_shortest_edge || (!value->is_object() && shape.resize == ResizeMode::kShortestEdge);
    shape.resize = is_edge ? ResizeMode::kShortestEdge : ResizeMode::kExact;
    shape.resize_width = size.width;
    shape.resize_height = size.height;
  }
  shape.crops = flag_or(root, "do_center_crop", shape.crops);
  if (const auto value = given(root, "crop_size"); value && shape.crops) {
    const Size size = read_size(*value);
    shape.width = size.width;
    shape.height = size.height;
  }
}

}  // namespace

bool has_two_towers(const std::string& family) { return family == "clip" || family == "siglip"; }

bool is_siglip(const std::string& family) { return family.starts_with("siglip"); }

std::string tower_family(const ModelPath& directory) {
  const ModelPath file = directory / "config.json";
  if (!file.exists()) return {};
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, file.name());
  document.root().members();
  const auto type = given(document.root(), "model_type");
  const std::string name(type && type->is_string() ? type->as_string() : std::string_view());
  for (const char* known : {"vit", "clip", "clip_vision_model", "clip_text_model", "siglip",
                            "siglip_vision_model", "siglip_text_model"})
    if (name == known) return name;
  return {};
}

VisionConfig read_vision_config(const ModelPath& directory, const std::string& family) {
  const ModelPath file = directory / "config.json";
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, file.name());
  const JsonValue tower = tower_of(document.root(), family, "vision_config");
  VisionConfig config;
  config.encoder.family = family;
  if (family == "vit") {
    config.encoder.norm_eps = static_cast<float>(number_or(tower, "layer_norm_eps", 1e-14, 0.5, 1e-12));
    config.encoder.activation = read_activation(tower, "hidden_act", "gelu", file.name());
    read_layers(tower, config.encoder);
    config.has_patch_bias = true;
  } else if (is_siglip(family)) {
    read_clip_layers(tower, file.name(), config.encoder);
    config.has_class_token = false;
    config.has_patch_bias = true;
    config.has_attention_pool = flag_or(tower, "vision_use_head", true);
  } else {
    read_clip_layers(tower, file.name(), config.encoder);
    config.projection = projection_of(document.root(), tower);
    config.has_embedding_norm = true;
  }
  config.side = size_or(tower, "image_size", kMaxPixels, 224);
  config.patch = size_or(tower, "patch_size", kMaxPixels, family == "vit" || is_siglip(family) ? 16 : 32);
  if (size_or(tower, "num_channels", 1 << 10, 3) != 3)
    refuse(file.name(), "num_channels other than 3", "pictures of three colours");
  if (config.side < config.patch)
    tower.fail(concat("pictures of ", config.side, " pixels have no room for patches of ", config.patch));
  config.encoder.positions = config.patches() + (config.has_class_token ? 1 : 0);
  if (config.encoder.positions > kMaxTokens)
    tower.fail(concat("a picture would have ", config.encoder.positions, " tokens; at most ", kMaxTokens,
                      " are supported"));
  return config;
}

TextTowerConfig read_text_tower_config(const ModelPath& directory, const std::string& family) {
  const ModelPath file = directory / "config.json";
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, file.name());
  const JsonValue tower = tower_of(document.root(), family, "text_config");
  TextTowerConfig config;
  EncoderConfig& encoder = config.encoder;
  encoder.family = family;
  read_clip_layers(tower, file.name(), encoder);
  if (is_siglip(family)) {
    encoder.vocabulary = size_or(tower, "vocab_size", 1 << 24, 32000);
    encoder.positions = size_or(tower, "max_position_embeddings", kMaxTokens, 64);
    config.projection = size_or(tower, "projection_size", 1 << 16, encoder.hidden);
    return config;
  }
  encoder.attention_positions = AttentionPositions::kCausal;
  encoder.vocabulary = size_or(tower, "vocab_size", 1 << 24, 49408);
  encoder.positions = size_or(tower, "max_position_embeddings", kMaxTokens, 77);
  config.projection = projection_of(document.root(), tower);
  const auto end = given(tower, "eos_token_id");
  config.end = end ? end->as_int(0, encoder.vocabulary - 1) : encoder.vocabulary - 1;
  return config;
}

PictureTransform read_picture_transform(const ModelPath& directory, const VisionConfig& config) {
  const std::string& family = config.encoder.family;
  const Usual& usual = family == "vit" ? kVit : is_siglip(family) ? kSiglip : kClip;
  PictureTransform transform = transform_of(usual, config.side, config.patch);
  const ModelPath file = directory / "preprocessor_config.json";
  if (!file.exists()) return transform;
  const std::string& path = file.name();
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  root.members();
  read_shape(root, path, transform.shape);
  transform.shape.filter = read_filter(root, usual.filter, path);
  const bool scales = flag_or(root, "do_rescale", true), normalizes = flag_or(root, "do_normalize", true);
  const double factor = number_or(root, "rescale_factor", 1e-9, 1e9, 1.0 / 255);
  const auto mean = read_channels(root, "image_mean", usual.mean),
             std = read_channels(root, "image_std", usual.std);
  if (std::any_of(std.begin(), std.end(), [](float each) { return !(each > 0); }))
    root.fail("image_std has numbers that are not above 0");
  transform.scale = PixelScale(scales ? static_cast<float>(factor) : 1.0f,
                               normalizes ? mean : std::array<float, 3>{0, 0, 0},
                               normalizes ? std : std::array<float, 3>{1, 1, 1});
  const PictureShape& shape = transform.shape;
  const bool is_square = shape.crops || shape.resize == ResizeMode::kExact;
  const int64_t width = shape.crops ? shape.width : shape.resize_width;
  const int64_t height = shape.crops ? shape.height : shape.resize_height;
  if (!is_square || width != config.side || height != config.side)
    refuse(path,
           concat("pictures of ", width, " x ", is_square ? concat(height) : std::string("any"), " pixels"),
           concat("those of config.json's image_size, ", config.side, " x ", config.side));
  return transform;
}

}  // namespace headrace
