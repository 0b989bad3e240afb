#include "models/encoder_names.h"

namespace headrace {
namespace {

struct Family {
  const char* name;
  EncoderNames names;
};

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

constexpr Family kFamilies[] = {
    {"bert", bert_names("bert.")},
    {"roberta", bert_names("roberta.")},
    {"xlm-roberta", bert_names("roberta.")},
    {"camembert", bert_names("roberta.")},
    {"electra", bert_names("electra.")},
    {"distilbert",
     {.prefix = "distilbert.",
      .layer = "transformer.layer.",
      .query = "attention.q_lin",
      .key = "attention.k_lin",
      .value = "attention.v_lin",
      .attended = "attention.out_lin",
      .attended_norm = "sa_layer_norm",
      .up = "ffn.lin1",
      .down = "ffn.lin2",
      .down_norm = "output_layer_norm"}},
};

}  // namespace

const EncoderNames* encoder_names(std::string_view family) {
  for (const Family& each : kFamilies)
    if (family == each.name) return &each.names;
  return nullptr;
}

std::vector<std::string> encoder_families() {
  std::vector<std::string> names;
  for (const Family& each : kFamilies) names.emplace_back(each.name);
  return names;
}

}  // namespace headrace
