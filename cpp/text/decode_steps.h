// The decoders: steps that rewrite a list of tokens until joining it gives the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/decode.h"
#include "text/normalize_replace.h"
#include "text/stages.h"

namespace headrace {

// The tokens, spelled in GPT-2's alphabet of bytes (byte_spelling.h), become one text. A token with a
// character of no byte stands for itself; what is not UTF-8 in the end becomes U+FFFD (decode_bytes.h).
class ByteLevelDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override;
};

// Tokens like <0x41> become bytes. A row of them that is not UTF-8 becomes as many U+FFFD.
class ByteFallbackDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override;
};

// Continuing pieces lose their prefix, other tokens but the first get a space (decode.h).
class WordPieceSteps : public Decoder {
 public:
  explicit WordPieceSteps(WordPieceDecoder decoder) : decoder_(std::move(decoder)) {}
  void apply(std::vector<std::string>& tokens) const override;

 private:
  WordPieceDecoder decoder_;
};

// The replacement becomes a space again; in the first token it goes, where one was prepended.
class MetaspaceDecoder : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool is_prepended)
      : replacement_(std::move(replacement)), is_prepended_(is_prepended) {}
  void apply(std::vector<std::string>& tokens) const override;

 private:
  std::string replacement_;
  bool is_prepended_;
};

// The suffix that ends a word becomes a space; in the last token it goes.
class WordEndDecoder : public Decoder {
 public:
  explicit WordEndDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override;

 private:
  std::string suffix_;
};

// Joins the tokens.
class FuseDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override;
};

// Takes up to `start` characters `content` from the beginning of each token, and up to `stop` from its end.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override;

 private:
  std::string content_;  // one character
  int64_t start_;
  int64_t stop_;
};

// Puts `content` in place of each match in each token.
class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens) const override;

 private:
  Pattern pattern_;
  std::string content_;
};

// Connectionist temporal classification (Graves et al. 2006): repeated tokens count once, padding goes.
class CtcDecoder : public Decoder {
 public:
  CtcDecoder(std::string pad_token, std::string word_delimiter, bool cleanup)
      : pad_token_(std::move(pad_token)), word_delimiter_(std::move(word_delimiter)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override;

 private:
  std::string pad_token_;
  std::string word_delimiter_;
  bool cleanup_;
};

// text with every `from` replaced by `to`; an empty `from` stands before every character and at the end.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

// Well-formed UTF-8: each longest cut-off sequence of bytes, and each byte of no sequence, becomes U+FFFD
// (Unicode 15, section 3.9, "substitution of maximal subparts").
std::string utf8_repaired(std::string_view bytes);

}  // namespace headrace
