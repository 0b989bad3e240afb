// The kernel table of a device with memory of its own, and one stream of work on it. What models are written
// against: they know neither CUDA nor the emulator.
//
// Whatever is asked for runs in the order in which it was asked for, and while the caller goes on; copies'
// host memory must stay until wait(). Pointers to numbers are to the device's memory unless they say "host".
// Nothing here throws: what went wrong, wait() says. One caller at a time.
#pragma once

#include <cstdint>

#include "kernels/cuda/arguments.h"

namespace headrace::cuda {

enum class WeightType : int32_t { kF32, kBf16, kInt8, kQ8, kQ4 };

// y = act(x w^T + bias) + residual, as Gemm and NarrowGemm (kernels.h) have it.
//   kF32: x [M, K] f32, w [N, K] f32.
//   kBf16: x, w bf16; K a multiple of 8. kInt8: x, w int8 with x_scale [M], w_scale [N]; K a multiple of 16.
//   kQ8, kQ4: x f32; w as gemm_grouped (gemm.h) reads it, w_scale and w_offset [N, K / 32].
struct DeviceGemm {
  WeightType type;
  const void* x;
  const float* x_scale;
  const void* w;
  const float* w_scale;
  const float* w_offset;
  int64_t m, n, k;
  const float* bias;      // [N] or null
  const float* residual;  // [M, N] or null; may be y
  float* y;               // [M, N] or null
  Bf16* bf16_y;           // the same rounded, or null
  Activation activation;
};

// What an embedding adds up; see embed() in rows.h. positions and types may be null.
struct DeviceEmbedding {
  const float* words;
  const float* positions;
  const float* types;
  const int32_t* ids;
  const int32_t* places;
  const int32_t* kinds;
};

// See rotate() in rows.h.
struct DeviceRotation {
  float* x;
  int64_t ld, heads, head_dim, half;
  const int32_t* places;
  const float* cosine;
  const float* sine;
};

// Keys and values of rows to their slots; see store_keys_values() in paged.h.
struct DeviceStore {
  const float* keys;
  const float* values;
  int64_t ld;
  const int32_t* slots;
  int64_t kv_heads;
  int64_t head_dim;
  KvType type;  // f32 or bf16
  void* cache;
  int64_t block_numbers;
};

// The shape of an attention over a cache.
struct PagedShape {
  int64_t rows, group, head_dim;
  int64_t splits, blocks_per_split;
};

class DeviceTable {
 public:
  virtual ~DeviceTable() = default;

  // Memory, aligned to 256 bytes; null where there is not enough.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void release(void* memory) = 0;
  // Host memory that copies need not go through another for.
  virtual void* allocate_host(int64_t bytes) = 0;
  virtual void release_host(void* memory) = 0;
  virtual void upload(void* to, const void* from_host, int64_t bytes) = 0;
  virtual void download(void* to_host, const void* from, int64_t bytes) = 0;
  // Until all that was asked for is done. Null, or what went wrong; that stays until the next wait().
  virtual const char* wait() = 0;

  // From begin_recording() on, what is asked for is noted and not run; replay() runs it, at the same
  // addresses and with the numbers that are there by then. Null: this device cannot, or it went wrong.
  virtual void begin_recording() = 0;
  virtual void* end_recording() = 0;
  virtual void replay(void* recording) = 0;
  virtual void forget(void* recording) = 0;

  // Rows. Where nothing else is said, the formulas are those of kernels.h and x, y [rows, C].
  virtual void embed(const DeviceEmbedding& embedding, int64_t rows, int64_t c, float* y) = 0;
  virtual void layer_norm(const float* x, const float* gain, const float* bias, float eps, int64_t rows,
                          int64_t c, float* y) = 0;
  virtual void rms_norm(const float* x, const float* gain, float eps, int64_t rows, int64_t c, float* y) = 0;
  // Each of `heads` heads of D from each row's start by itself, in place; x [rows, ld].
  virtual void rms_norm_heads(float* x, int64_t ld, const float* gain, float eps, int64_t rows, int64_t heads,
                              int64_t head_dim) = 0;
  virtual void mean_pool(const float* x, const int32_t* cu_lengths, int64_t sequences, int64_t c,
                         float* y) = 0;
  virtual void gate(const float* x, int64_t rows, int64_t n, Activation activation, float* y) = 0;
  virtual void add(const float* x, int64_t count, float* y) = 0;    // y += x
  virtual void soft_cap(float limit, int64_t count, float* x) = 0;  // x = limit tanh(x / limit)
  virtual void rotate(const DeviceRotation& rotation, int64_t rows) = 0;
  virtual void encode_bf16(const float* x, int64_t count, Bf16* y) = 0;
  virtual void encode_int8(const float* x, const float* factor, int64_t rows, int64_t k, int8_t* y,
                           float* scale) = 0;

  virtual void gemm(const DeviceGemm& gemm) = 0;

  // Heads of 32, 64 or 128. longest: of the sequences.
  virtual void attention(const RaggedAttention<float>& attention, int64_t head_dim, int64_t heads,
                         int64_t sequences, int64_t longest) = 0;
  virtual void attention(const RaggedAttention<Bf16>& attention, int64_t head_dim, int64_t heads,
                         int64_t sequences, int64_t longest) = 0;

  virtual void store_keys_values(const DeviceStore& store, int64_t rows) = 0;
  // out [rows, heads D].
  virtual void paged_attention(const PagedRows<float>& rows, const PagedShape& shape, float* out) = 0;
  virtual void paged_attention(const PagedRows<Bf16>& rows, const PagedShape& shape, float* out) = 0;

  // tokens [count] of logits [count, V], which it changes; -1 where they are no numbers. allowed: as sample()
  // in sampling.h has it, or null.
  virtual void sample(float* logits, int64_t count, int64_t vocabulary, const SamplingRow* rows,
                      const uint32_t* allowed, int32_t* tokens) = 0;
};

// Where tables come from: a library that the core does not link. open() gives a table on a new stream of
// device `index`, or null and why, at most `bytes` of it with the final 0.
struct DeviceFactory {
  static constexpr uint32_t kVersion = 1;  // of all in this file
  uint32_t version;
  DeviceTable* (*open)(int index, char* why, int64_t bytes);
};

}  // namespace headrace::cuda
