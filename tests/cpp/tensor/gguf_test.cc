#include "tensor/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"

namespace headrace {
namespace {

template <typename Number>
void put(std::string& out, Number value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& out, const std::string& text) {
  put<uint64_t>(out, text.size());
  out += text;
}

struct Described {
  std::string name;
  std::vector<uint64_t> sizes;  // as the file has them: the first varies fastest
  uint32_t type;
  uint64_t offset;
};

std::string file_of(const std::vector<Described>& tensors, size_t data_bytes, uint32_t version = 3) {
  std::string out = "GGUF";
  put<uint32_t>(out, version);
  put<uint64_t>(out, tensors.size());
  put<uint64_t>(out, 1);
  put_text(out, "general.architecture");
  put<uint32_t>(out, 8);
  put_text(out, "llama");
  for (const Described& t : tensors) {
    put_text(out, t.name);
    put<uint32_t>(out, static_cast<uint32_t>(t.sizes.size()));
    for (const uint64_t size : t.sizes) put(out, size);
    put(out, t.type);
    put(out, t.offset);
  }
  out.resize((out.size() + 31) / 32 * 32);
  for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i * 37);
  return out;
}

GgufFile open(const std::string& bytes) {
  return GgufFile::from_bytes({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "test.gguf");
}

ErrorKind refusal(const std::string& bytes) {
  try {
    open(bytes);
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::kInternal;
}

TEST(Gguf, tensors_have_their_shapes_row_by_row) {
  const std::string bytes = file_of({{"a", {32, 2}, 2, 0}, {"b", {3}, 0, 64}}, 96);
  const GgufFile file = open(bytes);
  ASSERT_EQ(file.tensors().size(), 2u);
  const GgufTensor* const a = file.find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(a->bytes.size(), 36u);
  EXPECT_EQ(file.find("b")->bytes.size(), 12u);
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.metadata().find_string("general.architecture"), "llama");
}

TEST(Gguf, what_does_not_agree_with_itself_is_refused) {
  const auto corrupt = ErrorKind::kCorruptFile;
  EXPECT_EQ(refusal(file_of({{"a", {32, 2}, 2, 0}}, 35)), corrupt) << "behind the end";
  EXPECT_EQ(refusal(file_of({{"a", {32}, 0, uint64_t{1} << 63}}, 256)), corrupt) << "offset";
  EXPECT_EQ(refusal(file_of({{"a", {8}, 0, 4}}, 256)), corrupt) << "not aligned";
  EXPECT_EQ(refusal(file_of({{"a", {8}, 0, 0}, {"a", {8}, 0, 32}}, 256)), corrupt) << "twice";
  EXPECT_EQ(refusal(file_of({{"a", {16}, 0, 0}, {"b", {16}, 0, 32}}, 256)), corrupt) << "overlap";
  EXPECT_EQ(refusal(file_of({{"a", {31}, 2, 0}}, 256)), corrupt) << "no whole blocks";
  EXPECT_EQ(refusal(file_of({{"a", {0}, 0, 0}}, 256)), corrupt) << "no numbers";
  EXPECT_EQ(refusal(file_of({{"a", {}, 0, 0}}, 256)), corrupt) << "no dimensions";
  EXPECT_EQ(refusal(file_of({{"a", {1, 1, 1, 1, 1}, 0, 0}}, 256)), corrupt) << "five dimensions";
  EXPECT_EQ(refusal(file_of({{"a", {uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0}}, 256)), corrupt)
      << "overflow";
  EXPECT_EQ(refusal(file_of({{std::string(2000, 'x'), {8}, 0, 0}}, 256)), corrupt) << "long name";
  EXPECT_EQ(refusal(file_of({{"a", {32}, 10, 0}}, 256)), ErrorKind::kUnsupported) << "Q2_K";
  EXPECT_EQ(refusal(file_of({}, 0, 1)), ErrorKind::kUnsupported) << "version 1";
  std::string many = file_of({}, 0);
  const uint64_t count = uint64_t{1} << 60;
  std::memcpy(many.data() + 8, &count, sizeof count);
  EXPECT_EQ(refusal(many), corrupt) << "more tensors than bytes";
}

TEST(Gguf, every_shorter_file_is_refused) {
  const std::string bytes = file_of({{"a", {32, 2}, 2, 0}, {"b", {3}, 0, 64}}, 76);
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_EQ(refusal(bytes.substr(0, size)), ErrorKind::kCorruptFile) << size;
}

TEST(Gguf, a_thousand_changed_bytes_are_refused_or_read_safely) {
  const std::string sound = file_of({{"a", {32, 2}, 2, 0}, {"b", {64}, 8, 64}, {"c", {256}, 14, 160}}, 400);
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = sound;
    bytes[random() % 260] = static_cast<char>(random());
    try {
      const GgufFile file = open(bytes);
      for (const GgufTensor& tensor : file.tensors()) {
        std::vector<float> numbers(static_cast<size_t>(tensor.numbers()));
        dequantize(tensor.type, tensor.bytes, numbers.data());
      }
    } catch (const Error& error) {
      ASSERT_TRUE(error.kind() == ErrorKind::kCorruptFile || error.kind() == ErrorKind::kUnsupported);
      ++refused;
    }
  }
  EXPECT_GT(refused, 300);
}

TEST(Gguf, groups_are_the_numbers_of_the_blocks) {
  std::mt19937 random(2);
  for (const GgufType type : {GgufType::kQ4_0, GgufType::kQ4_1, GgufType::kQ8_0}) {
    std::vector<std::byte> blocks(static_cast<size_t>(gguf_block(type).bytes) * 3);
    for (std::byte& byte : blocks) byte = static_cast<std::byte>(random());
    for (size_t i = 0; i < 3; ++i) {
      // Scales between 2^-4 and 2^4.
      blocks[i * static_cast<size_t>(gguf_block(type).bytes) + 1] = std::byte{0x3a};
      if (type == GgufType::kQ4_1) blocks[i * 20 + 3] = std::byte{0xb9};
    }
    std::vector<float> numbers(96), scale(3), offset(3);
    std::vector<uint8_t> q(96);
    dequantize(type, blocks, numbers.data());
    read_groups(type, blocks, q.data(), scale.data(), offset.data());
    for (size_t i = 0; i < 96; ++i) {
      const float number = group_bits(type) == 4 ? scale[i / 32] * static_cast<float>(q[i]) + offset[i / 32]
                                                 : scale[i / 32] * (static_cast<float>(q[i]) - 128.0f);
      ASSERT_NEAR(number, numbers[i], 1e-6f) << i;
    }
  }
}

}  // namespace
}  // namespace headrace
