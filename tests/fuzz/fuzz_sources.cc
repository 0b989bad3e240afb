// Reads arbitrary bytes as a vocabulary: an Error or a tokenizer.json whose model works, nothing else. The
// first byte chooses the format.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "text/source_bert.h"
#include "text/source_gguf.h"
#include "text/source_sentencepiece.h"
#include "text/source_tiktoken.h"
#include "text/subword_json.h"

namespace {

using namespace headrace;

std::string read_source(char format, std::string_view bytes) {
  switch (format) {
    case 'b':
      return tokenizer_json_from_vocab_txt(bytes, {}, "fuzz");
    case 'g':
      return tokenizer_json_from_gguf(bytes, "fuzz");
    case 's':
      return tokenizer_json_from_sentencepiece(bytes, "fuzz");
    case 't':
      return tokenizer_json_from_tiktoken(bytes, {"null", {{"<|end|>", 1000}}}, "fuzz");
    default:
      return std::string(bytes);  // a tokenizer.json as it is
  }
}

void use(const SubwordModel& model) {
  const std::string text =
      "Hello a ab\xE2\x96\x81<x>\xC3\xA9\xE4\xB8\xAD hellohello hellohello aaaaaaaaaaaaaaaaaaaa";
  const Piece pieces[] = {{0, 5}, {5, static_cast<uint32_t>(text.size())}, {0, 5}};
  const auto scratch = model.make_scratch();
  IdBuffer ids;
  std::vector<Piece> spans;
  model.encode(text, pieces, *scratch, ids, nullptr);
  const size_t alone = ids.size();
  model.encode(text, pieces, *scratch, ids, &spans);
  if (ids.size() != 2 * alone || spans.size() != alone) std::abort();
  for (size_t i = 0; i < alone; ++i) {
    if (ids[i] != ids[alone + i]) std::abort();
    if (spans[i].begin > spans[i].end || spans[i].end > text.size()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const std::string json = read_source(bytes[0], bytes.substr(1));
    const JsonDocument document(json, "fuzz");
    for (const bool raw_bytes : {false, true}) {
      try {
        use(*read_model(document.root().at("model"), raw_bytes).model);
      } catch (const Error& error) {
        // Text that the vocabulary lacks and no unknown token.
        if (error.kind() == ErrorKind::kInternal || error.message().empty()) std::abort();
      }
    }
  } catch (const Error& error) {
    const bool is_allowed =
        error.kind() == ErrorKind::kCorruptFile || error.kind() == ErrorKind::kUnsupported;
    if (!is_allowed || error.message().empty()) std::abort();
  }
  return 0;
}
