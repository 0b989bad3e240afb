#include "text/pre_tokenize_bytes.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/split_behavior.h"

namespace headrace {
namespace {

// Radford et al. 2019, "Language Models are Unsupervised Multitask Learners": the pattern of its encoder.
constexpr std::string_view kPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<char16_t, 256> kCharacters = [] {
  std::array<char16_t, 256> characters = {};
  char16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    characters[static_cast<size_t>(byte)] = is_printable(byte) ? static_cast<char16_t>(byte) : next++;
  return characters;
}();

}  // namespace

ByteLevelSplitter::ByteLevelSplitter(Config config) : config_(config) {
  if (config.use_regex) regex_ = std::make_unique<const Regex>(kPattern);
}

char32_t ByteLevelSplitter::character_of(uint8_t byte) { return kCharacters[byte]; }

void ByteLevelSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  if (config_.add_prefix_space) add_spaces(text, pieces);
  if (regex_) {
    split_each(pieces, [&](Piece piece, std::vector<Piece>& out) {
      regex_->append_pieces(text.bytes(), piece, Regex::kAll, out);
    });
  }
  if (!config_.keep_bytes) write_bytes(text, pieces);
}

void ByteLevelSplitter::add_spaces(AlignedText& text, std::vector<Piece>& pieces) const {
  const auto has_space = [&](Piece piece) { return text.bytes()[piece.begin] == ' '; };
  if (std::all_of(pieces.begin(), pieces.end(), has_space)) return;
  AlignedText::Rewrite out(text);
  for (Piece& piece : pieces) {
    const auto begin = static_cast<uint32_t>(out.size());
    if (!has_space(piece)) out.put(" ", piece.begin);
    out.keep(piece.begin, piece.end);
    piece = {begin, static_cast<uint32_t>(out.size())};
  }
  out.finish();
}

void ByteLevelSplitter::write_bytes(AlignedText& text, std::vector<Piece>& pieces) {
  AlignedText::Rewrite out(text);
  const std::string_view bytes = text.bytes();
  for (Piece& piece : pieces) {
    const auto begin = static_cast<uint32_t>(out.size());
    for (uint32_t at = piece.begin; at < piece.end;) {
      // Bytes that stand for themselves in UTF-8, too, are kept in one go.
      uint32_t stop = at;
      while (stop < piece.end && bytes[stop] >= '!' && bytes[stop] <= '~') ++stop;
      out.keep(at, stop);
      for (at = stop; at < piece.end && !(bytes[at] >= '!' && bytes[at] <= '~'); ++at)
        out.put(character_of(static_cast<uint8_t>(bytes[at])), at);
    }
    piece = {begin, static_cast<uint32_t>(out.size())};
  }
  out.finish();
}

}  // namespace headrace
