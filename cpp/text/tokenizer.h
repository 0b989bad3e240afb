// Text to token ids as tokenizer.json describes it, equal to the reference implementation in ids and offsets.
//
//   text -> added tokens -> normalize -> added tokens (normalized) -> split -> WordPiece -> template -> ids
//
// Built so far: BertNormalizer or none; BertPreTokenizer or none; WordPiece; TemplateProcessing,
// BertProcessing or none; the WordPiece decoder. Anything else is refused by name when the file is read. The
// file's own truncation and padding are ignored: how long a text may be is the caller's to say.
//
// A Tokenizer is immutable: any number of threads may use one.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/decode.h"
#include "text/encoding.h"
#include "text/normalize.h"
#include "text/scratch.h"
#include "text/template.h"
#include "text/vocabulary.h"
#include "text/wordpiece.h"

namespace headrace {

struct EncodeOptions {
  bool add_special_tokens = true;
  // Whether a special token that is spelled out in the text becomes that token, as in the reference. Set it
  // to false where a text's author must not be able to write "[SEP]" and mean it.
  bool allow_special = true;
  // At most that many tokens are kept, those of the template included; the text's last ones go. 0: no limit.
  int64_t max_tokens = 0;
};

class Tokenizer {
 public:
  // The kinds of exceptions: kNotFound (no such file), kCorruptFile (contradicts the format), kUnsupported.
  static std::unique_ptr<Tokenizer> from_file(const std::string& path);
  // name is used in messages only.
  static std::unique_ptr<Tokenizer> from_json(std::string_view json, std::string name);

  // Appends the ids of text to out; returns the number of tokens the text has before truncation. Allocates
  // nothing but the growth of out and of working memory that is kept for the next call. Throws
  // kInvalidArgument, leaving out as it was, when text is not UTF-8 (naming the first bad byte), is larger
  // than 2^30 bytes, or max_tokens has no room for the special tokens.
  int64_t encode_ids(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& out) const;

  // The same with offsets.
  Encoding encode(std::string_view text, const EncodeOptions& options) const;

  // The text that the tokens stand for. Ids that no token has are left out, as in the reference.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // Including added tokens: largest id + 1.
  int32_t vocab_size() const { return vocabulary_.size(); }
  // Empty when no token has the id.
  std::string_view token(int32_t id) const { return vocabulary_.token(id); }
  std::optional<int32_t> token_id(std::string_view token) const { return vocabulary_.id(token); }
  // Added by the template to a single text.
  int64_t special_tokens_count() const { return template_.num_specials(); }
  // "WordPiece".
  const char* kind() const { return "WordPiece"; }

 private:
  struct Parts;
  template <bool kOffsets>
  class Run;

  explicit Tokenizer(Parts parts);
  static Parts read_parts(std::string_view json, std::string name);

  void check(std::string_view text, const EncodeOptions& options) const;
  // How many of num_own tokens are kept besides the template's.
  size_t num_kept(size_t num_own, const EncodeOptions& options) const;

  Vocabulary vocabulary_;
  std::vector<bool> is_special_;  // by id: an added token marked special
  AddedTokens raw_added_;         // found in the text as given
  AddedTokens normalized_added_;  // found in the normalized text
  BertNormalizer normalizer_;
  bool split_words_;  // BertPreTokenizer; else a stretch of text is one word
  WordPiece model_;
  TokenTemplate template_;
  std::optional<WordPieceDecoder> decoder_;
  std::array<int32_t, 128> ascii_ids_;  // by ASCII character: the id of the word that is only it
  mutable ScratchPool scratch_;
};

}  // namespace headrace
