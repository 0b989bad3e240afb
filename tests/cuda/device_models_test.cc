// Whole models through the device's code path, on the emulator, against the processor's.
#include "device_models.h"

#include <map>
#include <optional>

#include "engine/generator.h"

namespace headrace {
namespace {

// kind: what `architectures` ends in.
Saved tiny_bert(const std::string& kind) {
  const std::string p = kind == "Model" ? "" : "bert.";
  Tensors tensors;
  add_matrix(tensors, p + "embeddings.word_embeddings", kVocabulary, kHidden);
  add_matrix(tensors, p + "embeddings.position_embeddings", 80, kHidden);
  add_matrix(tensors, p + "embeddings.token_type_embeddings", 2, kHidden);
  add_norm(tensors, p + "embeddings.LayerNorm", true);
  for (int i = 0; i < 2; ++i) {
    const std::string layer = concat(p, "encoder.layer.", i, ".");
    for (const char* name : {"query", "key", "value"})
      add_linear(tensors, layer + "attention.self." + name, kHidden, kHidden);
    add_linear(tensors, layer + "attention.output.dense", kHidden, kHidden);
    add_norm(tensors, layer + "attention.output.LayerNorm", true);
    add_linear(tensors, layer + "intermediate.dense", kForward, kHidden);
    add_linear(tensors, layer + "output.dense", kHidden, kForward);
    add_norm(tensors, layer + "output.LayerNorm", true);
  }
  add_linear(tensors, "bert.pooler.dense", kHidden, kHidden);
  add_linear(tensors, "classifier", 3, kHidden);
  return Saved(concat(R"({"model_type": "bert", "architectures": ["Bert)", kind,
                      R"("], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,)",
                      R"("intermediate_size": 80, "vocab_size": 50, "max_position_embeddings": 80,)",
                      R"("type_vocab_size": 2, "id2label": {"0": "a", "1": "b", "2": "c"}})"),
               tensors);
}

// Rotary positions, windows, gates, norms before blocks.
Saved tiny_modernbert() {
  Tensors tensors;
  add_matrix(tensors, "embeddings.tok_embeddings", kVocabulary, kHidden);
  add_norm(tensors, "embeddings.norm", false);
  for (int i = 0; i < 2; ++i) {
    const std::string layer = concat("layers.", i, ".");
    if (i > 0) add_norm(tensors, layer + "attn_norm", false);
    add_matrix(tensors, layer + "attn.Wqkv", 3 * kHidden, kHidden);
    add_matrix(tensors, layer + "attn.Wo", kHidden, kHidden);
    add_norm(tensors, layer + "mlp_norm", false);
    add_matrix(tensors, layer + "mlp.Wi", 2 * kForward, kHidden);
    add_matrix(tensors, layer + "mlp.Wo", kHidden, kForward);
  }
  add_norm(tensors, "final_norm", false);
  return Saved(
      R"({"model_type": "modernbert", "architectures": ["ModernBertModel"], "hidden_size": 64,
          "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 80, "vocab_size": 50,
          "max_position_embeddings": 80, "local_attention": 16, "global_attn_every_n_layers": 2})",
      tensors);
}

Saved tiny_llama() {
  Tensors tensors;
  add_matrix(tensors, "model.embed_tokens", 128, kHidden);
  add_matrix(tensors, "lm_head", 128, kHidden);
  add_norm(tensors, "model.norm", false);
  for (int i = 0; i < 2; ++i) {
    const std::string layer = concat("model.layers.", i, ".");
    add_norm(tensors, layer + "input_layernorm", false);
    add_norm(tensors, layer + "post_attention_layernorm", false);
    add_matrix(tensors, layer + "self_attn.q_proj", kHidden, kHidden);
    add_matrix(tensors, layer + "self_attn.k_proj", kHidden / 2, kHidden);
    add_matrix(tensors, layer + "self_attn.v_proj", kHidden / 2, kHidden);
    add_matrix(tensors, layer + "self_attn.o_proj", kHidden, kHidden);
    add_matrix(tensors, layer + "mlp.gate_proj", 96, kHidden);
    add_matrix(tensors, layer + "mlp.up_proj", 96, kHidden);
    add_matrix(tensors, layer + "mlp.down_proj", kHidden, 96);
  }
  return Saved(
      R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,
          "max_position_embeddings": 512, "eos_token_id": 1, "tie_word_embeddings": false})",
      tensors);
}

TEST_F(DeviceModels, BertEmbeds) {
  const Saved bert = tiny_bert("Model");
  for (const char* precision : {"f32", "bf16", "int8"}) expect_alike(bert.directory(), precision);
}

TEST_F(DeviceModels, BertClassifiesAndTags) {
  expect_alike(tiny_bert("ForSequenceClassification").directory(), "f32");
  expect_alike(tiny_bert("ForTokenClassification").directory(), "f32");
}

TEST_F(DeviceModels, ModernBertEmbeds) {
  const Saved model = tiny_modernbert();
  for (const char* precision : {"f32", "bf16"}) expect_alike(model.directory(), precision);
}

TEST_F(DeviceModels, SchedulesGiveTheSameNumbers) {
  const Saved bert = tiny_bert("Model");
  const LoadOptions options{.precision = "bf16", .device = "cuda"};
  const auto expected = answers(bert.directory(), options);
  EmulatedMachine::schedule = simt::Schedule::kWarpGreedyReverse;
  EXPECT_EQ(answers(bert.directory(), options), expected);
}

TEST_F(DeviceModels, LlamaWritesTheSameTokens) {
  const Saved llama = tiny_llama();
  for (const auto& [precision, steps] :
       std::map<std::string, int>{{"f32", 9}, {"bf16", 9}, {"int8", 3}, {"q8", 3}, {"q4", 3}}) {
    SCOPED_TRACE(precision);
    const int64_t replays = EmulatedMachine::replays;
    const Texts expected = write(llama.directory(), {.precision = precision}, KvType::kF32, false, steps);
    const bool has_groups = precision == "q8" || precision == "q4";  // the processor rounds activations there
    expect_same(write(llama.directory(), {.precision = precision, .device = "cuda"}, KvType::kF32, false,
                      steps, has_groups ? &expected : nullptr),
                expected, precision == "f32" ? 1e-4f : 0.0f);
    EXPECT_EQ(EmulatedMachine::replays - replays, steps - 1) << "steps of one token a text are replayed";
  }
}

TEST_F(DeviceModels, LlamaWithABf16CacheChoosesOnTheDevice) {
  const Saved llama = tiny_llama();
  expect_same(write(llama.directory(), {.precision = "bf16", .device = "cuda"}, KvType::kBf16, true),
              write(llama.directory(), {.precision = "bf16"}, KvType::kBf16));
}

// Two texts at once through the engine's scheduler; those of an earlier step that failed do not trouble them.
std::vector<std::vector<int32_t>> generate(Generator& generator, std::vector<std::optional<Error>>* errors) {
  std::vector<std::shared_ptr<Stream>> streams;
  for (int32_t first : {3, 50}) {
    std::vector<int32_t> prompt;
    for (int32_t i = 0; i < 12; ++i) prompt.push_back((first + i * 31) % 128);
    streams.push_back(generator.submit(
        prompt, {.sampling = {.temperature = 0.8f, .seed = 5}, .max_tokens = 6, .ignore_eos = true}));
  }
  std::vector<std::vector<int32_t>> texts(streams.size());
  for (size_t i = 0; i < streams.size(); ++i)
    for (bool ended = false; !ended;) {
      generator.wait(*streams[i], 1'000'000);
      const StreamNews news = streams[i]->take();
      for (const Sampled& token : news.tokens) texts[i].push_back(token.token);
      ended = news.error || !news.finish_reason.empty();
      if (ended && errors) errors->push_back(news.error);
    }
  return texts;
}

std::unique_ptr<Generator> tiny_generator(const std::string& directory, const std::string& device) {
  std::string vocabulary;
  for (int i = 0; i < 128; ++i) vocabulary += concat(i ? "," : "", "\"w", i, "\":", i);
  auto tokenizer = Tokenizer::from_json(concat(R"({"model":{"type":"WordLevel","unk_token":"w0","vocab":{)",
                                               vocabulary, R"(}},"pre_tokenizer":{"type":"Whitespace"}})"),
                                        "tokenizer.json");
  return std::make_unique<Generator>(
      LanguageModel::load(directory, kernels(), {.precision = "f32", .device = device}), std::move(tokenizer),
      GeneratorOptions{.threads = 1, .context = 64, .cache_tokens = 256, .step_tokens = 16});
}

TEST_F(DeviceModels, AGeneratorWritesTheSameTexts) {
  const Saved llama = tiny_llama();
  const auto expected = generate(*tiny_generator(llama.directory(), "cpu"), nullptr);
  const auto generator = tiny_generator(llama.directory(), "cuda");
  EXPECT_EQ(generate(*generator, nullptr), expected);

  EmulatedMachine::failing_launch = EmulatedMachine::launches + 5;
  std::vector<std::optional<Error>> errors;
  generate(*generator, &errors);
  EmulatedMachine::failing_launch = 0;
  ASSERT_EQ(errors.size(), 2U);
  ASSERT_TRUE(errors[0] || errors[1]);
  for (const auto& error : errors)
    EXPECT_EQ(error ? error->message() : "the device failed: planted", "the device failed: planted");
  EXPECT_EQ(generate(*generator, nullptr), expected) << "the next texts are as ever";
  EXPECT_THROW(generator->add_adapter("a", "nowhere"), Error);
}

TEST_F(DeviceModels, WhatADeviceCannotDoIsSaid) {
  const Saved llama = tiny_llama();
  const auto refusal = [](const auto& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  };
  const auto load = [&](const std::string& device) {
    return LanguageModel::load(llama.directory(), kernels(), {.device = device});
  };
  EXPECT_EQ(refusal([&] { load("cuda:1"); }), "device='cuda:1': there is one device");
  EXPECT_NE(refusal([&] { load("tpu"); }).find("must be 'auto', 'cpu', 'cuda' or 'cuda:N'"),
            std::string::npos);
  const auto model = load("cuda");
  EXPECT_NE(refusal([&] { model->reserve({.kv = KvType::kInt8}); }).find("f32 or bf16"), std::string::npos);
}

}  // namespace
}  // namespace headrace
