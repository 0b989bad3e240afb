#include "text/sentencepiece_json.h"

#include <cmath>
#include <stdexcept>

#include "base/error.h"
#include "text/base64.h"
#include "text/decode_sentencepiece.h"
#include "text/normalize_sentencepiece.h"
#include "text/sentencepiece_bpe.h"
#include "text/sentencepiece_unigram.h"

namespace headrace {

std::unique_ptr<Normalizer> read_sentencepiece_normalizer(JsonValue value) {
  SentencePieceNormalizer::Config config;
  config.add_dummy_prefix = value.at("add_dummy_prefix").as_bool();
  config.remove_extra_whitespaces = value.at("remove_extra_whitespaces").as_bool();
  config.escape_whitespaces = value.at("escape_whitespaces").as_bool();
  config.whitespace_as_suffix = value.at("treat_whitespace_as_suffix").as_bool();
  for (const JsonValue symbol : value.at("user_defined_symbols").items()) {
    config.user_defined.emplace_back(symbol.as_string());
    if (config.user_defined.back().empty()) symbol.fail("normalizer: a user-defined symbol is empty");
  }
  const JsonValue charsmap = value.at("precompiled_charsmap");
  std::string bytes;
  if (!base64_decode(charsmap.as_string(), bytes))
    charsmap.fail("normalizer: precompiled_charsmap is not base64");
  try {
    if (!bytes.empty()) config.charsmap.emplace(bytes);
  } catch (const std::invalid_argument& error) {
    charsmap.fail(concat("normalizer: precompiled_charsmap is damaged: ", error.what()));
  }
  return std::make_unique<SentencePieceNormalizer>(std::move(config));
}

std::unique_ptr<Decoder> read_sentencepiece_decoder(JsonValue value) {
  SentencePieceDecoder::Config config;
  config.unk_token = value.at("unk_token").as_string();
  config.unk_surface = value.at("unk_surface").as_string();
  config.byte_fallback = value.at("byte_fallback").as_bool();
  config.strips_all = value.at("remove_extra_whitespaces").as_bool();
  config.strips_first = config.strips_all || value.at("add_dummy_prefix").as_bool();
  return std::make_unique<SentencePieceDecoder>(std::move(config));
}

ModelParts read_sentencepiece_model(JsonValue value) {
  const JsonValue vocab = value.at("vocab");
  if (!vocab.is_array()) vocab.fail("model.vocab must be an array of tokens, scores and types");
  if (vocab.size() > static_cast<size_t>(Vocabulary::kMaxId)) vocab.fail("model.vocab has too many tokens");
  ModelParts parts;
  parts.vocabulary.reserve(vocab.size());
  std::vector<ScoredPiece> pieces;
  pieces.reserve(vocab.size());
  for (const JsonValue entry : vocab.items()) {
    const auto fail = [&](const char* what) {
      vocab.fail(concat("model.vocab, entry ", pieces.size(), ": ", what));
    };
    if (!entry.is_array() || entry.size() != 3) fail("must be a token, its score and its type");
    auto item = entry.items().begin();
    const auto id = static_cast<int32_t>(pieces.size());
    const std::string_view text = (*item).as_string();
    if (text.empty()) fail("the token is empty");
    if (!parts.vocabulary.add(text, id)) fail("the token is there already");
    ++item;
    const auto score = static_cast<float>((*item).as_double());
    if (!std::isfinite(score)) fail("the score is no number");
    ++item;
    const auto type =
        static_cast<ScoredPiece::Type>((*item).as_int(ScoredPiece::kNormal, ScoredPiece::kByte));
    pieces.push_back({parts.vocabulary.token(id), score, type});
  }
  const std::string_view algorithm = value.at("algorithm").as_string();
  if (algorithm != "unigram" && algorithm != "bpe")
    value.fail(concat("model.algorithm '", algorithm, "' must be unigram or bpe"));
  SentencePieces table(parts.vocabulary, std::move(pieces), value.at("byte_fallback").as_bool());
  if (algorithm == "unigram")
    parts.model = std::make_unique<SentencePieceUnigram>(std::move(table));
  else
    parts.model = std::make_unique<SentencePieceBpe>(std::move(table));
  return parts;
}

}  // namespace headrace
