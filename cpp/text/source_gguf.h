// The vocabulary in a GGUF file -> tokenizer.json.
//
// tokenizer.ggml.model: "gpt2" (byte-level BPE; tokenizer.ggml.pre says how text is split: default, gpt-2,
// llama-bpe, qwen2, smollm, deepseek-v3 and a few that split as one of these), "llama" (SentencePiece BPE,
// with the differences that source_sentencepiece.h lists) or "bert" (WordPiece; uncased, as llama.cpp takes
// it).
#pragma once

#include <string>
#include <string_view>

namespace headrace {

// bytes: the file, or so much of its beginning that the metadata is whole; name: for messages. Throws
// Error(kCorruptFile) for contradictions and Error(kUnsupported) for other vocabularies or splits.
std::string tokenizer_json_from_gguf(std::string_view bytes, const std::string& name);

}  // namespace headrace
