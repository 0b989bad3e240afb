#include "tensor/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace headrace {
namespace {

std::string file_of(const std::string& header, size_t data_bytes) {
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  out += header;
  for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
  return out;
}

SafetensorsFile parse(const std::string& content) {
  return SafetensorsFile::from_bytes(std::as_bytes(std::span(content)), "test");
}

// The message of the kCorruptFile that `content` raises; "accepted" when none.
std::string refusal(const std::string& content) {
  try {
    parse(content);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile) << error.message();
    EXPECT_TRUE(error.message().starts_with("test: ")) << error.message();
    return error.message();
  }
  return "accepted";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

#define EXPECT_REFUSED(content, part) \
  EXPECT_NE(refusal(content).find(part), std::string::npos) << refusal(content)

TEST(Safetensors, reads_tensors_in_the_order_of_their_data) {
  const std::string content = file_of(
      R"({"b":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]},"__metadata__":{"format":"pt"},)"
      R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"e":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]}}  )",
      12);
  SafetensorsFile parsed = parse(content);
  const SafetensorsFile file = std::move(parsed);  // views survive a move
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "e");
  EXPECT_EQ(file.tensors()[2].name, "b");
  const TensorView* b = file.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, DType::kF32);
  EXPECT_EQ(b->shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(b->bytes.size(), 8u);
  EXPECT_EQ(std::to_integer<int>(b->bytes[0]), 4);
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.find(""), nullptr);
  EXPECT_THROW(file.at("c"), Error);
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(Safetensors, accepts_what_the_format_allows) {
  EXPECT_EQ(refusal(file_of("{}", 0)), "accepted");
  EXPECT_EQ(refusal(file_of(one("F32", "[]", "[0,4]"), 4)), "accepted");
  EXPECT_EQ(refusal(file_of(one("F4", "[2,3]", "[0,3]"), 3)), "accepted");
  EXPECT_EQ(refusal(file_of(one("F6_E2M3", "[4]", "[0,3]"), 3)), "accepted");
  EXPECT_EQ(refusal(file_of(one("F32", "[0,9223372036854775807]", "[0,0]"), 0)), "accepted");
  EXPECT_EQ(refusal(file_of(R"({"__metadata__":null})", 0)), "accepted");
  EXPECT_EQ(refusal(file_of(R"({"":{"x":[{}],"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1)),
            "accepted");
}

TEST(Safetensors, knows_every_dtype_by_name_and_size) {
  for (int i = 0; i <= static_cast<int>(DType::kU64); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
    const std::string bytes = std::to_string(dtype_bits(dtype));  // 8 elements
    EXPECT_EQ(refusal(file_of(one(dtype_name(dtype), "[8]", "[0," + bytes + "]"),
                              static_cast<size_t>(dtype_bits(dtype)))),
              "accepted");
  }
  EXPECT_EQ(dtype_from_name("f32"), std::nullopt);
}

TEST(Safetensors, refuses_a_header_that_does_not_fit) {
  EXPECT_REFUSED("", "the file has 0 bytes");
  EXPECT_REFUSED("1234567", "the file has 7 bytes");
  EXPECT_REFUSED(std::string(8, '\0'), "ends too early");
  EXPECT_REFUSED(std::string(8, '\xFF'), "at most 100000000");
  EXPECT_REFUSED(file_of("{}", 0).substr(0, 9), "only 1 follow");
  std::string huge = file_of("{}", 0);
  huge[3] = 1;
  EXPECT_REFUSED(huge, "only 2 follow");
}

TEST(Safetensors, refuses_a_header_of_another_form) {
  EXPECT_REFUSED(file_of("[]", 0), "expected an object");
  EXPECT_REFUSED(file_of("{", 0), "not valid JSON");
  EXPECT_REFUSED(file_of("{} x", 0), "not valid JSON");
  EXPECT_REFUSED(file_of(R"({"a":1})", 0), "expected an object");
  EXPECT_REFUSED(file_of(R"({"a":["F32",[1],[0,4]]})", 4), "expected an object");
  EXPECT_REFUSED(file_of(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "one is missing");
  EXPECT_REFUSED(file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
                 "dtype appears twice");
  EXPECT_REFUSED(file_of(R"({"__metadata__":{"a":1}})", 0), "expected a string");
  EXPECT_REFUSED(file_of(R"({"__metadata__":[]})", 0), "expected an object");
  EXPECT_REFUSED(file_of(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "appears twice");
  EXPECT_REFUSED(file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), "appears twice");
  EXPECT_REFUSED(file_of(one("F33", "[1]", "[0,4]"), 4), "unknown dtype");
  EXPECT_REFUSED(file_of(one("f32", "[1]", "[0,4]"), 4), "unknown dtype");
}

TEST(Safetensors, refuses_numbers_that_lie) {
  EXPECT_REFUSED(file_of(one("F32", "[2]", "[0,4]"), 4), "needs 8 bytes");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[0,8]"), 8), "needs 4 bytes");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[0,4]"), 3), "do not lie within");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[0,4]"), 5), "end at byte 4");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[4,8]"), 8), "nothing covers");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[4,0]"), 4), "do not lie within");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[0,9223372036854775807]"), 4), "do not lie within");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[0,18446744073709551615]"), 4), "expected an integer");
  EXPECT_REFUSED(file_of(one("F32", "[-1]", "[0,4]"), 4), "must be 0 or more");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[-4,0]"), 4), "must be 0 or more");
  EXPECT_REFUSED(file_of(one("F32", "[1.0]", "[0,4]"), 4), "expected an integer");
  EXPECT_REFUSED(file_of(one("F32", "[-0]", "[0,0]"), 0), "expected an integer");
  EXPECT_REFUSED(file_of(one("F32", "[\"1\"]", "[0,4]"), 4), "expected an integer");
  EXPECT_REFUSED(file_of(one("F32", "4", "[0,4]"), 4), "not an array");
  EXPECT_REFUSED(file_of(one("F32", "[1]", "[0,4,4]"), 4), "must be [begin, end]");
  EXPECT_REFUSED(file_of(one("F4", "[3]", "[0,1]"), 1), "does not end at a byte");
  EXPECT_REFUSED(file_of(one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "dimensions");
  // 2^62 * 4 wraps to 0 in 64 bits; so does 2^32 * 2^32.
  EXPECT_REFUSED(file_of(one("F32", "[4611686018427387904]", "[0,0]"), 0), "overflows");
  EXPECT_REFUSED(file_of(one("U8", "[4294967296,4294967296]", "[0,0]"), 0), "overflows");
  EXPECT_REFUSED(file_of(one("U8", "[4294967296,4294967296,0]", "[0,0]"), 0), "overflows");
}

TEST(Safetensors, refuses_holes_overlaps_and_repeated_names) {
  const auto two = [](const char* second_name, const char* second_offsets) {
    return std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},")") + second_name +
           R"(":{"dtype":"U8","shape":[4],"data_offsets":)" + second_offsets + "}}";
  };
  EXPECT_EQ(refusal(file_of(two("b", "[4,8]"), 8)), "accepted");
  EXPECT_REFUSED(file_of(two("b", "[2,6]"), 6), "overlaps");
  EXPECT_REFUSED(file_of(two("b", "[0,4]"), 4), "overlaps");
  EXPECT_REFUSED(file_of(two("b", "[5,9]"), 9), "nothing covers");
  EXPECT_REFUSED(file_of(two("a", "[4,8]"), 8), "'a' appears twice");
  EXPECT_REFUSED(file_of(two("\\u0061", "[4,8]"), 8), "'a' appears twice");
}

TEST(Safetensors, bounds_names_and_their_number) {
  EXPECT_REFUSED(
      file_of("{\"" + std::string(1025, 'n') + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
      "name has 1025 bytes");
  std::string many = "{";
  for (size_t i = 0; i < SafetensorsFile::kMaxTensors + 2; ++i) many += "\"\":0,";
  many.back() = '}';
  EXPECT_REFUSED(file_of(many, 0), "lists 1000002 tensors");
}

class SafetensorsFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "headraceXXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& content) const {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  static ErrorKind kind(const std::string& path) {
    try {
      SafetensorsFile::open(path);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kInternal;
  }

  std::string folder_;
};

TEST_F(SafetensorsFiles, maps_a_file_that_may_then_be_removed) {
  const std::string path = write("m.safetensors", file_of(one("U8", "[3]", "[0,3]"), 3));
  SafetensorsFile file = SafetensorsFile::open(path);
  std::filesystem::remove(path);
  const SafetensorsFile moved = std::move(file);
  EXPECT_EQ(std::to_integer<int>(moved.at("a").bytes[2]), 2);
  EXPECT_EQ(moved.name(), path);
}

TEST_F(SafetensorsFiles, names_what_is_wrong_with_a_path) {
  EXPECT_EQ(kind(folder_ + "/none"), ErrorKind::kNotFound);
  EXPECT_EQ(kind(write("plain", "x") + "/none"), ErrorKind::kNotFound);
  EXPECT_EQ(kind(std::string("a\0b", 3)), ErrorKind::kInvalidArgument);
  EXPECT_EQ(kind(folder_), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(write("empty", "")), ErrorKind::kCorruptFile);
  const std::string whole = file_of(one("U8", "[3]", "[0,3]"), 3);
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(kind(write("cut", whole.substr(0, size))), ErrorKind::kCorruptFile) << size;
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(kind(pipe), ErrorKind::kCorruptFile);  // and does not wait for a writer
}

}  // namespace
}  // namespace headrace
