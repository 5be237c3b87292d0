// Sixteen floats at a time, in the compiler's own vector types: they become AVX-512, AVX2 or SSE registers as the
// instruction set has them. Everything is inlined, because each instruction set needs its own.
#pragma once

#include "kernels.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#define TUTTI_INLINE inline __attribute__((always_inline))

namespace tutti {

typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

TUTTI_INLINE Floats load(const float* from) {
  Floats value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

TUTTI_INLINE void store(float* to, Floats value) {
  __builtin_memcpy(to, &value, sizeof value);
}

TUTTI_INLINE Floats load(const Bf16* from) {
  Halves bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return (Floats)(__builtin_convertvector(bits, Words) << 16);
}

// Rounds to nearest, ties to even; every NaN becomes a quiet one.
#if defined(__AVX512BF16__)
TUTTI_INLINE void store(Bf16* to, Floats value) {
  const __m256bh result = _mm512_cvtneps_pbh((__m512)value);
  __builtin_memcpy(to, &result, sizeof result);
}
#else
TUTTI_INLINE void store(Bf16* to, Floats value) {
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words quiet = Words{} + 0x7fc0;
  const Halves result = __builtin_convertvector(value != value ? quiet : rounded, Halves);
  __builtin_memcpy(to, &result, sizeof result);
}
#endif

// max(value, 0) that keeps NaN, so that a run that diverges shows.
TUTTI_INLINE Floats rectify(Floats value) {
  return value < 0 ? Floats{} : value;
}

TUTTI_INLINE Floats larger(Floats a, Floats b) {
  return a < b ? b : a;
}

}  // namespace tutti
