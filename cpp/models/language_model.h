// A language model of the Llama family: tokens -> logits of the next one, over a cache of keys and values.
//
//   x = embedding[id] (+ position[t])
//   per layer:  a = attention(norm(x) Wqkv);  x += a Wo;  g, u = norm(x) Wgate, norm(x) Wup;  x += (act(g) u)
//   Wdown logits = norm(x) Wout
//
// A step takes rows of many sequences at once, some with one new token, some with a stretch of their prompt:
// every linear layer is one GEMM over all rows, only attention looks at sequences. A row's numbers do not
// depend on the other rows, nor on how a prompt is cut into steps.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/decoder_layer.h"
#include "models/device_decoder.h"
#include "models/language_config.h"
#include "models/layers.h"
#include "models/model.h"
#include "models/rotary.h"
#include "models/step_batch.h"
#include "models/weights.h"

namespace headrace {

class LanguageModel {
 public:
  // Reads a directory's config.json and weights, or a GGUF file (one.gguf, or a directory with one and no
  // config.json), and packs the weights for `kernels`. precision "auto" keeps a GGUF's groups of 4 or 8 bits
  // as they are. Throws what language_config.h, gguf.h and weights.h say.
  static std::unique_ptr<LanguageModel> load(const ModelPath& directory, const Kernels& kernels,
                                             const LoadOptions& options = {});

  const ModelInfo& info() const { return info_; }
  const LanguageConfig& config() const { return config_; }
  const Kernels& kernels() const { return kernels_; }
  // As the files have them.
  const TensorSource& weights() const { return *source_; }
  // Null where the processor runs it.
  DeviceDecoder* device() const { return device_.get(); }
  int64_t cache_block_bytes(KvType kv) const;
  // What the cache takes since reserve().
  int64_t cache_bytes() const { return limits_.blocks * cache_block_bytes(limits_.kv); }

  // Makes room; the only call that allocates.
  void reserve(const StepLimits& limits);

  // logits [sum of wanted, V], spans in order. Every id, length and block is within what was reserved, and
  // no two spans are of one sequence. Allocates nothing and cannot fail, but on a device: there throws
  // Error(kInternal) where the device failed; no span has an adapter.
  void step(const StepBatch& batch, float* logits, ThreadPool& pool);

 private:
  using Norm = DecoderNorm;
  using Layer = DecoderLayer;

  LanguageModel(const Kernels& kernels, std::unique_ptr<TensorSource> source)
      : kernels_(kernels), source_(std::move(source)) {}
  Layer read_layer(WeightReader& reader, int64_t index) const;
  Norm read_norm(WeightReader& reader, const std::string& name) const;
  void embed(const StepBatch& batch, float* x);
  void norm(ThreadPool& pool, const Norm& norm, int64_t rows, const float* x, float* y) const;
  void norm_rows(const Norm& norm, int64_t rows, const float* x, float* y) const;
  void feed_forward(const Layer& layer, size_t index, const StepBatch& batch, ThreadPool& pool);
  // One of a layer's products, which adapters change.
  struct Adapted {
    const Linear& linear;
    LowRank AdapterLayer::* part;
    size_t layer;
  };
  static bool has_adapter(const Adapted& product, const StepBatch& batch);
  // From y = x W^T + bias to what the spans' adapters make of it.
  void adapt(const Adapted& product, const StepBatch& batch, const float* x, float* y, ThreadPool& pool);
  void place(const Layer& layer, size_t index, const StepBatch& batch, ThreadPool& pool);
  void attend(const Layer& layer, size_t index, const StepBatch& batch, ThreadPool& pool);
  // x += what a block gives, normed first where there is a norm.
  void add_block(const Adapted& product, const Norm& after, const StepBatch& batch, const float* input,
                 ThreadPool& pool);
  void answer(const StepBatch& batch, float* logits, ThreadPool& pool);
  int64_t head_bytes() const { return kernels_.decoder.kv_bytes(limits_.kv, config_.head_dim); }
  int64_t block_bytes() const { return config_.kv_heads * head_bytes(); }
  char* layer_cache(size_t layer) {
    return reinterpret_cast<char*>(cache_.data()) +
           static_cast<int64_t>(layer) * limits_.blocks * block_bytes();
  }

  const Kernels& kernels_;
  std::unique_ptr<TensorSource> source_;  // stays open: embeddings are read from it, row by row
  LanguageConfig config_;
  ModelInfo info_;
  TensorSource::RowReader embedding_;  // rows of [V, C]
  TensorSource::RowReader position_;   // rows of [positions, C], where they are learned
  std::vector<Layer> layers_;
  Norm final_norm_;
  Linear output_;  // [V, C]
  RotaryTable rotary_, local_rotary_;

  std::unique_ptr<DeviceDecoder> device_;  // null: the processor; else the layers are there

  StepLimits limits_;
  Buffer cache_;  // [layers, blocks, K, kv_bytes], see kCacheBlock
  // Activations of one step.
  Buffer x_, normed_, qkv_, context_, gate_up_, hidden_;
  Buffer position_row_;
  Buffer ranks_;  // [rows, Adapter::kMaxRanks]
  Buffer encoded_;
  Buffer scratch_;  // attention, per thread
  int64_t scratch_floats_ = 0;
};

}  // namespace headrace
