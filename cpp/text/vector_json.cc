#include "text/vector_json.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/error.h"

namespace headrace {
namespace {

constexpr std::string_view kOpen = "{\"object\":\"embedding\",\"index\":";
constexpr std::string_view kMember = ",\"embedding\":";
constexpr size_t kIndexChars = 20;    // the digits of any int64
constexpr size_t kDecimalChars = 16;  // "-1.17549435e-38" is the longest f32, and a comma

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char* write(char* to, std::string_view text) { return to + text.copy(to, text.size()); }

char* write_decimals(char* to, std::span<const float> row, int64_t index) {
  *to++ = '[';
  for (const float value : row) {
    if (!std::isfinite(value)) {
      throw Error(ErrorKind::kInternal,
                  concat("vector ", index, " holds ", value, ", which is not a finite number"));
    }
    to = std::to_chars(to, to + kDecimalChars, value).ptr;
    *to++ = ',';
  }
  to[-1] = ']';
  return to;
}

uint32_t little_endian(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if constexpr (std::endian::native == std::endian::big) return __builtin_bswap32(bits);
  return bits;
}

char* write_base64(char* to, std::span<const float> row) {
  *to++ = '"';
  uint32_t pending = 0;  // up to 2 bytes of the previous value, the earlier one in the higher place
  int pending_bytes = 0;
  for (const float value : row) {
    const uint32_t bits = little_endian(value);
    for (int shift = 0; shift < 32; shift += 8) {
      pending = pending << 8 | (bits >> shift & 0xff);
      if (++pending_bytes < 3) continue;
      for (const int place : {18, 12, 6, 0}) *to++ = kBase64[pending >> place & 63];
      pending = 0;
      pending_bytes = 0;
    }
  }
  if (pending_bytes > 0) {
    pending <<= 8 * (3 - pending_bytes);
    *to++ = kBase64[pending >> 18 & 63];
    *to++ = kBase64[pending >> 12 & 63];
    *to++ = pending_bytes == 2 ? kBase64[pending >> 6 & 63] : '=';
    *to++ = '=';
  }
  *to++ = '"';
  return to;
}

// `values` is taken from as it is written.
char* write_nested(char* to, const float*& values, std::span<const int64_t> shape) {
  if (shape.empty()) {
    const float value = *values++;
    return std::isfinite(value) ? std::to_chars(to, to + kDecimalChars, value).ptr : write(to, "null");
  }
  *to++ = '[';
  for (int64_t i = 0; i < shape[0]; ++i) {
    if (i > 0) *to++ = ',';
    to = write_nested(to, values, shape.subspan(1));
  }
  *to++ = ']';
  return to;
}

}  // namespace

void append_tensor(std::span<const float> values, std::span<const int64_t> shape, std::string& out) {
  // Two brackets and a comma for each row of each axis, however empty the rows are.
  size_t room = 3 + values.size() * kDecimalChars, rows = 1;
  for (const int64_t size : shape) {
    rows *= static_cast<size_t>(size);
    room += 3 * rows + 3;
  }
  const size_t before = out.size();
  out.resize(before + room);
  const float* from = values.data();
  const char* end = write_nested(out.data() + before, from, shape);
  out.resize(static_cast<size_t>(end - out.data()));
}

void append_embedding_objects(std::span<const float> values, int64_t columns, VectorEncoding encoding,
                              std::string& out) {
  const auto width = static_cast<size_t>(columns);
  if (columns < 1 || values.size() % width != 0) {
    throw Error(
        ErrorKind::kInvalidArgument,
        concat("columns=", columns, ": must be at least 1 and divide the ", values.size(), " values"));
  }
  const bool decimal = encoding == VectorEncoding::kDecimal;
  const size_t row_chars = kOpen.size() + kIndexChars + kMember.size() + 4 +
                           (decimal ? width * kDecimalChars : (width * 4 + 2) / 3 * 4);
  const size_t num_rows = values.size() / width;
  out.push_back('[');
  for (size_t i = 0; i < num_rows; ++i) {
    const size_t start = out.size();
    out.resize(start + row_chars);
    const std::span<const float> row = values.subspan(i * width, width);
    char* to = out.data() + start;
    if (i > 0) *to++ = ',';
    to = write(to, kOpen);
    to = std::to_chars(to, to + kIndexChars, i).ptr;
    to = write(to, kMember);
    to = decimal ? write_decimals(to, row, static_cast<int64_t>(i)) : write_base64(to, row);
    *to++ = '}';
    out.resize(static_cast<size_t>(to - out.data()));
  }
  out.push_back(']');
}

}  // namespace headrace
