// One request for generated text, from its prompt to its last token.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "batch/request.h"
#include "engine/stop_strings.h"
#include "engine/ticket.h"
#include "engine/token_mask.h"
#include "models/adapter.h"
#include "models/sampler.h"
#include "text/stream_decode.h"

namespace headrace {

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 0;         // 0: as many as the context has room for
  int64_t min_tokens = 0;         // no end of text before
  std::vector<std::string> stop;  // ends the text, and is not part of it
  std::vector<int32_t> stop_ids;  // the same by tokens, besides the model's own
  bool ignore_eos = false;        // the model's own end tokens are tokens like others
  Priority priority = Priority::kInteractive;
  int64_t timeout_us = 0;                        // 0: none
  std::string tenant;                            // with whom cached prompts may be shared
  std::string adapter;                           // one that was added; empty: none
  std::shared_ptr<CompletionQueue> completions;  // null: the caller uses wait()
  std::shared_ptr<TokenMask> mask;               // null: any token may come
};

// What came since the last time somebody looked.
struct StreamNews {
  std::string text;
  std::vector<Sampled> tokens;
  std::string finish_reason;   // "stop" or "length" once the stream has ended well
  std::optional<Error> error;  // what it ended with instead
};

class Stream {
 public:
  uint64_t id() const { return id_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  // Of the prompt, tokens that had been computed for another request before.
  int64_t cached_tokens() const { return cached_tokens_.load(std::memory_order_relaxed); }
  int64_t generated_tokens() const { return generated_.load(std::memory_order_relaxed); }
  // Of the generated tokens, those that had been proposed.
  int64_t accepted_tokens() const { return accepted_.load(std::memory_order_relaxed); }
  bool has_news() const { return has_news_.load(std::memory_order_acquire); }
  // Nothing comes any more; what has come may still be to be taken.
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  // Any thread.
  StreamNews take();

 private:
  friend class Generator;

  void add(StreamNews news);

  uint64_t id_ = 0;
  int64_t prompt_tokens_ = 0;
  std::atomic<int64_t> cached_tokens_{0}, generated_{0}, accepted_{0};
  std::atomic<bool> has_news_{false}, ended_{false};
  std::mutex mutex_;
  StreamNews news_;  // guarded by mutex_

  // The generator's thread only.
  GenerateOptions options_;
  std::vector<int32_t> prompt_;
  TokenCounts counts_;
  std::optional<StreamDecoder> decoder_;
  StopStrings stops_{{}};
  std::shared_ptr<const Adapter> adapter_;
};

}  // namespace headrace
