#include "base/pages.h"

#include <cstdint>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace headrace {

#if defined(__linux__)

namespace {

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

constexpr size_t kPageBytes = 4096;

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

#else

void* map_pages(size_t bytes, bool) { return std::memset(::operator new(bytes), 0, bytes); }
void unmap_pages(void* memory, size_t) { ::operator delete(memory); }

#endif

}  // namespace headrace
