// From a text to the ids of its own tokens: what a Tokenizer does but for what is put around them.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/encoding.h"
#include "text/id_buffer.h"

namespace headrace {

// Immutable: any number of threads may use one, each with a scratch of its own.
class Pipeline {
 public:
  // Working memory and caches, kept from one text to the next.
  struct Scratch {
    virtual ~Scratch() = default;
    // What a text of this length left behind; caches, which are bounded, do not count.
    virtual size_t text_bytes() const = 0;
    // Gives that back; the caches stay.
    virtual void forget_text() = 0;

    IdBuffer ids;
  };

  virtual ~Pipeline() = default;
  virtual std::unique_ptr<Scratch> make_scratch() const = 0;

  // Puts the ids into scratch.ids, cleared first. encoding, unless null, has its offsets and spellings
  // filled. Special tokens spelled out in the text become tokens where specials says so. text: well-formed
  // UTF-8 of at most 2^30 bytes.
  virtual void run(std::string_view text, const SpecialsAllowed& specials, Scratch& scratch,
                   Encoding* encoding) const = 0;

  virtual const char* kind() const = 0;
};

// Hands out scratches and takes them back. There are as many as calls ever ran at the same time.
class ScratchPool {
 public:
  class Lease {
   public:
    Lease(ScratchPool& pool, const Pipeline& pipeline) : pool_(pool), scratch_(pool.take(pipeline)) {}
    ~Lease() { pool_.put(std::move(scratch_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Pipeline::Scratch& operator*() const { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<Pipeline::Scratch> scratch_;
  };

 private:
  std::unique_ptr<Pipeline::Scratch> take(const Pipeline& pipeline) {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto scratch = std::move(idle_.back());
        idle_.pop_back();
        return scratch;
      }
    }
    return pipeline.make_scratch();
  }

  void put(std::unique_ptr<Pipeline::Scratch> scratch) {
    // A giant text's memory is given back.
    constexpr size_t kKeepIds = size_t{1} << 18;
    if (scratch->ids.capacity() > kKeepIds || scratch->text_bytes() > kKeepIds * 4) {
      scratch->ids = {};
      scratch->forget_text();
    }
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Pipeline::Scratch>> idle_;  // guarded by mutex_
};

}  // namespace headrace
