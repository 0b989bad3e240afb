// The generator with a tiny random language model: many threads, random ends, damaged weights.
#include "engine/generator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/stop_strings.h"
#include "kernels/dispatch.h"
#include "models/tensor_files.h"

namespace headrace {
namespace {

constexpr int64_t kVocabulary = 128, kHidden = 32, kForward = 64, kLayers = 2;

// A folder with a model of random weights; `damage` is put into one of them.
class TinyModel {
 public:
  explicit TinyModel(float damage = 0) {
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
  ~TinyModel() { std::filesystem::remove_all(directory_); }

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
  std::string text, reason;
  std::optional<Error> error;
};

Ended finish(Generator& generator, Stream& stream) {
  Ended ended;
  for (int waits = 0; waits < 2000; ++waits) {
    if (!generator.wait(stream, 10'000)) continue;
    const StreamNews news = stream.take();
    for (const Sampled& token : news.tokens) ended.tokens.push_back(token.token);
    ended.text += news.text;
    ended.reason = news.finish_reason;
    ended.error = news.error;
    if (!ended.reason.empty() || ended.error) return ended;
  }
  ADD_FAILURE() << "the stream has no end";
  return ended;
}

std::vector<int32_t> prompt(int64_t tokens, int32_t first) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i) ids.push_back(static_cast<int32_t>(2 + (first + i * 7) % 120));
  return ids;
}

GenerateOptions asking(int64_t max_tokens, uint64_t seed) {
  return {.sampling = {.seed = seed}, .max_tokens = max_tokens, .ignore_eos = true};
}

TEST(Generator, a_text_is_as_long_as_was_asked_for) {
  const TinyModel model;
  const auto generator = model.load();
  const auto stream = generator->submit(prompt(5, 1), asking(20, 1));
  const Ended ended = finish(*generator, *stream);
  EXPECT_EQ(ended.tokens.size(), 20u);
  EXPECT_EQ(ended.reason, "length");
  EXPECT_EQ(stream->prompt_tokens(), 5);
  EXPECT_EQ(stream->generated_tokens(), 20);
  EXPECT_FALSE(ended.text.empty());
}

TEST(Generator, random_ends_leak_nothing_and_harm_nobody) {
  const TinyModel model;
  const auto generator = model.load({.threads = 2,
                                     .context = 256,
                                     .cache_tokens = 640,
                                     .step_tokens = 40,
                                     .max_sequences = 10,
                                     .max_queue_tokens = 2000});
  std::vector<std::vector<int32_t>> quiet;
  for (int32_t i = 0; i < 8; ++i)
    quiet.push_back(
        finish(*generator, *generator->submit(prompt(40, i), asking(12, static_cast<uint64_t>(i)))).tokens);
  std::atomic<int> whole{0}, cancelled{0}, late{0}, refused{0};
  const auto client = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 250; ++i) {
      const auto which = static_cast<int32_t>(random() % 8);
      const uint32_t kind = random() % 3;
      GenerateOptions options = asking(kind == 0 ? 12 : 150, static_cast<uint64_t>(which));
      if (kind == 1) options.timeout_us = 1 + static_cast<int64_t>(random() % 5000);
      try {
        const auto stream = generator->submit(prompt(40, which), options);
        if (kind == 2) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
          generator->cancel(stream->id());
        }
        const Ended ended = finish(*generator, *stream);
        if (!ended.error) {
          ++whole;
          if (kind == 0) {
            ASSERT_EQ(ended.tokens, quiet[static_cast<size_t>(which)]);
          }
        } else if (ended.error->kind() == ErrorKind::kDeadline) {
          ++late;
        } else {
          ASSERT_EQ(ended.error->kind(), ErrorKind::kCancelled);
          ++cancelled;
        }
        ASSERT_FALSE(stream->has_news()) << "something came after the end";
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::kOverloaded);
        ++refused;
      }
    }
  };
  std::vector<std::thread> clients;
  for (unsigned seed = 0; seed < 4; ++seed) clients.emplace_back(client, seed);
  for (std::thread& thread : clients) thread.join();
  EXPECT_EQ(whole + cancelled + late + refused, 1000);
  EXPECT_GT(whole, 100);
  EXPECT_GT(cancelled, 50);
  EXPECT_GT(late, 50);
  const GeneratorMetrics metrics = generator->metrics();
  EXPECT_EQ(metrics.cache_used, 0);
  EXPECT_EQ(metrics.running + metrics.waiting, 0);
}

TEST(Generator, weights_that_give_no_numbers_end_a_text_with_an_error) {
  for (const float damage : {std::nanf(""), HUGE_VALF}) {
    const TinyModel model(damage);
    const auto generator = model.load();
    const Ended ended = finish(*generator, *generator->submit(prompt(5, 1), asking(5, 1)));
    ASSERT_TRUE(ended.error);
    EXPECT_EQ(ended.error->kind(), ErrorKind::kInternal);
    EXPECT_EQ(generator->metrics().cache_used, 0);
  }
}

TEST(Generator, closing_ends_every_stream) {
  const TinyModel model;
  const auto generator = model.load();
  std::vector<std::shared_ptr<Stream>> streams;
  for (int32_t i = 0; i < 5; ++i) streams.push_back(generator->submit(prompt(5, i), asking(400, 1)));
  generator->close();
  for (const auto& stream : streams) {
    const StreamNews news = stream->take();
    EXPECT_TRUE(news.error || !news.finish_reason.empty());
  }
  EXPECT_THROW(generator->submit(prompt(5, 1), asking(5, 1)), Error);
}

TEST(Generator, what_it_cannot_do_is_refused_in_words) {
  const TinyModel model;
  const auto generator = model.load();
  const auto refused = [&](std::vector<int32_t> ids, GenerateOptions options) {
    EXPECT_THROW(generator->submit(ids, options), Error);
  };
  refused({}, asking(5, 1));
  refused({-1}, asking(5, 1));
  refused({128}, asking(5, 1));
  refused(prompt(512, 1), asking(1, 1));
  refused(prompt(500, 1), asking(13, 1));
  refused(prompt(5, 1), {.max_tokens = -1});
  refused(prompt(5, 1), {.max_tokens = 5, .min_tokens = 6});
  refused(prompt(5, 1), {.stop = {""}});
  refused(prompt(5, 1), {.stop_ids = {500}});
  refused(prompt(5, 1), {.sampling = {.temperature = -1}});
}

TEST(StopStrings, are_found_across_pieces_and_nothing_else_is_held_back) {
  StopStrings stops({"END", "\n\n"});
  EXPECT_EQ(stops.push("one E"), "one ");
  EXPECT_EQ(stops.push("N"), "");
  EXPECT_EQ(stops.push("X two\n"), "ENX two");
  EXPECT_EQ(stops.push("three EN"), "\nthree ");
  EXPECT_FALSE(stops.found());
  EXPECT_EQ(stops.push("D four"), "");
  EXPECT_TRUE(stops.found());
  EXPECT_EQ(stops.finish(), "");
  StopStrings none({"END"});
  EXPECT_EQ(none.push("the E"), "the ");
  EXPECT_EQ(none.finish(), "E");
}

// Allows one token after another of a list, and fails where it is told to.
class ListMask final : public TokenMask {
 public:
  ListMask(std::vector<int32_t> tokens, int64_t failing) : tokens_(std::move(tokens)), failing_(failing) {}
  void fill(std::span<uint32_t> allowed) override {
    if (static_cast<int64_t>(taken) == failing_) throw Error(ErrorKind::kInternal, "the form is broken");
    const auto token = static_cast<size_t>(tokens_[taken]);
    allowed[token / 32] |= 1u << token % 32;
  }
  bool take(int32_t token) override {
    EXPECT_EQ(token, tokens_[taken]);
    return ++taken == tokens_.size();
  }
  size_t taken = 0;

 private:
  std::vector<int32_t> tokens_;
  int64_t failing_;
};

TEST(Generator, a_mask_says_what_may_come_and_harms_nobody_else) {
  const TinyModel model;
  const auto generator = model.load();
  const std::vector<int32_t> prompt{5, 6, 7}, wanted{9, 127, 31, 32, 64, 9};
  GenerateOptions free{.sampling = {.temperature = 1, .seed = 3}, .max_tokens = 12, .ignore_eos = true};
  const std::vector<int32_t> alone = finish(*generator, *generator->submit(prompt, free)).tokens;
  GenerateOptions bound = free, broken = free;
  bound.mask = std::make_shared<ListMask>(wanted, -1);
  broken.mask = std::make_shared<ListMask>(wanted, 2);
  const std::weak_ptr<TokenMask> mask = bound.mask;
  const auto first = generator->submit(prompt, bound), second = generator->submit(prompt, broken),
             third = generator->submit(prompt, free);
  bound.mask.reset();
  const Ended formed = finish(*generator, *first), failed = finish(*generator, *second);
  EXPECT_EQ(formed.tokens, wanted);
  EXPECT_EQ(formed.reason, "stop");
  EXPECT_EQ(failed.tokens, std::vector<int32_t>(wanted.begin(), wanted.begin() + 2));
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(failed.error->message(), "the form is broken");
  EXPECT_EQ(finish(*generator, *third).tokens, alone);
  generator->close();
  EXPECT_TRUE(mask.expired());
}

}  // namespace
}  // namespace headrace
