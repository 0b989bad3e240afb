// Files that hold a tokenizer -> Tokenizer; what is no tokenizer.json becomes the text of one first.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/pages.h"
#include "text/source_bert.h"
#include "text/source_gguf.h"
#include "text/source_sentencepiece.h"
#include "text/source_tiktoken.h"
#include "text/tokenizer.h"

namespace headrace {
namespace {

// A GGUF's metadata stands before the weights; no vocabulary is near this size.
constexpr uintmax_t kMaxBytes = uintmax_t{1} << 28;

PageVector<char> read_file(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error)
    throw Error(ErrorKind::kNotFound,
                concat(path, ": ", error.message(),
                       "; give a tokenizer.json, vocab.txt, .model, .tiktoken or .gguf file"));
  std::ifstream file(path, std::ios::binary);
  PageVector<char> text(std::min(size, kMaxBytes));
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())))
    throw Error(ErrorKind::kNotFound, concat(path, ": cannot be read; check its permissions"));
  return text;
}

// What the tokenizer_config.json beside a vocab.txt says of it.
BertOptions bert_options(const std::filesystem::path& config) {
  BertOptions options;
  if (!std::filesystem::exists(config)) return options;
  const PageVector<char> text = read_file(config.string());
  const JsonDocument document({text.data(), text.size()}, config.string());
  const JsonValue root = document.root();
  const auto flag = [&](const char* name) -> std::optional<bool> {
    const auto value = root.find(name);
    return value && !value->is_null() ? std::optional(value->as_bool()) : std::nullopt;
  };
  options.lowercase = flag("do_lower_case").value_or(options.lowercase);
  options.strip_accents = flag("strip_accents");
  options.handle_chinese_chars = flag("tokenize_chinese_chars").value_or(options.handle_chinese_chars);
  return options;
}

// What another kind of file says, as a tokenizer.json; nothing for those.
std::optional<std::string> converted(const std::string& path, std::string_view text,
                                     const std::string& encoding) {
  const std::filesystem::path name(path);
  const std::string extension = name.extension().string();
  if (text.starts_with("GGUF")) return tokenizer_json_from_gguf(text, path);
  if (extension == ".tiktoken" || !encoding.empty())
    return tokenizer_json_from_tiktoken(
        text, tiktoken_encoding(encoding.empty() ? name.stem().string() : encoding), path);
  if (extension == ".model") return tokenizer_json_from_sentencepiece(text, path);
  if (extension == ".txt")
    return tokenizer_json_from_vocab_txt(text, bert_options(name.parent_path() / "tokenizer_config.json"),
                                         path);
  return std::nullopt;
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_file(const std::string& path, const std::string& encoding) {
  PageVector<char> file = read_file(path);
  const std::string_view text(file.data(), file.size());
  const std::optional<std::string> json = converted(path, text, encoding);
  if (json) file = {};
  return from_json(json ? *json : text, path);
}

std::unique_ptr<Tokenizer> Tokenizer::from_model(const std::string& directory) {
  const std::filesystem::path folder(directory);
  for (const char* name : {"tokenizer.json", "vocab.txt", "tokenizer.model", "spiece.model",
                           "sentencepiece.bpe.model", "sentencepiece.model"})
    if (std::filesystem::exists(folder / name)) return from_file((folder / name).string());
  std::vector<std::filesystem::path> ggufs;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".gguf") ggufs.push_back(entry.path());
  if (ggufs.size() == 1) return from_file(ggufs[0].string());
  // Says what is missing in the words of a missing file.
  return from_file((folder / "tokenizer.json").string());
}

}  // namespace headrace
