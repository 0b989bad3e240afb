// Extended grapheme clusters (UAX 29): what a reader takes for one character.
#pragma once

#include <cstddef>
#include <string_view>

namespace headrace {

// The end of the cluster that begins at byte `begin` of text, well-formed UTF-8; begin < text.size().
// Regional indicators are not paired: no caller can tell, since a pair is longer than anything they look up.
size_t grapheme_end(std::string_view text, size_t begin);

}  // namespace headrace
