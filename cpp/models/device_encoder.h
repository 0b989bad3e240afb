// The layers of an encoder (encoder_stack.h) on a device: token ids -> the last hidden states, or one row of
// them a sequence. What heads and sentence-transformers' modules make of those rows stays on the processor.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/cuda/device_table.h"
#include "models/device_weights.h"
#include "models/encoder_config.h"
#include "models/encoder_layer.h"
#include "models/model.h"
#include "models/rotary.h"

namespace headrace {

class DeviceEncoder {
 public:
  // Weights of the encoder, packed by device_layout().
  struct Parts {
    const EncoderConfig& config;
    const Buffer& word;
    const Buffer& position;
    const Buffer& type;
    const LayerNorm& embedding_norm;
    const Linear* projection;           // may be null
    const LayerNorm* first_norm;        // may be null
    std::vector<EncoderLayer>& layers;  // emptied, one after the other
  };
  // Uploads them. Throws kUnsupported for what the device's kernels do not know.
  DeviceEncoder(std::unique_ptr<cuda::DeviceTable> device, const Parts& parts);

  const cuda::DeviceTable& device() const { return *device_; }
  void reserve(int64_t max_batch_tokens);
  // [T, C] or, of one a sequence, [B, C], until the next call. Throws kInternal where the device failed.
  const float* run(const TokenBatch& batch, HiddenRows rows);

 private:
  struct Norm {
    DeviceArray<float> gain, bias;
    float eps = 0;
  };
  struct Layer {
    DeviceLinear qkv, attended, up, down;
    Norm attended_norm, down_norm;
  };
  struct Angles {
    int64_t half = 0;
    DeviceArray<float> cosine, sine;  // [positions, half]
  };

  Norm upload(const LayerNorm& norm);
  Angles upload(const RotaryConfig& config);
  void check() const;
  void norm(const Norm& norm, int64_t rows, const float* x, float* y);
  void upload(const TokenBatch& batch);
  void embed();
  void attend(int64_t layer, const DeviceLinear& qkv, const float* input);
  const float* finish(int64_t layer);
  const Layer& layer(int64_t index) const {
    return layers_[static_cast<size_t>(index * config_.layer_groups / config_.layers)];
  }

  const std::unique_ptr<cuda::DeviceTable> device_;  // first: all below is in its memory
  EncoderConfig config_;
  int64_t head_dim_ = 0;
  bool is_bf16_ = false;
  DeviceArray<float> word_, position_, type_;
  Norm embedding_norm_;
  std::optional<DeviceLinear> projection_;
  std::optional<Norm> first_norm_;
  std::vector<Layer> layers_;
  Angles angles_, local_angles_;

  // The batch that runs: ids, places and types [T] each, then cu_lengths [B + 1].
  int64_t tokens_ = 0, sequences_ = 0, longest_ = 0;
  HostArray<int32_t> host_numbers_;
  DeviceArray<int32_t> numbers_;
  const int32_t* places() const { return numbers_.data() + tokens_; }
  const int32_t* cu_lengths() const { return numbers_.data() + 3 * tokens_; }

  DeviceArray<float> embedded_, x_, normed_, qkv_, context_, hidden_, gated_;
  DeviceArray<cuda::Bf16> bf16_qkv_, bf16_context_, bf16_hidden_;
  DeviceEncoded encoded_;
  HostArray<float> states_;
};

}  // namespace headrace
