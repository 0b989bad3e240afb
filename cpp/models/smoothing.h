// Int8 layers whose input has columns of very different size lose the small ones: a row has one scale. So
// columns are brought nearer to one size, and the weights undo it. (Xiao et al. 2022, "SmoothQuant",
// arXiv:2211.10438.) How large the columns are is measured when the model is loaded, on tokens drawn from the
// vocabulary: which are large is a property of the model, hardly of the text. (Guesses from the norms' gains
// and the weights alone made it worse.)
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/buffer.h"

namespace headrace {

// The largest magnitude in each column of a layer's inputs; empty: not known.
using ColumnSizes = std::vector<float>;

// Adds those of x [rows, C].
void add_sizes(const float* x, int64_t rows, int64_t c, ColumnSizes* sizes);

// What the input's columns are to be multiplied by, [K]; divides the weights [N, K] by it.
Buffer smooth(const ColumnSizes& input, int64_t n, int64_t k, float* weights);

}  // namespace headrace
