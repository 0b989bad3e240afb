#include "models/precision.h"

#include "base/error.h"

namespace headrace {

Precision precision_by_name(const std::string& name, const Kernels& kernels) {
  if (name == "auto") return kernels.has_bf16 ? Precision::kBf16 : Precision::kF32;
  if (name == "f32") return Precision::kF32;
  if (name == "bf16") return Precision::kBf16;
  if (name == "int8") return Precision::kInt8;
  throw Error(ErrorKind::kInvalidArgument,
              concat("precision='", name, "': must be 'auto', 'f32', 'bf16' or 'int8'"));
}

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
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
    case Precision::kF32:
      break;
  }
  return nullptr;
}

}  // namespace headrace
