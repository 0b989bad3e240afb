// How GPT-2 spells bytes as printable characters (Radford et al. 2019, encoder.py): 33 to 126, 161 to 172 and
// 174 to 255 are the characters of the same number; the other 68 bytes, in order, are U+0100 onwards.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace headrace {

// The character that spells a byte.
char32_t byte_spelling(uint8_t byte);

// Appends the bytes that text, well-formed UTF-8, spells; false, with `out` as it was, when a character of it
// spells none.
bool append_spelled_bytes(std::string_view text, std::string& out);

}  // namespace headrace
