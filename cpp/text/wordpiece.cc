#include "text/wordpiece.h"

#include <algorithm>

#include "base/error.h"

namespace headrace {
namespace {

// A bound on all failure links together; all-MiniLM needs 60 thousand.
constexpr size_t kMaxPieces = size_t{1} << 24;

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

}  // namespace

WordPiece::WordPiece(const Vocabulary& vocabulary, Config config) : config_(std::move(config)) {
  const auto unk = vocabulary.id(config_.unk_token);
  if (!unk)
    throw Error(ErrorKind::kCorruptFile,
                concat("WordPiece: the unk_token '", config_.unk_token, "' is not in the vocabulary"));
  unk_id_ = *unk;

  const std::string& prefix = config_.continuing_subword_prefix;
  const auto max_chars = static_cast<size_t>(config_.max_input_chars_per_word);
  max_ids_ = std::max<size_t>(1, max_chars > (size_t{1} << 60) ? max_chars : max_chars * 4);  // 4 bytes each
  std::vector<ByteTrie::Entry> entries;
  piece_bytes_.resize(static_cast<size_t>(vocabulary.size()));
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view token = vocabulary.token(id);
    piece_bytes_[static_cast<size_t>(id)] = static_cast<uint32_t>(token.size());
    // No word is longer than max_chars, so longer tokens never match; leaving them out bounds the trie's
    // depth.
    if (!token.empty() && count_characters(token) <= max_chars) entries.push_back({token, id, kBegin});
    if (token.size() > prefix.size() && token.starts_with(prefix)) {
      const std::string_view rest = token.substr(prefix.size());
      if (count_characters(rest) <= max_chars) entries.push_back({rest, id, kContinue});
    }
  }
  trie_ = ByteTrie(entries, 2);
  link_failures();
}

// Algorithm 1 of the paper. A link leads to a node of the continuing trie that stands for a shorter string,
// so in the order of edges() it is always there before it is needed.
void WordPiece::link_failures() {
  for (const ByteTrie::Edge& edge : trie_.edges()) link_failure(edge);
  trie_.forget_edges();
}

template <typename Emit>
inline bool WordPiece::fail(int32_t& node, Emit&& emit) const {
  const ByteTrie::Node& from = trie_.nodes()[node];
  if (from.value >= 0) {
    emit(from.value);
    node = kContinue;
    return true;
  }
  if (from.link < 0) return false;
  const Failure failure = failures_[static_cast<size_t>(from.link)];
  for (uint32_t i = 0; i < failure.num_pieces; ++i) emit(pieces_[failure.first + i]);
  node = failure.node;
  return true;
}

void WordPiece::link_failure(const ByteTrie::Edge& edge) {
  // A token's own link is implied: emit it, go on at kContinue.
  if (trie_.node(edge.node).value >= 0) return;
  // The parent's certain tokens, then those of each node on the way to one that has a child for the byte.
  const auto first = static_cast<uint32_t>(pieces_.size());
  int32_t node = edge.parent;
  do {
    if (!fail(node, [&](int32_t id) { pieces_.push_back(id); })) {
      pieces_.resize(first);
      return;  // the word is unknown
    }
    if (pieces_.size() > kMaxPieces)
      throw Error(ErrorKind::kUnsupported,
                  "WordPiece: the vocabulary's tokens are too long for failure links; use a vocabulary "
                  "with shorter tokens or a smaller max_input_chars_per_word");
  } while (trie_.child(node, edge.byte) < 0);
  trie_.node(edge.node).link = static_cast<int32_t>(failures_.size());
  const auto num_pieces = static_cast<uint32_t>(pieces_.size()) - first;
  failures_.push_back({trie_.child(node, edge.byte), first, num_pieces});
}

size_t WordPiece::look_up(std::string_view word, const uint8_t* byte_map, int32_t* ids) const {
  size_t num_ids = 0;
  const auto emit = [&](int32_t id) { ids[num_ids++] = id; };
  const auto unknown = [&] {
    ids[0] = unk_id_;
    return size_t{1};
  };
  const auto max_chars = static_cast<size_t>(config_.max_input_chars_per_word);
  if (word.size() > max_chars && count_characters(word) > max_chars) return unknown();

  const ByteTrie::Node* const nodes = trie_.nodes();
  int32_t node = kBegin;
  for (const char c : word) {
    const uint8_t byte = byte_map[static_cast<uint8_t>(c)];
    for (;;) {
      const uint32_t next = nodes[node].base ^ byte;
      if (nodes[next].check == node) {
        node = static_cast<int32_t>(next);
        break;
      }
      if (!fail(node, emit)) return unknown();
    }
  }
  while (node != kContinue)
    if (!fail(node, emit)) return unknown();
  return num_ids;
}

}  // namespace headrace
