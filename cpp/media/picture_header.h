// What the first bytes of a picture's file say, read before anything is decoded: a claim of a billion pixels,
// or a picture hidden behind another size, ends here.
#pragma once

#include <cstdint>
#include <string_view>

namespace headrace {

enum class PictureFormat : uint8_t { kUnknown, kJpeg, kPng, kGif, kWebp };

struct PictureHeader {
  PictureFormat format = PictureFormat::kUnknown;
  // Of what a decoder would make room for: of a GIF the first frame included. 0 where the file ends before it
  // says.
  int64_t width = 0, height = 0;
  int orientation = 1;  // of EXIF, in [1, 8]: what to do to see it upright
  int64_t scans = 0;    // of a JPEG: how many times a decoder goes over the picture
  bool has_extras =
      false;  // of a PNG: compressed texts or profiles before the pixels, which a decoder would unpack
};

// Never throws; reads nothing outside `file`.
PictureHeader read_picture_header(std::string_view file);

const char* picture_format_name(PictureFormat format);  // "jpeg", "png", "gif", "webp", or "" for kUnknown

}  // namespace headrace
