// Chinese number plates (GA 36) and street addresses.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "text/network_addresses.h"

namespace headrace {

// The plate whose characters behind the province and its letter, or that letter itself, are the word
// text[begin, end) of letters and digits.
std::optional<ByteRange> cn_plate_at(std::string_view text, size_t begin, size_t end);

// The address whose street number begins at text[at]: a chain of province, city, district and street that
// ends there, the number with its suffix (number, lane, building, unit, floor, room), and what follows of the
// same. It does not begin before `floor`. A street of its own needs a name of two characters; a village, a
// building or a square needs a city or district in front of it.
std::optional<ByteRange> cn_address_at(std::string_view text, size_t at, size_t floor);

}  // namespace headrace
