// Picks the kernels for this machine.

#include "kernels.h"

namespace tutti {

extern const Kernels kernels_baseline;

#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512_bf16;

static const Kernels& best() {
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (!has_avx2) return kernels_baseline;
  if (!has_avx512) return kernels_avx2;
  return __builtin_cpu_supports("avx512bf16") ? kernels_avx512_bf16 : kernels_avx512;
}
#else
static const Kernels& best() {
  return kernels_baseline;
}
#endif

const Kernels& kernels() {
  static const Kernels& chosen = best();
  return chosen;
}

}  // namespace tutti
