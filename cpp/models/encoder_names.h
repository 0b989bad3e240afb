// What each family of encoders calls its tensors. The arithmetic is BERT's in all of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace headrace {

struct EncoderNames {
  // What stands before every name where the encoder is saved inside a model with a task head.
  const char* prefix;
  const char* layer;  // followed by the layer's number and a dot
  const char* query;
  const char* key;
  const char* value;
  const char* attended;
  const char* attended_norm;
  const char* up;
  const char* down;
  const char* down_norm;
};

// The names of a config.json's model_type; null when it is not one of encoder_families().
const EncoderNames* encoder_names(std::string_view family);

// Every model_type that is known.
std::vector<std::string> encoder_families();

}  // namespace headrace
