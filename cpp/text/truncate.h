// Texts cut to a length, and batches filled up to one.
#pragma once

#include <cstdint>
#include <span>

#include "text/encoding.h"

namespace headrace {

enum class Direction : uint8_t { kLeft, kRight };

struct Truncation {
  enum class Strategy : uint8_t { kLongestFirst, kOnlyFirst, kOnlySecond };

  int64_t max_tokens = 512;
  Strategy strategy = Strategy::kLongestFirst;
  int64_t stride = 0;  // how many tokens a part that overflows shares with the one before it
  Direction direction = Direction::kRight;  // the side where tokens go
};

// Cuts an encoding to its first (kRight) or last (kLeft) max_tokens tokens; the rest overflows in parts of
// that length, the last of which may be shorter. With max_tokens 0 all of it overflows as one part. Throws
// Error(kInvalidArgument) unless max_tokens is 0 or above stride.
void truncate(Encoding& encoding, int64_t max_tokens, int64_t stride, Direction direction);

// Cuts one text, or two when second is not null, to max_tokens tokens in all. What a post-processor will add
// does not count: take it off max_tokens first. Throws Error(kInvalidArgument) as above, and when the
// strategy names a text that is not there or too short to give so much.
void truncate(Encoding& first, Encoding* second, const Truncation& truncation);

struct Padding {
  int64_t length = 0;                       // 0: the longest of the batch
  int64_t multiple_of = 0;                  // above 0: the length is rounded up to one
  Direction direction = Direction::kRight;  // the side where padding is put
  int32_t id = 0;
  int32_t type_id = 0;
};

// padding.length rounded up as multiple_of says.
int64_t padded_length(const Padding& padding);

// Fills every encoding up to one length; longer ones stay as they are. Fills attention_mask.
void pad(std::span<Encoding> batch, const Padding& padding);

}  // namespace headrace
