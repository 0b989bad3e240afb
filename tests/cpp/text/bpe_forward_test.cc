// Both ways of encoding bytes against plain merging of all merges, on random models: proper ones, ones whose
// tokens can be made in several ways, and ones whose merges come before those that make their parts.
#include "text/bpe_forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ostream>
#include <random>
#include <string>

namespace headrace {
namespace {

struct Model {
  Vocabulary tokens;
  std::array<int32_t, 256> bytes;
  std::vector<MergeTable::Merge> merges;
};

// Joins random tokens of a small alphabet; every way to make a token becomes a merge if all_ways, and the
// merges are shuffled within blocks of `disorder`.
Model random_model(std::mt19937_64& random, bool all_ways, size_t disorder) {
  Model model;
  std::vector<std::string> strings;
  const auto add = [&](const std::string& text) {
    const auto id = static_cast<int32_t>(strings.size());
    if (!model.tokens.add(text, id)) return false;
    strings.push_back(text);
    return true;
  };
  for (int byte = 0; byte < 256; ++byte) {
    add(std::string(1, static_cast<char>(byte)));
    model.bytes[static_cast<size_t>(byte)] = byte;
  }
  for (int i = 0; i < 40; ++i) {
    const auto pick = [&] {
      const size_t made = strings.size() - 256;
      return random() % 3 == 0 || made == 0 ? std::string(1, static_cast<char>('a' + random() % 3))
                                            : strings[256 + random() % made];
    };
    const std::string left = pick(), right = pick();
    if (left.size() + right.size() > 20 || !add(left + right)) continue;
    const std::string text = left + right;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if (!all_ways && cut != left.size()) continue;
      const auto first = model.tokens.id(text.substr(0, cut)), second = model.tokens.id(text.substr(cut));
      if (first && second) model.merges.push_back({*first, *second, *model.tokens.id(text)});
    }
  }
  for (size_t at = 0; disorder > 1 && at < model.merges.size(); at += disorder) {
    const auto begin = model.merges.begin() + static_cast<std::ptrdiff_t>(at);
    std::shuffle(begin, begin + static_cast<std::ptrdiff_t>(std::min(disorder, model.merges.size() - at)),
                 random);
  }
  return model;
}

std::vector<std::string_view> strings_of(const Model& model) {
  std::vector<std::string_view> strings;
  for (int32_t id = 0; id < model.tokens.size(); ++id) strings.push_back(model.tokens.token(id));
  return strings;
}

std::vector<int32_t> merged_plainly(const Model& model, const std::string& text) {
  std::map<std::pair<int32_t, int32_t>, size_t> ranks;
  for (size_t i = 0; i < model.merges.size(); ++i) ranks[{model.merges[i].left, model.merges[i].right}] = i;
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(model.bytes[static_cast<uint8_t>(c)]);
  while (true) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second < best) best = found->second, at = i;
    }
    if (best == SIZE_MAX) return ids;
    ids[at] = model.merges[best].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

std::vector<int32_t> ids_of(const std::vector<Symbol>& symbols) {
  std::vector<int32_t> ids;
  for (const Symbol& symbol : symbols) ids.push_back(symbol.id);
  return ids;
}

struct Case {
  bool all_ways;
  size_t disorder;
};

void PrintTo(const Case& each, std::ostream* out) {
  *out << (each.all_ways ? "all_ways" : "one_way") << "_disorder_" << each.disorder;
}

class BpeForwardTest : public testing::TestWithParam<Case> {};

TEST_P(BpeForwardTest, EncodesAsMergingDoes) {
  std::mt19937_64 random(11);
  int ready = 0, num_short = 0, known = 0, unknown = 0;
  for (int round = 0; round < 150; ++round) {
    const Model model = random_model(random, GetParam().all_ways, GetParam().disorder);
    const MergeTable table(model.merges);
    BpeForward forward;
    forward.learn(strings_of(model), model.bytes, model.merges);
    ASSERT_TRUE(forward.ready());
    ++ready;
    for (int i = 0; i < 60; ++i) {
      std::string text;
      for (size_t left = 1 + random() % 80; left > 0; --left)
        text += static_cast<char>('a' + (random() % 20 == 0 ? 3 : random() % (round % 3 + 1)));
      const std::vector<int32_t> expected = merged_plainly(model, text);
      std::vector<Symbol> symbols;
      MergeMemory memory;
      for (const bool by_heap : {false, true}) {
        symbols.clear();
        for (const char c : text) symbols.push_back({model.bytes[static_cast<uint8_t>(c)], 1});
        std::vector<uint64_t> first(text.size());
        for (size_t k = 0; k + 1 < text.size(); ++k) first[k] = table.find(symbols[k].id, symbols[k + 1].id);
        merge_symbols(table, by_heap, first, memory, symbols);
        ASSERT_EQ(ids_of(symbols), expected) << text;
      }
      if (text.size() <= BpeForward::kMaxShort) {
        std::vector<int32_t> ids(text.size());
        ids.resize(forward.encode_short(text, ids.data()));
        if (ids.empty()) {
          ASSERT_FALSE(forward.is_complete());
        } else {
          ASSERT_EQ(ids, expected) << text;
          ++num_short;
        }
      }
      if (!forward.encode(text, symbols)) {
        ++unknown;
        continue;
      }
      ++known;
      ASSERT_EQ(ids_of(symbols), expected) << text;
      if (const int32_t whole = forward.whole(text, false); whole >= 0) {
        ASSERT_EQ(expected, std::vector<int32_t>{whole}) << text;
      }
    }
  }
  EXPECT_EQ(ready, 150);
  EXPECT_GT(known, unknown);
  EXPECT_GT(num_short, 4000);
  if (GetParam().disorder <= 1 && !GetParam().all_ways) {
    EXPECT_EQ(unknown, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BpeForwardTest,
                         testing::Values(Case{false, 1}, Case{true, 1}, Case{true, 4}, Case{false, 1000},
                                         Case{true, 1000}));

TEST(BpeForwardTest, NeedsAllBytesAndNoMergeTwice) {
  std::mt19937_64 random(5);
  Model model = random_model(random, false, 1);
  {
    auto bytes = model.bytes;
    bytes[7] = -1;
    BpeForward forward;
    forward.learn(strings_of(model), bytes, model.merges);
    EXPECT_FALSE(forward.ready());
  }
  model.merges.push_back(model.merges[0]);
  BpeForward forward;
  forward.learn(strings_of(model), model.bytes, model.merges);
  EXPECT_FALSE(forward.ready());
}

}  // namespace
}  // namespace headrace
