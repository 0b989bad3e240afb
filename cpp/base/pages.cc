#include "base/pages.h"

#include <cstdint>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>

#include <iterator>
#include <map>
#include <mutex>
#endif

namespace headrace {

#if defined(__linux__)

namespace {

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

constexpr size_t kPageBytes = 4096;

// Address space that blocks are taken from in order. What is not touched takes no memory.
constexpr size_t kRegionBytes = size_t{64} << 20;

struct Region {
  size_t used = 0;
  size_t blocks = 0;  // that were taken and not returned
};

class Regions {
 public:
  void* take(size_t size) {
    const std::lock_guard lock(mutex_);
    if (newest_ == nullptr || regions_[newest_].used + size > kRegionBytes) {
      newest_ = static_cast<char*>(map_pages(kRegionBytes, true));
      regions_[newest_] = {};
    }
    Region& region = regions_[newest_];
    char* const block = newest_ + region.used;
    region.used += size;
    ++region.blocks;
    return block;
  }

  // Its memory goes back at once, and reads as zeros from then on; its addresses do when the region is empty.
  void give_back(char* block, size_t size) {
    madvise(block, size, MADV_DONTNEED);
    const std::lock_guard lock(mutex_);
    const auto found = std::prev(regions_.upper_bound(block));
    if (--found->second.blocks > 0) return;
    if (found->first == newest_) {
      found->second.used = 0;
    } else {
      munmap(found->first, kRegionBytes);
      regions_.erase(found);
    }
  }

 private:
  std::mutex mutex_;
  std::map<char*, Region> regions_;
  char* newest_ = nullptr;
};

// Never destroyed: blocks of other static objects may be returned after it would have been.
Regions& regions() {
  static auto* const all = new Regions;
  return *all;
}

}  // namespace

void* map_pages(size_t bytes, bool huge) {
  const size_t size = rounded(bytes, kPageBytes);
  // A huge page begins at a multiple of its size: what lies before and behind goes back.
  const size_t spare = huge ? kHugePageBytes : 0;
  void* const mapped =
      mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  if (!huge) return mapped;
  char* const begin = static_cast<char*>(mapped);
  const size_t before =
      rounded(reinterpret_cast<uintptr_t>(begin), kHugePageBytes) - reinterpret_cast<uintptr_t>(begin);
  if (before > 0) munmap(begin, before);
  if (before < spare) munmap(begin + before + size, spare - before);
  madvise(begin + before, size, MADV_HUGEPAGE);  // advice: it may fail, and nothing is lost
  return begin + before;
}

void unmap_pages(void* memory, size_t bytes) { munmap(memory, rounded(bytes, kPageBytes)); }

void* take_pages(size_t bytes) {
  const size_t size = rounded(bytes, kPageBytes);
  return size > kRegionBytes / 2 ? map_pages(bytes, true) : regions().take(size);
}

void return_pages(void* memory, size_t bytes) {
  const size_t size = rounded(bytes, kPageBytes);
  if (size > kRegionBytes / 2)
    unmap_pages(memory, bytes);
  else
    regions().give_back(static_cast<char*>(memory), size);
}

#else

void* map_pages(size_t bytes, bool) { return std::memset(::operator new(bytes), 0, bytes); }
void unmap_pages(void* memory, size_t) { ::operator delete(memory); }
void* take_pages(size_t bytes) { return map_pages(bytes, false); }
void return_pages(void* memory, size_t bytes) { unmap_pages(memory, bytes); }

#endif

}  // namespace headrace
