// Folders on disk and in memory answer alike.
#include "base/model_path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace headrace {
namespace {

namespace fs = std::filesystem;

const char* const kFiles[] = {"config.json", "a.gguf", "b.gguf", "1_Dense/config.json", "1_Dense2/x.gguf"};

class ModelPaths : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / concat_pid("headrace_model_path_");
    auto files = std::make_shared<MemoryFiles>();
    for (const std::string name : kFiles) {
      fs::create_directories((folder_ / name).parent_path());
      std::ofstream(folder_ / name) << name;
      auto file = std::make_shared<MemoryFile>(name.size());
      std::memcpy(file->bytes().data(), name.data(), name.size());
      files->emplace(name, std::move(file));
    }
    both_ = {ModelPath(folder_.string()), ModelPath("somewhere", files)};
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string concat_pid(std::string name) { return name + std::to_string(getpid()); }

  fs::path folder_;
  std::vector<ModelPath> both_;
};

TEST_F(ModelPaths, files_and_folders) {
  for (const ModelPath& folder : both_) {
    EXPECT_TRUE(folder.exists());
    EXPECT_TRUE(folder.is_directory());
    for (const char* name : kFiles) EXPECT_TRUE((folder / name).exists()) << name;
    for (const char* name : {"1_Dense", "1_Dense/", "./1_Dense"}) {
      EXPECT_TRUE((folder / name).is_directory()) << name;
      EXPECT_TRUE((folder / name / "config.json").exists()) << name;
    }
    for (const char* name : {"1_", "none", "1_Dense/none", "config.json/x"}) {
      EXPECT_FALSE((folder / name).exists()) << name;
      EXPECT_FALSE((folder / name).is_directory()) << name;
    }
    EXPECT_FALSE((folder / "config.json").is_directory());
    EXPECT_TRUE((folder / "a.gguf").beside("config.json").exists());
  }
}

TEST_F(ModelPaths, files_of_an_ending_are_those_of_the_folder_itself) {
  for (const ModelPath& folder : both_) {
    const std::vector<ModelPath> found = folder.files_ending(".gguf");
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].name(), folder.name() + "/a.gguf");
    EXPECT_EQ(found[1].name(), folder.name() + "/b.gguf");
    EXPECT_TRUE((folder / "1_Dense").files_ending(".gguf").empty());
  }
}

TEST_F(ModelPaths, bytes_are_there_only_in_memory) {
  EXPECT_EQ((both_[0] / "config.json").memory(), nullptr);
  const auto file = (both_[1] / "1_Dense/config.json").memory();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()),
            "1_Dense/config.json");
  EXPECT_EQ((both_[1] / "1_Dense").memory(), nullptr);
}

TEST(MemoryFilesTest, sizes_of_every_kind) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{5000}, (size_t{2} << 20) + 1}) {
    MemoryFile file(size);
    ASSERT_EQ(file.bytes().size(), size);
    for (const std::byte byte : file.bytes()) ASSERT_EQ(byte, std::byte{0});
    if (size > 0) file.bytes().back() = std::byte{1};
  }
}

}  // namespace
}  // namespace headrace
