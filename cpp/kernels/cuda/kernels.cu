// Every kernel of the table, compiled by nvcc for each architecture.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/paged.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/sampling.h"

namespace headrace::cuda {

template __global__ void gemm_grouped<4>(const float*, const uint8_t*, const float*, const float*, int64_t, int64_t,
                                         int64_t, GemmEpilogue);
template __global__ void gemm_grouped<8>(const float*, const uint8_t*, const float*, const float*, int64_t, int64_t,
                                         int64_t, GemmEpilogue);
template __global__ void attention_f32<32>(RaggedAttention<float>);
template __global__ void attention_f32<64>(RaggedAttention<float>);
template __global__ void attention_f32<128>(RaggedAttention<float>);
template __global__ void attention_bf16<32>(RaggedAttention<Bf16>);
template __global__ void attention_bf16<64>(RaggedAttention<Bf16>);
template __global__ void attention_bf16<128>(RaggedAttention<Bf16>);
template __global__ void paged_attention<float>(PagedRows<float>, int, int, int64_t, int64_t);
template __global__ void paged_attention<Bf16>(PagedRows<Bf16>, int, int, int64_t, int64_t);
template __global__ void store_keys_values<float>(const float*, const float*, int64_t, const int32_t*, int64_t, int,
                                                  float*, int64_t);
template __global__ void store_keys_values<Bf16>(const float*, const float*, int64_t, const int32_t*, int64_t, int,
                                                 Bf16*, int64_t);

}  // namespace headrace::cuda
