// What is done to encoded texts in the end: special tokens around them, offsets without white space, two
// texts made one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/encoding.h"
#include "text/template.h"
#include "text/vocabulary.h"

namespace headrace {

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;

  // How many tokens are added to one text, or to two.
  virtual int64_t num_added(bool is_pair) const = 0;

  // Rewrites a list of encodings, at first one for each text, that are appended one to the other in the end.
  virtual void apply(std::vector<Encoding>& parts, bool add_special_tokens,
                     const Vocabulary& vocabulary) const = 0;

  // What it puts around a single text, when that is all that happens to ids and their types; else null.
  virtual const TokenTemplate* single_template() const { return nullptr; }
};

// The whole of it, as the reference does it; processor may be null. first, second: ids, offsets and spellings
// of the texts, truncated if they have to be, their other members empty or set by complete(). Throws
// Error(kUnsupported) where a sequence of processors asks a template for more than two texts.
Encoding post_process(const PostProcessor* processor, Encoding first, std::optional<Encoding> second,
                      bool add_special_tokens, const Vocabulary& vocabulary);

// Fills in the members that every token of one text shares; number: 0 for the first text, 1 for the second.
void complete(Encoding& encoding, int32_t number);

// The string of a token of an encoding.
std::string_view token_string(const Encoding& encoding, size_t index, const Vocabulary& vocabulary);

// The ByteLevel processor: takes white space out of the offsets of tokens, but not a space that the
// tokenizer itself put before the text.
class TrimOffsets : public PostProcessor {
 public:
  TrimOffsets(bool trims, bool adds_prefix_space) : trims_(trims), adds_prefix_space_(adds_prefix_space) {}
  int64_t num_added(bool) const override { return 0; }
  void apply(std::vector<Encoding>& parts, bool add_special_tokens,
             const Vocabulary& vocabulary) const override;
  const TokenTemplate* single_template() const override { return &nothing_; }

 private:
  bool trims_;
  bool adds_prefix_space_;
  TokenTemplate nothing_;
};

// BertProcessing: [CLS] A [SEP] B [SEP], and RobertaProcessing: <s> A </s> </s> B </s>.
class ClassifierTokens : public PostProcessor {
 public:
  enum class Style : uint8_t { kBert, kRoberta };

  // trims, adds_prefix_space: as in TrimOffsets; false for kBert.
  ClassifierTokens(Style style, int32_t first_id, int32_t separator_id, bool trims, bool adds_prefix_space);
  int64_t num_added(bool is_pair) const override;
  void apply(std::vector<Encoding>& parts, bool add_special_tokens,
             const Vocabulary& vocabulary) const override;
  const TokenTemplate* single_template() const override { return &single_; }

 private:
  Encoding surrounded(const Encoding& text, bool is_first, bool is_overflow) const;

  Style style_;
  int32_t first_id_;
  int32_t separator_id_;
  TrimOffsets trim_;
  TokenTemplate single_;
};

// TemplateProcessing: texts and special tokens in any order.
class TemplateProcessor : public PostProcessor {
 public:
  struct Step {
    int32_t sequence;  // 0 or 1: that text; -1: special tokens
    int32_t type_id;
    std::vector<int32_t> ids;  // the special tokens
  };

  // No step of `single` names text 1.
  TemplateProcessor(std::vector<Step> single, std::vector<Step> pair);
  int64_t num_added(bool is_pair) const override;
  void apply(std::vector<Encoding>& parts, bool add_special_tokens,
             const Vocabulary& vocabulary) const override;
  const TokenTemplate* single_template() const override { return template_ ? &*template_ : nullptr; }

 private:
  std::vector<Step> single_;
  std::vector<Step> pair_;
  std::optional<TokenTemplate> template_;
};

// One after the other.
class ProcessorSequence : public PostProcessor {
 public:
  explicit ProcessorSequence(std::vector<std::unique_ptr<PostProcessor>> steps);
  int64_t num_added(bool is_pair) const override;
  void apply(std::vector<Encoding>& parts, bool add_special_tokens,
             const Vocabulary& vocabulary) const override;
  const TokenTemplate* single_template() const override { return template_; }

 private:
  std::vector<std::unique_ptr<PostProcessor>> steps_;
  const TokenTemplate* template_ = nullptr;
  TokenTemplate nothing_;
};

}  // namespace headrace
