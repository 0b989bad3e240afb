// What each family of encoders calls its tensors.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

struct EncoderNames {
  // What stands before every name where the encoder is saved inside a model with a task head.
  const char* prefix;
  const char* other_prefix = nullptr;  // of files from before transformers knew the family
  const char* word = "embeddings.word_embeddings";
  const char* position = "embeddings.position_embeddings";
  const char* type = "embeddings.token_type_embeddings";
  const char* embedding_norm = "embeddings.LayerNorm";
  const char* projection = nullptr;  // from the embeddings' width to the hidden states', where they differ
  const char* layer;                 // followed by the layer's number and a dot
  const char* query;                 // or the matrix of all three, where there is no key
  const char* key = nullptr;
  const char* value = nullptr;
  const char* attended;
  const char* attended_norm;
  const char* gate = nullptr;  // where it is a matrix of its own
  const char* up;              // or the one of gate and up
  bool has_up_first = false;   // in that one
  const char* down;
  const char* down_norm;  // or that of attention's input, where blocks norm what they take
  const char* final_norm = nullptr;
  bool has_biases = true;  // all of the layers' matrices have one; else some may
};

// How checkpoints of a config.json's model_type name their tensors: one way or several, none when it is not
// one of encoder_families().
std::span<const EncoderNames> encoder_names(std::string_view family);

// Every model_type that is known.
std::vector<std::string> encoder_families();

}  // namespace headrace
