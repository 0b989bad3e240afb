#include "text/encode_padded.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace headrace {
namespace {

constexpr size_t kTextsPerThread = 32;  // fewer are not worth starting one

// Calls work(i) for i < count on several threads; the first exception ends it and is thrown.
template <typename Work>
void share_out(size_t count, int threads, Work&& work) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;  // guarded by mutex
  const auto run = [&] {
    try {
      for (size_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const size_t wanted = std::min(static_cast<size_t>(std::max(threads, 1)), count / kTextsPerThread);
  std::vector<std::thread> others;
  for (size_t i = 1; i < wanted; ++i) others.emplace_back(run);
  run();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

void put_row(const Encoding& row, int32_t number, PaddedBatch& batch) {
  batch.rows.push_back(number);
  const auto put = [](std::vector<int32_t>& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  put(batch.ids, row.ids);
  put(batch.type_ids, row.type_ids);
  put(batch.attention_mask, row.attention_mask);
  put(batch.special_tokens_mask, row.special_mask);
  put(batch.sequence_ids, row.sequence_ids);
  for (const auto& [begin, end] : row.offsets) put(batch.offsets, std::initializer_list<int32_t>{begin, end});
}

}  // namespace

PaddedBatch encode_padded(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                          std::span<const std::string_view> pairs, const EncodeOptions& options,
                          const Padding& padding, int threads) {
  std::vector<Encoding> encodings(texts.size());
  share_out(texts.size(), threads, [&](size_t i) {
    encodings[i] = pairs.empty() ? tokenizer.encode(texts[i], options)
                                 : tokenizer.encode_pair(texts[i], pairs[i], options);
  });
  std::vector<Encoding> rows;
  std::vector<int32_t> numbers;
  for (size_t i = 0; i < encodings.size(); ++i) {
    std::vector<Encoding> parts = std::move(encodings[i].overflowing);
    rows.push_back(std::move(encodings[i]));
    std::move(parts.begin(), parts.end(), std::back_inserter(rows));
    numbers.resize(rows.size(), static_cast<int32_t>(i));
  }
  PaddedBatch batch;
  batch.num_rows = static_cast<int64_t>(rows.size());
  Padding wanted = padding;
  for (const Encoding& row : rows)
    wanted.length = std::max(wanted.length, static_cast<int64_t>(row.ids.size()));
  batch.width = padded_length(wanted);
  if (batch.width > std::numeric_limits<int32_t>::max() / std::max<int64_t>(batch.num_rows, 1))
    throw Error(ErrorKind::kInvalidArgument,
                concat(batch.num_rows, " rows of ", batch.width,
                       " tokens are too many for one batch; set max_tokens or pass them in several calls"));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].overflowing.clear();
    pad({&rows[i], 1}, wanted);
    put_row(rows[i], numbers[i], batch);
    rows[i] = {};
  }
  return batch;
}

}  // namespace headrace
