// Files that hold a tokenizer -> Tokenizer; what is no tokenizer.json becomes the text of one first.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

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

// A file's text, read or where it is in memory already.
struct FileText {
  PageVector<char> read;
  std::shared_ptr<const MemoryFile> memory;

  std::string_view view() const {
    if (!memory) return {read.data(), read.size()};
    return {reinterpret_cast<const char*>(memory->bytes().data()), memory->bytes().size()};
  }
};

[[noreturn]] void fail_missing(const std::string& path, const std::string& reason) {
  throw Error(
      ErrorKind::kNotFound,
      concat(path, ": ", reason, "; give a tokenizer.json, vocab.txt, .model, .tiktoken or .gguf file"));
}

FileText read_file(const ModelPath& source) {
  const std::string& path = source.name();
  if (source.is_in_memory()) {
    FileText file{.memory = source.memory()};
    if (!file.memory) fail_missing(path, "no such file");
    return file;
  }
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) fail_missing(path, error.message());
  std::ifstream file(path, std::ios::binary);
  PageVector<char> text(std::min(size, kMaxBytes));
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())))
    throw Error(ErrorKind::kNotFound, concat(path, ": cannot be read; check its permissions"));
  return {.read = std::move(text)};
}

// What the tokenizer_config.json beside a vocab.txt says of it.
BertOptions bert_options(const ModelPath& config) {
  BertOptions options;
  if (!config.exists()) return options;
  const FileText file = read_file(config);
  const JsonDocument document(file.view(), config.name());
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

// Of a .model beside a tokenizer_config.json that says SigLIP's tokenizer reads it.
std::optional<CanonicalText> canonical_text(const ModelPath& config) {
  if (!config.exists()) return std::nullopt;
  const FileText file = read_file(config);
  const JsonDocument document(file.view(), config.name());
  const auto name = document.root().find("tokenizer_class");
  if (!name || !name->is_string() || name->as_string() != "SiglipTokenizer") return std::nullopt;
  const auto lowers = document.root().find("do_lower_case");
  return CanonicalText{.lowercase = !lowers || lowers->is_null() || lowers->as_bool()};
}

// What another kind of file says, as a tokenizer.json; nothing for those.
std::optional<std::string> converted(const ModelPath& source, std::string_view text,
                                     const std::string& encoding) {
  const std::string& path = source.name();
  const std::filesystem::path name(path);
  const std::string extension = name.extension().string();
  if (text.starts_with("GGUF")) return tokenizer_json_from_gguf(text, path);
  if (extension == ".tiktoken" || !encoding.empty())
    return tokenizer_json_from_tiktoken(
        text, tiktoken_encoding(encoding.empty() ? name.stem().string() : encoding), path);
  if (extension == ".model")
    return tokenizer_json_from_sentencepiece(text, path,
                                             canonical_text(source.beside("tokenizer_config.json")));
  if (extension == ".txt")
    return tokenizer_json_from_vocab_txt(text, bert_options(source.beside("tokenizer_config.json")), path);
  return std::nullopt;
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_file(const ModelPath& path, const std::string& encoding) {
  FileText file = read_file(path);
  const std::string_view text = file.view();
  const std::optional<std::string> json = converted(path, text, encoding);
  if (json) file = {};
  return from_json(json ? *json : text, path.name());
}

std::string Tokenizer::json_of_file(const ModelPath& path, const std::string& encoding) {
  const FileText file = read_file(path);
  std::optional<std::string> json = converted(path, file.view(), encoding);
  return json ? std::move(*json) : std::string(file.view());
}

std::unique_ptr<Tokenizer> Tokenizer::from_model(const ModelPath& folder) {
  for (const char* name : {"tokenizer.json", "vocab.txt", "tokenizer.model", "spiece.model",
                           "sentencepiece.bpe.model", "sentencepiece.model"})
    if ((folder / name).exists()) return from_file(folder / name);
  const std::vector<ModelPath> ggufs = folder.files_ending(".gguf");
  if (ggufs.size() == 1) return from_file(ggufs[0]);
  // Says what is missing in the words of a missing file.
  return from_file(folder / "tokenizer.json");
}

}  // namespace headrace
