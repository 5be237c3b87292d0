// Batch normalization with what follows it, in as few passes over memory as there can be.
//
// Sums are kept in registers: a kernel takes some vectors of channels down all its rows before it takes the next.
#pragma once

#include "vector.h"

namespace tutti {
namespace {

// Runs `at<N>(args, c)` for N vectors of channels from c on: four where there are as many, so that each row's visit
// touches whole cache lines, and one or two for the rest.
template <typename Kernel, typename Args>
TUTTI_INLINE void for_channels(const Args& args) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= args.channels; c += 4 * kLanes) Kernel::template at<4>(args, c);
  for (; c + 2 * kLanes <= args.channels; c += 2 * kLanes) Kernel::template at<2>(args, c);
  for (; c < args.channels; c += kLanes) Kernel::template at<1>(args, c);
}

// N vectors of one value for each channel.
template <int N>
struct PerChannel {
  Floats of[N];

  TUTTI_INLINE PerChannel() : of{} {}
  TUTTI_INLINE explicit PerChannel(const float* from) {
    for (int i = 0; i < N; ++i) of[i] = load(from + i * kLanes);
  }
  TUTTI_INLINE void store_at(float* to) const {
    for (int i = 0; i < N; ++i) store(to + i * kLanes, of[i]);
  }
};

struct MomentsKernel {
  template <int N, typename T>
  static TUTTI_INLINE void at(const Moments<T>& args, int64_t c) {
    const PerChannel<N> pivot(args.pivot + c);
    PerChannel<N> sum, square;
    for (int64_t row = 0; row < args.rows; ++row) {
      for (int i = 0; i < N; ++i) {
        const Floats a = load(args.x + row * args.channels + c + i * kLanes) - pivot.of[i];
        sum.of[i] += a;
        square.of[i] += a * a;
      }
    }
    sum.store_at(args.sum + c);
    square.store_at(args.square + c);
  }
};

template <typename T>
void moments(const Moments<T>& args) {
  for_channels<MomentsKernel>(args);
}

template <bool kAdds, bool kRectifies, typename T>
TUTTI_INLINE void normalize_as(const Normalize<T>& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t c = 0; c < args.channels; c += kLanes) {
      const int64_t at = row * args.channels + c;
      Floats value = load(args.x + at) * load(args.affine.scale + c) + load(args.affine.shift + c);
      if (kAdds) value += load(args.residual + at);
      store(args.y + at, kRectifies ? rectify(value) : value);
    }
  }
}

template <typename T>
void normalize(const Normalize<T>& args) {
  if (args.residual != nullptr) return normalize_as<true, true>(args);
  if (args.rectifies) return normalize_as<false, true>(args);
  return normalize_as<false, false>(args);
}

// dy where the rectifier let through. What it let through is seen in y where something was added before it, and computed
// anew from x where not.
template <bool kAdded, bool kRectified, typename T>
TUTTI_INLINE Floats through(const T* x, const T* y, const T* dy, Floats scale, Floats shift) {
  const Floats g = load(dy);
  if (!kRectified) return g;
  const Floats passed = kAdded ? load(y) : load(x) * scale + shift;
  return passed <= 0 ? Floats{} : g;
}

template <bool kAdded, bool kRectified>
struct GradientSumsKernel {
  template <int N, typename T>
  static TUTTI_INLINE void at(const GradientSums<T>& args, int64_t c) {
    const PerChannel<N> scale(args.affine.scale + c), shift(args.affine.shift + c), mean(args.mean + c);
    PerChannel<N> sum, product;
    for (int64_t row = 0; row < args.rows; ++row) {
      for (int i = 0; i < N; ++i) {
        const int64_t at = row * args.channels + c + i * kLanes;
        const Floats g = through<kAdded, kRectified>(args.x + at, args.y + at, args.dy + at, scale.of[i], shift.of[i]);
        sum.of[i] += g;
        product.of[i] += g * (load(args.x + at) - mean.of[i]);
      }
    }
    sum.store_at(args.sum + c);
    product.store_at(args.product + c);
  }
};

template <typename T>
void gradient_sums(const GradientSums<T>& args) {
  if (args.y != nullptr) return for_channels<GradientSumsKernel<true, true>>(args);
  if (args.rectified) return for_channels<GradientSumsKernel<false, true>>(args);
  return for_channels<GradientSumsKernel<false, false>>(args);
}

template <bool kAdded, bool kRectified, typename T>
TUTTI_INLINE void differentiate_as(const Differentiate<T>& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t c = 0; c < args.channels; c += kLanes) {
      const int64_t at = row * args.channels + c;
      const Floats scale = load(args.affine.scale + c), shift = load(args.affine.shift + c);
      const Floats g = through<kAdded, kRectified>(args.x + at, args.y + at, args.dy + at, scale, shift);
      const Floats from_sums = load(args.by.slope + c) * load(args.x + at) + load(args.by.offset + c);
      store(args.dx + at, load(args.by.scale + c) * g + from_sums);
      if (kAdded) store(args.added + at, g);
    }
  }
}

template <typename T>
void differentiate(const Differentiate<T>& args) {
  if (args.y != nullptr) return differentiate_as<true, true>(args);
  if (args.rectified) return differentiate_as<false, true>(args);
  return differentiate_as<false, false>(args);
}

// The sign bits of negative scales.
TUTTI_INLINE Words flip_of(Floats scale) {
  return (Words)scale & 0x80000000u;
}

TUTTI_INLINE Floats flipped(Floats value, Words flip) {
  return (Floats)((Words)value ^ flip);
}

// The four pixels of a window at sixteen channels, and the one that is largest once normalized. It is found before that:
// the largest x, or the smallest where the scale is negative. (Where it is zero all four are equal, and any will do.)
struct Four {
  Floats x0, x1, x2, x3;
  Floats chosen;

  template <typename T>
  TUTTI_INLINE Four(const T* top, int64_t channels, int64_t line, Words flip)
      : x0(load(top)), x1(load(top + channels)), x2(load(top + line)), x3(load(top + line + channels)) {
    const Floats upper = larger(flipped(x0, flip), flipped(x1, flip));
    const Floats lower = larger(flipped(x2, flip), flipped(x3, flip));
    chosen = flipped(larger(upper, lower), flip);
  }
};

template <typename T>
void normalize_pool(const NormalizePool<T>& args) {
  const int64_t channels = args.channels, line = args.window.width * channels, columns = args.window.width / 2;
  for (int64_t row = 0; row < args.window.height / 2; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const T* top = args.x + 2 * row * line + 2 * column * channels;
      T* out = args.y + (row * columns + column) * channels;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const Floats scale = load(args.affine.scale + c);
        const Four four(top + c, channels, line, flip_of(scale));
        store(out + c, rectify(four.chosen * scale + load(args.affine.shift + c)));
      }
    }
  }
}

// The gradient belongs to the chosen pixel, if the rectifier let it through.
struct GradientSumsPoolKernel {
  template <int N, typename T>
  static TUTTI_INLINE void at(const GradientSumsPool<T>& args, int64_t c) {
    const int64_t channels = args.channels, line = args.window.width * channels, columns = args.window.width / 2;
    const PerChannel<N> scale(args.affine.scale + c), shift(args.affine.shift + c), mean(args.mean + c);
    PerChannel<N> sum, product;
    for (int64_t row = 0; row < args.window.height / 2; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        const T* top = args.x + 2 * row * line + 2 * column * channels + c;
        const T* dy = args.dy + (row * columns + column) * channels + c;
        for (int i = 0; i < N; ++i) {
          const Four four(top + i * kLanes, channels, line, flip_of(scale.of[i]));
          const Floats arriving = load(dy + i * kLanes);
          const Floats g = four.chosen * scale.of[i] + shift.of[i] <= 0 ? Floats{} : arriving;
          sum.of[i] += g;
          product.of[i] += g * (four.chosen - mean.of[i]);
        }
      }
    }
    sum.store_at(args.sum + c);
    product.store_at(args.product + c);
  }
};

template <typename T>
void gradient_sums_pool(const GradientSumsPool<T>& args) {
  for_channels<GradientSumsPoolKernel>(args);
}

// One pixel's dx; g is spent on the first pixel that was chosen.
template <typename T>
TUTTI_INLINE void differentiate_pixel(Floats x, Floats chosen, Floats slope, Floats offset, Floats& g, T* dx) {
  const auto is_chosen = x == chosen;
  store(dx, slope * x + offset + (is_chosen ? g : Floats{}));
  g = is_chosen ? Floats{} : g;
}

template <typename T>
TUTTI_INLINE void differentiate_windows(const DifferentiatePool<T>& args) {
  const int64_t channels = args.channels, line = args.window.width * channels, columns = args.window.width / 2;
  for (int64_t row = 0; row < args.window.height / 2; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t top = 2 * row * line + 2 * column * channels;
      const T* dy = args.dy + (row * columns + column) * channels;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const Floats scale = load(args.affine.scale + c);
        const Four four(args.x + top + c, channels, line, flip_of(scale));
        const Floats slope = load(args.by.slope + c), offset = load(args.by.offset + c);
        const Floats z = four.chosen * scale + load(args.affine.shift + c);
        Floats g = z <= 0 ? Floats{} : load(dy + c) * load(args.by.scale + c);
        T* dx = args.dx + top + c;
        differentiate_pixel(four.x0, four.chosen, slope, offset, g, dx);
        differentiate_pixel(four.x1, four.chosen, slope, offset, g, dx + channels);
        differentiate_pixel(four.x2, four.chosen, slope, offset, g, dx + line);
        differentiate_pixel(four.x3, four.chosen, slope, offset, g, dx + line + channels);
      }
    }
  }
}

// Pixels that no window covers still belong to the batch that was normalized.
template <typename T>
TUTTI_INLINE void differentiate_uncovered(const DifferentiatePool<T>& args, int64_t first, int64_t pixels) {
  for (int64_t at = first * args.channels; at < (first + pixels) * args.channels; at += args.channels) {
    for (int64_t c = 0; c < args.channels; c += kLanes) {
      store(args.dx + at + c, load(args.by.slope + c) * load(args.x + at + c) + load(args.by.offset + c));
    }
  }
}

template <typename T>
void differentiate_pool(const DifferentiatePool<T>& args) {
  const auto [height, width] = args.window;
  differentiate_windows(args);
  for (int64_t row = 0; width % 2 == 1 && row < height; ++row) differentiate_uncovered(args, row * width + width - 1, 1);
  if (height % 2 == 1) differentiate_uncovered(args, (height - 1) * width, width);
}

template <typename T>
constexpr NormKernels<T> norm_table() {
  return {moments<T>,        normalize<T>,          gradient_sums<T>,     differentiate<T>,
          normalize_pool<T>, gradient_sums_pool<T>, differentiate_pool<T>};
}

}  // namespace
}  // namespace tutti
