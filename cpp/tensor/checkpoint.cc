#include "tensor/checkpoint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "tensor/widen.h"

namespace headrace {
namespace {

constexpr std::string_view kEnding = ".safetensors";

// A plain name with the right ending: no folder, so also no way out of the directory.
void check_file_name(JsonValue map, std::string_view name) {
  if (name.size() > kEnding.size() && name.size() <= 255 && name.ends_with(kEnding) &&
      name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos)
    return;
  map.fail(concat("weight_map names the file '", name.substr(0, 64),
                  "'; it must be the name of a .safetensors file beside the index, without folders"));
}

}  // namespace

Checkpoint Checkpoint::open(const ModelPath& directory) {
  const ModelPath single = directory / "model.safetensors";
  const ModelPath index = directory / "model.safetensors.index.json";
  const bool is_single = single.exists();
  if (!is_single && !index.exists())
    throw Error(ErrorKind::kNotFound,
                concat(directory.name(), ": no weights; there must be model.safetensors, or ",
                       "model.safetensors.index.json and the files that it names (other formats can be ",
                       "saved anew: save_pretrained(..., safe_serialization=True))"));
  Checkpoint checkpoint((is_single ? single : index).name());
  if (is_single) {
    checkpoint.files_.push_back(SafetensorsFile::open(single));
    return checkpoint;
  }
  const MappedFile file = MappedFile::open(index);
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() > kMaxIndexBytes)
    throw Error(ErrorKind::kCorruptFile,
                concat(index.name(), ": ", bytes.size(), " bytes; an index has at most ", kMaxIndexBytes));
  checkpoint.open_files({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, directory);
  return checkpoint;
}

void Checkpoint::open_files(std::string_view index, const ModelPath& directory) {
  const JsonDocument document(index, path_);
  const JsonValue map = document.root().at("weight_map");
  if (!map.is_object()) map.fail("weight_map must be an object: the name of each tensor and its file");
  if (map.size() > SafetensorsFile::kMaxTensors)
    map.fail(concat("weight_map lists ", map.size(), " tensors; at most ", SafetensorsFile::kMaxTensors,
                    " are allowed"));
  std::map<std::string_view, std::string_view> file_of;
  std::map<std::string_view, size_t> place_of;  // file name -> place in files_
  for (const auto [tensor, file] : map.members()) {
    const std::string_view name = file.as_string();
    check_file_name(map, name);
    if (!file_of.emplace(tensor, name).second)
      map.fail(concat("weight_map has the tensor '", tensor, "' twice"));
    place_of.emplace(name, 0);
  }
  if (place_of.empty() || place_of.size() > kMaxFiles)
    map.fail(concat("weight_map names ", place_of.size(), " files; there must be 1 to ", kMaxFiles));
  for (auto& [name, place] : place_of) {
    const ModelPath source = directory / name;
    const std::string& path = source.name();
    if (!source.exists())
      throw Error(ErrorKind::kNotFound,
                  concat(path, ": no such file, though ", path_, " names it (is the download complete?)"));
    place = files_.size();
    const SafetensorsFile& file = files_.emplace_back(SafetensorsFile::open(source));
    for (const TensorView& tensor : file.tensors()) {
      const auto named = file_of.find(tensor.name);
      if (named == file_of.end())
        throw Error(ErrorKind::kCorruptFile,
                    concat(path, ": holds the tensor '", tensor.name, "', which ", path_, " does not name"));
      if (named->second != name)
        throw Error(ErrorKind::kCorruptFile, concat(path, ": holds the tensor '", tensor.name, "', which ",
                                                    path_, " places in ", named->second));
    }
  }
  for (const auto& [tensor, name] : file_of)
    if (const SafetensorsFile& file = files_[place_of.at(name)]; !file.find(tensor))
      throw Error(ErrorKind::kCorruptFile, concat(file.name(), ": the tensor '", tensor,
                                                  "' is missing, though ", path_, " places it here"));
}

const TensorView* Checkpoint::find(std::string_view name) const {
  for (const SafetensorsFile& file : files_)
    if (const TensorView* tensor = file.find(name)) return tensor;
  return nullptr;
}

const std::string& Checkpoint::path_of(std::string_view name) const {
  for (const SafetensorsFile& file : files_)
    if (file.find(name)) return file.name();
  return path_;
}

const std::vector<int64_t>* Checkpoint::shape_of(std::string_view name) const {
  const TensorView* const view = find(name);
  return view ? &view->shape : nullptr;
}

// The tensor of that name, which is there, if its numbers are.
const TensorView& Checkpoint::floating(std::string_view name) const {
  const TensorView& view = *find(name);
  if (!is_floating(view.dtype))
    throw Error(ErrorKind::kUnsupported, concat(path_of(name), ": the tensor '", name, "' has type ",
                                                dtype_name(view.dtype), ": supported are F32, F16 and BF16"));
  return view;
}

void Checkpoint::read(std::string_view name, float* out) const {
  const TensorView& view = floating(name);
  widen(view.dtype, view.bytes, out);
}

TensorSource::RowReader Checkpoint::rows(std::string_view name) const {
  const TensorView& view = floating(name);
  const auto row_bytes = static_cast<size_t>(view.shape.back() * dtype_bits(view.dtype) / 8);
  return [&view, row_bytes](int64_t row, float* out) {
    widen(view.dtype, view.bytes.subspan(static_cast<size_t>(row) * row_bytes, row_bytes), out);
  };
}

}  // namespace headrace
