// What normalizers and decoders make of a text, from JSON.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "text/decoder_json.h"
#include "text/normalizer_json.h"

namespace headrace {

struct Normalized {
  std::string text;
  std::vector<int32_t> origins;  // of each character
  bool begins_original;
};

// Applies a normalizer with and without tracking, which must not make a difference.
inline Normalized normalized(std::string_view json, std::string_view text) {
  const JsonDocument document(json, "test.json");
  const auto normalizer = read_normalizer(document.root());
  AlignedText tracked, plain;
  tracked.assign(text, true, 0);
  plain.assign(text, false, 0);
  if (normalizer) {
    normalizer->apply(tracked);
    normalizer->apply(plain);
  }
  EXPECT_EQ(tracked.bytes(), plain.bytes());
  EXPECT_EQ(tracked.begins_original(), plain.begins_original());
  EXPECT_EQ(tracked.bytes().size(), tracked.origins().size());
  Normalized result{std::string(tracked.bytes()), {}, tracked.begins_original()};
  for (size_t i = 0; i < result.text.size(); ++i)
    if ((static_cast<uint8_t>(result.text[i]) & 0xC0) != 0x80) result.origins.push_back(tracked.origins()[i]);
  return result;
}

inline std::string decoded(std::string_view json, std::vector<std::string> tokens) {
  const JsonDocument document(json, "test.json");
  read_decoder(document.root())->apply(tokens);
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

}  // namespace headrace
