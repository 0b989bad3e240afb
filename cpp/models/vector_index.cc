#include "models/vector_index.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace headrace {
namespace {

// Products of one step: 128 queries by about 256 vectors, whole panels of them, are 128 KB, which stay in L2
// beside the vectors.
constexpr int64_t kQueryBlock = 128;
constexpr int64_t kVectorBlock = 256;
// Queries whose lists are held at a time.
constexpr int64_t kWave = 4096;
constexpr int64_t kTasksPerThread = 4;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

void check_finite(std::span<const float> numbers, int64_t columns, const char* what) {
  float sum = 0;
  for (const float x : numbers) sum += x * 0.0f;
  if (sum == 0.0f) return;
  const auto bad = std::find_if(numbers.begin(), numbers.end(), [](float x) { return !std::isfinite(x); });
  throw Error(ErrorKind::kInvalidArgument,
              concat(what, "[", (bad - numbers.begin()) / columns, ", ", (bad - numbers.begin()) % columns,
                     "] is infinite or NaN; every number must be finite"));
}

float square(const float* x, int64_t d) {
  double sum = 0;
  for (int64_t i = 0; i < d; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return static_cast<float>(sum);
}

// out[row, i] = -sum_j |queries[row, j] - v_i[j]| of vectors in panels [D][columns], 8 of them at a time.
void subtract_distances(const float* queries, int64_t rows, const float* panels, int64_t vectors, int64_t d,
                        int64_t columns, float* out, int64_t ldo) {
  constexpr int64_t kAtATime = 8;
  for (int64_t first = 0; first < vectors; first += kAtATime) {
    const float* const panel = panels + first / columns * columns * d + first % columns;
    const int64_t count = std::min(kAtATime, vectors - first);
    for (int64_t row = 0; row < rows; ++row) {
      float sums[kAtATime] = {};
      for (int64_t j = 0; j < d; ++j)
        for (int64_t i = 0; i < kAtATime; ++i)
          sums[i] -= std::fabs(queries[row * d + j] - panel[j * columns + i]);
      std::copy(sums, sums + count, out + row * ldo + first);
    }
  }
}

}  // namespace

VectorIndex::VectorIndex(std::span<const float> vectors, int64_t n, int64_t d, Metric metric,
                         const Kernels& kernels, int threads)
    : kernels_(kernels),
      n_(n),
      d_(d),
      metric_(metric),
      block_(divide_up(kVectorBlock, kernels.panel_columns) * kernels.panel_columns),
      pool_(threads) {
  if (n < 1 || d < 1 || n > INT32_MAX)
    throw Error(ErrorKind::kInvalidArgument,
                concat("vectors have the shape [", n, ", ", d, "]; there must be 1 to ", INT32_MAX,
                       " of at least 1 dimension"));
  check_finite(vectors, d, "vectors");
  const int64_t panel = kernels.panel_columns;
  // A panel at a time, so that no second copy of the matrix is needed.
  packed_ = Buffer(divide_up(n, panel) * panel * d);
  if (metric == Metric::kEuclidean) half_squares_ = Buffer(n);
  std::vector<Buffer> units;  // a panel's vectors at length 1, for each thread
  for (int i = 0; metric == Metric::kCosine && i < pool_.threads(); ++i) units.emplace_back(panel * d);
  pool_.parallel_for(divide_up(n, panel), [&](int64_t task, int thread) {
    const int64_t begin = task * panel, count = std::min(panel, n - begin);
    const float* rows = vectors.data() + begin * d;
    if (metric == Metric::kCosine) {
      float* const unit = units[static_cast<size_t>(thread)].data();
      for (int64_t i = 0; i < count; ++i) kernels.l2_normalize(rows + i * d, d, unit + i * d);
      rows = unit;
    }
    kernels.pack_weights(rows, count, d, packed_.data() + begin * d);
    if (metric == Metric::kEuclidean)
      for (int64_t i = 0; i < count; ++i) half_squares_.data()[begin + i] = square(rows + i * d, d) * 0.5f;
  });
}

Buffer VectorIndex::prepared(std::span<const float> queries, int64_t q) const {
  check_finite(queries, d_, "queries");
  Buffer ready(q * d_);
  std::memcpy(ready.data(), queries.data(), queries.size_bytes());
  if (metric_ == Metric::kCosine)
    for (int64_t i = 0; i < q; ++i) kernels_.l2_normalize(ready.data() + i * d_, d_, ready.data() + i * d_);
  return ready;
}

// Of some queries and the vectors [begin, end), begin at the start of a panel: their products, or of
// manhattan minus their distances; out [rows, end - begin].
void VectorIndex::compare(const float* queries, int64_t rows, int64_t begin, int64_t end, float* out,
                          int64_t ldo) const {
  const float* const panels = packed_.data() + begin * d_;
  if (metric_ == Metric::kManhattan)
    return subtract_distances(queries, rows, panels, end - begin, d_, kernels_.panel_columns, out, ldo);
  const Gemm gemm{queries, d_, panels, nullptr, nullptr, 0, out, ldo, end - begin, d_, Activation::kNone};
  kernels_.gemm(gemm, 0, rows, 0, end - begin);
}

void VectorIndex::offer(const float* products, int64_t count, int64_t first_index, int64_t k,
                        Best& best) const {
  constexpr int64_t kAtATime = 16;
  float scores[kAtATime];
  for (int64_t i = 0; i < count; i += kAtATime) {
    const int64_t here = std::min(kAtATime, count - i);
    for (int64_t j = 0; j < here; ++j)
      scores[j] = metric_ == Metric::kEuclidean ? products[i + j] - half_squares_.data()[first_index + i + j]
                                                : products[i + j];
    if (static_cast<int64_t>(best.size()) == k) {
      // Indices rise, so an equal score never takes a place; nearly all groups end here.
      const float least = best.front().score;
      bool any = false;
      for (int64_t j = 0; j < here; ++j) any |= scores[j] > least;
      if (!any) continue;
    }
    for (int64_t j = 0; j < here; ++j) {
      if (static_cast<int64_t>(best.size()) == k) {
        if (!(scores[j] > best.front().score)) continue;
        std::pop_heap(best.begin(), best.end(), better);
        best.pop_back();
      }
      best.push_back({scores[j], static_cast<int32_t>(first_index + i + j)});
      std::push_heap(best.begin(), best.end(), better);
    }
  }
}

void VectorIndex::search_block(const float* queries, int64_t rows, int64_t begin, int64_t end, int64_t k,
                               float* products, std::span<Best> best) const {
  for (int64_t from = begin; from < end; from += block_) {
    const int64_t to = std::min(end, from + block_);
    compare(queries, rows, from, to, products, block_);
    for (int64_t row = 0; row < rows; ++row)
      offer(products + row * block_, to - from, from, k, best[static_cast<size_t>(row)]);
  }
}

float VectorIndex::shown(float score, float query_square) const {
  if (metric_ == Metric::kManhattan) return -score;
  if (metric_ != Metric::kEuclidean) return score;
  return std::sqrt(std::max(0.0f, query_square - 2.0f * score));
}

void VectorIndex::search(std::span<const float> queries, int64_t q, int64_t k, int64_t* indices,
                         float* scores) {
  if (k < 1 || k > n_)
    throw Error(ErrorKind::kInvalidArgument,
                concat("k=", k, ": must be between 1 and ", n_, ", the number of vectors"));
  const Buffer ready = prepared(queries, q);
  const std::lock_guard lock(mutex_);
  const int64_t blocks = divide_up(n_, block_);
  std::vector<Buffer> products;
  for (int i = 0; i < pool_.threads(); ++i) products.emplace_back(kQueryBlock * block_);
  for (int64_t wave = 0; wave < q; wave += kWave) {
    const int64_t in_wave = std::min(kWave, q - wave), query_blocks = divide_up(in_wave, kQueryBlock);
    // Few queries: the vectors are shared out too, and each share has lists of its own.
    const int64_t shares =
        pool_.threads() == 1
            ? 1
            : std::clamp<int64_t>(divide_up(kTasksPerThread * pool_.threads(), query_blocks), 1, blocks);
    std::vector<Best> best(static_cast<size_t>(in_wave * shares));
    // All memory is asked for here: what runs on the pool cannot fail.
    for (size_t i = 0; i < best.size(); ++i)
      best[i].reserve(static_cast<size_t>(i < static_cast<size_t>(in_wave) ? k * shares : k));
    pool_.parallel_for(query_blocks * shares, [&](int64_t task, int thread) {
      const int64_t share = task / query_blocks, block = task % query_blocks;
      const int64_t first = block * kQueryBlock, rows = std::min(kQueryBlock, in_wave - first);
      search_block(
          ready.data() + (wave + first) * d_, rows, blocks * share / shares * block_,
          std::min(n_, blocks * (share + 1) / shares * block_), k,
          products[static_cast<size_t>(thread)].data(),
          std::span(best).subspan(static_cast<size_t>(share * in_wave + first), static_cast<size_t>(rows)));
    });
    pool_.parallel_for(in_wave, [&](int64_t row, int) {
      Best& all = best[static_cast<size_t>(row)];
      for (int64_t share = 1; share < shares; ++share) {
        const Best& more = best[static_cast<size_t>(share * in_wave + row)];
        all.insert(all.end(), more.begin(), more.end());
      }
      std::partial_sort(all.begin(), all.begin() + k, all.end(), better);
      const float* query = ready.data() + (wave + row) * d_;
      const float query_square = metric_ == Metric::kEuclidean ? square(query, d_) : 0.0f;
      for (int64_t i = 0; i < k; ++i) {
        indices[(wave + row) * k + i] = all[static_cast<size_t>(i)].index;
        scores[(wave + row) * k + i] = shown(all[static_cast<size_t>(i)].score, query_square);
      }
    });
  }
}

void VectorIndex::scores(std::span<const float> queries, int64_t q, float* out) {
  const Buffer ready = prepared(queries, q);
  const std::lock_guard lock(mutex_);
  const int64_t blocks = divide_up(n_, block_), query_blocks = divide_up(q, kQueryBlock);
  pool_.parallel_for(blocks * query_blocks, [&](int64_t task, int) {
    const int64_t begin = task / query_blocks * block_, end = std::min(n_, begin + block_);
    const int64_t first = task % query_blocks * kQueryBlock, rows = std::min(kQueryBlock, q - first);
    float* const block = out + first * n_ + begin;
    compare(ready.data() + first * d_, rows, begin, end, block, n_);
    if (metric_ != Metric::kEuclidean && metric_ != Metric::kManhattan) return;
    const bool is_euclidean = metric_ == Metric::kEuclidean;
    for (int64_t row = 0; row < rows; ++row) {
      const float query_square = is_euclidean ? square(ready.data() + (first + row) * d_, d_) : 0.0f;
      for (int64_t i = 0; i < end - begin; ++i) {
        const float less = is_euclidean ? half_squares_.data()[begin + i] : 0.0f;
        block[row * n_ + i] = shown(block[row * n_ + i] - less, query_square);
      }
    }
  });
}

}  // namespace headrace
