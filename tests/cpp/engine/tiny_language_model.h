// A generator with a tiny language model of random weights, and what tests ask it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "kernels/dispatch.h"
#include "models/tensor_files.h"

namespace headrace {

constexpr int64_t kVocabulary = 128, kHidden = 32, kForward = 64, kLayers = 2;

// A folder with a model of random weights; `damage` is put into one of them.
class TinyLanguageModel {
 public:
  explicit TinyLanguageModel(float damage = 0) {
    static int number = 0;
    directory_ =
        std::filesystem::temp_directory_path() / concat("headrace-generator-", getpid(), "-", number++);
    std::filesystem::create_directories(directory_);
    std::ofstream(directory_ / "config.json")
        << R"({"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,)"
        << R"("num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,)"
        << R"("max_position_embeddings": 512, "eos_token_id": 1, "tie_word_embeddings": true})";
    Tensors tensors = {{"model.embed_tokens.weight", random_tensor({kVocabulary, kHidden})},
                       {"model.norm.weight", random_tensor({kHidden})}};
    for (int64_t i = 0; i < kLayers; ++i) {
      const std::string layer = concat("model.layers.", i, ".");
      tensors[layer + "input_layernorm.weight"] = random_tensor({kHidden});
      tensors[layer + "post_attention_layernorm.weight"] = random_tensor({kHidden});
      tensors[layer + "self_attn.q_proj.weight"] = random_tensor({kHidden, kHidden});
      tensors[layer + "self_attn.k_proj.weight"] = random_tensor({kHidden / 2, kHidden});
      tensors[layer + "self_attn.v_proj.weight"] = random_tensor({kHidden / 2, kHidden});
      tensors[layer + "self_attn.o_proj.weight"] = random_tensor({kHidden, kHidden});
      tensors[layer + "mlp.gate_proj.weight"] = random_tensor({kForward, kHidden});
      tensors[layer + "mlp.up_proj.weight"] = random_tensor({kForward, kHidden});
      tensors[layer + "mlp.down_proj.weight"] = random_tensor({kHidden, kForward});
    }
    if (damage != 0) tensors["model.layers.1.mlp.down_proj.weight"].values[5] = damage;
    write_tensors(tensors, directory_.string() + "/model.safetensors");
  }
  ~TinyLanguageModel() { std::filesystem::remove_all(directory_); }

  std::unique_ptr<Generator> load(const GeneratorOptions& options = {.threads = 2}) const {
    std::string vocabulary;
    for (int i = 0; i < kVocabulary; ++i) vocabulary += concat(i ? "," : "", "\"w", i, "\":", i);
    const std::string json = concat(R"({"model":{"type":"WordLevel","unk_token":"w0","vocab":{)", vocabulary,
                                    R"(}},"pre_tokenizer":{"type":"Whitespace"}})");
    return std::make_unique<Generator>(
        LanguageModel::load(directory_.string(), kernels(), {.precision = "f32"}),
        Tokenizer::from_json(json, "tokenizer.json"), options);
  }

 private:
  std::filesystem::path directory_;
};

struct Ended {
  std::vector<int32_t> tokens;
  std::vector<Sampled> sampled;
  std::string text, reason;
  std::optional<Error> error;
};

inline Ended finish(Generator& generator, Stream& stream) {
  Ended ended;
  for (int waits = 0; waits < 2000; ++waits) {
    if (!generator.wait(stream, 10'000)) continue;
    const StreamNews news = stream.take();
    for (const Sampled& token : news.tokens) ended.tokens.push_back(token.token);
    ended.sampled.insert(ended.sampled.end(), news.tokens.begin(), news.tokens.end());
    ended.text += news.text;
    ended.reason = news.finish_reason;
    ended.error = news.error;
    if (!ended.reason.empty() || ended.error) return ended;
  }
  ADD_FAILURE() << "the stream has no end";
  return ended;
}

inline std::vector<int32_t> prompt(int64_t tokens, int32_t first) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i) ids.push_back(static_cast<int32_t>(2 + (first + i * 7) % 120));
  return ids;
}

inline GenerateOptions asking(int64_t max_tokens, uint64_t seed) {
  return {.sampling = {.seed = seed}, .max_tokens = max_tokens, .ignore_eos = true};
}

// Of a few tokens only, so that much of it has come before.
inline GenerateOptions asking_for_few(int64_t max_tokens, uint64_t seed) {
  GenerateOptions options = asking(max_tokens, seed);
  for (int32_t token = 10; token < 14; ++token) options.sampling.logit_bias.emplace_back(token, 100.0f);
  return options;
}

// With odd numbers texts of few tokens, in which proposals are accepted.
inline GenerateOptions asking_for_either(int64_t max_tokens, int32_t number) {
  return (number % 2 ? asking_for_few : asking)(max_tokens, static_cast<uint64_t>(number));
}

}  // namespace headrace
