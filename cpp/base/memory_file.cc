#include "base/memory_file.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "base/pages.h"

namespace headrace {

MemoryFile::MemoryFile(size_t size) : size_(size) {
  if (size == 0) return;
  // Huge pages: of small ones the faults alone cost several times what decrypting does.
  data_ = static_cast<std::byte*>(map_pages(size, size >= kHugePageBytes));
#if defined(__linux__)
  madvise(data_, size, MADV_DONTDUMP);  // advice: an old system may not know it
#endif
}

MemoryFile::~MemoryFile() {
  if (data_ != nullptr) unmap_pages(data_, size_);
}

}  // namespace headrace
