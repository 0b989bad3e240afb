// The one interface between the engine and a model.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "media/transform.h"

namespace headrace {

// Sequences laid end to end, never padded: sequence b is ids[cu_lengths[b]] ... ids[cu_lengths[b + 1] - 1].
struct TokenBatch {
  std::span<const int32_t> ids;         // [T]
  std::span<const int32_t> cu_lengths;  // [B + 1], the first is 0, the last T; no sequence is empty
  // [T], which text of a pair each token is from, in [0, ModelInfo::types); empty: all 0.
  std::span<const int32_t> types = {};
  // Positions in [0, T), rising, at which an answer is wanted. Only for models that answer at
  // AnswerRows::kPicked, else empty.
  std::span<const int32_t> picked = {};
  // [B], how many tokens at the start of each sequence are those of a prompt; empty: none. Only for models
  // that do not pool them.
  std::span<const int32_t> prompts = {};
  // [B], of models that see: the patches of each sequence that is a picture, as Model::pictures() makes them;
  // null where it is a text. Empty: all are texts. A picture's ids are not looked at.
  std::span<const float* const> pictures = {};
  // Null, or set while the batch runs when nobody wants its answers any more: what forward() has not begun by
  // then it may leave out, and the answers undefined.
  const std::atomic<bool>* unwanted = nullptr;

  bool is_unwanted() const { return unwanted && unwanted->load(std::memory_order_relaxed); }
  int32_t type(int64_t token) const { return types.empty() ? 0 : types[static_cast<size_t>(token)]; }
  int64_t prompt(int64_t sequence) const {
    return prompts.empty() ? 0 : prompts[static_cast<size_t>(sequence)];
  }
  const float* picture(int64_t sequence) const {
    return pictures.empty() ? nullptr : pictures[static_cast<size_t>(sequence)];
  }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t sequences() const { return static_cast<int64_t>(cu_lengths.size()) - 1; }
};

// What a model answers for each sequence: one row of numbers, one for each of its tokens, or one for each of
// its tokens that was picked.
enum class AnswerRows : int32_t { kSequence, kToken, kPicked };

// Which of a sequence's last hidden states what follows an encoder looks at: all, the first or their mean.
enum class HiddenRows : uint8_t { kAll, kFirst, kMean };

struct ModelInfo {
  std::string task;          // "embed", "classify", "rerank", "tag", "answer" or "fill_mask"
  std::string architecture;  // "bert"
  std::string isa;           // the kernel table in use
  std::string precision;     // "f32"
  AnswerRows rows = AnswerRows::kSequence;
  int64_t dimensions = 0;           // numbers in one row of an answer
  std::vector<std::string> labels;  // of those numbers, where they have names
  std::string activation;           // what makes scores of them: "softmax", "sigmoid" or "identity"
  std::string mask_token;    // of fill_mask: how a text spells the place to fill; may be unknown (empty)
  bool normalized = false;   // of embed: whether its vectors have the length 1
  bool pools_prompt = true;  // of embed: whether the tokens of a prompt are pooled with those of the text
  std::vector<std::pair<std::string, std::string>> prompts;  // of embed: name -> what stands before a text
  std::optional<std::string> default_prompt;                 // the name of the one that is used unasked
  std::string similarity;      // of embed: how its vectors are to be compared, see sentence_config.h
  bool reads = true;           // texts
  int64_t picture_tokens = 0;  // of one picture; 0: it sees none
  int64_t picture_width = 0, picture_height = 0;
  int64_t max_tokens = 0;  // longest sequence, special tokens included
  bool pads = false;       // whether shorter texts are filled up to that with a token they all see
  std::string pad_token;   // how a text spells it; may be unknown (empty)
  int64_t vocabulary = 0;  // ids are in [0, vocabulary)
  int64_t types = 1;       // type ids are in [0, types)
  int64_t parameters = 0;
  int64_t weight_bytes = 0;  // memory that the packed weights take
};

// What a caller may ask for when a model is loaded.
struct LoadOptions {
  std::string task;                // one of ModelInfo::task; empty: what the model's files say
  std::string precision = "auto";  // precision_by_name()
  std::string device = "cpu";      // or what open_device() (devices.h) knows
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;

  // How pictures become the patches that forward() takes; null for models that see none.
  virtual const PictureTransform* pictures() const { return nullptr; }

  // Makes room for batches of up to that many tokens; the only call that allocates.
  virtual void reserve(int64_t max_batch_tokens, int threads) = 0;

  // outputs[b] receives the rows of sequence b, info().dimensions floats each, as many as info().rows says.
  // One call at a time; batch.tokens() is within what reserve() was given and every id, type and length is
  // within info(). Allocates nothing and cannot fail.
  virtual void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) = 0;
};

}  // namespace headrace
