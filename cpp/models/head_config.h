// What a model directory says about the task that its model was trained for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/model_path.h"

namespace headrace {

struct HeadConfig {
  std::string task;                 // see ModelInfo::task
  std::string model_type;           // of config.json: "bert", "roberta", ...
  std::vector<std::string> labels;  // of classify, rerank and tag
  std::string activation;           // see ModelInfo::activation
  std::string mask_token;           // see ModelInfo::mask_token
  bool is_mean = false;             // classify and rerank look at the mean of all tokens, not at the first
};

// Reads config.json, and modules.json and tokenizer_config.json where they are. The task is what
// `architectures` names:
// ...ForSequenceClassification (with one label a rerank model, with more classify),
// ...ForTokenClassification,
// ...ForQuestionAnswering, ...ForMaskedLM, ...ForImageClassification; anything else embeds, and so does a
// directory whose modules.json has a Pooling module. wanted: another task than that, or empty. Throws
// kNotFound, kCorruptFile (labels with gaps, say) or kInvalidArgument (a task that these files have no head
// for).
HeadConfig read_head_config(const ModelPath& directory, const std::string& wanted);

// What tokenizer_config.json calls a special token, such as "mask_token"; empty where it does not say. Throws
// kCorruptFile.
std::string read_special_token(const ModelPath& directory, std::string_view key);

}  // namespace headrace
