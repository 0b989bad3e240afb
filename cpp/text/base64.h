// Base64 (RFC 4648, section 4), with padding.
#pragma once

#include <string>
#include <string_view>

namespace headrace {

std::string base64_encode(std::string_view bytes);

// False when text is not base64; padding may be missing at the end.
bool base64_decode(std::string_view text, std::string& bytes);

}  // namespace headrace
