#include "text/context_cues.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "text/folded_text.h"

namespace headrace {
namespace {

struct CueWord {
  std::string_view word;  // ASCII in lower case
  Cue cue;
};

// Chinese words in their order: telephone, mobile phone, contact, dial, call, fax, landline, hot line,
// WeChat; resident identity card, identity card number; passport; travel permit, home return permit, Taiwan
// compatriot permit; Hong Kong; Macau; bank card, card number, account; order, tracking slip, express,
// serial, number, batch, invoice, work order, model, article number, bar code, contract, version, reference,
// amount.
constexpr CueWord kCueWords[] = {
    {"phone", Cue::kPhone},
    {"telephone", Cue::kPhone},
    {"tel", Cue::kPhone},
    {"call", Cue::kPhone},
    {"cell", Cue::kPhone},
    {"mobile", Cue::kPhone},
    {"fax", Cue::kPhone},
    {"whatsapp", Cue::kPhone},
    {"dial", Cue::kPhone},
    {"text", Cue::kPhone},
    {"sms", Cue::kPhone},
    {"contact", Cue::kPhone},
    {"\u7535\u8bdd", Cue::kPhone},
    {"\u96fb\u8a71", Cue::kPhone},
    {"\u624b\u673a", Cue::kPhone},
    {"\u624b\u6a5f", Cue::kPhone},
    {"\u8054\u7cfb", Cue::kPhone},
    {"\u806f\u7d61", Cue::kPhone},
    {"\u62e8\u6253", Cue::kPhone},
    {"\u81f4\u7535", Cue::kPhone},
    {"\u4f20\u771f", Cue::kPhone},
    {"\u5ea7\u673a", Cue::kPhone},
    {"\u70ed\u7ebf", Cue::kPhone},
    {"\u5fae\u4fe1", Cue::kPhone},
    // The identity card of Macau before that of the mainland, whose name ends alike.
    {"\u6fb3\u95e8\u8eab\u4efd\u8bc1", Cue::kMacau},
    {"\u6fb3\u9580\u8eab\u4efd\u8b49", Cue::kMacau},
    {"macau id", Cue::kMacau},
    {"id card", Cue::kResidentId},
    {"identity card", Cue::kResidentId},
    {"id number", Cue::kResidentId},
    {"identity number", Cue::kResidentId},
    {"\u8eab\u4efd\u8bc1", Cue::kResidentId},
    {"\u8eab\u5206\u8b49", Cue::kResidentId},
    {"\u8eab\u4efd\u8b49", Cue::kResidentId},
    {"passport", Cue::kPassport},
    {"\u62a4\u7167", Cue::kPassport},
    {"\u8b77\u7167", Cue::kPassport},
    {"permit", Cue::kPermit},
    {"\u901a\u884c\u8bc1", Cue::kPermit},
    {"\u901a\u884c\u8b49", Cue::kPermit},
    {"\u56de\u4e61\u8bc1", Cue::kPermit},
    {"\u53f0\u80de\u8bc1", Cue::kPermit},
    {"hkid", Cue::kHongKong},
    {"hong kong", Cue::kHongKong},
    {"\u9999\u6e2f", Cue::kHongKong},
    {"macau", Cue::kMacau},
    {"macao", Cue::kMacau},
    {"\u6fb3\u95e8", Cue::kMacau},
    {"\u6fb3\u9580", Cue::kMacau},
    {"card", Cue::kCard},
    {"account", Cue::kCard},
    {"\u94f6\u884c\u5361", Cue::kCard},
    {"\u5361\u53f7", Cue::kCard},
    {"\u8d26\u53f7", Cue::kCard},
    {"ip", Cue::kAddress},
    {"host", Cue::kAddress},
    {"server", Cue::kAddress},
    {"order", Cue::kOther},
    {"invoice", Cue::kOther},
    {"tracking", Cue::kOther},
    {"serial", Cue::kOther},
    {"sku", Cue::kOther},
    {"isbn", Cue::kOther},
    {"issn", Cue::kOther},
    {"batch", Cue::kOther},
    {"ticket", Cue::kOther},
    {"receipt", Cue::kOther},
    {"transaction", Cue::kOther},
    {"model", Cue::kOther},
    {"reference", Cue::kOther},
    {"ref", Cue::kOther},
    {"version", Cue::kOther},
    {"ver", Cue::kOther},
    {"build", Cue::kOther},
    {"release", Cue::kOther},
    {"section", Cue::kOther},
    {"chapter", Cue::kOther},
    {"clause", Cue::kOther},
    {"appendix", Cue::kOther},
    {"upgrade to", Cue::kOther},
    {"\u8ba2\u5355", Cue::kOther},
    {"\u8a02\u55ae", Cue::kOther},
    {"\u8fd0\u5355", Cue::kOther},
    {"\u5355\u53f7", Cue::kOther},
    {"\u5feb\u9012", Cue::kOther},
    {"\u6d41\u6c34", Cue::kOther},
    {"\u5e8f\u5217", Cue::kOther},
    {"\u7f16\u53f7", Cue::kOther},
    {"\u6279\u53f7", Cue::kOther},
    {"\u53d1\u7968", Cue::kOther},
    {"\u5de5\u5355", Cue::kOther},
    {"\u578b\u53f7", Cue::kOther},
    {"\u8d27\u53f7", Cue::kOther},
    {"\u6761\u7801", Cue::kOther},
    {"\u5408\u540c", Cue::kOther},
    {"\u7248\u672c", Cue::kOther},
    {"\u5347\u7ea7\u5230", Cue::kOther},
    {"\u91d1\u989d", Cue::kOther},
};

// The words by their last byte, so that a look at each place in front of a number costs next to nothing.
struct CueIndex {
  static constexpr size_t kNumWords = std::size(kCueWords);
  std::array<uint8_t, 256> first{};       // 1 + the first word that ends with the byte, 0 for none
  std::array<uint8_t, kNumWords> next{};  // 1 + the next word that ends with the same byte
  constexpr CueIndex() {
    for (size_t i = kNumWords; i-- > 0;) {
      const auto last = static_cast<uint8_t>(kCueWords[i].word.back());
      next[i] = first[last];
      first[last] = static_cast<uint8_t>(i + 1);
    }
  }
};
constexpr CueIndex kCueIndex;
static_assert(CueIndex::kNumWords < 256);

char lower(char c) { return is_ascii_upper(c) ? static_cast<char>(c | 0x20) : c; }

// Whether the word ends in front of text[end], as a word of its own where it is one of letters.
bool ends_with(std::string_view text, size_t end, std::string_view word) {
  if (word.size() > end) return false;
  const size_t begin = end - word.size();
  for (size_t i = 0; i < word.size(); ++i)
    if (lower(text[begin + i]) != word[i]) return false;
  if (static_cast<uint8_t>(word[0]) >= 0x80) return true;
  if (begin > 0 && is_ascii_alnum(text[begin - 1])) return false;
  // "teller" is no "tel", but "calls" and "orders" are what they look like.
  return end == text.size() || !is_ascii_letter(text[end]) || lower(text[end]) == 's';
}

// A full stop of Chinese, a semicolon or a newline ends a sentence; an ASCII dot may stand within "tel.".
bool is_sentence_end(std::string_view text, size_t end) {
  const char last = text[end - 1];
  if (last == '\n' || last == ';') return true;
  const std::string_view three = end >= 3 ? text.substr(end - 3, 3) : std::string_view();
  return three == "\u3002" || three == "\uff1b";
}

// Whether only a few signs, "no", "number", "is" or Chinese characters such as those for "number" and "is"
// stand between the word and the number.
bool is_close(std::string_view between) {
  if (between.size() > 16) return false;
  // What may stand there in letters: "s", "no", "number", "is", "id", "code"; other words say something else.
  constexpr std::string_view kAllowed[] = {"", "s", "no", "number", "is", "id", "code"};
  size_t begin = 0;
  while (begin < between.size()) {
    size_t end = begin;
    char word[8];
    for (; end < between.size() && end - begin < sizeof word && is_ascii_letter(between[end]); ++end)
      word[end - begin] = lower(between[end]);
    const std::string_view letters(word, end - begin);
    if (std::find(std::begin(kAllowed), std::end(kAllowed), letters) == std::end(kAllowed)) return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace

Cue cue_before(std::string_view text, size_t at) {
  constexpr size_t kReach = 48;
  const std::string_view behind = text.substr(at < kReach ? 0 : at - kReach, std::min(at, kReach));
  // A longer number in between is what the word spoke of; but telephone numbers come in lists.
  constexpr int kLongNumber = 6;
  int digits = 0;
  for (size_t end = behind.size(); end > 0 && !is_sentence_end(behind, end); --end) {
    // any digit, full-width ones by their last byte
    const auto byte = static_cast<uint8_t>(behind[end - 1]);
    const bool wide = byte >= 0x90 && byte <= 0x99 && end >= 3 && behind.substr(end - 3, 2) == "\xEF\xBC";
    if (is_ascii_digit(behind[end - 1]) || wide) ++digits;
    const auto last = static_cast<uint8_t>(lower(behind[end - 1]));
    for (size_t i = kCueIndex.first[last]; i != 0; i = kCueIndex.next[i - 1]) {
      const auto& [word, cue] = kCueWords[i - 1];
      if (!ends_with(behind, end, word)) continue;
      if (cue == Cue::kOther ? !is_close(behind.substr(end)) : digits >= kLongNumber && cue != Cue::kPhone)
        return Cue::kNone;
      return cue;
    }
  }
  return Cue::kNone;
}

}  // namespace headrace
