// The working memory of one call of a Tokenizer, kept for the next.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "text/normalize.h"
#include "text/word_cache.h"

namespace headrace {

// Ids that grow without a check per id: reserve() once per word, then write behind end().
class IdBuffer {
 public:
  void clear() { size_ = 0; }
  size_t size() const { return size_; }
  size_t capacity() const { return ids_.size(); }
  const int32_t* data() const { return ids_.data(); }
  int32_t operator[](size_t index) const { return ids_[index]; }

  // Room for `count` more ids; where they go.
  int32_t* reserve(size_t count) {
    if (ids_.size() - size_ < count) ids_.resize(ids_.size() + ids_.size() / 2 + count + 64);
    return ids_.data() + size_;
  }
  void added(size_t count) { size_ += count; }

 private:
  std::vector<int32_t> ids_;
  size_t size_ = 0;
};

struct Scratch {
  IdBuffer ids;
  NormalizedText normalized;
  WordCache cache;
};

// Hands out Scratch objects and takes them back. There are as many as calls ever ran at the same time.
class ScratchPool {
 public:
  class Lease {
   public:
    explicit Lease(ScratchPool& pool) : pool_(pool), scratch_(pool.take()) {}
    ~Lease() { pool_.put(std::move(scratch_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Scratch& operator*() const { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<Scratch> scratch_;
  };

 private:
  std::unique_ptr<Scratch> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto scratch = std::move(idle_.back());
        idle_.pop_back();
        return scratch;
      }
    }
    return std::make_unique<Scratch>();
  }

  void put(std::unique_ptr<Scratch> scratch) {
    // A giant text's memory is given back.
    constexpr size_t kKeepIds = size_t{1} << 18;
    if (scratch->ids.capacity() > kKeepIds || scratch->normalized.text.capacity() > kKeepIds * 4) return;
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;  // guarded by mutex_
};

}  // namespace headrace
