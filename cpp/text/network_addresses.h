// E-mail addresses (RFC 5321, the dot-atom form in ASCII), IPv4 and IPv6 addresses (RFC 4291, 5952).
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

namespace headrace {

using ByteRange = std::pair<size_t, size_t>;  // begin, end

// The address around the '@' (or U+FF20) at text[at]; it does not begin before `floor`.
std::optional<ByteRange> email_at(std::string_view text, size_t at, size_t floor);

// The IPv4 address whose first digit is text[at].
std::optional<ByteRange> ipv4_at(std::string_view text, size_t at);

// The IPv6 address whose first decimal digit is text[at]. Forms that program text shares ("a::1", "12:30:45")
// are not taken for one.
std::optional<ByteRange> ipv6_at(std::string_view text, size_t at);

}  // namespace headrace
