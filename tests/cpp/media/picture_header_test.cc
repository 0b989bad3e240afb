// Headers of every format by hand, cut off at every byte.
#include "media/picture_header.h"

#include <gtest/gtest.h>

#include <string>

namespace headrace {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) text += static_cast<char>(value);
  return text;
}

const std::string kTiff = bytes({'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0});

std::string png() {
  return bytes({0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R',
                0,    1,   0,   0,   0,  0,  1,  44, 8, 2, 0, 0,  0,   0,   0,   0}) +
         "" + bytes({0, 0, 0, 0, 0}) + "";
}

std::string jpeg() {
  const std::string exif = std::string("Exif\0\0", 6) + kTiff;
  return bytes({0xFF, 0xD8, 0xFF, 0xE1, 0, static_cast<int>(exif.size() + 2)}) + exif +
         bytes({0xFF, 0xFF, 0xC2, 0, 11, 8,    1,    0,    2,    0, 1, 0x11, 0,    0,    0xFF, 0xDA, 0,
                2,    5,    0xFF, 0, 6,  0xFF, 0xD0, 0xFF, 0xDA, 0, 2, 0xFF, 0xD9, 0xFF, 0xDA, 0,    2});
}

std::string gif() {
  return "GIF89a" + bytes({10, 0, 20, 0, 0x80, 0,    0, 1, 2, 3, 4,    5, 6, 0x21, 0xF9, 4,
                           0,  0, 0,  0, 0,    0x2C, 5, 0, 0, 0, 0xE8, 3, 8, 0,    0});
}

std::string webp() {
  return "RIFF" + bytes({60, 0, 0, 0}) + "WEBPVP8X" + bytes({10, 0, 0, 0, 8, 0, 0, 0, 99, 0, 0, 49, 0, 0}) +
         "VP8L" + bytes({5, 0, 0, 0, 0x2F, 99, 64, 12, 0, 0}) + "EXIF" +
         bytes({static_cast<int>(kTiff.size()), 0, 0, 0}) + kTiff;
}

TEST(PictureHeader, ReadsEachFormat) {
  const PictureHeader p = read_picture_header(png());
  EXPECT_EQ(p.format, PictureFormat::kPng);
  EXPECT_EQ(p.width, 65536);
  EXPECT_EQ(p.height, 300);
  const PictureHeader j = read_picture_header(jpeg());
  EXPECT_EQ(j.format, PictureFormat::kJpeg);
  EXPECT_EQ(j.width, 512);
  EXPECT_EQ(j.height, 256);
  EXPECT_EQ(j.orientation, 6);
  EXPECT_EQ(j.scans, 2);  // what stands behind the end does not count
  const PictureHeader g = read_picture_header(gif());
  EXPECT_EQ(g.format, PictureFormat::kGif);
  EXPECT_EQ(g.width, 1005);  // the first frame stands out of the canvas
  EXPECT_EQ(g.height, 20);
  const PictureHeader w = read_picture_header(webp());
  EXPECT_EQ(w.format, PictureFormat::kWebp);
  EXPECT_EQ(w.width, 100);
  EXPECT_EQ(w.height, 50);
  EXPECT_EQ(w.orientation, 6);
}

TEST(PictureHeader, CompressedExtrasAreTold) {
  EXPECT_FALSE(read_picture_header(png()).has_extras);
  const std::string text = bytes({0, 0, 0, 4}) + "zTXt" + "abcd" + bytes({0, 0, 0, 0});
  EXPECT_TRUE(read_picture_header(png().substr(0, 33) + text).has_extras);
}

TEST(PictureHeader, CutOffAnywhereItIsSmallerOrUnknown) {
  for (const std::string& whole : {png(), jpeg(), gif(), webp()})
    for (size_t length = 0; length <= whole.size(); ++length) {
      const std::string part =
          whole.substr(0, length);  // its own memory: the sanitizer sees what is read behind it
      const PictureHeader found = read_picture_header(part);
      EXPECT_GE(found.width, 0);
      EXPECT_TRUE(found.orientation >= 1 && found.orientation <= 8);
    }
  EXPECT_EQ(read_picture_header("%PDF-1.4").format, PictureFormat::kUnknown);
  EXPECT_STREQ(picture_format_name(PictureFormat::kWebp), "webp");
}

}  // namespace
}  // namespace headrace
