// Which kind of personal number stands at a place of a text.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "text/personal_data.h"

namespace headrace {

// A word of letters and digits, the longest there is.
struct Word {
  size_t begin;
  size_t end;
};

// The personal number that begins with the word, or up to three capital letters in front of it; those with a
// check go first. It does not begin before `floor`.
std::optional<Finding> personal_number_at(std::string_view text, Word word, size_t floor,
                                          PersonalKinds kinds);

}  // namespace headrace
