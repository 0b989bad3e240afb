// The decoders' part of the reference table.
#pragma once

#include "kernels/kernels.h"

namespace headrace::reference {

constexpr int64_t kPanel = 8;

void rms_norm(const float* x, const float* gain, float eps, int64_t rows, int64_t c, float* y);
void rotate(float* x, int64_t heads, int64_t head_dim, int64_t half, const float* cosine, const float* sine);
void gate(const float* x, int64_t rows, int64_t n, Activation activation, float* y);
void activate_row(const float* x, int64_t n, Activation activation, float* y);
int64_t kv_bytes(KvType type, int64_t head_dim);
void store_key_value(KvType type, const float* key, const float* value, int64_t head_dim, int64_t slot,
                     void* block);
int64_t paged_attention_scratch(int64_t group, int64_t head_dim);
void paged_attention(const PagedAttention& attention);

}  // namespace headrace::reference
