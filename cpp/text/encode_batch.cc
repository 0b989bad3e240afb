// Several texts on several threads.
#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "text/tokenizer.h"

namespace headrace {
namespace {

// About a millisecond of work: a thread costs a few hundredths of that to start, and on a shared machine the
// thread that keeps its core takes more of them.
constexpr size_t kChunkBytes = size_t{1} << 16;

// In most texts; room for ids is made by it.
constexpr size_t kBytesPerToken = 4;

struct Chunk {
  size_t first;  // texts [first, last)
  size_t last;
  std::vector<int32_t> ids;
  std::vector<int32_t> lengths;
};

std::vector<Chunk> make_chunks(std::span<const std::string_view> texts, int threads) {
  std::vector<Chunk> chunks;
  if (threads <= 1) {
    chunks.push_back({0, texts.size(), {}, {}});
    return chunks;
  }
  size_t first = 0, bytes = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    bytes += texts[i].size() + 16;
    if (bytes < kChunkBytes && i + 1 < texts.size()) continue;
    chunks.push_back({first, i + 1, {}, {}});
    first = i + 1;
    bytes = 0;
  }
  return chunks;
}

[[noreturn]] void fail_too_many() {
  throw Error(ErrorKind::kInvalidArgument,
              "texts: more than 2147483647 tokens in one batch; pass them in several calls");
}

RaggedIds join(std::span<const Chunk> chunks, size_t num_texts) {
  size_t total = 0;
  for (const Chunk& chunk : chunks) total += chunk.ids.size();
  if (total > static_cast<size_t>(std::numeric_limits<int32_t>::max())) fail_too_many();
  RaggedIds result;
  result.ids.reserve(total);
  result.cu_lengths.reserve(num_texts + 1);
  for (const Chunk& chunk : chunks) {
    result.ids.insert(result.ids.end(), chunk.ids.begin(), chunk.ids.end());
    for (const int32_t length : chunk.lengths) result.cu_lengths.push_back(result.cu_lengths.back() + length);
  }
  return result;
}

}  // namespace

RaggedIds Tokenizer::encode_batch(std::span<const std::string_view> texts, const EncodeOptions& options,
                                  int threads) const {
  std::vector<Chunk> chunks = make_chunks(texts, threads);
  const size_t wanted = std::min(static_cast<size_t>(std::max(threads, 1)), chunks.size());
  // Each thread has a stretch of its own, and then helps with the others': a list that comes again, or one
  // like it, finds each text's words in the cache that it left them in. The scratches are taken in one order.
  std::vector<std::unique_ptr<ScratchPool::Lease>> leases;
  for (size_t i = 0; i < wanted; ++i)
    leases.push_back(std::make_unique<ScratchPool::Lease>(scratch_, *pipeline_));
  std::vector<std::atomic<size_t>> next(wanted);
  const auto stretch_begin = [&](size_t thread) { return chunks.size() * thread / wanted; };
  for (size_t i = 0; i < wanted; ++i) next[i] = stretch_begin(i);
  std::atomic<bool> has_failed{false};
  std::mutex mutex;
  std::exception_ptr failure;  // guarded by mutex
  const auto encode_chunk = [&](Chunk& chunk, Pipeline::Scratch& scratch) {
    const auto own = texts.subspan(chunk.first, chunk.last - chunk.first);
    size_t bytes = 0;
    for (const std::string_view text : own) bytes += text.size();
    chunk.ids.reserve(bytes / kBytesPerToken + own.size() * 2);
    chunk.lengths.reserve(own.size());
    for (const std::string_view text : own) {
      const size_t before = chunk.ids.size();
      check(text, options);
      append_ids(text, options, scratch, chunk.ids);
      if (chunk.ids.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) fail_too_many();
      chunk.lengths.push_back(static_cast<int32_t>(chunk.ids.size() - before));
    }
  };
  const auto work = [&](size_t thread) {
    try {
      for (size_t k = 0; k < wanted; ++k) {
        const size_t stretch = (thread + k) % wanted;
        const size_t end = stretch_begin(stretch + 1);
        for (size_t i = next[stretch]++; i < end && !has_failed; i = next[stretch]++)
          encode_chunk(chunks[i], **leases[thread]);
      }
    } catch (...) {
      has_failed = true;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  // Threads of this call alone: nothing is left behind that a fork could lose.
  std::vector<std::thread> others;
  for (size_t i = 1; i < wanted; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& other : others) other.join();
  while (!leases.empty()) leases.pop_back();  // so that the next call takes them in the same order
  if (failure) std::rethrow_exception(failure);
  if (chunks.size() == 1) {  // nothing to join
    RaggedIds result;
    result.ids = std::move(chunks[0].ids);
    for (const int32_t length : chunks[0].lengths)
      result.cu_lengths.push_back(result.cu_lengths.back() + length);
    return result;
  }
  return join(chunks, texts.size());
}

}  // namespace headrace
