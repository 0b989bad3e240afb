// How byte-level tokenizers of known families split text, as pre_tokenizers of a tokenizer.json.
#pragma once

#include <string>
#include <string_view>

namespace headrace {

// name: "gpt2", "cl100k", "o200k", "qwen2", "smollm", "deepseek_v3", "llama_default" (what
// llama.cpp does with models that do not say); empty for others.
std::string byte_level_pre_tokenizer(std::string_view name);

// The decoder that goes with all of them.
inline constexpr char kByteLevelDecoder[] =
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}";

}  // namespace headrace
