// modules.json and the settings of its modules: what is read, what is refused, and how clearly.
#include "models/sentence_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace headrace {
namespace {

class SentenceFiles : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() /
                 ("headrace_sentence_" + std::to_string(getpid()) + "_" +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    for (const char* folder : {"1_Pooling", "2_Dense", "3_LayerNorm", "4_Normalize", "0_Transformer"})
      std::filesystem::create_directories(directory_ / folder);
    write("1_Pooling/config.json", "{}");
    write("2_Dense/config.json", R"({"in_features": 24, "out_features": 8, "bias": false,
        "activation_function": "torch.nn.modules.activation.ReLU"})");
    write("3_LayerNorm/config.json", R"({"dimension": 8})");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(directory_ / name) << text; }
  // modules.json of these folders, each named after its class; the Transformer comes by itself.
  void write_modules(const std::vector<std::string>& folders) {
    std::string text = R"([{"path": "", "type": "sentence_transformers.models.Transformer"})";
    for (const std::string& folder : folders)
      text += concat(R"(, {"path": ")", folder, R"(", "type": "sentence_transformers.models.)",
                     folder.substr(folder.find('_') + 1), R"("})");
    write("modules.json", text + "]");
  }
  SentenceConfig read() const { return read_sentence_config(directory_.string()); }
  std::string refusal(ErrorKind kind) const {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.message();
      return error.message();
    }
    return "accepted";
  }
  std::vector<Pooling> pooling(const std::string& config) {
    write_modules({"1_Pooling"});
    write("1_Pooling/config.json", config);
    return read().pooling;
  }

  std::filesystem::path directory_;
};

#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

TEST_F(SentenceFiles, without_modules_the_mean_is_taken_and_not_normalised) {
  const SentenceConfig c = read();
  EXPECT_EQ(c.pooling, std::vector<Pooling>{Pooling::kMean});
  EXPECT_TRUE(c.modules.empty());
  EXPECT_TRUE(c.pools_prompt);
  EXPECT_EQ(c.similarity, "cosine");
}

TEST_F(SentenceFiles, modules_come_in_their_order) {
  write_modules({"1_Pooling", "4_Normalize", "2_Dense", "5_Dropout", "3_LayerNorm", "4_Normalize"});
  const SentenceConfig c = read();
  using Kind = SentenceModule::Kind;
  ASSERT_EQ(c.modules.size(), 4u);
  EXPECT_EQ(c.modules[0].kind, Kind::kNormalize);
  EXPECT_EQ(c.modules[1].kind, Kind::kDense);
  EXPECT_EQ(c.modules[1].in, 24);
  EXPECT_EQ(c.modules[1].out, 8);
  EXPECT_FALSE(c.modules[1].bias);
  EXPECT_FALSE(c.modules[1].residual);
  EXPECT_EQ(c.modules[1].curve, Curve::kRelu);
  EXPECT_EQ(c.modules[1].directory.name(), (directory_ / "2_Dense").string());
  EXPECT_EQ(c.modules[2].kind, Kind::kLayerNorm);
  EXPECT_EQ(c.modules[3].kind, Kind::kNormalize);
}

TEST_F(SentenceFiles, pooling_modes_of_older_versions_have_a_fixed_order) {
  using enum Pooling;
  EXPECT_EQ(pooling(R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})"),
            std::vector{kFirst});
  EXPECT_EQ(pooling(R"({"pooling_mode_lasttoken": true, "pooling_mode_weightedmean_tokens": true,
      "pooling_mode_mean_sqrt_len_tokens": true, "pooling_mode_mean_tokens": true,
      "pooling_mode_max_tokens": true, "pooling_mode_cls_token": true})"),
            (std::vector{kFirst, kMax, kMean, kMeanSqrtLength, kWeightedMean, kLast}));
  EXPECT_EQ(pooling("{}"), std::vector{kMean});
}

TEST_F(SentenceFiles, pooling_modes_of_newer_versions_have_the_order_of_the_file) {
  using enum Pooling;
  EXPECT_EQ(pooling(R"({"pooling_mode": "lasttoken", "pooling_mode_cls_token": true})"), std::vector{kLast});
  EXPECT_EQ(pooling(R"({"pooling_mode": ["mean", "cls", "max"], "include_prompt": false})"),
            (std::vector{kMean, kFirst, kMax}));
  EXPECT_FALSE(read().pools_prompt);
  EXPECT_FALSE(read().pooled_width);
  pooling(R"({"embedding_dimension": 24})");
  EXPECT_EQ(read().pooled_width, 24);
  pooling(R"({"word_embedding_dimension": 32})");
  EXPECT_EQ(read().pooled_width, 32);
}

TEST_F(SentenceFiles, an_unknown_mode_or_activation_is_unsupported_by_name) {
  write_modules({"1_Pooling", "2_Dense"});
  write("1_Pooling/config.json", R"({"pooling_mode": ["mean", "median"]})");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "'median': supported are cls, max, mean");
  write("1_Pooling/config.json", R"({"pooling_mode": []})");
  EXPECT_SAYS(refusal(ErrorKind::kCorruptFile), "lists 0 modes");
  write("1_Pooling/config.json", "[]");
  EXPECT_SAYS(refusal(ErrorKind::kCorruptFile), "1_Pooling/config.json");
  write("1_Pooling/config.json", "{}");
  for (const char* name : {"torch.nn.modules.activation.PReLU", "mine.Tanh", "Tanh"}) {
    write("2_Dense/config.json",
          concat(R"({"in_features": 24, "out_features": 8, "activation_function": ")", name, "\"}"));
    EXPECT_SAYS(refusal(ErrorKind::kUnsupported), concat("'", name, "': supported are Identity, Tanh"));
  }
}

TEST_F(SentenceFiles, what_works_on_tokens_is_unsupported) {
  write_modules({"1_Pooling", "2_Dense"});
  write("2_Dense/config.json",
        R"({"in_features": 24, "out_features": 8, "module_input_name": "token_embeddings"})");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "module_input_name 'token_embeddings'");
  write_modules({"1_Pooling", "4_Normalize"});
  write("4_Normalize/config.json", R"({"module_output_name": "other"})");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "module_output_name 'other'");
}

TEST_F(SentenceFiles, modules_in_no_valid_order_or_of_other_kinds_are_unsupported) {
  write_modules({"2_Dense", "1_Pooling"});
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "Dense stands before the Pooling");
  write_modules({"1_Pooling", "1_Pooling"});
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "several Pooling");
  write_modules({"1_Pooling", "0_Transformer"});
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "module 3 is Transformer");
  write_modules({"1_Pooling", "7_CNN"});
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "'CNN': supported are Transformer, Pooling");
  write("modules.json", R"([{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "module 1 is Pooling");
  write("modules.json", R"([{"path": "", "type": "their_own.code.Transformer"}])");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported), "'their_own.code.Transformer'");
}

TEST_F(SentenceFiles, absurd_numbers_and_missing_files_are_told_apart) {
  write_modules({"1_Pooling", "2_Dense"});
  for (const char* value : {"0", "-1", "1000000", "1.5", "\"24\"", "null"}) {
    write("2_Dense/config.json", concat(R"({"in_features": 24, "out_features": )", value, "}"));
    EXPECT_SAYS(refusal(ErrorKind::kCorruptFile), "2_Dense/config.json");
  }
  std::filesystem::remove(directory_ / "2_Dense/config.json");
  EXPECT_SAYS(refusal(ErrorKind::kNotFound), "2_Dense/config.json");
  write("modules.json", "{}");
  EXPECT_SAYS(refusal(ErrorKind::kCorruptFile), "modules.json");
}

TEST_F(SentenceFiles, no_path_leaves_the_directory) {
  for (const char* path : {"../1_Pooling", "/etc", "1_Pooling/../.."}) {
    write("modules.json", concat(R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": ")",
                                 path, R"(", "type": "sentence_transformers.models.Pooling"}])"));
    EXPECT_SAYS(refusal(ErrorKind::kCorruptFile), "leaves the model directory");
  }
}

TEST_F(SentenceFiles, the_encoder_may_lie_in_a_folder_of_its_own) {
  EXPECT_EQ(transformer_directory(directory_.string()).name(), directory_.string());
  write_modules({});
  EXPECT_EQ(transformer_directory(directory_.string()).name(), directory_.string());
  write("modules.json", R"([{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}])");
  EXPECT_EQ(transformer_directory(directory_.string()).name(), (directory_ / "0_Transformer").string());
  write("modules.json", R"([{"path": "../x", "type": "sentence_transformers.models.Transformer"}])");
  EXPECT_THROW(transformer_directory(directory_.string()), Error);
}

TEST_F(SentenceFiles, lower_case_and_the_longest_text_are_read_where_a_file_says_so) {
  const auto settings = [&] { return read_text_settings(directory_.string()); };
  EXPECT_FALSE(settings().lower_case);
  EXPECT_FALSE(settings().max_tokens);
  write("tokenizer_config.json", R"({"model_max_length": 1000000000000000019884624838656})");
  EXPECT_FALSE(settings().max_tokens);
  write("tokenizer_config.json", R"({"model_max_length": 384})");
  EXPECT_EQ(settings().max_tokens, 384);
  write("sentence_roberta_config.json", R"({"max_seq_length": 128, "do_lower_case": true})");
  EXPECT_TRUE(settings().lower_case);
  EXPECT_EQ(settings().max_tokens, 128);
  write("sentence_bert_config.json", R"({"max_seq_length": null})");
  EXPECT_FALSE(settings().lower_case);
  EXPECT_EQ(settings().max_tokens, 384);
  for (const char* text : {R"({"do_lower_case": 1})", R"({"max_seq_length": 0})", "[]", ""}) {
    write("sentence_bert_config.json", text);
    EXPECT_THROW(settings(), Error) << text;
  }
}

TEST_F(SentenceFiles, prompts_and_similarity_are_read) {
  write("config_sentence_transformers.json", R"({"prompts": {"query": "query: ", "document": null},
      "default_prompt_name": "query", "similarity_fn_name": "dot"})");
  const SentenceConfig c = read();
  ASSERT_EQ(c.prompts.size(), 2u);
  EXPECT_EQ(c.prompts[0], (std::pair<std::string, std::string>("query", "query: ")));
  EXPECT_EQ(c.prompts[1], (std::pair<std::string, std::string>("document", "")));
  EXPECT_EQ(c.default_prompt, "query");
  EXPECT_EQ(c.similarity, "dot");
  write("config_sentence_transformers.json",
        R"({"prompts": null, "default_prompt_name": null, "similarity_fn_name": null})");
  EXPECT_TRUE(read().prompts.empty());
  EXPECT_FALSE(read().default_prompt);
  EXPECT_EQ(read().similarity, "cosine");
}

TEST_F(SentenceFiles, prompts_that_do_not_fit_are_refused) {
  const auto says = [&](const char* text, ErrorKind kind, const char* part) {
    write("config_sentence_transformers.json", text);
    EXPECT_SAYS(refusal(kind), part);
  };
  says(R"({"prompts": {"a": ""}, "default_prompt_name": "b"})", ErrorKind::kCorruptFile, "'b' is none of");
  says(R"({"prompts": {"a": "x", "a": "y"}})", ErrorKind::kCorruptFile, "'a' appears twice");
  says(R"({"prompts": {"a": 1}})", ErrorKind::kCorruptFile, "config_sentence_transformers.json");
  says(R"({"prompts": []})", ErrorKind::kCorruptFile, "config_sentence_transformers.json");
  says(R"({"similarity_fn_name": "jaccard"})", ErrorKind::kUnsupported, "'jaccard': supported are cosine");
}

}  // namespace
}  // namespace headrace
