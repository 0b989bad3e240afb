#include "text/normalize_form.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/utf8.h"
#include "text/ascii_run.h"
#include "text/paired_rewrite.h"

namespace headrace {
namespace {

// A character on its way, with its change (paired_rewrite.h).
struct Part {
  char32_t character;
  int32_t change;
  uint8_t combining_class;
};

bool by_combining_class(const Part& a, const Part& b) { return a.combining_class < b.combining_class; }

// Canonical ordering: each row of marks by class, stably.
void order_marks(std::vector<Part>& parts) {
  for (size_t begin = 0; begin < parts.size();) {
    if (parts[begin].combining_class == 0) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < parts.size() && parts[end].combining_class != 0) ++end;
    const auto first = parts.begin() + static_cast<ptrdiff_t>(begin);
    const auto last = parts.begin() + static_cast<ptrdiff_t>(end);
    // Most rows are in order, and std::stable_sort allocates.
    if (!std::is_sorted(first, last, by_combining_class)) std::stable_sort(first, last, by_combining_class);
    begin = end;
  }
}

// Canonical composition in place. A composite replaces what both of its halves replaced.
void compose_parts(std::vector<Part>& parts) {
  constexpr size_t kNone = SIZE_MAX;
  size_t starter = kNone;
  int last_class = -1;  // of the marks that stay behind the starter
  size_t kept = 0;
  for (const Part part : parts) {
    if (starter != kNone && last_class < static_cast<int>(part.combining_class)) {
      // No mark of the same or a higher class is between, and no other starter.
      if (const char32_t composite = compose(parts[starter].character, part.character)) {
        parts[starter].character = composite;
        parts[starter].change += part.change - 1;
        continue;
      }
    }
    if (part.combining_class == 0) {
      starter = kept;
      last_class = -1;
    } else if (starter != kNone) {
      last_class = part.combining_class;
    }
    parts[kept++] = part;
  }
  parts.resize(kept);
}

class Pass {
 public:
  Pass(Form form, AlignedText& text)
      : is_compatible_(form == Form::kNfkc || form == Form::kNfkd),
        is_composed_(form == Form::kNfc || form == Form::kNfkc),
        bit_(static_cast<uint8_t>(1 << static_cast<int>(form))),
        lowest_lead_(form == Form::kNfc   ? 0xCC
                     : form == Form::kNfd ? 0xC3
                                          : 0xC2),
        text_(text),
        bytes_(text.bytes()) {}

  void run() {
    size_t at = 0;
    for (size_t safe; find_change(&at, &safe);) {
      if (!out_) out_.emplace(text_);
      out_->keep_to(safe);
      at = rewrite(safe, at);
    }
    if (!out_) return;
    out_->keep_to(bytes_.size());
    out_->finish();
  }

 private:
  // Moves *at, which is where a text can be cut, to the next character that may have to change, and *safe to
  // the last place before it where the text can be cut.
  bool find_change(size_t* at, size_t* safe) const {
    uint8_t last_class = 0;
    *safe = *at;
    size_t i = *at;
    while (i < bytes_.size()) {
      const auto lead = static_cast<uint8_t>(bytes_[i]);
      // Ideographs from U+4000 to U+9FFF stand in every form.
      if (lead < lowest_lead_ || (lead >= 0xE4 && lead <= 0xE9)) {
        const size_t next = lead < 0x80 ? skip_ascii(bytes_, i) : i + utf8_length(bytes_[i]);
        *safe = lead < 0x80 ? next - 1 : i;
        last_class = 0;
        i = next;
        continue;
      }
      const size_t length = utf8_length(bytes_[i]);
      const FormInfo& info = form_info(utf8_decode(bytes_.data() + i, length));
      if ((info.joins & bit_) == 0) *safe = i;
      if ((info.changes & bit_) != 0 || (info.combining_class != 0 && info.combining_class < last_class)) {
        *at = i;
        return true;
      }
      last_class = info.combining_class;
      i += length;
    }
    return false;
  }

  // Rewrites from `begin` to the first place behind `changed` where the text can be cut; returns that.
  size_t rewrite(size_t begin, size_t changed) {
    parts_.clear();
    size_t at = begin;
    while (at < bytes_.size()) {
      const size_t length = utf8_length(bytes_[at]);
      const char32_t c = utf8_decode(bytes_.data() + at, length);
      const FormInfo& info = form_info(c);
      if (at > changed && (info.joins & bit_) == 0) break;
      add(c, info);
      at += length;
    }
    order_marks(parts_);
    if (is_composed_) compose_parts(parts_);
    for (const Part& part : parts_) out_->put(part.character, part.change);
    return at;
  }

  void add(char32_t c, const FormInfo& info) {
    bool is_first = true;
    const auto add_part = [&](char32_t part) {
      const uint8_t combining_class = part == c ? info.combining_class : form_info(part).combining_class;
      parts_.push_back({part, is_first ? 0 : 1, combining_class});
      is_first = false;
    };
    if (is_compatible_ && (info.flags & FormInfo::kCompatible) != 0) {
      for (const char32_t part : compatible_decomposition(c)) add_part(part);
    } else {
      decompose(c, add_part);
    }
  }

  const bool is_compatible_;
  const bool is_composed_;
  const uint8_t bit_;
  const uint8_t lowest_lead_;  // of the first byte of a character that may change
  AlignedText& text_;
  const std::string_view bytes_;
  std::optional<PairedRewrite> out_;  // made by the first change
  std::vector<Part> parts_;
};

}  // namespace

void FormNormalizer::apply(AlignedText& text) const { Pass(form_, text).run(); }

}  // namespace headrace
