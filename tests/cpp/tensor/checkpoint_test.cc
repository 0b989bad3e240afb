#include "tensor/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "base/error.h"

namespace headrace {
namespace {

// A safetensors file with a byte for each name.
std::string bytes_named(const std::vector<std::string>& names) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i)
    header += concat(i ? "," : "", "\"", names[i], R"(":{"dtype":"U8","shape":[1],"data_offsets":[)", i, ",",
                     i + 1, "]}");
  header += "}";
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  out += header;
  for (size_t i = 0; i < names.size(); ++i) out += names[i].back();
  return out;
}

class Checkpoints : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "headraceXXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    write("one.safetensors", bytes_named({"a", "b"}));
    write("two.safetensors", bytes_named({"c"}));
    write_map(R"("a":"one.safetensors","b":"one.safetensors","c":"two.safetensors")");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
  }
  void write_map(const std::string& members) const {
    write("model.safetensors.index.json",
          R"({"metadata":{"total_size":"?"},"weight_map":{)" + members + "}}");
  }
  // The message of the error of that kind which opening raises; "accepted" when none.
  std::string refusal(ErrorKind kind = ErrorKind::kCorruptFile) const {
    try {
      Checkpoint::open(folder_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.message();
      return error.message();
    }
    return "accepted";
  }

  std::string folder_;
};

#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

TEST_F(Checkpoints, finds_tensors_in_all_files) {
  const Checkpoint checkpoint = Checkpoint::open(folder_);
  EXPECT_EQ(checkpoint.files(), 2u);
  for (const std::string name : {"a", "b", "c"}) {
    ASSERT_NE(checkpoint.find(name), nullptr) << name;
    EXPECT_EQ(std::to_integer<char>(checkpoint.find(name)->bytes[0]), name[0]);
  }
  EXPECT_EQ(checkpoint.find("d"), nullptr);
  EXPECT_EQ(checkpoint.path_of("c"), folder_ + "/two.safetensors");
  EXPECT_EQ(checkpoint.path_of("d"), folder_ + "/model.safetensors.index.json");
}

TEST_F(Checkpoints, takes_the_single_file_when_there_is_one) {
  write("model.safetensors", bytes_named({"x"}));
  const Checkpoint checkpoint = Checkpoint::open(folder_);
  EXPECT_NE(checkpoint.find("x"), nullptr);
  EXPECT_EQ(checkpoint.find("a"), nullptr);
  EXPECT_EQ(checkpoint.path_of("a"), folder_ + "/model.safetensors");
}

TEST_F(Checkpoints, says_what_is_missing) {
  std::filesystem::remove(folder_ + "/two.safetensors");
  EXPECT_SAYS(refusal(ErrorKind::kNotFound), "two.safetensors: no such file, though");
  std::filesystem::remove(folder_ + "/model.safetensors.index.json");
  EXPECT_SAYS(refusal(ErrorKind::kNotFound), "no weights");
}

TEST_F(Checkpoints, index_and_files_must_name_the_same_tensors) {
  write_map(R"("a":"one.safetensors","c":"two.safetensors")");
  EXPECT_SAYS(refusal(), "one.safetensors: holds the tensor 'b', which");
  write_map(R"("a":"one.safetensors","b":"two.safetensors","c":"two.safetensors")");
  EXPECT_SAYS(refusal(), "places in two.safetensors");
  write_map(R"("a":"one.safetensors","b":"one.safetensors","c":"two.safetensors","d":"two.safetensors")");
  EXPECT_SAYS(refusal(), "two.safetensors: the tensor 'd' is missing");
  write_map(R"("a":"one.safetensors","b":"one.safetensors","a":"one.safetensors","c":"two.safetensors")");
  EXPECT_SAYS(refusal(), "the tensor 'a' twice");
}

TEST_F(Checkpoints, no_tensor_lies_in_two_files) {
  write("two.safetensors", bytes_named({"c", "a"}));
  EXPECT_SAYS(refusal(), "two.safetensors: holds the tensor 'a'");
}

TEST_F(Checkpoints, each_file_is_checked_as_one_alone_is) {
  write("two.safetensors", bytes_named({"c"}).substr(0, 30));
  EXPECT_SAYS(refusal(), "two.safetensors: its header claims");
}

TEST_F(Checkpoints, the_index_reaches_nothing_outside_its_directory) {
  for (const char* name : {"../one.safetensors", "/etc/one.safetensors", "x/one.safetensors", "..", "",
                           ".safetensors", "one.bin", R"(one\u0000.safetensors)"}) {
    write_map(concat(R"("a":")", name, "\""));
    EXPECT_SAYS(refusal(), "without folders") << name;
  }
}

TEST_F(Checkpoints, files_in_memory_are_read_where_they_are) {
  auto files = std::make_shared<MemoryFiles>();
  for (const std::string name : {"one.safetensors", "two.safetensors", "model.safetensors.index.json"}) {
    std::ifstream file(folder_ + "/" + name, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    auto memory = std::make_shared<MemoryFile>(bytes.size());
    std::memcpy(memory->bytes().data(), bytes.data(), bytes.size());
    files->emplace(name, std::move(memory));
  }
  const std::weak_ptr<const MemoryFile> one = files->at("one.safetensors");
  const std::span<const std::byte> bytes = one.lock()->bytes();
  {
    const Checkpoint checkpoint = Checkpoint::open(ModelPath("sealed", std::exchange(files, nullptr)));
    EXPECT_EQ(checkpoint.path_of("c"), "sealed/two.safetensors");
    for (const std::string name : {"a", "b", "c"})
      EXPECT_EQ(std::to_integer<char>(checkpoint.find(name)->bytes[0]), name[0]);
    EXPECT_EQ(&checkpoint.find("b")->bytes[0], &bytes.back());
  }
  EXPECT_TRUE(one.expired());  // the memory goes back with its last reader
  EXPECT_THROW(Checkpoint::open(ModelPath("sealed", std::make_shared<MemoryFiles>())), Error);
}

TEST_F(Checkpoints, an_index_of_another_form_is_refused) {
  for (const char* text : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
                           R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":null}})"}) {
    write("model.safetensors.index.json", text);
    EXPECT_SAYS(refusal(), "model.safetensors.index.json") << text;
  }
  std::filesystem::remove(folder_ + "/model.safetensors.index.json");
  ASSERT_EQ(mkfifo((folder_ + "/model.safetensors.index.json").c_str(), 0600), 0);
  EXPECT_SAYS(refusal(), "not a regular file");
}

}  // namespace
}  // namespace headrace
