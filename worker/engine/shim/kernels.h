// The CPU kernels of the shim. `kernels.cpp` is compiled once for each level of the instruction set, and `kernels()`
// picks the best that this machine has, so that one binary runs everywhere and uses AVX-512 where it is.
//
// An image batch is `rows` pixels of `channels` values, channels-last, channels a multiple of `kLanes`.
#pragma once

#include <cstdint>

namespace tutti {

// A bfloat16 as its bits.
struct Bf16 {
  uint16_t bits;
};

// Channels that a kernel treats at a time.
constexpr int64_t kLanes = 16;

// A normalization as scale * x + shift for each channel.
struct Affine {
  const float* scale;
  const float* shift;
};

// dx = scale * g + slope * x + offset for each channel, where g is what arrives through the rectifier.
struct InputGradient {
  const float* scale;
  const float* slope;
  const float* offset;
};

// One image where it is pooled: halved, with what is left over dropped.
struct Window {
  int64_t height;
  int64_t width;
};

// Adds up x - pivot and its square over rows. The pivot is near the mean, so that the variance loses nothing in f32.
template <typename T>
struct Moments {
  const T* x;
  int64_t rows, channels;
  const float* pivot;
  float *sum, *square;
};

// y = scale * x + shift, plus the residual if there is one, rectified or not.
template <typename T>
struct Normalize {
  const T *x, *residual;
  int64_t rows, channels;
  Affine affine;
  bool rectifies;
  T* y;
};

// Sums over rows of g and g * (x - mean). `y` is given where something was added before the rectifier.
template <typename T>
struct GradientSums {
  const T *x, *y, *dy;
  int64_t rows, channels;
  Affine affine;
  bool rectified;
  const float* mean;
  float *sum, *product;
};

// dx, and g itself for what was added.
template <typename T>
struct Differentiate {
  const T *x, *y, *dy;
  int64_t rows, channels;
  Affine affine;
  bool rectified;
  InputGradient by;
  T *dx, *added;
};

// The same three with pooling, for one image.
template <typename T>
struct NormalizePool {
  const T* x;
  Window window;
  int64_t channels;
  Affine affine;
  T* y;
};

template <typename T>
struct GradientSumsPool {
  const T *x, *dy;
  Window window;
  int64_t channels;
  Affine affine;
  const float* mean;
  float *sum, *product;
};

template <typename T>
struct DifferentiatePool {
  const T *x, *dy;
  Window window;
  int64_t channels;
  Affine affine;
  InputGradient by;
  T* dx;
};

template <typename T>
struct NormKernels {
  void (*moments)(const Moments<T>&);
  void (*normalize)(const Normalize<T>&);
  void (*gradient_sums)(const GradientSums<T>&);
  void (*differentiate)(const Differentiate<T>&);
  void (*normalize_pool)(const NormalizePool<T>&);
  void (*gradient_sums_pool)(const GradientSumsPool<T>&);
  void (*differentiate_pool)(const DifferentiatePool<T>&);
};

// A stretch of the arena that one optimizer step treats alike.
struct Stretch {
  float *parameters, *first, *second;
  const float* gradients;
  int64_t length;
  double rate, decay;
};

struct Sgd {
  double momentum;
  bool nesterov;
};

struct Adam {
  double beta1, beta2, epsilon, correction1, correction2;
  bool is_decoupled;
};

struct Kernels {
  NormKernels<float> f32;
  NormKernels<Bf16> bf16;
  // Uniform numbers `begin` to `end` of a stream of random.rs, the first of them at out[begin].
  void (*uniform)(uint64_t start, uint64_t twist, int64_t begin, int64_t end, float* out);
  void (*sgd)(const Sgd&, const Stretch&);
  void (*adam)(const Adam&, const Stretch&);
};

const Kernels& kernels();

template <typename T>
const NormKernels<T>& norm_kernels();

template <>
inline const NormKernels<float>& norm_kernels<float>() {
  return kernels().f32;
}

template <>
inline const NormKernels<Bf16>& norm_kernels<Bf16>() {
  return kernels().bf16;
}

}  // namespace tutti
