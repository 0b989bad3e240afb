#include "text/merges_json.h"

#include <string>

#include "base/error.h"

namespace headrace {
namespace {

class MergesReader {
 public:
  MergesReader(JsonValue merges, const Vocabulary& vocabulary, size_t prefix_bytes)
      : merges_(merges), vocabulary_(vocabulary), prefix_bytes_(prefix_bytes) {}

  std::vector<MergeTable::Merge> read() {
    if (!merges_.is_array()) merges_.fail("model.merges must be an array");
    read_.reserve(merges_.size());
    if (merges_.size() == 0) return {};
    const bool are_strings = (*merges_.items().begin()).is_string();
    for (const JsonValue merge : merges_.items()) {
      if (merge.is_string() != are_strings)
        merges_.fail("model.merges must be all strings or all pairs of strings");
      if (are_strings) {
        add_line(merge.as_string());
      } else {
        add_pair(merge);
      }
    }
    return std::move(read_);
  }

 private:
  void add_line(std::string_view line) {
    if (line.starts_with("#version")) return;  // the first line of a merges.txt
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      merges_.fail(concat("model.merges, merge ", read_.size(), " '", line,
                          "': must be two tokens with a space between them"));
    add(line.substr(0, space), line.substr(space + 1));
  }

  void add_pair(JsonValue pair) {
    if (!pair.is_array() || pair.size() != 2)
      merges_.fail(concat("model.merges, merge ", read_.size(), ": must be two tokens"));
    auto item = pair.items().begin();
    const std::string_view left = (*item).as_string();
    ++item;
    add(left, (*item).as_string());
  }

  void add(std::string_view left, std::string_view right) {
    const int32_t left_id = known(left);
    const int32_t right_id = known(right);
    if (right.size() < prefix_bytes_)
      merges_.fail(concat("model.merges, merge ", read_.size(), ": '", right,
                          "' is shorter than continuing_subword_prefix"));
    const std::string_view rest = right.substr(prefix_bytes_);
    // Files list merges in the order of the tokens they make, so the last one's or the next is likely it.
    const int32_t last = read_.empty() ? 0 : read_.back().result;
    int32_t result = -1;
    for (int32_t id = last; id <= last + 1 && result < 0; ++id)
      if (spells(id, left, rest)) result = id;
    if (result < 0) {
      joined_.assign(left).append(rest);
      result = known(joined_);
    }
    read_.push_back({left_id, right_id, result});
  }

  bool spells(int32_t id, std::string_view left, std::string_view rest) const {
    const std::string_view token = vocabulary_.token(id);
    return !token.empty() && token.size() == left.size() + rest.size() && token.starts_with(left) &&
           token.ends_with(rest);
  }

  int32_t known(std::string_view token) const {
    const int32_t id = vocabulary_.find(token);
    if (id < 0)
      merges_.fail(
          concat("model.merges, merge ", read_.size(), ": the token '", token, "' is not in model.vocab"));
    return id;
  }

  JsonValue merges_;
  const Vocabulary& vocabulary_;
  size_t prefix_bytes_;
  std::vector<MergeTable::Merge> read_;
  std::string joined_;
};

}  // namespace

std::vector<MergeTable::Merge> read_merges(JsonValue merges, const Vocabulary& vocabulary,
                                           size_t prefix_bytes) {
  return MergesReader(merges, vocabulary, prefix_bytes).read();
}

}  // namespace headrace
