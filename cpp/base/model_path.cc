#include "base/model_path.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"

namespace headrace {

namespace fs = std::filesystem;

ModelPath ModelPath::operator/(std::string_view relative) const {
  ModelPath path(concat(name_, "/", relative), files_);
  if (files_) {
    // "1_Dense", "1_Dense/" and "./1_Dense" are one folder on disk, and so here.
    path.inside_ = (fs::path(inside_) / relative).lexically_normal().generic_string();
    while (path.inside_.ends_with('/')) path.inside_.pop_back();
    if (path.inside_ == ".") path.inside_.clear();
  }
  return path;
}

ModelPath ModelPath::beside(std::string_view name) const {
  ModelPath path((fs::path(name_).parent_path() / name).string(), files_);
  if (files_) path.inside_ = (fs::path(inside_).parent_path() / name).generic_string();
  return path;
}

bool ModelPath::exists() const {
  std::error_code error;
  return files_ ? memory() != nullptr || is_directory() : fs::exists(name_, error);
}

bool ModelPath::is_directory() const {
  std::error_code error;
  if (!files_) return fs::is_directory(name_, error);
  if (inside_.empty()) return true;
  const std::string begin = inside_ + "/";
  const auto first = files_->lower_bound(begin);
  return first != files_->end() && first->first.starts_with(begin);
}

std::vector<ModelPath> ModelPath::files_ending(std::string_view ending) const {
  std::vector<std::string> names;
  if (files_) {
    const std::string begin = inside_.empty() ? "" : inside_ + "/";
    for (auto file = files_->lower_bound(begin); file != files_->end() && file->first.starts_with(begin);
         ++file)
      if (file->first.find('/', begin.size()) == std::string::npos)
        names.push_back(file->first.substr(begin.size()));
  } else {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(name_, error))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  std::vector<ModelPath> found;
  for (const std::string& name : names)
    if (name.size() > ending.size() && name.ends_with(ending)) found.push_back(*this / name);
  return found;
}

std::shared_ptr<const MemoryFile> ModelPath::memory() const {
  if (!files_) return nullptr;
  const auto found = files_->find(inside_);
  return found == files_->end() ? nullptr : found->second;
}

}  // namespace headrace
