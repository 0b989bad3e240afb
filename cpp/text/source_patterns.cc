#include "text/source_patterns.h"

#include "base/error.h"
#include "text/json_writer.h"

namespace headrace {
namespace {

// Published by OpenAI with tiktoken, and by the models' makers in their tokenizer.json.
constexpr std::string_view kCl100k =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
constexpr std::string_view kDefaultMarks = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepSeekDigits = R"(\p{N}{1,3})";
constexpr std::string_view kDeepSeekHan = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
constexpr std::string_view kDeepSeekWords =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

std::string byte_level(bool use_regex) {
  return concat("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":",
                use_regex ? "true" : "false", "}");
}

std::string split(std::string_view pattern) {
  return concat("{\"type\":\"Split\",\"pattern\":{\"Regex\":", json_string(pattern),
                "},\"behavior\":\"Isolated\",\"invert\":false}");
}

template <typename... Steps>
std::string sequence(const Steps&... steps) {
  std::string all;
  JsonList list(all);
  ((list.next() += steps), ...);
  return concat("{\"type\":\"Sequence\",\"pretokenizers\":[", all, "]}");
}

}  // namespace

std::string byte_level_pre_tokenizer(std::string_view name) {
  if (name == "gpt2") return byte_level(true);
  if (name == "cl100k") return sequence(split(kCl100k), byte_level(false));
  if (name == "o200k") return sequence(split(kO200k), byte_level(false));
  if (name == "qwen2") return sequence(split(kQwen2), byte_level(false));
  if (name == "smollm")
    return sequence(std::string("{\"type\":\"Digits\",\"individual_digits\":true}"), byte_level(true));
  if (name == "deepseek_v3")
    return sequence(split(kDeepSeekDigits), split(kDeepSeekHan), split(kDeepSeekWords), byte_level(false));
  if (name == "llama_default")
    return sequence(split(kDefaultMarks), split(kGpt2), split(R"(\p{N}+)"), split("[0-9][0-9][0-9]"),
                    byte_level(false));
  return {};
}

}  // namespace headrace
