#include "text/source_bert.h"

#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/json_writer.h"

namespace headrace {
namespace {

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

const char* json_bool(bool value) { return value ? "true" : "false"; }

}  // namespace

std::string tokenizer_json_from_vocab_txt(std::string_view text, const BertOptions& options,
                                          const std::string& name) {
  if (const size_t at = utf8_first_invalid(text); at != text.size())
    throw Error(ErrorKind::kCorruptFile, concat(name, ": byte ", at, " is not UTF-8"));
  const auto lines = split_lines(text);
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < lines.size(); ++i) ids[lines[i]] = static_cast<int32_t>(i);
  if (!ids.contains("[UNK]"))
    throw Error(ErrorKind::kCorruptFile, concat(name, ": the token [UNK] is missing"));

  TokenizerJson json;
  JsonList added(json.added_tokens);
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    if (const auto known = ids.find(token); known != ids.end())
      added.next() += json_added_token(known->second, token, true);
  json.normalizer =
      concat("{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":",
             json_bool(options.handle_chinese_chars),
             ",\"strip_accents\":", options.strip_accents ? json_bool(*options.strip_accents) : "null",
             ",\"lowercase\":", json_bool(options.lowercase), "}");
  json.pre_tokenizer = "{\"type\":\"BertPreTokenizer\"}";
  if (ids.contains("[CLS]") && ids.contains("[SEP]")) {
    const NamedToken before[] = {{"[CLS]", ids["[CLS]"]}};
    const NamedToken behind[] = {{"[SEP]", ids["[SEP]"]}};
    // A pair has no second [CLS], which json_template would put there.
    json.post_processor = concat("{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",", behind[0].id,
                                 "],\"cls\":[\"[CLS]\",", before[0].id, "]}");
  }
  json.decoder = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}";
  json.model =
      "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
      "\"max_input_chars_per_word\":100,\"vocab\":{";
  JsonList vocab(json.model);
  for (size_t i = 0; i < lines.size(); ++i)
    if (ids[lines[i]] == static_cast<int32_t>(i)) vocab.next() += concat(json_string(lines[i]), ":", i);
  json.model += "}}";
  return json.text();
}

}  // namespace headrace
