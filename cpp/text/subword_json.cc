#include "text/subword_json.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "text/bpe.h"
#include "text/merges_json.h"
#include "text/sentencepiece_json.h"
#include "text/unigram.h"
#include "text/word_level.h"
#include "text/wordpiece_model.h"

namespace headrace {
namespace {

// A member that may be missing or null.
std::optional<JsonValue> find_value(JsonValue object, std::string_view key) {
  auto value = object.find(key);
  if (value && value->is_null()) return std::nullopt;
  return value;
}

bool flag(JsonValue object, std::string_view key) {
  const auto value = find_value(object, key);
  return value && value->as_bool();
}

std::string text_or_empty(JsonValue object, std::string_view key) {
  const auto value = find_value(object, key);
  return value ? std::string(value->as_string()) : std::string();
}

// The double nearest to it.
double power_of_ten(int64_t exponent) {
  char text[24] = {'1', 'e'};
  const char* const end = std::to_chars(text + 2, text + sizeof text, exponent).ptr;
  double power = std::numeric_limits<double>::infinity();
  std::from_chars(text, end, power);
  return power;
}

ModelParts read_bpe(JsonValue model, bool raw_bytes) {
  if (const auto dropout = find_value(model, "dropout"); dropout && dropout->as_double() != 0)
    throw Error(
        ErrorKind::kUnsupported,
        concat("model.dropout ", dropout->as_double(),
               ": only null and 0 are supported, since equal texts must give equal ids; set it to null"));
  Bpe::Config config;
  config.raw_bytes = raw_bytes;
  config.ignore_merges = flag(model, "ignore_merges");
  config.fuse_unk = flag(model, "fuse_unk");
  config.byte_fallback = flag(model, "byte_fallback");
  if (const auto unk = find_value(model, "unk_token")) config.unk_token = std::string(unk->as_string());
  config.continuing_subword_prefix = text_or_empty(model, "continuing_subword_prefix");
  config.end_of_word_suffix = text_or_empty(model, "end_of_word_suffix");
  ModelParts parts;
  parts.vocabulary = read_vocabulary(model.at("vocab"));
  const auto merges =
      read_merges(model.at("merges"), parts.vocabulary, config.continuing_subword_prefix.size());
  parts.model = std::make_unique<Bpe>(parts.vocabulary, merges, std::move(config));
  return parts;
}

ModelParts read_unigram(JsonValue model) {
  const JsonValue vocab = model.at("vocab");
  if (!vocab.is_array()) vocab.fail("model.vocab of a Unigram model must be an array of tokens and scores");
  if (vocab.size() > static_cast<size_t>(Vocabulary::kMaxId))
    vocab.fail("model.vocab has more than 16777215 tokens");
  ModelParts parts;
  parts.vocabulary.reserve(vocab.size());
  std::vector<double> scores;
  scores.reserve(vocab.size());
  for (const JsonValue entry : vocab.items()) {
    if (!entry.is_array() || entry.size() != 2)
      vocab.fail(concat("model.vocab, entry ", scores.size(), ": must be a token and its score"));
    auto item = entry.items().begin();
    parts.vocabulary.add_again((*item).as_string(), static_cast<int32_t>(scores.size()));
    ++item;
    scores.push_back(reference_number((*item).number_text()));
  }
  Unigram::Config config;
  config.byte_fallback = flag(model, "byte_fallback");
  if (const auto unk = find_value(model, "unk_id")) {
    if (scores.empty()) vocab.fail("model.vocab is empty, yet there is an unk_id");
    config.unk_id = static_cast<int32_t>(unk->as_int(0, static_cast<int64_t>(scores.size()) - 1));
  }
  parts.model = std::make_unique<Unigram>(parts.vocabulary, std::move(scores), config);
  return parts;
}

ModelParts read_word_level(JsonValue model) {
  ModelParts parts;
  parts.vocabulary = read_vocabulary(model.at("vocab"));
  parts.model = std::make_unique<WordLevel>(parts.vocabulary, std::string(model.at("unk_token").as_string()));
  return parts;
}

ModelParts read_wordpiece(JsonValue model) {
  WordPiece::Config config;
  config.unk_token = model.at("unk_token").as_string();
  config.continuing_subword_prefix = model.at("continuing_subword_prefix").as_string();
  config.max_input_chars_per_word =
      model.at("max_input_chars_per_word").as_int(0, std::numeric_limits<int64_t>::max());
  ModelParts parts;
  parts.vocabulary = read_vocabulary(model.at("vocab"));
  parts.model = std::make_unique<WordPieceModel>(parts.vocabulary, std::move(config));
  return parts;
}

}  // namespace

std::string_view model_type(JsonValue model) {
  if (!model.is_object()) model.fail("model must be an object");
  if (const auto type = model.find("type")) return type->as_string();
  if (model.find("merges")) return "BPE";
  if (model.find("max_input_chars_per_word")) return "WordPiece";
  const auto vocab = model.find("vocab");
  if (vocab && vocab->is_array()) return "Unigram";
  if (vocab && model.find("unk_token")) return "WordLevel";
  return model.at("type").as_string();  // throws that it is missing
}

ModelParts read_model(JsonValue model, bool raw_bytes) {
  const std::string_view type = model_type(model);
  if (type == "BPE") return read_bpe(model, raw_bytes);
  if (raw_bytes) model.fail(concat("model '", type, "': only a BPE model can read raw bytes"));
  if (type == "Unigram") return read_unigram(model);
  if (type == "WordLevel") return read_word_level(model);
  if (type == "WordPiece") return read_wordpiece(model);
  if (type == "SentencePiece") return read_sentencepiece_model(model);
  throw Error(ErrorKind::kUnsupported,
              concat("model '", type,
                     "' is not supported; supported: BPE, Unigram, WordLevel, WordPiece; use a "
                     "model whose tokenizer.json has one of these"));
}

Vocabulary read_vocabulary(JsonValue vocab) {
  if (!vocab.is_object()) vocab.fail("model.vocab must be an object of tokens and their ids");
  // A few holes are harmless, but the tables have a row per id and must not outgrow the file that we read.
  const int64_t max_id = std::min(Vocabulary::kMaxId, static_cast<int64_t>(vocab.size()) * 16 + 1024);
  Vocabulary vocabulary;
  vocabulary.reserve(vocab.size());
  for (auto [token, value] : vocab.members()) {
    const auto id = static_cast<int32_t>(value.as_int(0, max_id));
    if (vocabulary.add(token, id)) continue;
    if (vocabulary.id(token)) vocab.fail(concat("model.vocab holds the token '", token, "' twice"));
    vocab.fail(concat("model.vocab gives the id ", id, " to '", vocabulary.token(id), "' and '", token, "'"));
  }
  return vocabulary;
}

double reference_number(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  uint64_t digits = 0;
  int64_t exponent = 0;
  bool in_fraction = false;
  bool is_full = false;  // the next digit would not fit
  size_t at = is_negative ? 1 : 0;
  for (; at < text.size() && text[at] != 'e' && text[at] != 'E'; ++at) {
    if (text[at] == '.') {
      in_fraction = true;
      is_full = false;  // a smaller digit may fit yet
      continue;
    }
    const auto digit = static_cast<uint64_t>(text[at] - '0');
    is_full = is_full || digits > (std::numeric_limits<uint64_t>::max() - digit) / 10;
    if (!is_full) digits = digits * 10 + digit;
    exponent += in_fraction ? (is_full ? 0 : -1) : (is_full ? 1 : 0);
  }
  if (at < text.size()) {
    const bool is_down = text[++at] == '-';
    if (text[at] == '-' || text[at] == '+') ++at;
    int64_t power = 0;
    for (; at < text.size(); ++at) power = std::min<int64_t>(power * 10 + (text[at] - '0'), 1 << 20);
    exponent += is_down ? -power : power;
  }
  auto value = static_cast<double>(digits);
  for (; exponent < -308 && value != 0; exponent += 308) value /= 1e308;
  if (value != 0) {
    const double power = power_of_ten(std::abs(exponent));
    value = exponent < 0 ? value / power : value * power;
  }
  return is_negative ? -value : value;
}

}  // namespace headrace
