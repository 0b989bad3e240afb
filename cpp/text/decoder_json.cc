#include "text/decoder_json.h"

#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/ascii_run.h"
#include "text/decode_steps.h"
#include "text/normalizer_json.h"
#include "text/sentencepiece_json.h"

namespace headrace {
namespace {

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps_) step->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

std::string read_string(JsonValue value, const char* key) { return std::string(value.at(key).as_string()); }

std::string read_character(JsonValue value) {
  const std::string_view text = value.as_string();
  if (text.empty() || utf8_length(text[0]) != text.size())
    value.fail(concat("decoder: '", text, "' must be one character"));
  return std::string(text);
}

std::unique_ptr<Decoder> read_metaspace(JsonValue value) {
  std::string_view scheme = "always";
  if (const auto given = value.find("prepend_scheme")) scheme = given->as_string();
  if (scheme != "always" && scheme != "first" && scheme != "never")
    value.fail(concat("decoder: prepend_scheme '", scheme, "' must be always, first or never"));
  // Files from before prepend_scheme say it in another way; both at once must agree.
  const auto prefix = value.find("add_prefix_space");
  if (prefix && !prefix->is_null() && !prefix->as_bool() && scheme != "never")
    value.fail("decoder: add_prefix_space is false, so prepend_scheme must be never");
  return std::make_unique<MetaspaceDecoder>(read_character(value.at("replacement")), scheme != "never");
}

std::unique_ptr<Decoder> read_sequence(JsonValue value) {
  std::vector<std::unique_ptr<Decoder>> steps;
  for (const JsonValue item : value.at("decoders").items())
    if (auto step = read_decoder(item)) steps.push_back(std::move(step));
  return std::make_unique<DecoderSequence>(std::move(steps));
}

}  // namespace

// A JsonDocument is at most 64 deep, which bounds the recursion through sequences.
std::unique_ptr<Decoder> read_decoder(std::optional<JsonValue> value) {
  if (!value || value->is_null()) return nullptr;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const std::string_view type = value->at("type").as_string();
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "WordPiece")
    return std::make_unique<WordPieceSteps>(
        WordPieceDecoder{read_string(*value, "prefix"), value->at("cleanup").as_bool()});
  if (type == "Metaspace") return read_metaspace(*value);
  if (type == "BPEDecoder") return std::make_unique<WordEndDecoder>(read_string(*value, "suffix"));
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Strip")
    return std::make_unique<StripDecoder>(read_character(value->at("content")),
                                          value->at("start").as_int(0, kMost),
                                          value->at("stop").as_int(0, kMost));
  if (type == "Replace")
    return std::make_unique<ReplaceDecoder>(read_pattern(value->at("pattern")),
                                            read_string(*value, "content"));
  if (type == "CTC")
    return std::make_unique<CtcDecoder>(read_string(*value, "pad_token"),
                                        read_string(*value, "word_delimiter_token"),
                                        value->at("cleanup").as_bool());
  if (type == "Sequence") return read_sequence(*value);
  if (type == "SentencePiece") return read_sentencepiece_decoder(*value);
  throw Error(
      ErrorKind::kUnsupported,
      concat("decoder '", type,
             "' is not supported; supported: BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, "
             "Replace, Sequence, Strip, WordPiece, null"));
}

}  // namespace headrace
