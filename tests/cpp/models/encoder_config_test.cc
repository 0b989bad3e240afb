// config.json: what is refused, and how clearly.
#include "models/encoder_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace headrace {
namespace {

class ConfigFiles : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() /
                 ("headrace_config_" + std::to_string(getpid()) + "_" +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(directory_ / name) << text; }

  // The kind and message of what reading config.json throws.
  Error encoder_error(const std::string& text) {
    write("config.json", text);
    try {
      read_encoder_config(directory_.string());
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::kInternal, "nothing was thrown");
  }

  static std::string config(const std::string& key, const std::string& value) {
    std::string text =
        R"({"model_type": "bert", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "vocab_size": 90, "max_position_embeddings": 24, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12, "type_vocab_size": 2})";
    const size_t at = text.find('"' + key + '"');
    if (at == std::string::npos) return text;
    const size_t begin = text.find(": ", at) + 2;
    const size_t end = text.find_first_of(",}", begin);
    return text.replace(begin, end - begin, value);
  }

  std::filesystem::path directory_;
};

TEST_F(ConfigFiles, a_sound_one_is_read) {
  write("config.json", config("", ""));
  const EncoderConfig c = read_encoder_config(directory_.string());
  EXPECT_EQ(c.hidden, 24);
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.heads, 3);
  EXPECT_EQ(c.feed_forward, 40);
  EXPECT_EQ(c.vocabulary, 90);
  EXPECT_EQ(c.positions, 24);
  EXPECT_FLOAT_EQ(c.norm_eps, 1e-12f);
}

TEST_F(ConfigFiles, absurd_sizes_are_corrupt_and_named) {
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                          "vocab_size", "max_position_embeddings"})
    for (const char* value : {"0", "-1", "9223372036854775807", "1e400", "1.5", "\"24\"", "null", "[]"}) {
      const Error error = encoder_error(config(key, value));
      EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile) << key << "=" << value << ": " << error.message();
      EXPECT_NE(error.message().find("config.json"), std::string::npos);
    }
}

TEST_F(ConfigFiles, heads_must_divide_the_hidden_size) {
  EXPECT_EQ(encoder_error(config("num_attention_heads", "5")).kind(), ErrorKind::kCorruptFile);
}

TEST_F(ConfigFiles, heads_that_were_pruned_say_how_wide_they_are) {
  const auto with = [&](const std::string& heads, const std::string& width) {
    return config("num_attention_heads", heads + ", \"head_dim\": " + width);
  };
  write("config.json", with("2", "8"));
  const EncoderConfig c = read_encoder_config(directory_.string());
  EXPECT_EQ(c.heads, 2);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.attention_width(), 16);
  write("config.json", with("5", "8"));
  EXPECT_EQ(read_encoder_config(directory_.string()).attention_width(), 40);
  for (const char* width : {"0", "-8", "4097", "1.5", "\"8\""})
    EXPECT_EQ(encoder_error(with("2", width)).kind(), ErrorKind::kCorruptFile) << width;
  const std::string slopes = R"(, "position_embedding_type": "alibi", "feed_forward_type": "geglu")";
  EXPECT_EQ(encoder_error(with("2", "8" + slopes)).kind(), ErrorKind::kUnsupported);
}

TEST_F(ConfigFiles, other_architectures_and_activations_are_unsupported_by_name) {
  const Error type = encoder_error(config("model_type", "\"mamba\""));
  EXPECT_EQ(type.kind(), ErrorKind::kUnsupported);
  EXPECT_NE(type.message().find("mamba"), std::string::npos);
  const Error act = encoder_error(config("hidden_act", "\"swish9\""));
  EXPECT_EQ(act.kind(), ErrorKind::kUnsupported);
  EXPECT_NE(act.message().find("swish9"), std::string::npos);
}

TEST_F(ConfigFiles, text_that_is_no_json_object_is_corrupt) {
  for (const char* text : {"", "{", "[]", "null", "{\"model_type\": }", "\xff\xfe"})
    EXPECT_NE(encoder_error(text).kind(), ErrorKind::kInternal) << text;
  EXPECT_EQ(encoder_error("").kind(), ErrorKind::kCorruptFile);
}

TEST_F(ConfigFiles, a_missing_file_is_not_found) {
  try {
    read_encoder_config(directory_.string());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  }
}

}  // namespace
}  // namespace headrace
