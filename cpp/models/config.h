// A model directory's settings, reduced to the fields in use, every number checked.
#pragma once

#include <cstdint>
#include <string>

namespace headrace {

// config.json of a BERT encoder or one of its kin.
struct EncoderConfig {
  std::string family;  // model_type, one of encoder_families()
  int64_t hidden = 0;  // C
  int64_t layers = 0;
  int64_t heads = 0;         // H
  int64_t feed_forward = 0;  // F
  int64_t vocabulary = 0;    // V
  int64_t positions = 0;     // rows of the position embeddings
  int64_t first_position =
      0;                  // the row of a sequence's first token: RoBERTa's come behind that of its padding
  int64_t types = 0;      // 0: there are no type embeddings
  int64_t embedding = 0;  // width of the embeddings; where it is not C, a linear layer follows them
  float norm_eps = 0;

  // The longest sequence.
  int64_t longest() const { return positions - first_position; }
};

// Throws kNotFound (no such directory or file), kCorruptFile (malformed or absurd) or kUnsupported
// (well-formed, but another architecture or activation; the message names it).
EncoderConfig read_encoder_config(const std::string& directory);

}  // namespace headrace
