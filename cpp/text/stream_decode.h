// Text as a model generates it, token by token.
//
//   StreamDecoder decoder(decode, is_byte);
//   for (int32_t id : ids) send(decoder.push(id));
//   send(decoder.finish());
//
// What is handed out never changes again: no half characters, and joined together it is the text that all the
// ids decode to. A token's text depends on its neighbours (a first token loses its space; bytes make
// characters together), so each id is decoded behind a few of those before it, and what these had given is
// cut off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace headrace {

class StreamDecoder {
 public:
  // The text of some ids.
  using Decode = std::function<std::string(std::span<const int32_t>)>;
  // Whether an id is a byte of a row that the ByteFallback decoder judges as a whole: not before the row ends
  // is it certain that its bytes are characters. Empty when there are none.
  using IsByte = std::function<bool(int32_t)>;

  explicit StreamDecoder(Decode decode, IsByte is_byte = {});

  // The text that this id makes certain; often that of the id, sometimes none.
  std::string push(int32_t id);

  // The text that was still waiting. Then the decoder is as new.
  std::string finish();

 private:
  // What follows what was handed out, up to byte `certain` of the text of the window.
  std::string hand_out(const std::string& text, size_t certain);
  bool is_silent(int32_t id, const std::string& text) const;
  void forget_silent();
  void move_window();

  Decode decode_;
  IsByte is_byte_;
  std::vector<int32_t> window_;  // context, then the ids since the last cut
  size_t cut_ = 0;               // where the ids since the last cut begin
  size_t num_silent_ = 0;        // ids at the end of the window that changed nothing
  bool in_row_ = false;          // of bytes
  std::string text_;             // of the window
  size_t handed_out_ = 0;        // bytes of text_
};

}  // namespace headrace
