// Weights in groups, in the reference table: packed as floats, row-major.
#pragma once

#include "kernels/kernels.h"

namespace headrace::reference {

float activate_one(float x, Activation activation);

int64_t grouped_packed_bytes(int64_t n, int64_t k);
void pack_groups(const GroupedWeights& w, int64_t n, int64_t k, void* packed);
int64_t grouped_row_bytes(int64_t k);
void encode_groups(const float* x, int64_t rows, int64_t k, const float* factor, void* encoded);
void grouped_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin,
                  int64_t col_end);

}  // namespace headrace::reference
