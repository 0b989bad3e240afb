#include "text/unigram.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"

namespace headrace {

Unigram::Unigram(const Vocabulary& vocabulary, std::vector<double> scores, Config config)
    : config_(config), scores_(std::move(scores)) {
  constexpr double kUnknownPenalty = 10;
  double lowest = std::numeric_limits<double>::infinity();
  for (const double score : scores_) lowest = std::min(lowest, score);
  unk_score_ = lowest - kUnknownPenalty;

  std::vector<ByteTrie::Entry> entries;
  entries.reserve(vocabulary.num_tokens());
  token_bytes_.assign(static_cast<size_t>(vocabulary.size()), 0);
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view token = vocabulary.token(id);
    if (token.empty() || vocabulary.find(token) != id) continue;
    entries.push_back({token, id, 0});
    token_bytes_[static_cast<size_t>(id)] = static_cast<uint32_t>(token.size());
  }
  trie_ = ByteTrie(entries, 1);
  trie_.forget_edges();

  const auto is_substitute = [&](int32_t id) { token_bytes_[static_cast<size_t>(id)] = 0; };
  if (config_.unk_id) is_substitute(*config_.unk_id);
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string name = "<0x00>";
  for (size_t byte = 0; byte < 256; ++byte) {
    name[3] = kHex[byte >> 4];
    name[4] = kHex[byte & 15];
    fallback_ids_[byte] = config_.byte_fallback ? vocabulary.find(name) : -1;
    if (fallback_ids_[byte] >= 0) is_substitute(fallback_ids_[byte]);
  }
}

void Unigram::find_best(std::string_view piece, std::vector<Best>& best) const {
  best.assign(piece.size() + 1, {0, kNone, 0});
  const ByteTrie::Node* const nodes = trie_.nodes();
  const auto offer = [&](size_t begin, size_t end, double score, int32_t id) {
    Best& there = best[end];
    if (there.id == kNone || score > there.score) there = {score, id, static_cast<uint32_t>(begin)};
  };
  for (size_t begin = 0; begin < piece.size();) {
    const double score_here = best[begin].score;
    const size_t length = utf8_sequence_length(piece, begin);
    bool has_token = false;
    int32_t node = 0;
    for (size_t at = begin; at < piece.size(); ++at) {
      const uint32_t next = nodes[node].base ^ static_cast<uint8_t>(piece[at]);
      if (nodes[next].check != node) break;
      node = static_cast<int32_t>(next);
      const int32_t id = nodes[next].value;
      if (id < 0) continue;
      offer(begin, at + 1, scores_[static_cast<size_t>(id)] + score_here, id);
      has_token = has_token || at + 1 == begin + length;
    }
    if (!has_token) {
      const Best& there = best[begin + length];
      const double score = unk_score_ + score_here;
      if (there.id == kNone || score > there.score) {
        if (!config_.unk_id)
          throw Error(
              ErrorKind::kInvalidArgument,
              "the text has characters that the vocabulary lacks, and the model has no unknown token; "
              "use a model whose tokenizer has an unk_id");
        offer(begin, begin + length, score, *config_.unk_id);
      }
    }
    begin += length;
  }
}

void Unigram::encode_piece(std::string_view piece, bool with_spans, Work& base) const {
  UnigramWork& work = static_cast<UnigramWork&>(base);
  work.ids.clear();
  work.spans.clear();
  find_best(piece, work.best);
  work.path.clear();
  for (auto end = static_cast<uint32_t>(piece.size()); end > 0; end = work.best[end].begin)
    work.path.push_back({work.best[end].id, work.best[end].begin, end});

  for (auto token = work.path.rbegin(); token != work.path.rend(); ++token) {
    uint32_t end = token->end;
    if (config_.unk_id && token->id == *config_.unk_id) {
      const uint32_t begin = token->begin;
      for (; token + 1 != work.path.rend() && (token + 1)->id == *config_.unk_id; ++token)
        end = (token + 1)->end;
      put_unknown(piece, begin, end, work);
    } else {
      work.ids.push_back(token->id);
      work.spans.push_back({token->begin, end});
    }
  }
  if (!with_spans) work.spans.clear();
  // One giant piece must not hold its memory for ever.
  constexpr size_t kKept = size_t{1} << 16;
  if (work.best.size() > kKept) work.best = {};
  if (work.path.size() > kKept) work.path = {};
}

// As in the reference: fused characters may after all be a token, and of byte tokens each covers all of them.
void Unigram::put_unknown(std::string_view piece, uint32_t begin, uint32_t end, Work& work) const {
  const std::string_view text = piece.substr(begin, end - begin);
  const auto put = [&](int32_t id) {
    work.ids.push_back(id);
    work.spans.push_back({begin, end});
  };
  size_t length = 0;
  const int32_t known = trie_.longest_match(text, 0, &length);
  if (known >= 0 && length == text.size()) return put(known);
  const auto fallback = [&](char c) { return fallback_ids_[static_cast<uint8_t>(c)]; };
  if (std::all_of(text.begin(), text.end(), [&](char c) { return fallback(c) >= 0; })) {
    for (const char c : text) put(fallback(c));
  } else {
    put(*config_.unk_id);
  }
}

}  // namespace headrace
