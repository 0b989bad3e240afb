#include "media/picture_header.h"

#include <algorithm>
#include <cstring>

namespace headrace {
namespace {

// Numbers out of bytes; what is behind the end is 0.
class Bytes {
 public:
  explicit Bytes(std::string_view data) : data_(data) {}

  size_t size() const { return data_.size(); }
  uint32_t byte(size_t at) const { return at < data_.size() ? static_cast<uint8_t>(data_[at]) : 0; }
  uint32_t big16(size_t at) const { return byte(at) << 8 | byte(at + 1); }
  uint32_t big32(size_t at) const { return big16(at) << 16 | big16(at + 2); }
  uint32_t little16(size_t at) const { return byte(at) | byte(at + 1) << 8; }
  uint32_t little24(size_t at) const { return little16(at) | byte(at + 2) << 16; }
  uint32_t little32(size_t at) const { return little16(at) | little16(at + 2) << 16; }
  bool has(size_t at, std::string_view what) const {
    return at <= data_.size() && data_.substr(at, what.size()) == what;
  }
  std::string_view part(size_t at, size_t size) const {
    return at < data_.size() ? data_.substr(at, size) : std::string_view();
  }

 private:
  std::string_view data_;
};

// The tag 0x0112 of the first directory of a TIFF, which is what EXIF is.
int read_orientation(std::string_view tiff) {
  const Bytes bytes(tiff);
  const bool is_big = bytes.has(0, "MM");
  if (!is_big && !bytes.has(0, "II")) return 1;
  const auto number16 = [&](size_t at) { return is_big ? bytes.big16(at) : bytes.little16(at); };
  const size_t directory = is_big ? bytes.big32(4) : bytes.little32(4);
  const uint32_t entries = number16(directory);
  constexpr size_t kEntryBytes = 12, kValue = 8;
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > bytes.size()) break;
    if (number16(entry) != 0x0112) continue;
    const uint32_t value = number16(entry + kValue);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

// A TIFF, also where the name of EXIF stands before it.
int read_exif(std::string_view data) {
  constexpr std::string_view kName("Exif\0\0", 6);
  if (data.substr(0, kName.size()) == kName) data.remove_prefix(kName.size());
  return read_orientation(data);
}

// https://www.w3.org/TR/png/: chunks of a length, a name, the data and a checksum.
void read_png(const Bytes& bytes, PictureHeader& header) {
  constexpr size_t kSignature = 8, kChunkBytes = 12;
  if (!bytes.has(kSignature + 4, "IHDR")) return;
  header.width = bytes.big32(16);
  header.height = bytes.big32(20);
  for (size_t at = kSignature; at + kChunkBytes <= bytes.size();) {
    const size_t length = bytes.big32(at);
    const auto is = [&](std::string_view name) { return bytes.has(at + 4, name); };
    if (is("IDAT") || is("IEND")) break;
    if (is("zTXt") || is("iTXt") || is("tEXt") || is("iCCP")) header.has_extras = true;
    if (is("eXIf")) header.orientation = read_exif(bytes.part(at + 8, length));
    at += kChunkBytes + length;
  }
}

// ITU T.81: segments behind markers of 0xFF and a code; entropy-coded bytes behind that of a scan.
void read_jpeg(std::string_view file, PictureHeader& header) {
  const Bytes bytes(file);
  size_t at = 2;
  while (at + 4 <= bytes.size()) {
    if (bytes.byte(at) != 0xFF) {  // entropy-coded bytes, or a damaged file
      const void* const next = std::memchr(file.data() + at, 0xFF, file.size() - at);
      if (!next) return;
      at = static_cast<size_t>(static_cast<const char*>(next) - file.data());
      continue;
    }
    const uint32_t code = bytes.byte(at + 1);
    const bool stands_alone = code == 0 || code == 1 || (code >= 0xD0 && code <= 0xD8);
    if (code == 0xFF || stands_alone) {
      at += code == 0xFF ? 1 : 2;
      continue;
    }
    if (code == 0xD9) return;
    const size_t length = bytes.big16(at + 2);
    const bool is_frame = code >= 0xC0 && code <= 0xCF && code != 0xC4 && code != 0xC8 && code != 0xCC;
    if (is_frame && header.width == 0) {
      header.height = bytes.big16(at + 5);
      header.width = bytes.big16(at + 7);
    }
    if (code == 0xE1 && header.orientation == 1 && bytes.has(at + 4, "Exif"))
      header.orientation = read_exif(bytes.part(at + 4, std::max<size_t>(length, 2) - 2));
    if (code == 0xDA) ++header.scans;
    at += 2 + std::max<size_t>(length, 2);
  }
}

// https://www.w3.org/Graphics/GIF/spec-gif89a.txt. A frame may stand out of the canvas, which grows then.
void read_gif(const Bytes& bytes, PictureHeader& header) {
  header.width = bytes.little16(6);
  header.height = bytes.little16(8);
  const auto table_bytes = [](uint32_t flags) { return (flags & 0x80) ? size_t{3} << ((flags & 7) + 1) : 0; };
  size_t at = 13 + table_bytes(bytes.byte(10));
  while (at < bytes.size() &&
         bytes.byte(at) == 0x21) {  // extensions: a label, then blocks that tell their length
    at += 2;
    while (at < bytes.size() && bytes.byte(at) != 0) at += 1 + bytes.byte(at);
    ++at;
  }
  if (bytes.byte(at) != 0x2C) return;
  header.width = std::max<int64_t>(header.width, bytes.little16(at + 1) + bytes.little16(at + 5));
  header.height = std::max<int64_t>(header.height, bytes.little16(at + 3) + bytes.little16(at + 7));
}

// https://developers.google.com/speed/webp/docs/riff_container
void read_webp(const Bytes& bytes, PictureHeader& header) {
  constexpr size_t kFirst = 12, kChunkBytes = 8;
  size_t at = kFirst;
  while (at + kChunkBytes <= bytes.size()) {
    const size_t length = bytes.little32(at + 4), data = at + kChunkBytes;
    int64_t width = 0, height = 0;
    if (bytes.has(at, "VP8X")) {
      width = bytes.little24(data + 4) + 1;
      height = bytes.little24(data + 7) + 1;
    } else if (bytes.has(at, "VP8L") && bytes.byte(data) == 0x2F) {
      const uint32_t bits = bytes.little32(data + 1);
      width = (bits & 0x3FFF) + 1;
      height = (bits >> 14 & 0x3FFF) + 1;
    } else if (bytes.has(at, "VP8 ") && bytes.has(data + 3, "\x9D\x01\x2A")) {
      width = bytes.little16(data + 6) & 0x3FFF;
      height = bytes.little16(data + 8) & 0x3FFF;
    } else if (bytes.has(at, "EXIF")) {
      header.orientation = read_exif(bytes.part(data, length));
    }
    header.width = std::max(header.width, width);
    header.height = std::max(header.height, height);
    at = data + length + length % 2;
  }
}

}  // namespace

PictureHeader read_picture_header(std::string_view file) {
  const Bytes bytes(file);
  PictureHeader header;
  if (bytes.has(0, "\x89PNG\r\n\x1A\n")) {
    header.format = PictureFormat::kPng;
    read_png(bytes, header);
  } else if (bytes.has(0, "\xFF\xD8\xFF")) {
    header.format = PictureFormat::kJpeg;
    read_jpeg(file, header);
  } else if (bytes.has(0, "GIF87a") || bytes.has(0, "GIF89a")) {
    header.format = PictureFormat::kGif;
    read_gif(bytes, header);
  } else if (bytes.has(0, "RIFF") && bytes.has(8, "WEBP")) {
    header.format = PictureFormat::kWebp;
    read_webp(bytes, header);
  }
  if (header.width == 0 || header.height == 0) header.width = header.height = 0;
  return header;
}

const char* picture_format_name(PictureFormat format) {
  switch (format) {
    case PictureFormat::kJpeg:
      return "jpeg";
    case PictureFormat::kPng:
      return "png";
    case PictureFormat::kGif:
      return "gif";
    case PictureFormat::kWebp:
      return "webp";
    case PictureFormat::kUnknown:
      break;
  }
  return "";
}

}  // namespace headrace
