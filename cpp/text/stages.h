// The stages of a tokenizer, each of which a tokenizer.json chooses by name:
//
//   text -> added tokens -> Normalizer -> added tokens (normalized) -> PreTokenizer -> SubwordModel -> ids
//
// Every stage is immutable once it is made, so any number of threads may use one. What a call needs to
// remember until the next lives in objects that the caller keeps per thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/aligned_text.h"
#include "text/id_buffer.h"

namespace headrace {

// Rewrites a text before it is split.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

// Splits a text into pieces that the model sees one by one; some rewrite it, too.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  // Replaces each of `pieces`, which are stretches of text.bytes() in order, by the pieces it is split into,
  // none of them empty. A stage that rewrites the text makes the pieces anew to fit it.
  virtual void split(AlignedText& text, std::vector<Piece>& pieces) const = 0;
};

// Makes ids of pieces.
class SubwordModel {
 public:
  // What a model keeps between calls of one thread: its word cache, working memory. Bounded in bytes.
  class Scratch {
   public:
    virtual ~Scratch() = default;
  };

  virtual ~SubwordModel() = default;
  virtual std::unique_ptr<Scratch> make_scratch() const = 0;

  // Appends the ids of each piece of text in order. spans, unless null, grows along: the bytes of text that
  // each id covers. scratch: from make_scratch of this model, used by one thread at a time.
  virtual void encode(std::string_view text, std::span<const Piece> pieces, Scratch& scratch, IdBuffer& ids,
                      std::vector<Piece>* spans) const = 0;

  // Whether this id is that of an unknown token that the reference shows as the text it stands for.
  virtual bool spells_unknown(int32_t) const { return false; }

  // "BPE", "Unigram", ...
  virtual const char* kind() const = 0;
};

// Makes text of tokens. As in the reference, decoders are steps that rewrite the list of strings; in the end
// the strings are joined.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

}  // namespace headrace
