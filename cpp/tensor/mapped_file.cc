#include "tensor/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace headrace {
namespace {

struct Descriptor {
  explicit Descriptor(int opened) : fd(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

[[noreturn]] void fail(ErrorKind kind, const std::string& path, const char* doing, int error) {
  throw Error(kind, concat(path, ": cannot ", doing, ": ", std::strerror(error)));
}

}  // namespace

MappedFile::MappedFile(std::shared_ptr<const MemoryFile> memory)
    : data_(memory->bytes().data()), size_(memory->bytes().size()), memory_(std::move(memory)) {}

MappedFile MappedFile::open(const ModelPath& source) {
  const std::string& path = source.name();
  if (source.is_in_memory()) {
    auto memory = source.memory();
    if (!memory) throw Error(ErrorKind::kNotFound, concat(path, ": no such file"));
    return MappedFile(std::move(memory));
  }
  if (path.find('\0') != std::string::npos) {
    throw Error(ErrorKind::kInvalidArgument, "a path with a NUL byte: no file can have that name");
  }
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) fail(ErrorKind::kNotFound, path, "open the file", errno);
  struct stat status{};
  if (::fstat(file.fd, &status) != 0) fail(ErrorKind::kCorruptFile, path, "ask for its size", errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::kCorruptFile,
                concat(path, ": is ", S_ISDIR(status.st_mode) ? "a directory" : "not a regular file",
                       "; give the path of a file"));
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return MappedFile(nullptr, 0);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) fail(ErrorKind::kCorruptFile, path, "map it into memory", errno);
  return MappedFile(static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      memory_(std::move(other.memory_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(memory_, other.memory_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr && !memory_) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace headrace
