// Words in front of a number that say what it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace headrace {

enum class Cue : uint8_t {
  kNone,
  kPhone,
  kResidentId,
  kPassport,
  kPermit,  // a travel permit
  kHongKong,
  kMacau,
  kCard,
  kAddress,  // of a computer
  kOther,    // an order, a version, a serial number: not of a person
};

// The cue that stands nearest in front of text[at], within 48 bytes and the same sentence. Cue::kOther must
// stand closer: only a few characters, none of them another word, may be between.
Cue cue_before(std::string_view text, size_t at);

}  // namespace headrace
