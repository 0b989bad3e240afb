#include "text/normalizer_json.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/normalize_bert.h"
#include "text/normalize_characters.h"
#include "text/normalize_form.h"
#include "text/normalize_precompiled.h"
#include "text/sentencepiece_json.h"

namespace headrace {
namespace {

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(AlignedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

std::unique_ptr<Normalizer> read_precompiled(JsonValue value) {
  const JsonValue charsmap = value.at("precompiled_charsmap");
  const auto bytes = decode_base64(charsmap.as_string());
  if (!bytes) charsmap.fail("normalizer: precompiled_charsmap is not base64");
  try {
    return std::make_unique<Precompiled>(Charsmap(*bytes));
  } catch (const std::invalid_argument& error) {
    charsmap.fail(concat("normalizer: precompiled_charsmap is damaged: ", error.what()));
  }
}

std::unique_ptr<Normalizer> read_sequence(JsonValue value) {
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (const JsonValue item : value.at("normalizers").items())
    if (auto step = read_normalizer(item)) steps.push_back(std::move(step));
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return std::move(steps.front());
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

}  // namespace

BertNormalizer::Config read_bert_normalizer(JsonValue value) {
  BertNormalizer::Config config;
  config.clean_text = value.at("clean_text").as_bool();
  config.handle_chinese_chars = value.at("handle_chinese_chars").as_bool();
  config.lowercase = value.at("lowercase").as_bool();
  const auto strip_accents = value.find("strip_accents");
  config.strip_accents =
      strip_accents && !strip_accents->is_null() ? strip_accents->as_bool() : config.lowercase;
  return config;
}

Pattern read_pattern(JsonValue value) {
  if (const auto text = value.find("String")) return Pattern::literal(text->as_string());
  if (const auto regex = value.find("Regex")) return Pattern::regex(regex->as_string());
  value.fail("a pattern must be {\"String\": ...} or {\"Regex\": ...}");
}

// A JsonDocument is at most 64 deep, which bounds the recursion through sequences.
std::unique_ptr<Normalizer> read_normalizer(std::optional<JsonValue> value) {
  if (!value || value->is_null()) return nullptr;
  const std::string_view type = value->at("type").as_string();
  if (type == "BertNormalizer") return std::make_unique<BertStage>(read_bert_normalizer(*value));
  if (type == "NFC") return std::make_unique<FormNormalizer>(Form::kNfc);
  if (type == "NFD") return std::make_unique<FormNormalizer>(Form::kNfd);
  if (type == "NFKC") return std::make_unique<FormNormalizer>(Form::kNfkc);
  if (type == "NFKD") return std::make_unique<FormNormalizer>(Form::kNfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Strip")
    return std::make_unique<Strip>(value->at("strip_left").as_bool(), value->at("strip_right").as_bool());
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "ByteLevel") return std::make_unique<SpellBytes>();
  if (type == "Replace")
    return std::make_unique<Replace>(read_pattern(value->at("pattern")),
                                     std::string(value->at("content").as_string()));
  if (type == "Prepend") return std::make_unique<Prepend>(std::string(value->at("prepend").as_string()));
  if (type == "Precompiled") return read_precompiled(*value);
  if (type == "Sequence") return read_sequence(*value);
  if (type == "SentencePiece") return read_sentencepiece_normalizer(*value);
  throw Error(ErrorKind::kUnsupported,
              concat("normalizer '", type,
                     "' is not supported; supported: BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, "
                     "NFKD, Nmt, Precompiled, Prepend, Replace, Sequence, Strip, StripAccents, null"));
}

}  // namespace headrace
