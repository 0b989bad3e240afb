// Writes float vectors as the `data` array of an OpenAI embeddings answer, straight into bytes: no object
// per number is made, in Python or here.
//
//   [{"object":"embedding","index":0,"embedding":[0.5,-0.25]},...]            decimal
//   [{"object":"embedding","index":0,"embedding":"AAAAPwAAgL4="},...]         base64
//
// Thread-safe: no state.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace headrace {

enum class VectorEncoding {
  kDecimal,  // the shortest decimals that read back as the same f32 (std::to_chars; Ryu, Adams 2018)
  kBase64,   // RFC 4648 with padding, over the little-endian bytes of the f32 values
};

// Appends the array to out. values: [n, columns] f32, row-major; columns >= 1 and n = values.size() /
// columns. Throws kInvalidArgument when columns does not divide the size, and kInternal when a value to be
// written as a decimal is not finite, which JSON cannot say; out then holds what was written before it.
void append_embedding_objects(std::span<const float> values, int64_t columns, VectorEncoding encoding,
                              std::string& out);

// Appends a tensor of any shape as nested arrays of the shortest decimals; a value that is not finite is
// null. values: as many as the shape's sizes multiply to; of no axes one number stands alone.
void append_tensor(std::span<const float> values, std::span<const int64_t> shape, std::string& out);

}  // namespace headrace
