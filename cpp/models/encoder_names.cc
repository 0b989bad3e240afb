#include "models/encoder_names.h"

#include <algorithm>

namespace headrace {
namespace {

constexpr EncoderNames bert_names(const char* prefix) {
  return {.prefix = prefix,
          .layer = "encoder.layer.",
          .query = "attention.self.query",
          .key = "attention.self.key",
          .value = "attention.self.value",
          .attended = "attention.output.dense",
          .attended_norm = "attention.output.LayerNorm",
          .up = "intermediate.dense",
          .down = "output.dense",
          .down_norm = "output.LayerNorm"};
}

constexpr EncoderNames electra_names() {
  EncoderNames names = bert_names("electra.");
  names.projection = "embeddings_project";
  return names;
}

// jina-embeddings-v2, which calls itself bert.
constexpr EncoderNames jina_v2_names() {
  EncoderNames names = bert_names("bert.");
  names.up = "mlp.gated_layers";
  names.down = "mlp.wo";
  names.down_norm = "mlp.layernorm";
  names.has_biases = false;
  return names;
}

constexpr EncoderNames deberta_names() {
  EncoderNames names = bert_names("deberta.");
  names.query = "attention.self.query_proj";
  names.key = "attention.self.key_proj";
  names.value = "attention.self.value_proj";
  return names;
}

constexpr EncoderNames kBert[] = {bert_names("bert."), jina_v2_names()};
constexpr EncoderNames kRoberta[] = {bert_names("roberta.")};
constexpr EncoderNames kElectra[] = {electra_names()};
constexpr EncoderNames kDeberta[] = {deberta_names()};

constexpr EncoderNames kDistilBert[] = {{.prefix = "distilbert.",
                                         .layer = "transformer.layer.",
                                         .query = "attention.q_lin",
                                         .key = "attention.k_lin",
                                         .value = "attention.v_lin",
                                         .attended = "attention.out_lin",
                                         .attended_norm = "sa_layer_norm",
                                         .up = "ffn.lin1",
                                         .down = "ffn.lin2",
                                         .down_norm = "output_layer_norm"}};

constexpr EncoderNames kMpnet[] = {{.prefix = "mpnet.",
                                    .layer = "encoder.layer.",
                                    .query = "attention.attn.q",
                                    .key = "attention.attn.k",
                                    .value = "attention.attn.v",
                                    .attended = "attention.attn.o",
                                    .attended_norm = "attention.LayerNorm",
                                    .up = "intermediate.dense",
                                    .down = "output.dense",
                                    .down_norm = "output.LayerNorm"}};

// The layer's number is that of the group, whose layers are all alike.
constexpr EncoderNames kAlbert[] = {{.prefix = "albert.",
                                     .projection = "encoder.embedding_hidden_mapping_in",
                                     .layer = "encoder.albert_layer_groups.",
                                     .query = "albert_layers.0.attention.query",
                                     .key = "albert_layers.0.attention.key",
                                     .value = "albert_layers.0.attention.value",
                                     .attended = "albert_layers.0.attention.dense",
                                     .attended_norm = "albert_layers.0.attention.LayerNorm",
                                     .up = "albert_layers.0.ffn",
                                     .down = "albert_layers.0.ffn_output",
                                     .down_norm = "albert_layers.0.full_layer_layer_norm"}};

constexpr EncoderNames kModernBert[] = {{.prefix = "model.",
                                         .word = "embeddings.tok_embeddings",
                                         .embedding_norm = "embeddings.norm",
                                         .layer = "layers.",
                                         .query = "attn.Wqkv",
                                         .attended = "attn.Wo",
                                         .attended_norm = "mlp_norm",
                                         .up = "mlp.Wi",
                                         .down = "mlp.Wo",
                                         .down_norm = "attn_norm",
                                         .final_norm = "final_norm",
                                         .has_biases = false}};

constexpr EncoderNames kNomic[] = {{.prefix = "nomic_bert.",
                                    .other_prefix = "bert.",
                                    .embedding_norm = "emb_ln",
                                    .layer = "encoder.layers.",
                                    .query = "attn.Wqkv",
                                    .attended = "attn.out_proj",
                                    .attended_norm = "norm1",
                                    .gate = "mlp.fc12",
                                    .up = "mlp.fc11",
                                    .down = "mlp.fc2",
                                    .down_norm = "norm2",
                                    .has_biases = false}};

constexpr EncoderNames kGte[] = {{.prefix = "gte.",
                                  .other_prefix = "new.",
                                  .layer = "encoder.layer.",
                                  .query = "attention.qkv_proj",
                                  .attended = "attention.o_proj",
                                  .attended_norm = "attn_ln",
                                  .up = "mlp.up_gate_proj",
                                  .has_up_first = true,
                                  .down = "mlp.down_proj",
                                  .down_norm = "mlp_ln",
                                  .has_biases = false}};

constexpr EncoderNames kJina[] = {{.prefix = "roberta.",
                                   .embedding_norm = "emb_ln",
                                   .layer = "encoder.layers.",
                                   .query = "mixer.Wqkv",
                                   .attended = "mixer.out_proj",
                                   .attended_norm = "norm1",
                                   .up = "mlp.fc1",
                                   .down = "mlp.fc2",
                                   .down_norm = "norm2"}};

struct Family {
  const char* name;
  std::span<const EncoderNames> names;
};

constexpr Family kFamilies[] = {
    {"bert", kBert},
    {"roberta", kRoberta},
    {"xlm-roberta", kRoberta},
    {"camembert", kRoberta},
    {"electra", kElectra},
    {"distilbert", kDistilBert},
    {"mpnet", kMpnet},
    {"albert", kAlbert},
    {"modernbert", kModernBert},
    {"nomic_bert", kNomic},
    {"gte", kGte},
    {"new", kGte},
    {"jina_embeddings_v3", kJina},
    {"deberta-v2", kDeberta},
};

}  // namespace

std::span<const EncoderNames> encoder_names(std::string_view family) {
  const auto* const found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                         [&](const Family& each) { return family == each.name; });
  return found == std::end(kFamilies) ? std::span<const EncoderNames>() : found->names;
}

std::vector<std::string> encoder_families() {
  std::vector<std::string> names;
  for (const Family& each : kFamilies) names.emplace_back(each.name);
  return names;
}

}  // namespace headrace
