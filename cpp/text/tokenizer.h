// Text to token ids as a tokenizer.json describes it, equal to the reference implementation (the `tokenizers`
// library) in ids and offsets.
//
//   text -> Pipeline (added tokens, normalizer, pre-tokenizer, model) -> PostProcessor -> ids
//
// Every component of the format is known but BPE dropout. The file's own truncation and padding are ignored:
// how long a text may be is the caller's to say.
//
// A Tokenizer is immutable: any number of threads may use one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/model_path.h"
#include "text/encoding.h"
#include "text/pipeline.h"
#include "text/post_process.h"
#include "text/stages.h"
#include "text/stream_decode.h"
#include "text/truncate.h"
#include "text/vocabulary.h"

namespace headrace {

struct EncodeOptions {
  bool add_special_tokens = true;
  // Whether a special token that is spelled out in the text becomes that token, as in the reference. Set it
  // to false where a text's author must not be able to write "[SEP]" and mean it.
  bool allow_special = true;
  // At most that many tokens are kept, those of the template included; the text's last ones go. 0: no limit.
  int64_t max_tokens = 0;
  // The caller knows that the text is UTF-8: it is not looked through for that.
  bool is_utf8 = false;
  // With allow_special: bytes of the text, in rising order, that no special token may cover.
  std::span<const uint32_t> guarded = {};
  // How max_tokens is kept to: the text that gives tokens, and from which end. encode_ids and encode_batch,
  // which have one text only, go by the end alone.
  Truncation::Strategy strategy = Truncation::Strategy::kLongestFirst;
  Direction direction = Direction::kRight;
  // Of encode and encode_pair: what is cut off goes into Encoding::overflowing in parts, each of which shares
  // that many tokens with the one before it. Nothing: it is dropped.
  std::optional<int64_t> stride = std::nullopt;
};

// Sequences of different lengths without padding: sequence i is ids[cu_lengths[i]:cu_lengths[i + 1]].
struct RaggedIds {
  std::vector<int32_t> ids;
  std::vector<int32_t> cu_lengths{0};
};

class Tokenizer {
 public:
  // The kinds of exceptions: kNotFound (no such file), kCorruptFile (contradicts the format), kUnsupported.
  // path: a tokenizer.json, BERT's vocab.txt, a SentencePiece .model, a tiktoken rank file or a GGUF.
  // encoding: how a rank file's text is split, "cl100k_base" for example; by default the file's own name.
  static std::unique_ptr<Tokenizer> from_file(const ModelPath& path, const std::string& encoding = {});
  // The tokenizer.json that from_file reads or, of other kinds of files, makes.
  static std::string json_of_file(const ModelPath& path, const std::string& encoding = {});
  // A model's folder: the first of those files that it has.
  static std::unique_ptr<Tokenizer> from_model(const ModelPath& directory);
  // name is used in messages only.
  static std::unique_ptr<Tokenizer> from_json(std::string_view json, std::string name);

  // Appends the ids of text to out; returns the number of tokens the text has before truncation. Allocates
  // nothing but the growth of out and of working memory that is kept for the next call. Throws
  // kInvalidArgument, leaving out as it was, when text is not UTF-8 (naming the first bad byte), is larger
  // than 2^30 bytes, or max_tokens has no room for the special tokens.
  int64_t encode_ids(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& out) const;

  // The ids of several texts, on up to `threads` threads; small work is not shared out. Throws as encode_ids
  // does, and kInvalidArgument for more than 2^31 - 1 tokens in all.
  RaggedIds encode_batch(std::span<const std::string_view> texts, const EncodeOptions& options,
                         int threads) const;

  // The number of tokens encode_ids would append without max_tokens.
  int64_t count(std::string_view text, const EncodeOptions& options) const;

  // The same with offsets. Throws also as truncate does.
  Encoding encode(std::string_view text, const EncodeOptions& options) const;

  // Two texts as one sequence, as the post-processor joins them. Throws as encode does.
  Encoding encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options) const;

  // The text that the tokens stand for. Ids that no token has are left out, as in the reference.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // For ids that come one by one; refers to this tokenizer.
  StreamDecoder stream_decoder(bool skip_special_tokens) const;

  // Including added tokens: largest id + 1.
  int32_t vocab_size() const { return vocabulary_->size(); }
  // Empty when no token has the id.
  std::string_view token(int32_t id) const { return vocabulary_->token(id); }
  std::optional<int32_t> token_id(std::string_view token) const { return vocabulary_->id(token); }
  // The ids of the special tokens: those that a text may be forbidden to spell.
  std::vector<int32_t> special_ids() const;
  // Added by the template to a single text.
  int64_t special_tokens_count(bool is_pair = false) const {
    return post_processor_ ? post_processor_->num_added(is_pair) : 0;
  }
  // The model's name: "WordPiece", "BPE", "Unigram" or "WordLevel".
  const char* kind() const { return pipeline_->kind(); }

 private:
  struct Parts;

  explicit Tokenizer(Parts parts);
  static Parts read_parts(std::string_view json, std::string name);

  void check(std::string_view text, const EncodeOptions& options) const;
  // The work of encode_ids, after check().
  int64_t append_ids(std::string_view text, const EncodeOptions& options, Pipeline::Scratch& scratch,
                     std::vector<int32_t>& out) const;
  // How many of num_own tokens are kept besides those that the post-processor adds.
  size_t num_kept(size_t num_own, const EncodeOptions& options) const;
  // Cuts what the options say from one text or two, to which num_added tokens will be added.
  static void cut(Encoding& first, Encoding* second, int64_t num_added, const EncodeOptions& options);
  // A text's own tokens.
  Encoding encode_alone(std::string_view text, const EncodeOptions& options) const;

  std::unique_ptr<const Vocabulary> vocabulary_;  // at one address: the pipeline refers to it
  std::vector<bool> is_special_;                  // by id: an added token marked special
  std::unique_ptr<const Pipeline> pipeline_;
  std::unique_ptr<const PostProcessor> post_processor_;
  // What the post-processor does to the ids of a single text, when that is all; else ids go the long way.
  std::optional<TokenTemplate> template_;
  std::unique_ptr<const Decoder> decoder_;
  mutable ScratchPool scratch_;
};

}  // namespace headrace
