// The layers of a language model (language_model.h) on a device: embedded tokens -> logits, over a cache of
// keys and values in the device's memory.
//
// A step of one token for each text is recorded once for each number of texts and replayed from then on,
// where the device can (CUDA graphs): its launches are the same, only the numbers in memory change.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/device_table.h"
#include "models/decoder_layer.h"
#include "models/device_weights.h"
#include "models/language_config.h"
#include "models/rotary.h"
#include "models/step_batch.h"

namespace headrace {

class DeviceDecoder {
 public:
  // Weights of the model, packed by device_layout().
  struct Parts {
    const LanguageConfig& config;
    std::vector<DecoderLayer>& layers;  // emptied, one after the other
    const DecoderNorm& final_norm;
    const Linear& output;
  };
  // Uploads them. Throws kUnsupported for what the device's kernels do not know.
  DeviceDecoder(std::unique_ptr<cuda::DeviceTable> device, const Parts& parts);
  ~DeviceDecoder();
  DeviceDecoder(const DeviceDecoder&) = delete;
  DeviceDecoder& operator=(const DeviceDecoder&) = delete;

  int64_t cache_block_bytes(KvType kv) const;
  // Throws kUnsupported for a cache in int8.
  void reserve(const StepLimits& limits);
  // [rows, C], in the host's memory: the embedded tokens of the next step, to be filled in before it.
  float* embedded() { return host_x_.data(); }
  // logits [wanted, V], or null to leave them on the device for choose(). Throws kInternal where the device
  // failed.
  void step(const StepBatch& batch, float* logits);
  // The next token of each row of the last step's logits, by the rules of sampler.h without penalties and
  // biases; -1 where they are no numbers. Changes them.
  void choose(std::span<const cuda::SamplingRow> rows, std::span<int32_t> tokens);

 private:
  struct Norm {
    DeviceArray<float> gain, bias;
  };
  struct Layer {
    Norm attention_norm, attended_norm, mlp_norm, down_norm;
    DeviceLinear qkv, attended, gate_up, down;
    DeviceArray<float> query_norm, key_norm;
    int64_t window = 0;
  };
  struct Angles {
    int64_t half = 0;
    DeviceArray<float> cosine, sine;  // [positions, half]
  };

  void check() const;
  Norm upload(const DecoderNorm& norm);
  Angles angles(const RotaryConfig& config, int64_t positions);
  void upload(const StepBatch& batch);
  void norm(const Norm& norm, int64_t rows, const float* x, float* y);
  void run();
  void attend(const Layer& layer, size_t index);
  template <typename Cache>
  void attend_pages(const Layer& layer, Cache* cache);
  void add_block(const DeviceLinear& linear, const Norm& after, const float* input);
  void feed_forward(const Layer& layer);
  int64_t block_numbers() const { return config_.kv_heads * 2 * kCacheBlock * config_.head_dim; }

  const std::unique_ptr<cuda::DeviceTable> device_;  // first: all below is in its memory
  LanguageConfig config_;
  std::vector<Layer> layers_;
  Norm final_norm_;
  DeviceLinear output_;
  Angles angles_, local_angles_;
  StepLimits limits_;
  int64_t table_width_ = 0, blocks_per_split_ = 1;

  // The step that runs. Its numbers: positions, slots and sequences [rows] each, the rows whose logits are
  // wanted [step_wanted], then tables [sequences, table_width]; each at a place of its own, whatever a step's
  // size.
  int64_t rows_ = 0, sequences_ = 0, wanted_ = 0, splits_ = 1;
  HostArray<int32_t> host_numbers_;
  DeviceArray<int32_t> numbers_;
  const int32_t* positions() const { return numbers_.data(); }
  const int32_t* slots() const { return numbers_.data() + limits_.step_tokens; }
  const int32_t* sequences() const { return numbers_.data() + 2 * limits_.step_tokens; }
  const int32_t* wanted() const { return numbers_.data() + 3 * limits_.step_tokens; }
  int64_t tables_at() const { return 3 * limits_.step_tokens + limits_.step_wanted; }

  HostArray<float> host_x_;
  DeviceArray<float> x_, normed_, qkv_, context_, gate_up_, hidden_, logits_;
  DeviceArray<float> sums_, most_, weight_;  // of attention's splits
  DeviceEncoded encoded_;
  DeviceArray<char> cache_;  // [layers, blocks, K, 2, kCacheBlock, D]
  DeviceArray<cuda::SamplingRow> sampling_;
  DeviceArray<int32_t> tokens_;

  bool records_ = true;
  std::map<std::pair<int64_t, int64_t>, void*> recordings_;  // by rows and splits
};

}  // namespace headrace
