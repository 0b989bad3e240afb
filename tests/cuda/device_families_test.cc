// What families of models do otherwise than BERT and Llama, on a device.
#include "device_models.h"

namespace headrace {
namespace {

// Embeddings of another width than the layers, and one group of weights for both layers.
Saved tiny_albert() {
  Tensors tensors;
  for (const auto& [name, rows] : {std::pair{"word", kVocabulary}, {"position", 80}, {"token_type", 2}})
    add_matrix(tensors, concat("embeddings.", name, "_embeddings"), rows, 32);
  tensors["embeddings.LayerNorm.weight"] = random_tensor({32});
  tensors["embeddings.LayerNorm.bias"] = random_tensor({32});
  add_linear(tensors, "encoder.embedding_hidden_mapping_in", kHidden, 32);
  const std::string layer = "encoder.albert_layer_groups.0.albert_layers.0.";
  for (const char* name : {"query", "key", "value", "dense"})
    add_linear(tensors, layer + "attention." + name, kHidden, kHidden);
  add_norm(tensors, layer + "attention.LayerNorm", true);
  add_linear(tensors, layer + "ffn", kForward, kHidden);
  add_linear(tensors, layer + "ffn_output", kHidden, kForward);
  add_norm(tensors, layer + "full_layer_layer_norm", true);
  return Saved(
      R"({"model_type": "albert", "architectures": ["AlbertModel"], "hidden_size": 64, "embedding_size": 32,
          "num_hidden_layers": 2, "num_hidden_groups": 1, "num_attention_heads": 2, "intermediate_size": 80,
          "vocab_size": 50, "max_position_embeddings": 80, "type_vocab_size": 2})",
      tensors);
}

// Norms of heads and behind blocks, windows, caps, scaled embeddings.
Saved tiny_gemma() {
  Tensors tensors;
  add_matrix(tensors, "model.embed_tokens", 128, kHidden);
  add_matrix(tensors, "lm_head", 128, kHidden);
  add_norm(tensors, "model.norm", false);
  for (int i = 0; i < 2; ++i) {
    const std::string layer = concat("model.layers.", i, ".");
    for (const char* name : {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                             "post_feedforward_layernorm"})
      add_norm(tensors, layer + name, false);
    for (const char* name : {"q_norm", "k_norm"})
      tensors[layer + "self_attn." + name + ".weight"] = random_tensor({24});
    add_matrix(tensors, layer + "self_attn.q_proj", 4 * 24, kHidden);
    add_matrix(tensors, layer + "self_attn.k_proj", 24, kHidden);
    add_matrix(tensors, layer + "self_attn.v_proj", 24, kHidden);
    add_matrix(tensors, layer + "self_attn.o_proj", kHidden, 4 * 24);
    for (const char* name : {"gate_proj", "up_proj"}) add_matrix(tensors, layer + "mlp." + name, 96, kHidden);
    add_matrix(tensors, layer + "mlp.down_proj", kHidden, 96);
  }
  return Saved(
      R"({"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 24, "vocab_size": 128,
          "max_position_embeddings": 512, "query_pre_attn_scalar": 24, "sliding_window": 16,
          "sliding_window_pattern": 2, "attn_logit_softcapping": 20, "final_logit_softcapping": 15,
          "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": false})",
      tensors);
}

// Norms with a mean, learned positions, no gates, biases.
Saved tiny_gpt2() {
  Tensors tensors;
  add_matrix(tensors, "wte", 128, kHidden);
  add_matrix(tensors, "lm_head", 128, kHidden);
  add_matrix(tensors, "wpe", 128, kHidden);
  add_norm(tensors, "ln_f", true);
  const auto add = [&](const std::string& name, int64_t n, int64_t k) {  // its matrices lie the other way
    tensors[name + ".weight"] = random_tensor({k, n});
    tensors[name + ".bias"] = random_tensor({n});
  };
  for (int i = 0; i < 2; ++i) {
    const std::string layer = concat("h.", i, ".");
    add_norm(tensors, layer + "ln_1", true);
    add_norm(tensors, layer + "ln_2", true);
    add(layer + "attn.c_attn", 3 * kHidden, kHidden);
    add(layer + "attn.c_proj", kHidden, kHidden);
    add(layer + "mlp.c_fc", 96, kHidden);
    add(layer + "mlp.c_proj", kHidden, 96);
  }
  return Saved(R"({"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96,
                   "vocab_size": 128, "n_positions": 128, "tie_word_embeddings": false})",
               tensors);
}

TEST_F(DeviceModels, AlbertEmbeds) {
  const Saved albert = tiny_albert();
  for (const char* precision : {"f32", "bf16", "int8"}) expect_alike(albert.directory(), precision);
}

TEST_F(DeviceModels, OtherLanguageModelsWriteTheSameTokens) {
  for (const bool is_gemma : {true, false}) {
    SCOPED_TRACE(is_gemma ? "gemma" : "gpt2");
    const Saved model = is_gemma ? tiny_gemma() : tiny_gpt2();
    const auto expected = write(model.directory(), {.precision = "f32"}, KvType::kF32, false, 8);
    expect_same(write(model.directory(), {.precision = "f32", .device = "cuda"}, KvType::kF32, false, 8),
                expected, 1e-4f);
  }
}

}  // namespace
}  // namespace headrace
