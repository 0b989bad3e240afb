#include "text/scored_pieces.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"
#include "text/json_writer.h"
#include "text/vocabulary.h"

namespace headrace {
namespace {

constexpr char kSpace[] = "\xE2\x96\x81";
constexpr size_t kMaxPieceBytes = 512;  // each split of each piece is looked up

[[noreturn]] void fail(const std::string& name, size_t index, const char* what) {
  throw Error(ErrorKind::kCorruptFile, concat(name, ", piece ", index, ": ", what));
}

class PiecesToJson {
 public:
  PiecesToJson(const std::vector<ScoredPiece>& pieces, const std::string& name)
      : pieces_(pieces), unk_id_(check_pieces(pieces, name)) {
    vocabulary_.reserve(pieces.size());
    for (size_t i = 0; i < pieces.size(); ++i) vocabulary_.add(pieces[i].text, static_cast<int32_t>(i));
  }

  std::string bpe() const {
    std::string vocab;
    JsonList list(vocab);
    for (size_t i = 0; i < pieces_.size(); ++i) list.next() += concat(json_string(pieces_[i].text), ":", i);
    return concat("{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":",
                  json_string(pieces_[static_cast<size_t>(unk_id_)].text),
                  ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,"
                  "\"byte_fallback\":true,\"ignore_merges\":false,\"vocab\":{",
                  vocab, "},\"merges\":[", merges(), "]}");
  }

  std::string added_tokens() const {
    std::string added;
    JsonList list(added);
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const ScoredPiece::Type type = pieces_[i].type;
      if (type == ScoredPiece::kUnknown || type == ScoredPiece::kControl || type == ScoredPiece::kUserDefined)
        list.next() +=
            json_added_token(static_cast<int32_t>(i), pieces_[i].text, type != ScoredPiece::kUserDefined);
    }
    return added;
  }

 private:
  struct Split {
    float score;
    int32_t left;
    int32_t right;
    int32_t left_characters;
    int32_t right_characters;
  };

  static bool is_text(const ScoredPiece& piece) {
    return piece.type == ScoredPiece::kNormal || piece.type == ScoredPiece::kUnused;
  }

  // Each way to join two pieces to a third; the best third first, and then the longest left part, as the
  // reference's converter orders them.
  std::string merges() const {
    std::vector<Split> splits;
    for (size_t i = 0; i < pieces_.size(); ++i)
      if (is_text(pieces_[i])) add_splits(pieces_[i], splits);
    std::stable_sort(splits.begin(), splits.end(), [](const Split& a, const Split& b) {
      if (a.score != b.score) return a.score > b.score;
      if (a.left_characters != b.left_characters) return a.left_characters > b.left_characters;
      return a.right_characters > b.right_characters;
    });
    std::string text;
    JsonList list(text);
    for (const Split& split : splits)
      list.next() += concat("[", json_string(pieces_[static_cast<size_t>(split.left)].text), ",",
                            json_string(pieces_[static_cast<size_t>(split.right)].text), "]");
    return text;
  }

  void add_splits(const ScoredPiece& piece, std::vector<Split>& splits) const {
    const auto first = static_cast<ptrdiff_t>(splits.size());
    int32_t characters = 0;
    for (size_t at = utf8_sequence_length(piece.text, 0); at < piece.text.size();
         at += utf8_sequence_length(piece.text, at)) {
      ++characters;
      const int32_t left = text_piece(piece.text.substr(0, at));
      const int32_t right = left < 0 ? -1 : text_piece(piece.text.substr(at));
      if (right >= 0) splits.push_back({piece.score, left, right, characters, -characters});
    }
    for (auto split = splits.begin() + first; split != splits.end(); ++split)
      split->right_characters += characters + 1;
    std::sort(splits.begin() + first, splits.end(), [](const Split& a, const Split& b) {
      return a.left != b.left ? a.left < b.left : a.right < b.right;
    });
  }

  int32_t text_piece(std::string_view text) const {
    const int32_t id = vocabulary_.find(text);
    return id >= 0 && is_text(pieces_[static_cast<size_t>(id)]) ? id : -1;
  }

  const std::vector<ScoredPiece>& pieces_;
  int32_t unk_id_;
  Vocabulary vocabulary_;
};

std::string replace(std::string_view kind, std::string_view pattern, std::string_view content) {
  return concat("{\"type\":\"Replace\",\"pattern\":{\"", kind, "\":", json_string(pattern),
                "},\"content\":", json_string(content), "}");
}

std::string normalizer(const SpaceRules& spaces) {
  std::string steps;
  JsonList list(steps);
  if (spaces.remove_extra) {
    list.next() += replace("Regex", " {2,}", " ");
    list.next() += replace("Regex", "\\A | \\z", "");
  }
  if (spaces.add_prefix) list.next() += concat("{\"type\":\"Prepend\",\"prepend\":\"", kSpace, "\"}");
  list.next() += replace("String", " ", kSpace);
  return concat("{\"type\":\"Sequence\",\"normalizers\":[", steps, "]}");
}

std::string decoder(const SpaceRules& spaces) {
  std::string steps;
  JsonList list(steps);
  list.next() += replace("String", kSpace, " ");
  list.next() += "{\"type\":\"ByteFallback\"}";
  list.next() += "{\"type\":\"Fuse\"}";
  if (spaces.add_prefix) list.next() += "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}";
  return concat("{\"type\":\"Sequence\",\"decoders\":[", steps, "]}");
}

}  // namespace

int32_t check_pieces(const std::vector<ScoredPiece>& pieces, const std::string& name) {
  if (pieces.size() > static_cast<size_t>(Vocabulary::kMaxId)) fail(name, 0, "more than 16777215 pieces");
  Vocabulary vocabulary;
  vocabulary.reserve(pieces.size());
  int32_t unk_id = -1;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const ScoredPiece& piece = pieces[i];
    if (piece.text.empty() || piece.text.size() > kMaxPieceBytes) fail(name, i, "must have 1 to 512 bytes");
    if (utf8_first_invalid(piece.text) != piece.text.size()) fail(name, i, "is not UTF-8");
    if (!std::isfinite(piece.score)) fail(name, i, "its score is no number");
    if (!vocabulary.add(piece.text, static_cast<int32_t>(i))) fail(name, i, "is there already");
    if (piece.type != ScoredPiece::kUnknown) continue;
    if (unk_id >= 0) fail(name, i, "is a second unknown token");
    unk_id = static_cast<int32_t>(i);
  }
  if (unk_id < 0) throw Error(ErrorKind::kCorruptFile, concat(name, ": there is no unknown token"));
  return unk_id;
}

std::string tokenizer_json_from_pieces(const std::vector<ScoredPiece>& pieces, const SpaceRules& spaces,
                                       const std::string& post_processor, const std::string& name) {
  const PiecesToJson source(pieces, name);
  TokenizerJson json;
  json.added_tokens = source.added_tokens();
  json.normalizer = normalizer(spaces);
  json.decoder = decoder(spaces);
  json.post_processor = post_processor;
  json.model = source.bpe();
  return json.text();
}

}  // namespace headrace
