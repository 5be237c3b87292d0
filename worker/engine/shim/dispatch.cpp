// Picks the kernels for this machine.

#include "kernels.h"

namespace tutti {

extern const Kernels kernels_baseline;

#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;

static const Kernels& best() {
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has_avx2 && has_avx512 ? kernels_avx512 : has_avx2 ? kernels_avx2 : kernels_baseline;
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
