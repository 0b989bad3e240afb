// Loads arbitrary bytes as a tokenizer.json: an Error or a tokenizer that works, nothing else.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  std::unique_ptr<headrace::Tokenizer> tokenizer;
  try {
    tokenizer = headrace::Tokenizer::from_json(json, "fuzz");
  } catch (const headrace::Error& error) {
    const bool is_allowed = error.kind() == headrace::ErrorKind::kCorruptFile ||
                            error.kind() == headrace::ErrorKind::kUnsupported;
    if (!is_allowed || error.message().empty()) std::abort();
    return 0;
  }
  const std::string_view text = "Hello a ab, [SEP] \xC3\xA9\xE4\xB8\xAD hellohello <x>";
  std::vector<int32_t> ids;
  try {
    tokenizer->encode_ids(text, {}, ids);
  } catch (const headrace::Error& error) {  // the text needs an unknown token, and the file has none
    if (error.kind() != headrace::ErrorKind::kInvalidArgument) std::abort();
    return 0;
  }
  const headrace::Encoding encoding = tokenizer->encode(text, {});
  if (encoding.ids != ids) std::abort();
  tokenizer->decode(ids, true);
  return 0;
}
