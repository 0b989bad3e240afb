// Attention, ragged and paged, and the blocks of the cache.
#include "kernels/cuda/attention.h"

#include "device_test.h"
#include "kernels/cuda/paged.h"

namespace headrace::cuda {
namespace {

class Attentions : public OnEveryMachine {};
HEADRACE_ON_EVERY_MACHINE(Attentions);

const std::vector<int32_t> kLengths = {0, 1, 34, 34 + 70};  // cumulative; of 1, 33 and 70 tokens
constexpr int64_t kHeads = 2;

// By the reference table, of f32 rows [T, 3 heads D].
std::vector<float> ragged(const std::vector<float>& qkv, int64_t head_dim, float scale, int64_t window) {
  const int64_t width = kHeads * head_dim, ld = 3 * width, tokens = kLengths.back();
  std::vector<float> out(static_cast<size_t>(tokens * width));
  for (size_t b = 0; b + 1 < kLengths.size(); ++b)
    for (int64_t head = 0; head < kHeads; ++head) {
      const int64_t begin = kLengths[b], length = kLengths[b + 1] - begin;
      std::vector<float> scratch(
          static_cast<size_t>(headrace::cuda::reference().attention_scratch(length, head_dim)));
      const float* q = qkv.data() + begin * ld + head * head_dim;
      headrace::cuda::reference().attention({.q = q,
                                             .k = q + width,
                                             .v = q + 2 * width,
                                             .ld = ld,
                                             .out = out.data() + begin * width + head * head_dim,
                                             .ldo = width,
                                             .length = length,
                                             .head_dim = head_dim,
                                             .scale = scale,
                                             .scratch = scratch.data(),
                                             .queries = length,
                                             .window = window});
    }
  return out;
}

template <int kHeadDim>
void check_ragged(const Machine& machine, int64_t window) {
  const int64_t width = kHeads * kHeadDim, tokens = kLengths.back();
  const auto qkv = normal_numbers(static_cast<size_t>(tokens * 3 * width), 1);
  const float scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  std::vector<float> found(static_cast<size_t>(tokens * width));
  machine.run({blocks_of(70, 4), kHeads, 3}, AttentionF32::kThreads, [&] {
    attention_f32<kHeadDim>({qkv.data(), qkv.data() + width, qkv.data() + 2 * width, 3 * width, found.data(),
                             width, kLengths.data(), scale, window});
  });
  expect_near(found, ragged(qkv, kHeadDim, scale, window), 2e-6f * largest(qkv));

  const auto rounded = as_bf16(qkv);
  std::vector<Bf16> out(found.size());
  machine.run({blocks_of(70, 64), kHeads, 3}, AttentionTensor<kHeadDim>::kThreads, [&] {
    attention_bf16<kHeadDim>({rounded.data(), rounded.data() + width, rounded.data() + 2 * width, 3 * width,
                              out.data(), width, kLengths.data(), scale, window});
  });
  // Weights and answers are rounded to 8 bits.
  const auto expected = ragged(as_floats(rounded), kHeadDim, scale, window);
  expect_near(as_floats(out), expected, 1.0f / 128 * largest(qkv));
  double same = 0, ours = 0, theirs = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double a = to_float(out[i]), b = expected[i];
    same += a * b, ours += a * a, theirs += b * b;
  }
  EXPECT_GE(same / std::sqrt(ours * theirs), 0.9995);
}

TEST_P(Attentions, HeadsOf32) { check_ragged<32>(machine(), 0); }
TEST_P(Attentions, HeadsOf64) { check_ragged<64>(machine(), 0); }
TEST_P(Attentions, Window) { check_ragged<32>(machine(), 20); }

// Every query position of some sequences as a row, against the reference's paged attention.
template <typename Cache>
void check_paged(const Machine& machine, int group, int head_dim, int64_t window, float soft_cap,
                 int64_t splits) {
  constexpr int64_t kKvHeads = 2, kBlocks = 7, kWidth = 4;
  const int64_t heads = kKvHeads * group;
  const std::vector<int32_t> positions = {0, 31, 32, 100},
                             tables = {3, 0, 0, 0, 5, 0, 0, 0, 6, 1, 0, 0, 2, 4, 0, 1};
  const int64_t rows = 4, block_numbers = kKvHeads * 2 * kCacheBlock * head_dim;
  std::vector<Cache> cache(static_cast<size_t>(kBlocks * block_numbers));
  std::memset(cache.data(), 0xff, cache.size() * sizeof(Cache));  // NaN, where nothing was stored
  const auto rest = normal_numbers(cache.size(), 30);
  for (const int32_t block : {2, 4, 0, 1}) {
    for (int64_t i = 0; i < block_numbers; ++i) {
      const auto at = static_cast<size_t>(block * block_numbers + i);
      if constexpr (sizeof(Cache) == 4) cache[at] = rest[at];
      if constexpr (sizeof(Cache) == 2) cache[at] = to_bf16(rest[at]);
    }
  }
  // Keys and values of every position of every row, stored as the kernel does.
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = positions[static_cast<size_t>(row)] + 1, ld = kKvHeads * head_dim;
    const auto keys = normal_numbers(static_cast<size_t>(length * ld), 10 + static_cast<uint64_t>(row));
    const auto values = normal_numbers(static_cast<size_t>(length * ld), 20 + static_cast<uint64_t>(row));
    std::vector<int32_t> slots;
    for (int64_t i = 0; i < length; ++i)
      slots.push_back(static_cast<int32_t>(
          tables[static_cast<size_t>(row * kWidth + i / kCacheBlock)] * kCacheBlock + i % kCacheBlock));
    if (row == 3) break;  // its last block is also the row's before it
    machine.run({static_cast<unsigned>(length)}, 32, [&] {
      store_keys_values(keys.data(), values.data(), ld, slots.data(), kKvHeads, head_dim, cache.data(),
                        block_numbers);
    });
  }
  const auto q = normal_numbers(static_cast<size_t>(rows * heads * head_dim), 31);
  const float scale = 0.3f;
  std::vector<float> sums(static_cast<size_t>(rows * heads * splits * head_dim)),
      most(static_cast<size_t>(rows * heads * splits));
  std::vector<float> weight(most.size()), out(q.size());
  PagedRows<Cache> a{q.data(), heads * head_dim, cache.data(), block_numbers, tables.data(),
                     kWidth,   positions.data(), kKvHeads,     window,        scale,
                     soft_cap, sums.data(),      most.data(),  weight.data()};
  machine.run({static_cast<unsigned>(splits), kKvHeads, static_cast<unsigned>(rows)}, PagedTensor::kThreads,
              [&] { paged_attention<Cache>(a, group, head_dim, splits, (kWidth + splits - 1) / splits); });
  machine.run({static_cast<unsigned>(heads), static_cast<unsigned>(rows)}, 32, [&] {
    combine_splits(sums.data(), most.data(), weight.data(), splits, head_dim, heads, out.data(),
                   heads * head_dim);
  });
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t position = positions[static_cast<size_t>(row)];
      const float* query = q.data() + (row * heads + head) * head_dim;
      std::vector<double> scores, expected(static_cast<size_t>(head_dim));
      double top = -INFINITY, total = 0;
      const int64_t first = window > 0 ? std::max<int64_t>(0, position + 1 - window) : 0;
      const auto at = [&](int64_t key) {
        const int64_t block = tables[static_cast<size_t>(row * kWidth + key / kCacheBlock)];
        return cache.data() + block * block_numbers + head / group * 2 * kCacheBlock * head_dim;
      };
      for (int64_t key = first; key <= position; ++key) {
        double score = 0;
        for (int d = 0; d < head_dim; ++d)
          score += query[d] * to_float(at(key)[d * kCacheBlock + key % kCacheBlock]);
        score *= scale;
        if (soft_cap > 0) score = soft_cap * std::tanh(score / soft_cap);
        scores.push_back(score);
        top = std::max(top, score);
      }
      for (int64_t key = first; key <= position; ++key) {
        const double w = std::exp(scores[static_cast<size_t>(key - first)] - top);
        total += w;
        for (int d = 0; d < head_dim; ++d)
          expected[static_cast<size_t>(d)] +=
              w * to_float(at(key)[kCacheBlock * head_dim + key % kCacheBlock * head_dim + d]);
      }
      for (int d = 0; d < head_dim; ++d)
        ASSERT_NEAR(out[static_cast<size_t>((row * heads + head) * head_dim + d)],
                    expected[static_cast<size_t>(d)] / total, 2e-5)
            << "row " << row << " head " << head;
    }
}

TEST_P(Attentions, Paged) { check_paged<float>(machine(), 3, 40, 0, 0, 1); }
TEST_P(Attentions, PagedInSplits) { check_paged<float>(machine(), 1, 130, 0, 30, 3); }
TEST_P(Attentions, PagedWindowOfBf16) { check_paged<Bf16>(machine(), 8, 32, 40, 0, 2); }

TEST_P(Attentions, CopyBlocks) {
  std::vector<float> cache = normal_numbers(4 * 64, 40), expected = cache;
  const std::vector<int32_t> from = {0, 2}, to = {3, 1};
  for (size_t i = 0; i < 2; ++i)
    std::copy_n(expected.begin() + from[i] * 64, 64, expected.begin() + to[i] * 64);
  machine().run({2}, 32,
                [&] { copy_blocks(reinterpret_cast<char*>(cache.data()), 256, from.data(), to.data()); });
  EXPECT_EQ(cache, expected);
}

}  // namespace
}  // namespace headrace::cuda
