// What a directory of sentence-transformers says about the way from an encoder's hidden states to one vector:
//
//   modules.json                         which modules, in their order, and the folder of each
//   1_Pooling/config.json                and those of the other modules
//   config_sentence_transformers.json    prompts, and how the vectors are to be compared
//
// https://sbert.net/docs/sentence_transformer/usage/custom_models.html. A directory without modules.json is
// pooled by the mean and not normalised, as sentence-transformers itself does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/model_path.h"
#include "models/curve.h"

namespace headrace {

enum class Pooling {
  kFirst,           // the first token
  kMax,             // the largest of each dimension
  kMean,            // sum / length
  kMeanSqrtLength,  // sum / sqrt(length)
  kWeightedMean,    // the n-th token weighs n
  kLast,            // the last token
};

// A step behind the pooling.
struct SentenceModule {
  enum class Kind { kDense, kLayerNorm, kNormalize };
  Kind kind = Kind::kNormalize;
  ModelPath directory;  // where its weights are
  int64_t in = 0;       // of kDense and kLayerNorm: the width of what comes in
  int64_t out = 0;      // of kDense: of what goes out
  bool bias = true;
  bool residual = false;  // what comes in is added to what goes out, by a matrix where the widths differ
  Curve curve = Curve::kIdentity;
};

struct SentenceConfig {
  std::vector<Pooling> pooling{Pooling::kMean};  // their results end to end
  std::optional<int64_t> pooled_width;           // of the hidden states, where the file says
  bool pools_prompt = true;                      // whether the tokens of a prompt are pooled as well
  std::vector<SentenceModule> modules;
  std::vector<std::pair<std::string, std::string>> prompts;  // name -> text
  std::optional<std::string> default_prompt;                 // its name
  std::string similarity = "cosine";                         // or "dot", "euclidean", "manhattan"
};

// Throws kNotFound (a module's file is missing), kCorruptFile (malformed or absurd) or kUnsupported
// (well-formed, but a module, mode or activation that is not known; the message names it).
SentenceConfig read_sentence_config(const ModelPath& directory);

// Where config.json, the tokenizer and the weights of the encoder are: the folder that modules.json names,
// which nearly always is the directory itself.
ModelPath transformer_directory(const ModelPath& directory);

// What the settings that stand beside the encoder say of texts to embed.
struct TextSettings {
  // do_lower_case: whether texts are to be brought to lower case before the tokenizer sees them.
  bool lower_case = false;
  // max_seq_length, or else the tokenizer's model_max_length: tokens of the longest text, special ones
  // included. It may be more than the encoder has positions for.
  std::optional<int64_t> max_tokens;
};

// transformer: transformer_directory(). Throws kCorruptFile.
TextSettings read_text_settings(const ModelPath& transformer);

}  // namespace headrace
