// Telephone numbers: international ones by country code and length (ITU-T E.164), national ones by the forms
// of China, North America, and the countries that dial a leading 0.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace headrace {

struct PhoneFinding {
  size_t begin;
  size_t end;
  bool is_cn_mobile;
};

// The telephone number whose first digit is text[at], with the '+' or '(' in front of it, if there is one.
std::optional<PhoneFinding> phone_at(std::string_view text, size_t at);

}  // namespace headrace
