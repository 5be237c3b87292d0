// How the shim's CPU kernels are compiled: once for each level of the x86-64 instruction set, chosen when the library
// is loaded, so that one binary runs everywhere and uses AVX-512 where it is.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TUTTI_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TUTTI_KERNEL
#endif

// Called from kernels only: must be inlined to be compiled for the kernel's instruction set.
#define TUTTI_INLINE inline __attribute__((always_inline))
