// The pictures' part of the reference table.
#pragma once

#include "kernels/kernels.h"

namespace headrace::reference {

void resample_row(const uint8_t* in, const ResampleTaps& taps, int64_t outputs, uint8_t* out);
void resample_column(const uint8_t* in, int64_t ld, const int16_t* high, const int16_t* low, int64_t count,
                     int64_t bytes, uint8_t* out);
bool overlaps_any(const float* boxes, int64_t blocks, const float* box, float max_overlap);

}  // namespace headrace::reference
