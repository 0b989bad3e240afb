// Where tokens stand when bytes vanish because a byte-level vocabulary lacks them.
//
// The reference's words are spelled, a byte as a character of one or two bytes, and it places a word's tokens
// one behind the other from the word's beginning on, as if nothing had vanished. So what stands behind a byte
// that vanished is placed too early, and by the lengths of spellings.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/aligned_text.h"

namespace headrace {

// spans: of the piece's tokens one behind the other, as if the bytes that have no id were not there; becomes
// theirs in the piece as the reference places them.
void place_as_spelled(std::string_view piece, const std::array<int32_t, 256>& byte_ids,
                      std::vector<Piece>& spans);

}  // namespace headrace
