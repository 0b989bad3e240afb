#include "text/bpe.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_spelling.h"
#include "text/spelled_spans.h"

namespace headrace {

// Unknown characters that are not yet a symbol, since more may be fused with them.
struct Bpe::Pending {
  uint32_t bytes = 0;

  void flush(int32_t unk_id, std::vector<Symbol>& symbols) {
    if (bytes > 0) symbols.push_back({unk_id, bytes});
    bytes = 0;
  }
};

Bpe::Bpe(const Vocabulary& vocabulary, std::span<const MergeTable::Merge> merges, Config config)
    : config_(std::move(config)) {
  constexpr int32_t kMaxTokens = MergeTable::kMaxIds;
  if (vocabulary.size() > kMaxTokens)
    throw Error(ErrorKind::kUnsupported, concat("BPE: ids up to ", vocabulary.size() - 1, "; at most ",
                                                kMaxTokens - 1, " is supported"));
  if (config_.unk_token) unk_id_ = vocabulary.find(*config_.unk_token);
  find_fallbacks(vocabulary);
  if (config_.raw_bytes) find_byte_symbols(vocabulary);
  {
    const Strings strings = strings_of(vocabulary);
    token_bytes_.assign(strings.tokens.size(), 0);
    for (size_t id = 0; id < strings.tokens.size(); ++id)
      token_bytes_[id] = static_cast<uint32_t>(strings.tokens[id].size());
    if (config_.raw_bytes && !has_affixes()) {
      forward_.learn(strings.tokens, byte_symbols_[0], merges);
      if (forward_.ready()) {
        if (!forward_.is_complete()) listed_merges_.assign(merges.begin(), merges.end());
        return;
      }
      forward_ = {};
    }
    keep_tokens(strings.tokens);
  }
  merges_ = MergeTable(merges);
  examine_merges(vocabulary, merges);
  // Zero is kUnasked.
  wholeness_ = std::make_unique<std::atomic<uint8_t>[]>(static_cast<size_t>(vocabulary.size()));
}

Bpe::Strings Bpe::strings_of(const Vocabulary& vocabulary) const {
  Strings strings;
  strings.tokens.resize(static_cast<size_t>(vocabulary.size()));
  size_t bytes = 0;
  for (int32_t id = 0; id < vocabulary.size(); ++id) bytes += vocabulary.token(id).size();
  if (config_.raw_bytes) strings.raw.reserve(bytes);  // never more: the views stay valid
  std::string raw;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    std::string_view token = vocabulary.token(id);
    if (token.empty() || (!vocabulary.is_one_to_one() && vocabulary.find(token) != id)) continue;
    if (config_.raw_bytes) {
      raw.clear();
      if (!append_spelled_bytes(token, raw)) continue;
      strings.raw += raw;
      token = std::string_view(strings.raw).substr(strings.raw.size() - raw.size());
    }
    strings.tokens[static_cast<size_t>(id)] = token;
  }
  return strings;
}

void Bpe::keep_tokens(std::span<const std::string_view> tokens) {
  tokens_.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i];
    if (token.empty()) continue;
    const auto id = static_cast<int32_t>(i);
    if (!config_.raw_bytes && token.size() <= 4 && utf8_sequence_length(token, 0) == token.size())
      char_ids_.set(utf8_decode(token.data(), token.size()), id);
    tokens_.add(token, id);
    max_token_bytes_ = std::max(max_token_bytes_, token.size());
  }
}

std::string Bpe::affixed(std::string_view character, int places) const {
  return concat((places & kFirst) == 0 ? config_.continuing_subword_prefix : std::string(), character,
                (places & kLast) != 0 ? config_.end_of_word_suffix : std::string());
}

void Bpe::find_byte_symbols(const Vocabulary& vocabulary) {
  for (int places = 0; places < 4; ++places) {
    for (size_t byte = 0; byte < 256; ++byte) {
      std::string spelled;
      utf8_append(byte_spelling(static_cast<uint8_t>(byte)), spelled);
      const int32_t id = vocabulary.find(affixed(spelled, places));
      byte_symbols_[static_cast<size_t>(places)][byte] = id;
      if (id < 0 && config_.byte_fallback)
        throw Error(ErrorKind::kUnsupported,
                    concat("BPE: byte_fallback with a byte-level vocabulary that lacks the byte ", byte,
                           " is not supported"));
    }
  }
}

void Bpe::find_fallbacks(const Vocabulary& vocabulary) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string name = "<0x00>";
  for (size_t byte = 0; byte < 256; ++byte) {
    name[3] = kHex[byte >> 4];
    name[4] = kHex[byte & 15];
    fallback_ids_[byte] = config_.byte_fallback ? vocabulary.find(name) : -1;
  }
}

void Bpe::examine_merges(const Vocabulary& vocabulary, std::span<const MergeTable::Merge> merges) {
  std::vector<bool> is_substitute(static_cast<size_t>(vocabulary.size()));
  const auto mark = [&](int32_t id) {
    if (id < 0) return;
    is_substitute[static_cast<size_t>(id)] = true;
    token_bytes_[static_cast<size_t>(id)] = 0;
  };
  mark(unk_id_);
  for (const int32_t id : fallback_ids_) mark(id);
  bool spells_text = !has_affixes();
  // Characters may vanish, and their neighbours meet, when neither bytes nor the unknown token stand for
  // them.
  const bool keeps_all = config_.unk_token || std::all_of(fallback_ids_.begin(), fallback_ids_.end(),
                                                          [](int32_t id) { return id >= 0; });
  const bool wants_cuts = !config_.raw_bytes && !config_.ignore_merges && keeps_all;
  if (wants_cuts) cuts_.reserve(merges.size());
  for (const MergeTable::Merge& merge : merges) {
    const std::string_view left = vocabulary.token(merge.left);
    const std::string_view right = vocabulary.token(merge.right);
    if (right.size() <= config_.continuing_subword_prefix.size()) always_by_queues_ = true;
    if (left.empty() || right.empty() || is_substitute[static_cast<size_t>(merge.left)] ||
        is_substitute[static_cast<size_t>(merge.right)]) {
      spells_text = false;
    } else if (wants_cuts) {
      cuts_.learn(left, right);
    }
  }
  if (!spells_text) token_bytes_.assign(token_bytes_.size(), 0);
  can_cut_ = wants_cuts && spells_text;
  if (can_cut_) cuts_.finish(char_ids_);
}

void Bpe::find_symbols(std::string_view piece, BpeWork& work) const {
  work.symbols.clear();
  if (config_.raw_bytes) {
    put_bytes(piece, work.symbols);
  } else {
    put_characters(piece, work.symbols);
  }
  merge_by(merges_, work);
}

void Bpe::merge_by(const MergeTable& merges, BpeWork& work) const {
  std::vector<uint64_t>& first = work.memory.merges;
  first.resize(work.symbols.size());
  for (size_t i = 0; i + 1 < first.size(); ++i)
    first[i] = merges.find(work.symbols[i].id, work.symbols[i + 1].id);
  merge_symbols(merges, always_by_queues_, first, work.memory, work.symbols);
}

void Bpe::find_bytes(std::string_view piece, BpeWork& work) const {
  // A token that merges make is also what they make of its text.
  const int32_t whole = forward_.whole(piece, config_.ignore_merges);
  if (whole >= 0) {
    work.symbols.assign(1, {whole, static_cast<uint32_t>(piece.size())});
    return;
  }
  if (forward_.encode(piece, work.symbols)) return;
  work.symbols.clear();
  put_bytes(piece, work.symbols);
  merge_by(all_merges(), work);
}

size_t Bpe::encode_short(const PieceCache::Key& key, std::string_view piece, int32_t* ids) const {
  if (!forward_.ready()) return 0;
  const int32_t whole = piece.size() <= TokenPrefixes::kShort
                            ? forward_.whole({key.low, key.high_bytes(), piece.size()}, config_.ignore_merges)
                            : forward_.whole(piece, config_.ignore_merges);
  if (whole < 0) return forward_.encode_short(piece, ids);
  *ids = whole;
  return 1;
}

const MergeTable& Bpe::all_merges() const {
  std::call_once(all_merges_made_, [this] { merges_ = MergeTable(listed_merges_); });
  return merges_;
}

void Bpe::put_symbols(std::string_view piece, bool with_spans, BpeWork& work) {
  const auto size = static_cast<uint32_t>(piece.size());
  uint32_t at = 0;
  for (const Symbol& symbol : work.symbols) {
    work.ids.push_back(symbol.id);
    if (!with_spans) continue;
    const uint32_t end = std::min(size, at + symbol.bytes);
    work.spans.push_back({std::min(at, end), end});
    at = end;
  }
}

void Bpe::encode_piece(std::string_view piece, bool with_spans, Work& base) const {
  BpeWork& work = static_cast<BpeWork&>(base);
  work.ids.clear();
  work.spans.clear();
  if (forward_.ready()) {
    find_bytes(piece, work);
    return put_symbols(piece, with_spans, work);
  }
  const int32_t whole = piece.size() <= max_token_bytes_ ? tokens_.find(piece) : -1;
  std::atomic<uint8_t>* const wholeness =
      whole >= 0 && wholeness_ != nullptr ? &wholeness_[static_cast<size_t>(whole)] : nullptr;
  const bool is_known_whole = wholeness != nullptr && !(with_spans && has_affixes()) &&
                              wholeness->load(std::memory_order_relaxed) == kWhole;
  if (is_known_whole || (whole >= 0 && config_.ignore_merges)) {
    work.symbols.assign(1, {whole, static_cast<uint32_t>(piece.size())});
    return put_symbols(piece, with_spans, work);
  }
  find_symbols(piece, work);
  put_symbols(piece, with_spans, work);
  if (with_spans && config_.raw_bytes && !config_.unk_token)
    place_as_spelled(piece, byte_symbols_[0], work.spans);
  if (wholeness != nullptr)
    wholeness->store(work.symbols.size() == 1 && work.symbols[0].id == whole ? kWhole : kParted,
                     std::memory_order_relaxed);
}

void Bpe::put_bytes(std::string_view piece, std::vector<Symbol>& symbols) const {
  Pending pending;
  for (size_t i = 0; i < piece.size(); ++i) {
    const int places = (i == 0 ? kFirst : 0) | (i + 1 == piece.size() ? kLast : 0);
    const int32_t id = byte_symbols_[static_cast<size_t>(places)][static_cast<uint8_t>(piece[i])];
    if (id >= 0) {
      pending.flush(unk_id_, symbols);
      symbols.push_back({id, 1});
    } else {
      put_unknown({}, 1, pending, symbols);
    }
  }
  pending.flush(unk_id_, symbols);
}

void Bpe::put_characters(std::string_view piece, std::vector<Symbol>& symbols) const {
  Pending pending;
  const bool plain = !has_affixes();
  std::string spelled;
  for (size_t at = 0; at < piece.size();) {
    const size_t length = utf8_sequence_length(piece, at);
    const auto bytes = static_cast<uint32_t>(length);
    std::string_view symbol = piece.substr(at, length);
    int32_t id;
    if (plain) {
      id = char_ids_[utf8_decode(symbol.data(), length)];
    } else {
      spelled = affixed(symbol, (at == 0 ? kFirst : 0) | (at + length == piece.size() ? kLast : 0));
      symbol = spelled;
      id = tokens_.find(symbol);
    }
    if (id >= 0) {
      pending.flush(unk_id_, symbols);
      symbols.push_back({id, bytes});
    } else {
      put_unknown(symbol, bytes, pending, symbols);
    }
    at += length;
  }
  pending.flush(unk_id_, symbols);
}

// As in the reference, byte tokens do not end a run of unknown characters: they come before it.
void Bpe::put_unknown(std::string_view symbol, uint32_t bytes, Pending& pending,
                      std::vector<Symbol>& symbols) const {
  if (config_.byte_fallback && std::all_of(symbol.begin(), symbol.end(), [&](char c) {
        return fallback_ids_[static_cast<uint8_t>(c)] >= 0;
      })) {
    for (const char c : symbol) symbols.push_back({fallback_ids_[static_cast<uint8_t>(c)], 1});
    return;
  }
  if (!config_.unk_token) return;
  if (unk_id_ < 0)
    throw Error(ErrorKind::kInvalidArgument,
                concat("the text has characters that the vocabulary lacks, and its unknown token '",
                       *config_.unk_token, "', too; use a model whose vocabulary has it"));
  if (!config_.fuse_unk) pending.flush(unk_id_, symbols);
  pending.bytes += bytes;
}

}  // namespace headrace
