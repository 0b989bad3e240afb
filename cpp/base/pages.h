// Memory in whole pages, straight from the system: it goes back when it is freed, where malloc would keep it.
// (Loading a tokenizer needs many megabytes for a moment.)
//
// Large tables that are read at random lie in huge pages, where the system has them. A read at random costs
// the processor a walk through the page tables besides; with pages of 2 MiB there are few enough of those to
// remember. (Measured on tokenizers' tables in a virtual machine: 10 to 15 % of all time.)
#pragma once

#include <cstddef>
#include <new>
#include <string>
#include <vector>

namespace headrace {

inline constexpr size_t kHugePageBytes = size_t{1} << 21;

// Zeros, bytes > 0 of them. Throws std::bad_alloc.
void* map_pages(size_t bytes, bool huge);
void unmap_pages(void* memory, size_t bytes);

// The same for blocks that live long, such as a model's matrices: they lie beside each other, so that those
// of less than a huge page are on huge pages too. (Streaming the weights of BERT-base in a virtual
// machine: 1.3 to 1.8 times as fast.) For any number of threads.
void* take_pages(size_t bytes);
void return_pages(void* memory, size_t bytes);

template <typename T, bool kHuge>
struct PageAllocator {
  using value_type = T;
  template <typename U>
  struct rebind {
    using other = PageAllocator<U, kHuge>;
  };

  PageAllocator() = default;
  template <typename U>
  PageAllocator(const PageAllocator<U, kHuge>&) {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    if (bytes < kSmallBytes) return static_cast<T*>(::operator new(bytes));
    // Small tables would waste most of a huge page.
    return static_cast<T*>(map_pages(bytes, kHuge && bytes >= kHugePageBytes));
  }
  void deallocate(T* memory, size_t count) {
    if (count * sizeof(T) < kSmallBytes) {
      ::operator delete(memory);
    } else {
      unmap_pages(memory, count * sizeof(T));
    }
  }

  bool operator==(const PageAllocator&) const { return true; }

 private:
  static constexpr size_t kSmallBytes = size_t{1} << 17;
};

template <typename T>
using PageVector = std::vector<T, PageAllocator<T, false>>;
using PageString = std::basic_string<char, std::char_traits<char>, PageAllocator<char, false>>;
template <typename T>
using HugePageVector = std::vector<T, PageAllocator<T, true>>;

}  // namespace headrace
