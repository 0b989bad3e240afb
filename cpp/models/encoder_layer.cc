#include "models/encoder_layer.h"

#include <algorithm>

namespace headrace {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t floats_of(int64_t bytes) { return divide_up(bytes, 64) * 16; }  // whole cache lines

// Register tiles per block. More read the weights fewer times from L3, fewer leave more of the block's
// activations in L2: as many as keep its widest rows under so many bytes. (Measured with C 384: on Zen 4, 4
// and 8 alike, 2 slower by 5 %; on Granite Rapids, whose L3 is slower, 9 against 4 gain 10 % in bf16 and 2 %
// in f32; with AMX, 8 of 32 rows against 4 gain 8 % in bf16.)
constexpr int64_t kBlockBytes = 800 << 10, kFewestTiles = 4, kMostTiles = 9;
// The smallest blocks, which are made where there are too few for all threads, have so many rows at most.
constexpr int64_t kFewestRows = 64;
// Blocks per thread from which blocks are the better share: fewer could leave a thread without work.
constexpr int64_t kBlocksPerThread = 2;

}  // namespace

void EncoderRows::reserve(const Kernels& kernels, const EncoderLayer& like, int64_t max_batch_tokens,
                          int threads) {
  kernels_ = &kernels;
  const int64_t widest = like.up.n * (like.down.precision == Precision::kBf16 ? 2 : 4);
  const int64_t tile = like.up.row_tile(kernels);
  block_rows_ = tile * std::clamp(kBlockBytes / (widest * tile), kFewestTiles, kMostTiles);
  fewest_block_rows_ = tile * std::min(kFewestTiles, kFewestRows / tile);
  uncut_rows_ =
      threads == 1 ? 0 : std::min(max_batch_tokens, fewest_block_rows_ * kBlocksPerThread * threads);
  encoded_bytes_ = std::max({like.qkv.encoded_bytes(kernels, 1), like.attended.encoded_bytes(kernels, 1),
                             like.up.encoded_bytes(kernels, 1)});
  encoded_hidden_bytes_ = like.down.encoded_bytes(kernels, 1);
  hidden_bytes_ = like.up.n * static_cast<int64_t>(sizeof(float));
  normed_bytes_ = like.is_pre_norm ? like.qkv.k * static_cast<int64_t>(sizeof(float)) : 0;
  uncut_work_ = Buffer(work_floats(uncut_rows_));
  block_works_ = Buffer(work_floats(block_rows_) * threads);
}

int64_t EncoderRows::work_floats(int64_t rows) const {
  return floats_of(rows * encoded_bytes_) + floats_of(rows * encoded_hidden_bytes_) +
         floats_of(rows * hidden_bytes_) + floats_of(rows * normed_bytes_);
}

EncoderRows::Work EncoderRows::work_at(float* begin, int64_t rows) const {
  float* const encoded_hidden = begin + floats_of(rows * encoded_bytes_);
  float* const hidden = encoded_hidden + floats_of(rows * encoded_hidden_bytes_);
  return {reinterpret_cast<char*>(begin), reinterpret_cast<char*>(encoded_hidden), hidden,
          hidden + floats_of(rows * hidden_bytes_)};
}

bool EncoderRows::by_blocks(const ThreadPool& pool, int64_t tokens) const {
  return pool.threads() == 1 || divide_up(tokens, fewest_block_rows_) > kBlocksPerThread * pool.threads();
}

template <typename Body>
void EncoderRows::each_block(ThreadPool& pool, int64_t tokens, const Body& body) {
  const int64_t fewest = divide_up(tokens, block_rows_), most = divide_up(tokens, fewest_block_rows_);
  const int64_t blocks =
      pool.threads() == 1 ? fewest : std::clamp((kBlocksPerThread + 1) * pool.threads(), fewest, most);
  pool.parallel_for(blocks, [&](int64_t block, int thread) {
    const int64_t begin = tokens * block / blocks, end = tokens * (block + 1) / blocks;
    body(begin, end - begin, work_at(block_works_.data() + work_floats(block_rows_) * thread, block_rows_));
  });
}

void EncoderRows::project(const EncoderLayer& layer, ThreadPool& pool, int64_t tokens, const float* x,
                          float* qkv) {
  if (!by_blocks(pool, tokens))
    return layer.qkv.forward(*kernels_, pool, tokens, x, qkv, Activation::kNone, nullptr,
                             work_at(uncut_work_.data(), uncut_rows_).encoded);
  each_block(pool, tokens, [&](int64_t begin, int64_t rows, const Work& own) {
    project_block(layer, rows, x + begin * layer.qkv.k, qkv + begin * layer.qkv.n, own);
  });
}

void EncoderRows::observe(const EncoderLayer& layer, ThreadPool& pool, int64_t tokens, const float* context,
                          float* x, LayerInputs* inputs, float* next_input) {
  Buffer hidden(tokens * layer.up.n), normed(layer.is_pre_norm ? tokens * layer.qkv.k : 0);
  const float* const next = finish_by_columns(layer, false, pool, tokens, context, x,
                                              {nullptr, nullptr, hidden.data(), normed.data()}, inputs);
  std::copy(next, next + tokens * layer.qkv.k, next_input);
}

const float* EncoderRows::finish_by_columns(const EncoderLayer& layer, bool is_last, ThreadPool& pool,
                                            int64_t tokens, const float* context, float* x, const Work& own,
                                            LayerInputs* inputs) const {
  const Kernels& kernels = *kernels_;
  constexpr Activation kNone = Activation::kNone;
  float* const normed = layer.is_pre_norm ? own.normed : x;
  if (inputs) add_sizes(context, tokens, layer.attended.k, &inputs->attended);
  layer.attended.forward(kernels, pool, tokens, context, x, kNone, x, own.encoded);
  layer.attended_norm.forward(kernels, pool, tokens, x, normed);
  if (inputs) add_sizes(normed, tokens, layer.up.k, &inputs->up);
  layer.up.forward(kernels, pool, tokens, normed, own.hidden, layer.is_gated ? kNone : layer.activation,
                   nullptr, own.encoded);
  if (layer.is_gated) gate(layer, tokens, own.hidden);
  if (inputs) add_sizes(own.hidden, tokens, layer.down.k, &inputs->down);
  layer.down.forward(kernels, pool, tokens, own.hidden, x, kNone, x, own.encoded_hidden);
  float* const next = is_last ? x : normed;
  layer.down_norm.forward(kernels, pool, tokens, x, next);
  return next;
}

void EncoderRows::gate(const EncoderLayer& layer, int64_t rows, float* hidden) const {
  kernels_->decoder.gate(hidden, rows, layer.down.k, layer.activation, hidden);
}

void EncoderRows::finish(const EncoderLayer& layer, const EncoderLayer* next, ThreadPool& pool,
                         int64_t tokens, const float* context, float* x, float* qkv) {
  if (by_blocks(pool, tokens)) {
    each_block(pool, tokens, [&](int64_t begin, int64_t rows, const Work& own) {
      float* const rows_of_x = x + begin * layer.attended.n;
      const float* const input =
          finish_block(layer, next == nullptr, rows, context + begin * layer.attended.k, rows_of_x, own);
      if (next) project_block(*next, rows, input, qkv + begin * next->qkv.n, own);
    });
    return;
  }
  const float* const input = finish_by_columns(layer, next == nullptr, pool, tokens, context, x,
                                               work_at(uncut_work_.data(), uncut_rows_), nullptr);
  if (next) project(*next, pool, tokens, input, qkv);
}

void EncoderRows::project_block(const EncoderLayer& layer, int64_t rows, const float* x, float* qkv,
                                const Work& own) {
  layer.qkv.encode(*kernels_, rows, x, own.encoded);
  layer.qkv.run(*kernels_, rows, x, own.encoded, {.f32 = qkv});
}

const float* EncoderRows::finish_block(const EncoderLayer& layer, bool is_last, int64_t rows,
                                       const float* context, float* x, const Work& own) {
  const Kernels& kernels = *kernels_;
  float* const normed = layer.is_pre_norm ? own.normed : x;
  layer.attended.encode(kernels, rows, context, own.encoded);
  layer.attended.run(kernels, rows, context, own.encoded, {.f32 = x, .residual = x});
  layer.attended_norm.run(kernels, rows, x, normed);
  layer.up.encode(kernels, rows, normed, own.encoded);
  // bf16 rows need nothing but themselves to be encoded; int8 ones their largest number, gated ones two.
  const bool is_direct = layer.down.precision == Precision::kBf16 && layer.up.n % 2 == 0 && !layer.is_gated;
  LinearOut hidden{.activation = layer.is_gated ? Activation::kNone : layer.activation};
  if (is_direct) {
    hidden.bf16 = own.encoded_hidden;
  } else {
    hidden.f32 = own.hidden;
  }
  layer.up.run(kernels, rows, normed, own.encoded, hidden);
  if (layer.is_gated) gate(layer, rows, own.hidden);
  if (!is_direct) layer.down.encode(kernels, rows, own.hidden, own.encoded_hidden);
  layer.down.run(kernels, rows, own.hidden, own.encoded_hidden, {.f32 = x, .residual = x});
  float* const next = is_last ? x : normed;
  layer.down_norm.run(kernels, rows, x, next);
  return next;
}

}  // namespace headrace
