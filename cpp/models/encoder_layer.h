// One layer of an encoder but for attention itself, row by row. BERT norms what its blocks add up to:
//
//   x = norm(x + attended Wo + b);  x = norm(x + act(x W1 + b) W2 + b);  and the next layer's qkv = x Wqkv +
//   b
//
// others norm what the blocks take, and so does the next layer:
//
//   x = x + attended Wo + b;  x = x + act(norm(x) W1 + b) W2 + b;  qkv = norm(x) Wqkv + b
//
// and some multiply act(x W1) with another x W3 (gated). A row depends on no other row here, so a thread
// takes a block of rows through all of it while they are in its caches. With fewer blocks than threads could
// use, the layers are run one after the other instead, each shared out by columns; a row's sums are the same
// either way.
#pragma once

#include <cstdint>

#include "models/layers.h"
#include "models/smoothing.h"

namespace headrace {

struct EncoderLayer {
  Linear qkv;       // [3 H D, C]
  Linear attended;  // [C, H D]
  LayerNorm attended_norm;
  Linear up;    // [F, C], or [2F, C]: the gate's half first
  Linear down;  // [C, F]
  LayerNorm down_norm;
  Activation activation = Activation::kGelu;
  bool is_gated = false;
  bool is_pre_norm = false;  // then down_norm is of the next layer's qkv, or of the encoder's result
};

// How large the columns of a layer's inputs are, matrix by matrix.
struct LayerInputs {
  ColumnSizes qkv, attended, up, down;
};

class EncoderRows {
 public:
  // Room for batches of up to that many tokens. like: any of the layers; all have one shape.
  void reserve(const Kernels& kernels, const EncoderLayer& like, int64_t max_batch_tokens, int threads);

  // qkv [T, 3 H D] of x [T, C].
  void project(const EncoderLayer& layer, ThreadPool& pool, int64_t tokens, const float* x, float* qkv);
  // finish() of an f32 layer that also adds what it sees to *inputs, and to *next what the next layer does,
  // whose qkv it leaves alone; allocates.
  void observe(const EncoderLayer& layer, ThreadPool& pool, int64_t tokens, const float* context, float* x,
               LayerInputs* inputs, float* next_input);
  // From context [T, H D], what attention gave, to the next x, in place, and to the next layer's qkv if there
  // is one.
  void finish(const EncoderLayer& layer, const EncoderLayer* next, ThreadPool& pool, int64_t tokens,
              const float* context, float* x, float* qkv);

 private:
  // Memory for some rows on their way through a layer.
  struct Work {
    char* encoded;         // rows of C, encoded
    char* encoded_hidden;  // rows of F, encoded
    float* hidden;         // [rows, F], or 2F
    float* normed;         // [rows, C], where blocks norm what they take
  };
  // What so many rows take, in floats, and where in it each part is.
  int64_t work_floats(int64_t rows) const;
  Work work_at(float* begin, int64_t rows) const;
  void project_block(const EncoderLayer& layer, int64_t rows, const float* x, float* qkv, const Work& work);
  // Both return where the next layer's input is, if there is one: x or work.normed.
  const float* finish_block(const EncoderLayer& layer, bool is_last, int64_t rows, const float* context,
                            float* x, const Work& work);
  // The layers one after the other, each shared out by columns. inputs: unless null, what is seen is added to
  // it.
  const float* finish_by_columns(const EncoderLayer& layer, bool is_last, ThreadPool& pool, int64_t tokens,
                                 const float* context, float* x, const Work& work, LayerInputs* inputs) const;
  // What of a layer's rows up gives is made down's input, in place.
  void gate(const EncoderLayer& layer, int64_t rows, float* hidden) const;
  bool by_blocks(const ThreadPool& pool, int64_t tokens) const;
  template <typename Body>
  void each_block(ThreadPool& pool, int64_t tokens, const Body& body);

  const Kernels* kernels_ = nullptr;
  int64_t block_rows_ = 0, fewest_block_rows_ = 0;
  int64_t encoded_bytes_ = 0, encoded_hidden_bytes_ = 0, hidden_bytes_ = 0, normed_bytes_ = 0;  // of one row
  int64_t uncut_rows_ = 0;  // the most that a batch has which is not cut into blocks
  Buffer uncut_work_;
  Buffer block_works_;  // one for each thread
};

}  // namespace headrace
