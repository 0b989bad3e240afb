// What may come next in a text that must have a form, a JSON schema's say, as somebody outside the core
// decides.
#pragma once

#include <cstdint>
#include <span>

namespace headrace {

// One for each stream. Its functions are called from the generator's thread, which holds no lock then; what
// they throw as an Error ends the stream.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  // Bit t % 32 of allowed[t / 32] says whether token t may come next; it has a bit for each of the
  // vocabulary.
  virtual void fill(std::span<uint32_t> allowed) = 0;
  // How many of these tokens, from the first on, may come one after another. Changes nothing.
  virtual int64_t count_allowed(std::span<const int32_t> tokens) = 0;
  // The token that came. True when the form is complete and nothing but an end could follow.
  virtual bool take(int32_t token) = 0;
};

}  // namespace headrace
