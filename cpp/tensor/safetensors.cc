#include "tensor/safetensors.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace headrace {

class SafetensorsParser {
 public:
  SafetensorsParser(std::span<const std::byte> bytes, SafetensorsFile& file) : bytes_(bytes), file_(file) {}

  void parse() {
    const std::string_view header = read_header();
    const JsonDocument document(header, concat(file_.name_, ": header"));
    const JsonValue root = document.root();
    if (!root.is_object()) root.fail(concat("expected an object, found ", json_type_name(root.type())));
    reserve(root);
    bool has_metadata = false;
    for (const auto [name, value] : root.members()) {
      if (name == "__metadata__") {
        if (std::exchange(has_metadata, true)) root.fail("__metadata__ appears twice");
        read_metadata(value);
      } else {
        read_tensor(name, value);
      }
    }
    check_coverage();
    index_names();
  }

 private:
  // A tensor's place in the data, kept beside the view until the order is known.
  struct Placed {
    uint64_t begin;
    uint64_t end;
    TensorView view;
  };

  template <typename... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw Error(ErrorKind::kCorruptFile, concat(file_.name_, ": ", parts...));
  }

  std::string_view read_header() {
    constexpr size_t kLengthBytes = 8;
    if (bytes_.size() < kLengthBytes) {
      fail("the file has ", bytes_.size(), " bytes; a safetensors file starts with an 8-byte length (is the ",
           "download complete?)");
    }
    uint64_t length = 0;
    for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(bytes_[i]) << (8 * i);
    const uint64_t left = bytes_.size() - kLengthBytes;
    if (length > SafetensorsFile::kMaxHeaderBytes) {
      fail("its header claims ", length, " bytes; at most ", SafetensorsFile::kMaxHeaderBytes,
           " are allowed (is this a safetensors file?)");
    }
    if (length > left) {
      fail("its header claims ", length, " bytes, but only ", left,
           " follow in the file (is the download complete?)");
    }
    file_.data_ = bytes_.subspan(kLengthBytes + length);
    return {reinterpret_cast<const char*>(bytes_.data()) + kLengthBytes, static_cast<size_t>(length)};
  }

  // Exact, since views into names_ must never move: one allocation, bounded by the header's length.
  void reserve(const JsonValue& root) {
    if (root.size() > SafetensorsFile::kMaxTensors + 1) {
      fail("its header lists ", root.size(), " tensors; at most ", SafetensorsFile::kMaxTensors,
           " are allowed");
    }
    size_t total = 0;
    for (const auto [name, value] : root.members()) {
      if (name.size() > SafetensorsFile::kMaxNameBytes) {
        fail("a tensor's name has ", name.size(), " bytes; at most ", SafetensorsFile::kMaxNameBytes,
             " are allowed");
      }
      total += name.size();
    }
    file_.names_.reserve(total);
    placed_.reserve(root.size());
  }

  void read_metadata(const JsonValue& value) {
    if (value.is_null()) return;
    if (!value.is_object()) fail("__metadata__ is ", json_type_name(value.type()), "; expected an object");
    for (const auto [key, text] : value.members()) {
      if (!text.is_string())
        fail("__metadata__ '", key, "' is ", json_type_name(text.type()), "; expected a string");
      if (!file_.metadata_.emplace(key, text.as_string()).second)
        fail("__metadata__ '", key, "' appears twice");
    }
  }

  // The members dtype, shape and data_offsets, each exactly once; others are ignored, as the reference does.
  struct Fields {
    std::optional<JsonValue> dtype, shape, offsets;
  };
  Fields read_fields(std::string_view name, const JsonValue& value) const {
    if (!value.is_object())
      fail("tensor '", name, "' is ", json_type_name(value.type()), "; expected an object");
    Fields fields;
    for (const auto [key, member] : value.members()) {
      std::optional<JsonValue>* field = key == "dtype"          ? &fields.dtype
                                        : key == "shape"        ? &fields.shape
                                        : key == "data_offsets" ? &fields.offsets
                                                                : nullptr;
      if (field == nullptr) continue;
      if (field->has_value()) fail("tensor '", name, "': ", key, " appears twice");
      *field = member;
    }
    if (!fields.dtype || !fields.shape || !fields.offsets)
      fail("tensor '", name, "' needs dtype, shape and data_offsets; one is missing");
    return fields;
  }

  uint64_t read_size(std::string_view name, const char* what, const JsonValue& value) const {
    if (value.type() != JsonType::kInt)
      fail("tensor '", name, "': ", what, " holds ", json_type_name(value.type()), "; expected an integer");
    const int64_t number =
        value.as_int(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
    if (number < 0) fail("tensor '", name, "': ", what, " holds ", number, "; must be 0 or more");
    return static_cast<uint64_t>(number);
  }

  void read_tensor(std::string_view name, const JsonValue& value) {
    const Fields fields = read_fields(name, value);
    Placed placed{};
    file_.names_.insert(file_.names_.end(), name.begin(), name.end());
    placed.view.name = {file_.names_.data() + file_.names_.size() - name.size(), name.size()};
    placed.view.dtype = read_dtype(name, *fields.dtype);
    if (!fields.shape->is_array()) fail("tensor '", name, "': shape is not an array");
    if (fields.shape->size() > SafetensorsFile::kMaxRank) {
      fail("tensor '", name, "' has ", fields.shape->size(), " dimensions; at most ",
           SafetensorsFile::kMaxRank, " are allowed");
    }
    for (const JsonValue size : fields.shape->items())
      placed.view.shape.push_back(static_cast<int64_t>(read_size(name, "shape", size)));
    read_offsets(name, *fields.offsets, placed);
    check_bytes(name, placed);
    placed_.push_back(std::move(placed));
  }

  DType read_dtype(std::string_view name, const JsonValue& value) const {
    if (!value.is_string()) fail("tensor '", name, "': dtype is not a string");
    const std::optional<DType> dtype = dtype_from_name(value.as_string());
    if (!dtype) fail("tensor '", name, "': unknown dtype '", value.as_string().substr(0, 32), "'");
    return *dtype;
  }

  void read_offsets(std::string_view name, const JsonValue& value, Placed& placed) const {
    if (!value.is_array() || value.size() != 2)
      fail("tensor '", name, "': data_offsets must be [begin, end]");
    uint64_t* const ends[] = {&placed.begin, &placed.end};
    size_t i = 0;
    for (const JsonValue offset : value.items()) *ends[i++] = read_size(name, "data_offsets", offset);
    if (placed.begin > placed.end || placed.end > file_.data_.size()) {
      fail("tensor '", name, "': data_offsets [", placed.begin, ", ", placed.end, "] do not lie within the ",
           file_.data_.size(), " bytes of data (is the download complete?)");
    }
    placed.view.bytes = file_.data_.subspan(placed.begin, placed.end - placed.begin);
  }

  // product(shape) * bits == 8 * (end - begin), without overflow. In order, as the reference multiplies: a
  // later 0 does not excuse an overflow.
  void check_bytes(std::string_view name, const Placed& placed) const {
    uint64_t bits = 1;
    bool overflow = false;
    for (const int64_t size : placed.view.shape)
      overflow |= __builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits);
    overflow |= __builtin_mul_overflow(bits, static_cast<uint64_t>(dtype_bits(placed.view.dtype)), &bits);
    if (overflow) fail("tensor '", name, "': the product of its shape overflows 64 bits");
    if (bits % 8 != 0) fail("tensor '", name, "' does not end at a byte: ", bits, " bits");
    if (bits / 8 != placed.end - placed.begin) {
      fail("tensor '", name, "': its shape needs ", bits / 8, " bytes, its data_offsets give ",
           placed.end - placed.begin);
    }
  }

  void check_coverage() {
    std::sort(placed_.begin(), placed_.end(), [](const Placed& a, const Placed& b) {
      return std::tie(a.begin, a.end, a.view.name) < std::tie(b.begin, b.end, b.view.name);
    });
    uint64_t covered = 0;
    file_.tensors_.reserve(placed_.size());
    for (Placed& placed : placed_) {
      if (placed.begin != covered) {
        fail("tensor '", placed.view.name, "' starts at byte ", placed.begin, " of the data; ",
             placed.begin < covered ? "it overlaps the one before, which ends at "
                                    : "nothing covers the bytes from ",
             covered);
      }
      covered = placed.end;
      file_.tensors_.push_back(std::move(placed.view));
    }
    if (covered != file_.data_.size())
      fail("its tensors end at byte ", covered, " of the data, which has ", file_.data_.size(), " bytes");
  }

  void index_names() {
    const auto& tensors = file_.tensors_;
    std::vector<uint32_t>& order = file_.by_name_;
    order.resize(tensors.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
    const auto twice = std::adjacent_find(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return tensors[a].name == tensors[b].name;
    });
    if (twice != order.end()) fail("the tensor '", tensors[*twice].name, "' appears twice");
  }

  std::span<const std::byte> bytes_;
  SafetensorsFile& file_;
  std::vector<Placed> placed_;
};

SafetensorsFile SafetensorsFile::open(const ModelPath& path) {
  SafetensorsFile file(path.name());
  file.file_ = MappedFile::open(path);
  SafetensorsParser(file.file_->bytes(), file).parse();
  return file;
}

SafetensorsFile SafetensorsFile::from_bytes(std::span<const std::byte> bytes, std::string name) {
  SafetensorsFile file(std::move(name));
  SafetensorsParser(bytes, file).parse();
  return file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                   [&](uint32_t i, std::string_view key) { return tensors_[i].name < key; });
  return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

const TensorView& SafetensorsFile::at(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  throw Error(ErrorKind::kCorruptFile, concat(name_, ": the tensor '", name, "' is missing"));
}

}  // namespace headrace
