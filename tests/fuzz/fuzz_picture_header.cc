// Any bytes give a header within its bounds, from memory of exactly their size; more bytes behind a whole
// header do not take the format back.
#include <cstddef>
#include <cstdint>
#include <string>

#include "media/picture_header.h"

namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string file(reinterpret_cast<const char*>(data), size);
  const headrace::PictureHeader found = headrace::read_picture_header(file);
  check(found.orientation >= 1 && found.orientation <= 8);
  check(found.width >= 0 && found.height >= 0 && (found.width == 0) == (found.height == 0));
  check(found.scans >= 0 && found.scans <= static_cast<int64_t>(size));
  check((found.format == headrace::PictureFormat::kUnknown) == (*picture_format_name(found.format) == '\0'));
  check(headrace::read_picture_header(file + "more").format == found.format || size < 12);
  return 0;
}
