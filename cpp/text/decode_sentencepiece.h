// Makes text of SentencePiece's tokens (Decode in sentencepiece_processor.cc there).
#pragma once

#include <string>
#include <vector>

#include "text/stages.h"

namespace headrace {

class SentencePieceDecoder : public Decoder {
 public:
  struct Config {
    std::string unk_token;
    std::string unk_surface;  // what it is shown as
    bool byte_fallback = false;
    bool strips_first = true;  // a space that begins the text was put there by the normalizer
    bool strips_all = true;    // so are several
  };

  explicit SentencePieceDecoder(Config config) : config_(std::move(config)) {}
  void apply(std::vector<std::string>& tokens) const override;

 private:
  Config config_;
};

}  // namespace headrace
