#include "models/config.h"

#include "base/error.h"
#include "base/json.h"
#include "models/encoder_names.h"
#include "models/settings_file.h"

namespace headrace {
namespace {

// A size in the file; the limits are far above any real model and far below what would overflow a product of
// three.
int64_t size_field(JsonValue object, const char* key, int64_t high) {
  try {
    return object.at(key).as_int(1, high);
  } catch (const Error& error) {
    throw Error(error.kind(), concat(error.message(), " (key '", key, "')"));
  }
}

void require(JsonValue object, const char* key, std::string_view supported, const std::string& path) {
  const auto value = object.find(key);
  if (!value || value->is_null()) return;
  if (value->as_string() != supported)
    throw Error(ErrorKind::kUnsupported,
                concat(path, ": ", key, " '", value->as_string(), "': supported is '", supported, "'"));
}

}  // namespace

EncoderConfig read_encoder_config(const std::string& directory) {
  if (!file_exists(directory))
    throw Error(ErrorKind::kNotFound, concat(directory,
                                             ": no such model directory; give a path to a directory with "
                                             "config.json, or demo:minilm"));
  const std::string path = directory + "/config.json";
  const std::string text = read_settings_file(path);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  root.members();  // an object, or a clear error
  const auto type = root.find("model_type");
  EncoderConfig config;
  if (type && type->is_string()) config.family = type->as_string();
  if (encoder_names(config.family) == nullptr) {
    std::string known;
    for (const std::string& name : encoder_families()) known += concat(known.empty() ? "" : ", ", name);
    throw Error(ErrorKind::kUnsupported,
                concat(path, ": model_type '", config.family.empty() ? "(none)" : config.family,
                       "': supported are ", known));
  }
  if (config.family == "distilbert") {
    require(root, "activation", "gelu", path);
    config.hidden = size_field(root, "dim", 1 << 16);
    config.layers = size_field(root, "n_layers", 1 << 10);
    config.heads = size_field(root, "n_heads", 1 << 10);
    config.feed_forward = size_field(root, "hidden_dim", 1 << 18);
  } else {
    require(root, "hidden_act", "gelu", path);
    require(root, "position_embedding_type", "absolute", path);
    config.hidden = size_field(root, "hidden_size", 1 << 16);
    config.layers = size_field(root, "num_hidden_layers", 1 << 10);
    config.heads = size_field(root, "num_attention_heads", 1 << 10);
    config.feed_forward = size_field(root, "intermediate_size", 1 << 18);
    config.types = root.find("type_vocab_size") ? size_field(root, "type_vocab_size", 1 << 10) : 2;
  }
  config.vocabulary = size_field(root, "vocab_size", 1 << 24);
  config.positions = size_field(root, "max_position_embeddings", 1 << 20);
  config.embedding = config.hidden;
  if (config.family == "electra")
    config.embedding = root.find("embedding_size") ? size_field(root, "embedding_size", 1 << 16) : 128;
  if (encoder_names(config.family)->prefix == std::string_view("roberta.")) {
    const auto padding = root.find("pad_token_id");
    config.first_position = padding && !padding->is_null() ? padding->as_int(0, config.vocabulary) + 1 : 2;
    if (config.first_position >= config.positions)
      root.fail(concat("max_position_embeddings ", config.positions,
                       " leaves no position behind that of pad_token_id ", config.first_position - 1));
  }
  config.norm_eps = 1e-12f;
  if (const auto eps = root.find("layer_norm_eps")) config.norm_eps = static_cast<float>(eps->as_double());
  if (config.hidden % config.heads != 0)
    root.fail(
        concat("a hidden size of ", config.hidden, " is not a multiple of the ", config.heads, " heads"));
  if (!(config.norm_eps > 0.0f && config.norm_eps < 1.0f))
    root.fail("layer_norm_eps must lie between 0 and 1");
  return config;
}

}  // namespace headrace
