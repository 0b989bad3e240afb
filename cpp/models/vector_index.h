// Exact search for the nearest of many vectors, over a matrix in memory.
//
//   dot:        score = q . v                       largest first
//   cosine:     score = q . v / (|q| |v|)           largest first; a vector of zeros scores 0
//   euclidean:  score = |q - v|                     smallest first; computed as sqrt(|q|^2 + |v|^2 - 2 q . v)
//   manhattan:  score = sum_i |q_i - v_i|           smallest first
//
// All products come from the kernel table's GEMM, a block of queries by a block of vectors at a time, and go
// at once into the lists of the best: the matrix of all scores never exists. Of equal scores the lower index
// comes first. A query's result does not depend on the queries beside it nor on the number of threads.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"

namespace headrace {

enum class Metric : int32_t { kDot, kCosine, kEuclidean, kManhattan };

class VectorIndex {
 public:
  // vectors [n, d] row-major, copied. Throws kInvalidArgument: n or d below 1, a number that is not finite.
  VectorIndex(std::span<const float> vectors, int64_t n, int64_t d, Metric metric, const Kernels& kernels,
              int threads);

  int64_t size() const { return n_; }
  int64_t dimensions() const { return d_; }
  int threads() const { return pool_.threads(); }

  // queries [q, d] -> indices and scores [q, k], best first. Throws kInvalidArgument: k outside [1, size()],
  // a number that is not finite. Calls from several threads take turns.
  void search(std::span<const float> queries, int64_t q, int64_t k, int64_t* indices, float* scores);

  // All scores, [q, n].
  void scores(std::span<const float> queries, int64_t q, float* out);

 private:
  struct Entry {
    float score;  // larger is better, whatever the metric
    int32_t index;
  };
  // The best of one query among some of the vectors; a heap, the worst on top, until it is sorted.
  using Best = std::vector<Entry>;

  static bool better(const Entry& a, const Entry& b) {
    return a.score != b.score ? a.score > b.score : a.index < b.index;
  }
  Buffer prepared(std::span<const float> queries, int64_t q) const;
  void compare(const float* queries, int64_t rows, int64_t begin, int64_t end, float* out, int64_t ldo) const;
  void search_block(const float* queries, int64_t rows, int64_t begin, int64_t end, int64_t k,
                    float* products, std::span<Best> best) const;
  void offer(const float* products, int64_t count, int64_t first_index, int64_t k, Best& best) const;
  float shown(float score, float query_square) const;

  const Kernels& kernels_;
  const int64_t n_, d_;
  const Metric metric_;
  const int64_t block_;  // vectors of one step, whole panels
  Buffer packed_;
  Buffer half_squares_;  // [n], of euclidean: |v|^2 / 2
  std::mutex mutex_;     // one search at a time
  ThreadPool pool_;
};

}  // namespace headrace
