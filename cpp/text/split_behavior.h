// What becomes of the delimiters where a text is split.
#pragma once

#include <cstdint>
#include <vector>

#include "text/aligned_text.h"

namespace headrace {

enum class SplitBehavior {
  kRemoved,             // dropped
  kIsolated,            // each a piece
  kMergedWithPrevious,  // the end of the piece before, unless that is a delimiter
  kMergedWithNext,      // the beginning of the piece behind, unless that is a delimiter
  kContiguous,          // those in a row are one piece
};

// Takes the delimiters of one piece and the stretches between them in order and appends pieces.
class DelimiterFold {
 public:
  DelimiterFold(SplitBehavior behavior, std::vector<Piece>& out) : behavior_(behavior), out_(out) {}

  void add(Piece part, bool is_delimiter) {
    const bool is_first = !has_pending_;
    bool joins = false;
    switch (behavior_) {
      case SplitBehavior::kRemoved:
        if (!is_delimiter) append(part);
        return;
      case SplitBehavior::kIsolated:
        append(part);
        return;
      case SplitBehavior::kMergedWithPrevious:
        joins = is_delimiter && !was_delimiter_;
        break;
      case SplitBehavior::kMergedWithNext:
        joins = !is_delimiter && was_delimiter_;
        break;
      case SplitBehavior::kContiguous:
        joins = is_delimiter == was_delimiter_;
        break;
    }
    if (!is_first && joins) {
      pending_.end = part.end;
    } else {
      if (!is_first) append(pending_);
      pending_ = part;
      has_pending_ = true;
    }
    was_delimiter_ = is_delimiter;
  }

  void finish() {
    if (has_pending_) append(pending_);
  }

 private:
  void append(Piece piece) {
    if (piece.begin < piece.end) out_.push_back(piece);
  }

  SplitBehavior behavior_;
  std::vector<Piece>& out_;
  Piece pending_ = {};
  bool has_pending_ = false;
  bool was_delimiter_ = false;
};

// Replaces each piece by what split(piece, out) appends to out. Allocates only while `pieces` still grows.
template <typename Split>
void split_each(std::vector<Piece>& pieces, Split&& split) {
  const size_t count = pieces.size();
  for (size_t i = 0; i < count; ++i) {
    const Piece piece = pieces[i];
    split(piece, pieces);
  }
  pieces.erase(pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace headrace
