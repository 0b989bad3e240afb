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

  // draft: guesses for this one; may be this one. words: how many of its tokens have names.
  std::unique_ptr<Generator> load(const GeneratorOptions& options = {.threads = 2},
                                  const TinyLanguageModel* draft = nullptr, int words = kVocabulary) const {
    return std::make_unique<Generator>(read(), tokenizer(kVocabulary), options,
                                       draft ? Draft{draft->read(), tokenizer(words)} : Draft{});
  }

 private:
  std::unique_ptr<LanguageModel> read() const {
    return LanguageModel::load(directory_.string(), kernels(), {.precision = "f32"});
  }
  static std::unique_ptr<Tokenizer> tokenizer(int words) {
    std::string vocabulary;
    for (int i = 0; i < words; ++i) vocabulary += concat(i ? "," : "", "\"w", i, "\":", i);
    const std::string json = concat(R"({"model":{"type":"WordLevel","unk_token":"w0","vocab":{)", vocabulary,
                                    R"(}},"pre_tokenizer":{"type":"Whitespace"}})");
    return Tokenizer::from_json(json, "tokenizer.json");
  }

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

inline void expect_same(const Ended& a, const Ended& b, const std::string& what) {
  EXPECT_EQ(a.text, b.text) << what;
  EXPECT_EQ(a.reason, b.reason) << what;
  ASSERT_EQ(a.sampled.size(), b.sampled.size()) << what;
  for (size_t i = 0; i < a.sampled.size(); ++i) {
    EXPECT_EQ(a.sampled[i].token, b.sampled[i].token) << what << " at " << i;
    EXPECT_EQ(a.sampled[i].logprob, b.sampled[i].logprob) << what << " at " << i;
    EXPECT_EQ(a.sampled[i].top, b.sampled[i].top) << what << " at " << i;
  }
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

// Every kind of setting that a draw depends on or a text ends by.
inline std::vector<GenerateOptions> every_setting() {
  std::vector<GenerateOptions> all;
  for (const uint64_t seed : {1, 2, 3}) {
    GenerateOptions few = asking_for_few(60, seed), greedy = few, ends = few;
    greedy.sampling.temperature = 0;
    all.push_back(few);
    all.push_back(greedy);
    greedy.sampling.repetition_penalty = 1.3f;
    all.push_back(greedy);
    few.sampling.top_logprobs = 3;
    all.push_back(few);
    few.sampling.presence_penalty = 0.5f, few.sampling.frequency_penalty = 0.7f;
    all.push_back(few);
    few.sampling.top_p = 0.8f, few.sampling.min_p = 0.05f;
    all.push_back(few);
    few.sampling.top_k = 3;
    all.push_back(few);
    ends.stop = {"w10 w11 w12", "w13w13", "w12w11w10"};
    all.push_back(ends);
    ends.stop.clear(), ends.stop_ids = {12}, ends.min_tokens = 9;
    all.push_back(ends);
    ends.stop_ids.clear(), ends.ignore_eos = false;
    ends.sampling.logit_bias.emplace_back(1, 96.0f);
    all.push_back(ends);
  }
  return all;
}

}  // namespace headrace
