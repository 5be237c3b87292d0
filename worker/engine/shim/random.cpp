// Uniform numbers from the counter-based stream that `random.rs` defines, in one pass.

#include "kernels.h"
#include "shim.h"

#include <ATen/Parallel.h>

// Fills the contiguous f32 CPU tensor `out`.
extern "C" bool tutti_uniform(uint64_t start, uint64_t twist, at::Tensor* out, char* message) {
  return tutti::guarded(message, [&] {
    TORCH_CHECK(out->is_cpu() && out->is_contiguous() && out->scalar_type() == at::kFloat);
    float* data = out->data_ptr<float>();
    at::parallel_for(0, out->numel(), 1 << 15, [&](int64_t begin, int64_t end) {
      tutti::kernels().uniform(start, twist, begin, end, data);
    });
  });
}
