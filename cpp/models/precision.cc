#include "models/precision.h"

#include "base/error.h"

namespace headrace {
namespace {

Precision by_name(const std::string& name, bool auto_is_bf16, const char* allowed) {
  if (name == "auto") return auto_is_bf16 ? Precision::kBf16 : Precision::kF32;
  if (name == "f32") return Precision::kF32;
  if (name == "bf16") return Precision::kBf16;
  if (name == "int8") return Precision::kInt8;
  throw Error(ErrorKind::kInvalidArgument, concat("precision='", name, "': must be ", allowed));
}

}  // namespace

Precision precision_by_name(const std::string& name, const Kernels& kernels) {
  return by_name(name, kernels.has_bf16, "'auto', 'f32', 'bf16' or 'int8'");
}

Precision language_precision_by_name(const std::string& name, const Kernels& kernels) {
  if (name == "q8") return Precision::kQ8;
  if (name == "q4") return Precision::kQ4;
  constexpr int64_t kSide = 64;
  const bool reads_less =
      kernels.bf16.packed_bytes(kSide, kSide) < kSide * kSide * static_cast<int64_t>(sizeof(float));
  return by_name(name, reads_less, "'auto', 'f32', 'bf16', 'int8', 'q8' or 'q4'");
}

std::optional<KvType> kv_type_by_name(const std::string& name) {
  if (name == "auto") return std::nullopt;
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8})
    if (name == kv_type_name(type)) return type;
  throw Error(ErrorKind::kInvalidArgument,
              concat("kv='", name, "': keys and values are kept in f32, bf16 or int8, or say auto"));
}

const char* kv_type_name(KvType type) {
  return type == KvType::kF32 ? "f32" : type == KvType::kBf16 ? "bf16" : "int8";
}

int weight_group_bits(Precision precision) {
  return precision == Precision::kQ4 ? 4 : precision == Precision::kQ8 ? 8 : 0;
}

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
    case Precision::kQ8:
      return "q8";
    case Precision::kQ4:
      return "q4";
    case Precision::kF32:
      break;
  }
  return "f32";
}

const NarrowKernels* narrow_kernels(const Kernels& kernels, Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return &kernels.bf16;
    case Precision::kInt8:
      return &kernels.int8;
    case Precision::kQ8:
      return &kernels.q8;
    case Precision::kQ4:
      return &kernels.q4;
    case Precision::kF32:
      break;
  }
  return nullptr;
}

}  // namespace headrace
