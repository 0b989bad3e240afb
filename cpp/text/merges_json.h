// The merges of a BPE model as tokenizer.json lists them: "a b" or ["a", "b"], in the order of their ranks.
#pragma once

#include <vector>

#include "base/json.h"
#include "text/merge_table.h"
#include "text/vocabulary.h"

namespace headrace {

// prefix_bytes: what a right part loses when it is merged, the length of continuing_subword_prefix. Throws
// Error(kCorruptFile) for a merge that is malformed or whose parts or result the vocabulary lacks.
std::vector<MergeTable::Merge> read_merges(JsonValue merges, const Vocabulary& vocabulary,
                                           size_t prefix_bytes);

}  // namespace headrace
