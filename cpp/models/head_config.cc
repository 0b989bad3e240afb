#include "models/head_config.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "models/sentence_config.h"
#include "models/settings_file.h"

namespace headrace {
namespace {

constexpr int64_t kMaxLabels = 1 << 16;

// The end of the class's name in transformers -> what it is for.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kTasks{{
    {"ForSequenceClassification", "classify"},
    {"ForTokenClassification", "tag"},
    {"ForQuestionAnswering", "answer"},
    {"ForMaskedLM", "fill_mask"},
    {"ForImageClassification", "classify"},
}};

std::string_view string_field(JsonValue object, std::string_view key) {
  const auto value = object.find(key);
  return value && value->is_string() ? value->as_string() : std::string_view();
}

std::string_view trained_for(JsonValue root) {
  const auto architectures = root.find("architectures");
  if (!architectures || architectures->is_null()) return "embed";
  for (const JsonValue name : architectures->items())
    for (const auto& [ending, task] : kTasks)
      if (name.as_string().ends_with(ending)) return task;
  return "embed";
}

// id2label {"0": "NEG", "1": "POS"}; without it as many as num_labels, by the names that transformers gives.
std::vector<std::string> read_labels(JsonValue root) {
  const auto map = root.find("id2label");
  if (!map || map->is_null()) {
    const auto count = root.find("num_labels");
    std::vector<std::string> labels;
    for (int64_t i = 0, n = count ? count->as_int(1, kMaxLabels) : 2; i < n; ++i)
      labels.push_back(concat("LABEL_", i));
    return labels;
  }
  const auto count = static_cast<int64_t>(map->size());
  if (!map->is_object() || count < 1 || count > kMaxLabels)
    map->fail(
        concat("id2label must be an object of 1 to ", kMaxLabels, " labels, such as {\"0\": \"NEGATIVE\"}"));
  std::vector<std::string> labels(static_cast<size_t>(count));
  std::vector<bool> given(static_cast<size_t>(count));
  for (const auto [key, label] : map->members()) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error != std::errc() || end != key.data() + key.size() || index >= given.size() || given[index])
      map->fail(concat("id2label has ", count, " labels and the key '", key, "'; the keys must be 0 to ",
                       count - 1, ", each once"));
    given[index] = true;
    labels[index] = label.as_string();
  }
  return labels;
}

// The name of an activation function under `key` in a settings file, if both are there.
std::string named_in(const ModelPath& file, std::string_view key) {
  if (!file.exists()) return {};
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, file.name());
  return std::string(string_field(document.root(), key));
}

// What sentence-transformers' CrossEncoder puts on one logit: the sigmoid, unless the files name another.
// Since version 6 config_sentence_transformers.json does, since 4 a part of config.json, before that one key
// of it.
std::string rerank_activation(const ModelPath& directory, JsonValue root) {
  std::string name = named_in(directory / "config_sentence_transformers.json", "activation_fn");
  if (const auto settings = root.find("sentence_transformers");
      name.empty() && settings && settings->is_object())
    name = string_field(*settings, "activation_fn");
  if (name.empty()) name = string_field(root, "sbert_ce_default_activation_function");
  const std::string last = name.substr(name.rfind('.') + 1);
  if (last.empty() || last == "Sigmoid") return "sigmoid";
  if (last == "Identity") return "identity";
  throw Error(ErrorKind::kUnsupported, concat(directory.name(), ": the activation function '", name,
                                              "': supported are torch.nn.Sigmoid and torch.nn.Identity"));
}

std::string classify_activation(JsonValue root, const std::string& path) {
  const std::string_view problem = string_field(root, "problem_type");
  if (problem.empty() || problem == "single_label_classification") return "softmax";
  if (problem == "multi_label_classification") return "sigmoid";
  if (problem == "regression") return "identity";
  throw Error(
      ErrorKind::kUnsupported,
      concat(path, ": problem_type '", problem,
             "': supported are single_label_classification, multi_label_classification and regression"));
}

// Whether sentence-transformers made the directory to embed with; its cross-encoders have modules too.
bool pools(const ModelPath& directory) {
  const ModelPath file = directory / "modules.json";
  const std::string& path = file.name();
  if (!file.exists()) return false;
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  for (const JsonValue module : document.root().items())
    if (string_field(module, "type").ends_with("Pooling")) return true;
  return false;
}

// Whether the checkpoint behind `trained` can serve `wanted`: any has an encoder to embed with, and the two
// tasks of ...ForSequenceClassification are one head.
bool can_serve(std::string_view trained, std::string_view wanted) {
  const auto is_sequence = [](std::string_view task) { return task == "classify" || task == "rerank"; };
  return wanted == trained || wanted == "embed" || (is_sequence(trained) && is_sequence(wanted));
}

}  // namespace

HeadConfig read_head_config(const ModelPath& directory, const std::string& wanted) {
  const ModelPath file = transformer_directory(directory) / "config.json";
  const std::string& path = file.name();
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  HeadConfig config;
  config.model_type = string_field(root, "model_type");
  config.is_mean = string_field(root, "classifier_pooling") == "mean" || config.model_type == "siglip";
  std::string_view trained = trained_for(root);
  if (trained == "classify") {
    config.labels = read_labels(root);
    // A regressor of one number stays what its author calls it.
    if (config.labels.size() == 1 && string_field(root, "problem_type") != "regression" &&
        config.model_type != "vit" && config.model_type != "siglip")
      trained = "rerank";
  }
  // sentence-transformers keeps the name of the class that a model was pretrained as.
  config.task = pools(directory) ? "embed" : trained;
  if (!wanted.empty()) {
    if (!can_serve(trained, wanted))
      throw Error(ErrorKind::kInvalidArgument, concat("task='", wanted, "': ", path, " describes a model to ",
                                                      trained, trained == "embed" ? "" : " or embed",
                                                      "; leave the task out to take what it is for"));
    config.task = wanted;
  }
  if (config.task == "rerank" && config.labels.size() != 1)
    throw Error(ErrorKind::kInvalidArgument, concat("task='rerank': ", path, " has ", config.labels.size(),
                                                    " labels; a cross-encoder has 1"));
  if (config.task == "embed") config.labels.clear();
  if (config.task == "fill_mask") config.mask_token = read_special_token(directory, "mask_token");
  if (config.task == "tag") config.labels = read_labels(root);
  if (config.task == "answer") config.labels = {"start", "end"};
  config.activation = config.task == "rerank"     ? rerank_activation(directory, root)
                      : config.task == "classify" ? classify_activation(root, path)
                      : config.task == "embed"    ? "identity"
                                                  : "softmax";
  // One label leaves nothing to share out: transformers takes the sigmoid then.
  if (config.task == "classify" && config.labels.size() == 1 && config.activation == "softmax")
    config.activation = "sigmoid";
  return config;
}

// The file has the token as a string or as {"content": ...}.
std::string read_special_token(const ModelPath& directory, std::string_view key) {
  const ModelPath file = directory / "tokenizer_config.json";
  if (!file.exists()) return {};
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, file.name());
  const auto token = document.root().find(key);
  if (!token) return {};
  if (token->is_object()) return std::string(string_field(*token, "content"));
  return token->is_string() ? std::string(token->as_string()) : std::string();
}

}  // namespace headrace
