// Uniform numbers from the counter-based stream that `random.rs` defines, in one pass.

#include "kernels.h"
#include "shim.h"

#include <ATen/Parallel.h>

namespace {

// `Stream::bits` of random.rs.
TUTTI_INLINE uint64_t bits(uint64_t start, uint64_t twist, uint64_t index) {
  uint64_t z = start + index * 0x9e3779b97f4a7c15u;
  z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u) ^ twist;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

TUTTI_KERNEL void fill_uniform(uint64_t start, uint64_t twist, int64_t begin, int64_t end, float* out) {
  for (int64_t index = begin; index < end; ++index) {
    out[index] = static_cast<float>(static_cast<int32_t>(bits(start, twist, index) >> 40)) * 0x1p-24f;
  }
}

}  // namespace

// Fills the contiguous f32 CPU tensor `out`.
extern "C" bool tutti_uniform(uint64_t start, uint64_t twist, at::Tensor* out, char* message) {
  return tutti::guarded(message, [&] {
    TORCH_CHECK(out->is_cpu() && out->is_contiguous() && out->scalar_type() == at::kFloat);
    float* data = out->data_ptr<float>();
    at::parallel_for(0, out->numel(), 1 << 15, [&](int64_t begin, int64_t end) {
      fill_uniform(start, twist, begin, end, data);
    });
  });
}
