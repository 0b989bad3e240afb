// NFC, NFD, NFKC, NFKD (UAX 15).
#pragma once

#include "text/stages.h"
#include "text/unicode_forms.h"

namespace headrace {

class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(Form form) : form_(form) {}
  void apply(AlignedText& text) const override;

 private:
  Form form_;
};

}  // namespace headrace
