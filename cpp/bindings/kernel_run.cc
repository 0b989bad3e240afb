#include "bindings/kernel_run.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.h"
#include "tensor/buffer.h"

namespace headrace {
namespace {

constexpr int64_t kMaxSize = 1 << 16;
constexpr int64_t kMaxNumbers = int64_t{1} << 28;
constexpr int64_t kRowsAtATime = 64;  // of one task: as many as a thread takes through a layer
constexpr double kFloat = sizeof(float);

// Small numbers of either sign, the same every time.
Buffer numbers(int64_t count, float around = 0.0f) {
  Buffer buffer(count);
  uint32_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes
    buffer.data()[i] = around + (static_cast<float>(state >> 8) * 0x1p-24f - 0.5f);
  }
  return buffer;
}

// Narrow rows and weights lie as the engine's do, on cache lines of a Buffer: tiles are slow off them.
Buffer room_for(int64_t bytes) { return Buffer((bytes + 3) / 4); }
char* bytes_of(Buffer& buffer) { return reinterpret_cast<char*>(buffer.data()); }

// body(first row, last row) for blocks of rows, on all threads.
template <typename Body>
void each_block(ThreadPool& pool, int64_t rows, const Body& body) {
  pool.parallel_for((rows + kRowsAtATime - 1) / kRowsAtATime, [&](int64_t block, int) {
    body(block * kRowsAtATime, std::min(rows, (block + 1) * kRowsAtATime));
  });
}

KernelRun gemm_f32(const Kernels& kernels, const KernelCase& c) {
  struct Arrays {
    Buffer x, w, packed, bias, residual, y;
  };
  const int64_t panel = kernels.panel_columns;
  auto a = std::make_shared<Arrays>();
  a->x = numbers(c.rows * c.k);
  a->w = numbers(c.n * c.k);
  a->packed = Buffer((c.n + panel - 1) / panel * panel * c.k);
  a->bias = numbers(c.n);
  a->y = Buffer(c.rows * c.n);
  if (c.residual) a->residual = numbers(c.rows * c.n);
  kernels.pack_weights(a->w.data(), c.n, c.k, a->packed.data());
  a->w = Buffer();
  const Gemm gemm{.x = a->x.data(),
                  .ldx = c.k,
                  .packed_w = a->packed.data(),
                  .bias = a->bias.data(),
                  .residual = c.residual ? a->residual.data() : nullptr,
                  .ldr = c.n,
                  .y = a->y.data(),
                  .ldy = c.n,
                  .n = c.n,
                  .k = c.k,
                  .activation = c.gelu ? Activation::kGelu : Activation::kNone};
  KernelRun made;
  made.bytes = kFloat * static_cast<double>(a->x.size() + a->packed.size() + a->bias.size() + a->y.size() +
                                            a->residual.size());
  made.run = [&kernels, gemm, a, rows = c.rows](ThreadPool& pool) {
    each_block(pool, rows, [&](int64_t begin, int64_t end) { kernels.gemm(gemm, begin, end, 0, gemm.n); });
  };
  return made;
}

KernelRun gemm_narrow(const NarrowKernels& narrow, const KernelCase& c) {
  struct Arrays {
    Buffer x, packed, bias, residual, y;
  };
  auto a = std::make_shared<Arrays>();
  a->x = room_for(c.rows * narrow.row_bytes(c.k));
  a->packed = room_for(narrow.packed_bytes(c.n, c.k));
  a->bias = numbers(c.n);
  a->y = Buffer(c.rows * c.n);
  if (c.residual) a->residual = numbers(c.rows * c.n);
  narrow.encode(numbers(c.rows * c.k).data(), c.rows, c.k, nullptr, bytes_of(a->x));
  narrow.pack(numbers(c.n * c.k).data(), c.n, c.k, bytes_of(a->packed));
  const NarrowGemm gemm{.x = bytes_of(a->x),
                        .packed_w = bytes_of(a->packed),
                        .bias = a->bias.data(),
                        .residual = c.residual ? a->residual.data() : nullptr,
                        .ldr = c.n,
                        .y = a->y.data(),
                        .ldy = c.n,
                        .bf16_y = nullptr,
                        .n = c.n,
                        .k = c.k,
                        .activation = c.gelu ? Activation::kGelu : Activation::kNone};
  KernelRun made;
  made.bytes = kFloat * static_cast<double>(a->x.size() + a->packed.size() + a->bias.size() + a->y.size() +
                                            a->residual.size());
  made.run = [&narrow, gemm, a, rows = c.rows](ThreadPool& pool) {
    each_block(pool, rows, [&](int64_t begin, int64_t end) { narrow.gemm(gemm, begin, end, 0, gemm.n); });
  };
  return made;
}

KernelRun gemm(const Kernels& kernels, const KernelCase& c) {
  const NarrowKernels* const narrow = narrow_kernels(kernels, c.precision);
  KernelRun made = narrow ? gemm_narrow(*narrow, c) : gemm_f32(kernels, c);
  made.operations = 2.0 * static_cast<double>(c.rows * c.n * c.k);
  return made;
}

KernelRun encode(const Kernels& kernels, const KernelCase& c) {
  const NarrowKernels* const narrow = narrow_kernels(kernels, c.precision);
  if (!narrow) throw Error(ErrorKind::kUnsupported, "encode in f32: supported are bf16 and int8");
  auto x = std::make_shared<Buffer>(numbers(c.rows * c.n));
  const int64_t row_bytes = narrow->row_bytes(c.n);
  auto y = std::make_shared<Buffer>(room_for(c.rows * row_bytes));
  KernelRun made;
  made.operations = (c.precision == Precision::kInt8 ? 3.0 : 1.0) * static_cast<double>(x->size());
  made.bytes = kFloat * static_cast<double>(x->size() + y->size());
  made.run = [narrow, x, y, row_bytes, rows = c.rows, n = c.n](ThreadPool& pool) {
    each_block(pool, rows, [&](int64_t begin, int64_t end) {
      narrow->encode(x->data() + begin * n, end - begin, n, nullptr, bytes_of(*y) + begin * row_bytes);
    });
  };
  return made;
}

KernelRun layer_norm(const Kernels& kernels, const KernelCase& c) {
  struct Arrays {
    Buffer x, gain, bias, y;
  };
  auto a = std::make_shared<Arrays>();
  *a = {numbers(c.rows * c.n), numbers(c.n), numbers(c.n), Buffer(c.rows * c.n)};
  KernelRun made;
  made.operations = 8.0 * static_cast<double>(a->x.size());
  made.bytes = kFloat * 2.0 * static_cast<double>(a->x.size() + c.n);
  made.run = [&kernels, a, rows = c.rows, n = c.n](ThreadPool& pool) {
    each_block(pool, rows, [&](int64_t begin, int64_t end) {
      kernels.layer_norm(a->x.data() + begin * n, a->gain.data(), a->bias.data(), 1e-12f, end - begin, n,
                         a->y.data() + begin * n);
    });
  };
  return made;
}

// softmax and gelu, in place. Numbers around 8 are their own GELU, so that runs do not change what the next
// one sees.
KernelRun in_place(const Kernels& kernels, const KernelCase& c) {
  auto x = std::make_shared<Buffer>(numbers(c.rows * c.n, c.kernel == "gelu" ? 8.0f : 0.0f));
  const auto function = c.kernel == "gelu" ? kernels.gelu : kernels.softmax;
  KernelRun made;
  made.operations = 5.0 * static_cast<double>(x->size());
  made.bytes = kFloat * 2.0 * static_cast<double>(x->size());
  made.run = [function, x, rows = c.rows, n = c.n](ThreadPool& pool) {
    each_block(pool, rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) function(x->data() + row * n, n);
    });
  };
  return made;
}

KernelRun attention(const Kernels& kernels, const KernelCase& c, int threads) {
  struct Arrays {
    Buffer qkv, out, scratch;
    int64_t scratch_floats;
  };
  const int64_t width = c.n * c.k;
  auto a = std::make_shared<Arrays>();
  a->qkv = numbers(c.rows * 3 * width);
  a->out = Buffer(c.rows * width);
  a->scratch_floats = (kernels.attention_scratch(c.rows, c.k) + 31) / 16 * 16;
  a->scratch = Buffer(a->scratch_floats * threads);
  KernelRun made;
  const auto pairs = static_cast<double>(c.rows * c.rows * c.n);
  made.operations = pairs * (4.0 * static_cast<double>(c.k) + 5.0);
  made.bytes = kFloat * static_cast<double>(a->qkv.size() + a->out.size());
  const auto function = c.precision == Precision::kF32 ? kernels.attention : kernels.narrow_attention;
  made.run = [function, a, c, width](ThreadPool& pool) {
    pool.parallel_for(c.n, [&](int64_t head, int thread) {
      const float* const q = a->qkv.data() + head * c.k;
      function({.q = q,
                .k = q + width,
                .v = q + 2 * width,
                .ld = 3 * width,
                .out = a->out.data() + head * c.k,
                .ldo = width,
                .length = c.rows,
                .head_dim = c.k,
                .scale = 1.0f / std::sqrt(static_cast<float>(c.k)),
                .scratch = a->scratch.data() + thread * a->scratch_floats,
                .queries = c.rows});
    });
  };
  return made;
}

KernelRun mean_pool(const Kernels& kernels, const KernelCase& c) {
  auto x = std::make_shared<Buffer>(numbers(c.n * c.rows * c.k));
  auto y = std::make_shared<Buffer>(c.n * c.k);
  KernelRun made;
  made.operations = static_cast<double>(x->size() + y->size());
  made.bytes = kFloat * static_cast<double>(x->size() + y->size());
  made.run = [&kernels, x, y, c](ThreadPool& pool) {
    pool.parallel_for(c.n, [&](int64_t sequence, int) {
      kernels.mean_pool(x->data() + sequence * c.rows * c.k, c.rows, c.k, y->data() + sequence * c.k);
    });
  };
  return made;
}

}  // namespace

KernelRun make_kernel_run(const Kernels& kernels, const KernelCase& c, int threads) {
  for (const int64_t size : {c.rows, c.n, c.k})
    if (size < 1 || size > kMaxSize)
      throw Error(ErrorKind::kInvalidArgument,
                  concat("a size of ", size, ": must be between 1 and ", kMaxSize));
  if (c.rows * c.n > kMaxNumbers || c.rows * c.k > kMaxNumbers || c.n * c.k > kMaxNumbers ||
      (c.kernel == "mean_pool" && c.rows * c.k > kMaxNumbers / c.n) ||
      (c.kernel == "attention" && c.n * c.k > kMaxNumbers / 3 / c.rows))
    throw Error(ErrorKind::kInvalidArgument, concat("rows=", c.rows, ", n=", c.n, ", k=", c.k,
                                                    ": an array may have at most ", kMaxNumbers, " numbers"));
  if (c.kernel == "gemm") return gemm(kernels, c);
  if (c.kernel == "encode") return encode(kernels, c);
  if (c.kernel == "layer_norm") return layer_norm(kernels, c);
  if (c.kernel == "softmax" || c.kernel == "gelu") return in_place(kernels, c);
  if (c.kernel == "attention") return attention(kernels, c, threads);
  if (c.kernel == "mean_pool") return mean_pool(kernels, c);
  throw Error(ErrorKind::kInvalidArgument,
              concat("kernel='", c.kernel,
                     "': must be gemm, encode, layer_norm, softmax, gelu, attention or mean_pool"));
}

}  // namespace headrace
