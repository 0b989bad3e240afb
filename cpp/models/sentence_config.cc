#include "models/sentence_config.h"

#include <array>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "models/json_fields.h"
#include "models/settings_file.h"

namespace headrace {
namespace {

constexpr int64_t kMaxWidth = 1 << 16;
constexpr size_t kMaxModules = 64, kMaxModes = 16;

// In the order in which older versions write the modes side by side, whatever the order in the file.
struct Mode {
  std::string_view name, older_name;
  Pooling pooling;
};
constexpr std::array<Mode, 6> kModes{{
    {"cls", "pooling_mode_cls_token", Pooling::kFirst},
    {"max", "pooling_mode_max_tokens", Pooling::kMax},
    {"mean", "pooling_mode_mean_tokens", Pooling::kMean},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", Pooling::kMeanSqrtLength},
    {"weightedmean", "pooling_mode_weightedmean_tokens", Pooling::kWeightedMean},
    {"lasttoken", "pooling_mode_lasttoken", Pooling::kLast},
}};

[[noreturn]] void unsupported(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::kUnsupported, concat(path, ": ", what));
}

// The kind of a module: the name of its class. Classes of a model's own are code, which is never run.
std::string_view class_of(JsonValue module, const std::string& path) {
  const std::string_view type = module.at("type").as_string();
  if (!type.starts_with("sentence_transformers."))
    unsupported(path, concat("module '", type, "': supported are those of sentence-transformers"));
  return type.substr(type.rfind('.') + 1);
}

ModelPath folder_of(JsonValue module, const ModelPath& directory) {
  const std::string_view folder = module.at("path").as_string();
  if (folder.find("..") != std::string_view::npos || folder.starts_with('/') ||
      folder.find('\0') != std::string_view::npos)
    module.fail(concat("the module path '", folder, "' leaves the model directory"));
  return folder.empty() ? directory : directory / folder;
}

Pooling mode_of(JsonValue name, const std::string& path) {
  std::string known;
  for (const Mode& mode : kModes) {
    if (name.as_string() == mode.name) return mode.pooling;
    known += concat(known.empty() ? "" : ", ", mode.name);
  }
  unsupported(path, concat("pooling_mode '", name.as_string(), "': supported are ", known));
}

void read_pooling(const ModelPath& folder, SentenceConfig& config) {
  const ModelPath file = folder / "config.json";
  const std::string& path = file.name();
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  root.members();  // an object, or a clear error
  config.pooling.clear();
  if (const auto mode = given(root, "pooling_mode")) {
    if (mode->is_string()) {
      config.pooling.push_back(mode_of(*mode, path));
    } else {
      for (const JsonValue each : mode->items()) config.pooling.push_back(mode_of(each, path));
      if (config.pooling.empty() || config.pooling.size() > kMaxModes)
        mode->fail(
            concat("pooling_mode lists ", config.pooling.size(), " modes; there must be 1 to ", kMaxModes));
    }
  } else {
    for (const Mode& each : kModes)
      if (flag_or(root, each.older_name, false)) config.pooling.push_back(each.pooling);
    if (config.pooling.empty()) config.pooling.push_back(Pooling::kMean);
  }
  config.pools_prompt = flag_or(root, "include_prompt", true);
  for (const char* key : {"embedding_dimension", "word_embedding_dimension"})
    if (const auto width = given(root, key)) config.pooled_width = width->as_int(1, kMaxWidth);
}

// A module may be told to work on something else than the vector; that of each token, say.
void check_names(JsonValue root, const std::string& path) {
  for (const char* key : {"module_input_name", "module_output_name"})
    if (const auto name = given(root, key); name && name->as_string() != "sentence_embedding")
      unsupported(path, concat(key, " '", name->as_string(), "': supported is 'sentence_embedding'"));
}

SentenceModule read_dense(const ModelPath& folder) {
  const ModelPath file = folder / "config.json";
  const std::string& path = file.name();
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  check_names(root, path);
  SentenceModule module{.kind = SentenceModule::Kind::kDense,
                        .directory = folder,
                        .in = root.at("in_features").as_int(1, kMaxWidth),
                        .out = root.at("out_features").as_int(1, kMaxWidth),
                        .bias = flag_or(root, "bias", true),
                        .residual = flag_or(root, "use_residual", false),
                        .curve = Curve::kTanh};
  if (const auto name = given(root, "activation_function")) {
    const auto curve = curve_by_class(name->as_string());
    if (!curve)
      unsupported(path, concat("activation_function '", name->as_string(), "': supported are ", curve_names(),
                               " of torch.nn"));
    module.curve = *curve;
  }
  return module;
}

SentenceModule read_layer_norm(const ModelPath& folder) {
  const ModelPath file = folder / "config.json";
  const std::string& path = file.name();
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const int64_t width = document.root().at("dimension").as_int(1, kMaxWidth);
  return {.kind = SentenceModule::Kind::kLayerNorm, .directory = folder, .in = width, .out = width};
}

SentenceModule read_normalize(const ModelPath& folder) {
  const ModelPath file = folder / "config.json";
  const std::string& path = file.name();
  if (file.exists()) {  // since version 5.5
    const std::string text = read_settings_file(file);
    const JsonDocument document(text, path);
    check_names(document.root(), path);
  }
  return {.kind = SentenceModule::Kind::kNormalize, .directory = folder};
}

void read_modules(const ModelPath& directory, SentenceConfig& config) {
  const ModelPath file = directory / "modules.json";
  const std::string& path = file.name();
  if (!file.exists()) return;
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  if (root.is_array() && root.size() > kMaxModules)
    root.fail(concat("there are ", root.size(), " modules; at most ", kMaxModules, " are allowed"));
  size_t place = 0;
  bool pooled = false;
  for (const JsonValue module : root.items()) {
    const std::string_view name = class_of(module, path);
    const bool first = place++ == 0;
    if ((name == "Transformer") != first)
      unsupported(path, concat("module ", place, " is ", name, ": a Transformer must be the first, and only",
                               " the first, module"));
    if (first) continue;
    const ModelPath folder = folder_of(module, directory);
    if (name == "Pooling") {
      if (std::exchange(pooled, true))
        unsupported(path, "there are several Pooling modules; supported is one");
      read_pooling(folder, config);
      continue;
    }
    if (name == "Dropout") continue;  // acts in training only
    if (name != "Dense" && name != "LayerNorm" && name != "Normalize")
      unsupported(path, concat("module '", name,
                               "': supported are Transformer, Pooling, Dense, LayerNorm, Normalize and "
                               "Dropout"));
    if (!pooled)
      unsupported(path,
                  concat("module ", name, " stands before the Pooling; supported are modules behind it"));
    config.modules.push_back(name == "Dense"       ? read_dense(folder)
                             : name == "LayerNorm" ? read_layer_norm(folder)
                                                   : read_normalize(folder));
  }
}

void read_settings(const ModelPath& directory, SentenceConfig& config) {
  const ModelPath file = directory / "config_sentence_transformers.json";
  const std::string& path = file.name();
  if (!file.exists()) return;
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  root.members();  // an object, or a clear error
  if (const auto prompts = given(root, "prompts"))
    for (const auto [name, prompt] : prompts->members()) {
      for (const auto& [other, ignored] : config.prompts)
        if (other == name) prompts->fail(concat("the prompt '", name, "' appears twice"));
      config.prompts.emplace_back(name, prompt.is_null() ? std::string_view() : prompt.as_string());
    }
  if (const auto name = given(root, "default_prompt_name")) {
    config.default_prompt = name->as_string();
    bool known = false;
    for (const auto& [other, ignored] : config.prompts) known |= other == *config.default_prompt;
    if (!known)
      name->fail(concat("default_prompt_name '", *config.default_prompt, "' is none of its prompts"));
  }
  if (const auto similarity = given(root, "similarity_fn_name")) {
    config.similarity = similarity->as_string();
    if (config.similarity != "cosine" && config.similarity != "dot" && config.similarity != "euclidean" &&
        config.similarity != "manhattan")
      unsupported(path, concat("similarity_fn_name '", config.similarity,
                               "': supported are cosine, dot, euclidean and manhattan"));
  }
}

}  // namespace

SentenceConfig read_sentence_config(const ModelPath& directory) {
  SentenceConfig config;
  read_modules(directory, config);
  read_settings(directory, config);
  return config;
}

ModelPath transformer_directory(const ModelPath& directory) {
  const ModelPath file = directory / "modules.json";
  const std::string& path = file.name();
  if (!file.exists()) return directory;
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  for (const JsonValue module : document.root().items()) {
    const auto name = class_of(module, path);
    if (name == "Transformer" || name == "CLIPModel") return folder_of(module, directory);
    break;
  }
  return directory;
}

TextSettings read_text_settings(const ModelPath& transformer) {
  TextSettings settings;
  // Older versions name the file after the encoder.
  for (const char* kind : {"bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"}) {
    const ModelPath file = transformer / concat("sentence_", kind, "_config.json");
    if (!file.exists()) continue;
    const std::string text = read_settings_file(file);
    const JsonDocument document(text, file.name());
    document.root().members();  // an object, or a clear error
    settings.lower_case = flag_or(document.root(), "do_lower_case", false);
    if (const auto longest = given(document.root(), "max_seq_length"))
      settings.max_tokens = longest->as_int(1, INT32_MAX);
    break;
  }
  const ModelPath file = transformer / "tokenizer_config.json";
  if (settings.max_tokens || !file.exists()) return settings;
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, file.name());
  // 1e30 stands for no limit.
  if (const auto longest = given(document.root(), "model_max_length");
      longest && longest->as_double() >= 1 && longest->as_double() <= INT32_MAX)
    settings.max_tokens = static_cast<int64_t>(longest->as_double());
  return settings;
}

}  // namespace headrace
