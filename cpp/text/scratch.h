// The working memory of one call of a Tokenizer, kept for the next.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "text/id_buffer.h"
#include "text/normalize.h"
#include "text/word_cache.h"

namespace headrace {

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
