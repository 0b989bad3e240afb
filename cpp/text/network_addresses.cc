#include "text/network_addresses.h"

#include <array>

#include "text/folded_text.h"

namespace headrace {
namespace {

bool is_hex(char c) { return is_ascii_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }

bool is_mailbox_sign(char c) {
  return is_ascii_alnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-';
}

// Where the domain at text[at] ends: labels of letters, digits and hyphens up to the last one that may be a
// top-level domain. npos if there is none.
size_t domain_end(std::string_view text, size_t at) {
  constexpr size_t kLongestLabel = 63;
  constexpr size_t kLongestDomain = 253;
  size_t end = text.npos;
  size_t place = at;
  for (size_t characters = 0; characters <= kLongestDomain;) {
    size_t length = 0;
    bool letters = true;
    char first = 0, second = 0, last = 0;
    while (place < text.size()) {
      const Glyph glyph = glyph_at(text, place);
      if (!is_ascii_alnum(glyph.c) && !(glyph.c == '-' && length > 0)) break;
      letters = letters && is_ascii_letter(glyph.c);
      if (length == 0) first = glyph.c;
      if (length == 1) second = glyph.c;
      last = glyph.c;
      ++length;
      place += glyph.size;
      if (length > kLongestLabel) return end;
    }
    characters += length + 1;
    if (length == 0) return end;
    const bool is_first = characters == length + 1;
    const bool punycode = (first | 0x20) == 'x' && (second | 0x20) == 'n' && length > 4;
    if (!is_first && length >= 2 && (letters || punycode) && last != '-' && characters <= kLongestDomain)
      end = place;
    if (last == '-' || folded_at(text, place) != '.') return end;
    place += glyph_at(text, place).size;
  }
  return end;
}

// One part of a dotted address: 0 to 255 without leading zeros. Moves `place` behind it.
bool read_octet(std::string_view text, size_t& place) {
  int value = 0;
  int digits = 0;
  while (place < text.size() && digits < 4) {
    const Glyph glyph = glyph_at(text, place);
    if (!is_ascii_digit(glyph.c)) break;
    if (digits > 0 && value == 0) return false;
    value = value * 10 + (glyph.c - '0');
    ++digits;
    place += glyph.size;
  }
  return digits > 0 && value <= 255;
}

// Four octets from text[at] on; npos if they are not there. What follows is not looked at.
size_t octets_end(std::string_view text, size_t at) {
  for (int part = 0; part < 4; ++part) {
    if (part > 0) {
      if (folded_at(text, at) != '.') return text.npos;
      at += glyph_at(text, at).size;
    }
    if (!read_octet(text, at)) return text.npos;
  }
  return at;
}

bool is_word_sign(char c) { return is_ascii_alnum(c) || c == '_'; }

// What an IPv6 address begins with where it is one: the networks in use, or so many groups that nothing else
// is written like it.
bool is_plausible(std::string_view address, int groups) {
  if (groups >= 5) return true;
  if (address.starts_with("::")) return address == "::1" || address.size() >= 6;
  if (address.size() < 6 || address.substr(0, 4).find(':') != address.npos)
    return address.starts_with("64:ff9b:");
  const char first = static_cast<char>(address[0] | 0x20);
  const char second = static_cast<char>(address[1] | 0x20);
  return address[0] == '2' || address[0] == '3' || (first == 'f' && second >= 'c' && second <= 'f');
}

// How many characters of the text, which is ASCII, are an IPv6 address; 0 if it begins with none.
size_t ipv6_length(std::string_view text) {
  size_t place = 0;
  int groups = 0;
  bool shortened = text.starts_with("::");
  if (shortened) place = 2;
  while (groups < 8 && place < text.size()) {
    const size_t dotted = groups <= 6 && is_ascii_digit(text[place]) ? octets_end(text, place) : text.npos;
    if (dotted != text.npos) {
      place = dotted;
      groups += 2;
      break;
    }
    size_t end = place;
    while (end < text.size() && end - place < 5 && is_hex(text[end])) ++end;
    if (end == place) break;
    if (end - place > 4) return 0;
    ++groups;
    place = end;
    if (place + 1 >= text.size() || text[place] != ':') break;
    if (text[place + 1] == ':') {
      if (shortened) return 0;
      shortened = true;
      place += 2;
    } else if (is_hex(text[place + 1])) {
      ++place;
    } else {
      break;
    }
  }
  if (shortened ? groups > 7 || groups == 0 : groups != 8) return 0;
  // nine groups
  if (place + 1 < text.size() && text[place] == ':' && is_hex(text[place + 1])) return 0;
  return is_plausible(text.substr(0, place), groups) ? place : 0;
}

}  // namespace

std::optional<ByteRange> email_at(std::string_view text, size_t at, size_t floor) {
  constexpr int kLongestMailbox = 64;
  size_t begin = at;
  size_t place = at;
  int length = 0;
  while (place > floor) {
    const Glyph glyph = glyph_before(text, place);
    if (!is_mailbox_sign(glyph.c) || place - glyph.size < floor) break;
    if (++length > kLongestMailbox) return std::nullopt;
    place -= glyph.size;
    // It begins with a letter, a digit or '_'; what is in front of those is not part of it.
    if (is_word_sign(glyph.c)) begin = place;
  }
  if (begin == at || folded_before(text, at) == '.') return std::nullopt;
  const size_t end = domain_end(text, at + glyph_at(text, at).size);
  if (end == text.npos) return std::nullopt;
  return ByteRange{begin, end};
}

std::optional<ByteRange> ipv4_at(std::string_view text, size_t at) {
  if (at > 0) {
    const Glyph before = glyph_before(text, at);
    if (is_word_sign(before.c) || (before.c == '.' && is_word_sign(folded_before(text, at - before.size))))
      return std::nullopt;
    // "package==1.2.3.4"
    if (before.c == '=' && folded_before(text, at - before.size) == '=') return std::nullopt;
  }
  const size_t end = octets_end(text, at);
  if (end == text.npos) return std::nullopt;
  const char after = folded_at(text, end);
  if (is_word_sign(after)) return std::nullopt;
  if (after == '.' && is_word_sign(folded_at(text, end + glyph_at(text, end).size))) return std::nullopt;
  return ByteRange{at, end};
}

std::optional<ByteRange> ipv6_at(std::string_view text, size_t at) {
  constexpr size_t kLongest = 45;
  const auto is_part = [](char c) { return is_hex(c) || c == ':'; };
  size_t begin = at;
  for (size_t length = 0; begin > 0 && is_part(folded_before(text, begin)); ++length) {
    if (length == kLongest) return std::nullopt;
    begin -= glyph_before(text, begin).size;
  }
  if (begin > 0 && is_word_sign(folded_before(text, begin)) && folded_at(text, begin) != ':')
    return std::nullopt;
  // The address as ASCII, and where each character of it begins.
  std::array<char, kLongest + 3> folded;
  std::array<size_t, kLongest + 4> places;
  size_t size = 0;
  size_t next = begin;
  for (; next < text.size() && size < folded.size(); ++size) {
    const Glyph glyph = glyph_at(text, next);
    if (!is_part(glyph.c) && glyph.c != '.') break;
    folded[size] = glyph.c;
    places[size] = next;
    next += glyph.size;
  }
  places[size] = next;
  const std::string_view address(folded.data(), size);
  // "IP:2001:db8::1"
  const size_t from = address.starts_with(':') && !address.starts_with("::") ? 1 : 0;
  const size_t length = ipv6_length(address.substr(from));
  if (length == 0) return std::nullopt;
  const size_t end = places[from + length];
  if (end <= at || is_word_sign(folded_at(text, end))) return std::nullopt;
  return ByteRange{places[from], end};
}

}  // namespace headrace
