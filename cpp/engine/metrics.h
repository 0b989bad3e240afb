// Counters and histograms of one model, and their snapshot. Cheap enough to update at every batch.
#pragma once

#include <cstdint>
#include <vector>

namespace headrace {

// Counts per bucket; bucket i holds values <= bounds[i], the last one the rest. Not synchronised.
class Histogram {
 public:
  // bounds: ascending upper limits.
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

  void add(double value) {
    size_t bucket = 0;
    while (bucket < bounds_.size() && value > bounds_[bucket]) ++bucket;
    ++counts_[bucket];
    sum_ += value;
  }

  const std::vector<double>& bounds() const { return bounds_; }
  const std::vector<int64_t>& counts() const { return counts_; }
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;
  double sum_ = 0;
};

// What one model has done since it was added. Guarded by the engine's mutex; a copy is a snapshot.
struct ModelMetrics {
  int64_t requests = 0;   // submitted and admitted
  int64_t sequences = 0;  // answered
  int64_t tokens = 0;     // answered, special tokens included
  int64_t batches = 0;
  int64_t refused = 0;    // kOverloaded at submission
  int64_t expired = 0;    // deadline passed while queued
  int64_t cancelled = 0;  // withdrawn before the answer
  int64_t failed = 0;     // ended by an error of our own

  // State at the time of the snapshot.
  int64_t queued_tokens = 0;
  int64_t running_tokens = 0;
  double tokens_per_second = 0;  // recent speed of the forward pass; 0 before the first batch

  Histogram queue_seconds{{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}};
  Histogram compute_seconds{
      {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}};  // of those answered
  Histogram forward_seconds{{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}};
  Histogram batch_tokens{{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192}};
  Histogram batch_sequences{{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}};
};

}  // namespace headrace
