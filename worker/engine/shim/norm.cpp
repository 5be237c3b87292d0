// Batch normalization fused with what follows it, as an autograd function on the kernels of norm_kernels.h.
//
// libtorch runs normalization, addition, rectifier and pooling one after the other, each reading and writing the whole
// batch of images, forward and backward. On a CPU that traffic, not arithmetic, is most of a small network's time.

#include "kernels.h"
#include "shim.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace {

using at::Tensor;
using tutti::Affine;
using tutti::Bf16;
using tutti::InputGradient;
using tutti::Window;

// As `After` in norm.rs.
enum After : int64_t { kNothing = 0, kRelu = 1, kReluPool = 2 };

// An image batch [B, C, H, W] in channels-last memory, as kernels see it.
template <typename T>
struct Images {
  int64_t batch, channels, height, width;
  T* data;

  explicit Images(const Tensor& tensor)
      : batch(tensor.size(0)), channels(tensor.size(1)), height(tensor.size(2)), width(tensor.size(3)),
        data(static_cast<T*>(tensor.data_ptr())) {}

  int64_t rows() const { return batch * height * width; }
  T* image(int64_t index) const { return data + index * height * width * channels; }
  Window window() const { return {height, width}; }
};

template <typename T>
T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

template <typename T>
T* offset(T* data, int64_t by) {
  return data == nullptr ? nullptr : data + by;
}

// Rows of one piece of work. The same whatever the channels are, so that a member's sums are added up in a pack as they
// are alone; few enough that a block of 512 channels stays in a core's cache between the loops over channels.
constexpr int64_t kBlock = 256;

// Runs `body(begin, end)` over blocks of rows. The blocks, and so the order of every sum, do not depend on the number of
// threads: a run ends bit for bit alike on any of them.
template <typename Body>
int64_t for_blocks(int64_t rows, int64_t block, Body body) {
  const int64_t blocks = (rows + block - 1) / block;
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      body(index, index * block, std::min(block, rows - index * block));
    }
  });
  return blocks;
}

// Two sums over all rows for each channel, from each block's own.
struct Sums {
  std::vector<double> first, second;

  Sums(const float* parts, int64_t blocks, int64_t channels) : first(channels), second(channels) {
    for (int64_t block = 0; block < blocks; ++block) {
      const float* part = parts + block * 2 * channels;
      for (int64_t c = 0; c < channels; ++c) first[c] += part[c];
      for (int64_t c = 0; c < channels; ++c) second[c] += part[channels + c];
    }
  }
};

Tensor floats(std::initializer_list<int64_t> shape) {
  return at::empty(shape, at::kFloat);
}

// Mean and 1/sqrt(variance + epsilon) of each channel, [2, C]; running statistics move on by `momentum`.
template <typename T>
Tensor batch_statistics(const Images<T>& x, const Tensor& running_mean, const Tensor& running_variance, double momentum,
                        double epsilon) {
  const int64_t channels = x.channels;
  const Tensor parts = floats({(x.rows() + kBlock - 1) / kBlock, 2, channels});
  const auto& kernels = tutti::norm_kernels<T>();
  // The first pixel serves as the pivot: its moments about zero are itself and its square.
  std::vector<float> zeros(channels), pivot(channels), squares(channels);
  kernels.moments({x.data, 1, channels, zeros.data(), pivot.data(), squares.data()});
  float* part = parts.data_ptr<float>();
  const int64_t blocks = for_blocks(x.rows(), kBlock, [&](int64_t index, int64_t begin, int64_t count) {
    float* sum = part + index * 2 * channels;
    kernels.moments({x.data + begin * channels, count, channels, pivot.data(), sum, sum + channels});
  });
  const Sums sums(part, blocks, channels);
  const Tensor statistics = floats({2, channels});
  float* mean = statistics.data_ptr<float>();
  float* inverse = mean + channels;
  float* long_mean = running_mean.data_ptr<float>();
  float* long_variance = running_variance.data_ptr<float>();
  const double count = static_cast<double>(x.rows()), unbiased = count > 1 ? count / (count - 1) : 1.0;
  for (int64_t c = 0; c < channels; ++c) {
    const double from_pivot = sums.first[c] / count;
    const double variance = std::max(sums.second[c] / count - from_pivot * from_pivot, 0.0);
    mean[c] = static_cast<float>(pivot[c] + from_pivot);
    inverse[c] = static_cast<float>(1.0 / std::sqrt(variance + epsilon));
    long_mean[c] = static_cast<float>((1.0 - momentum) * long_mean[c] + momentum * mean[c]);
    long_variance[c] = static_cast<float>((1.0 - momentum) * long_variance[c] + momentum * variance * unbiased);
  }
  return statistics;
}

Tensor running_statistics(const Tensor& running_mean, const Tensor& running_variance, double epsilon) {
  return at::stack({running_mean, at::rsqrt(running_variance + epsilon)});
}

// Scale and shift of each channel, [2, C].
Tensor affine_of(const Tensor& statistics, const Tensor& weight, const Tensor& bias) {
  const int64_t channels = weight.numel();
  const Tensor affine = floats({2, channels});
  const float *mean = statistics.data_ptr<float>(), *inverse = mean + channels;
  const float *w = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
  float *scale = affine.data_ptr<float>(), *shift = scale + channels;
  for (int64_t c = 0; c < channels; ++c) {
    scale[c] = w[c] * inverse[c];
    shift[c] = b[c] - mean[c] * scale[c];
  }
  return affine;
}

Affine view(const Tensor& affine) {
  const float* scale = affine.data_ptr<float>();
  return {scale, scale + affine.size(1)};
}

template <typename T>
Tensor evaluate(const Tensor& input, const Tensor& residual, const Tensor& affine, int64_t after) {
  const Images<T> x(input);
  const auto& kernels = tutti::norm_kernels<T>();
  const bool pools = after == kReluPool;
  const Tensor output = at::empty({x.batch, x.channels, pools ? x.height / 2 : x.height, pools ? x.width / 2 : x.width},
                                  input.options().memory_format(at::MemoryFormat::ChannelsLast));
  const Images<T> y(output);
  if (pools) {
    at::parallel_for(0, x.batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        kernels.normalize_pool({x.image(b), x.window(), x.channels, view(affine), y.image(b)});
      }
    });
    return output;
  }
  const T* added = data_or_null<T>(residual);
  for_blocks(x.rows(), kBlock, [&](int64_t, int64_t begin, int64_t count) {
    const int64_t at = begin * x.channels;
    kernels.normalize({x.data + at, offset(added, at), count, x.channels, view(affine), after != kNothing, y.data + at});
  });
  return output;
}

// What a backward pass starts from.
struct Backward {
  Tensor input, output, statistics, affine, weight, gradient;
  int64_t after;
  bool used_batch;
};

// Sums over the batch of g and of g * (x - mean) for each channel.
template <typename T>
Sums gradient_sums(const Backward& pass) {
  const Images<T> x(pass.input), dy(pass.gradient);
  const Affine affine = view(pass.affine);
  const float* mean = pass.statistics.data_ptr<float>();
  const int64_t channels = x.channels, block = pass.after == kReluPool ? 1 : kBlock;
  const auto& kernels = tutti::norm_kernels<T>();
  const int64_t units = pass.after == kReluPool ? x.batch : x.rows();
  const Tensor parts = floats({(units + block - 1) / block, 2, channels});
  float* part = parts.data_ptr<float>();
  const T* y = data_or_null<T>(pass.output);
  const int64_t blocks = for_blocks(units, block, [&](int64_t index, int64_t begin, int64_t count) {
    float *sum = part + index * 2 * channels, *product = sum + channels;
    if (pass.after == kReluPool) {
      return kernels.gradient_sums_pool(
          {x.image(begin), dy.image(begin), x.window(), channels, affine, mean, sum, product});
    }
    const int64_t at = begin * channels;
    kernels.gradient_sums({x.data + at, offset(y, at), dy.data + at, count, channels, affine, pass.after != kNothing,
                           mean, sum, product});
  });
  return Sums(part, blocks, channels);
}

// dx, and the gradient of what was added (undefined where nothing was).
template <typename T>
std::pair<Tensor, Tensor> differentiate(const Backward& pass, InputGradient by) {
  const auto& kernels = tutti::norm_kernels<T>();
  const Tensor input_gradient = at::empty_like(pass.input);
  const Tensor added_gradient = pass.output.defined() ? at::empty_like(pass.input) : Tensor();
  const Images<T> x(pass.input), dy(pass.gradient), dx(input_gradient);
  const Affine affine = view(pass.affine);
  if (pass.after == kReluPool) {
    at::parallel_for(0, x.batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        kernels.differentiate_pool({x.image(b), dy.image(b), x.window(), x.channels, affine, by, dx.image(b)});
      }
    });
    return {input_gradient, added_gradient};
  }
  const T* y = data_or_null<T>(pass.output);
  T* added = data_or_null<T>(added_gradient);
  for_blocks(x.rows(), kBlock, [&](int64_t, int64_t begin, int64_t count) {
    const int64_t at = begin * x.channels;
    kernels.differentiate({x.data + at, offset(y, at), dy.data + at, count, x.channels, affine,
                           pass.after != kNothing, by, dx.data + at, offset(added, at)});
  });
  return {input_gradient, added_gradient};
}

// With batch statistics, dx = scale * (g - mean(g) - (x - mean) * inverse^2 * mean(g * (x - mean))); else scale * g.
Tensor coefficients(const Backward& pass, const Sums& sums) {
  const int64_t channels = pass.weight.numel();
  const Tensor result = at::zeros({3, channels}, at::kFloat);
  const float *mean = pass.statistics.data_ptr<float>(), *inverse = mean + channels;
  const float* factor = pass.affine.data_ptr<float>();
  float *scale = result.data_ptr<float>(), *slope = scale + channels, *offset = slope + channels;
  const double count = static_cast<double>(pass.input.numel() / channels);
  for (int64_t c = 0; c < channels; ++c) {
    scale[c] = factor[c];
    if (!pass.used_batch) continue;
    const double spread = static_cast<double>(inverse[c]) * inverse[c] * sums.second[c] / count;
    slope[c] = static_cast<float>(-factor[c] * spread);
    offset[c] = static_cast<float>(factor[c] * (spread * mean[c] - sums.first[c] / count));
  }
  return result;
}

template <typename T>
torch::autograd::variable_list backward_of(const Backward& pass) {
  const int64_t channels = pass.weight.numel();
  const Sums sums = gradient_sums<T>(pass);
  const Tensor by = coefficients(pass, sums);
  const float* scale = by.data_ptr<float>();
  const auto [dx, added] = differentiate<T>(pass, {scale, scale + channels, scale + 2 * channels});
  const Tensor weight_gradient = floats({channels}), bias_gradient = floats({channels});
  const float* inverse = pass.statistics.data_ptr<float>() + channels;
  for (int64_t c = 0; c < channels; ++c) {
    weight_gradient.data_ptr<float>()[c] = static_cast<float>(sums.second[c] * inverse[c]);
    bias_gradient.data_ptr<float>()[c] = static_cast<float>(sums.first[c]);
  }
  return {dx, added, weight_gradient, bias_gradient};
}

struct Norm : torch::autograd::Function<Norm> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x,
                        const std::optional<Tensor>& optional_residual, const Tensor& weight,
                        const Tensor& bias, const Tensor& running_mean, const Tensor& running_variance,
                        bool uses_batch, double momentum, double epsilon, int64_t after) {
    const Tensor residual = optional_residual.value_or(Tensor());
    const bool is_half = x.scalar_type() == at::kBFloat16;
    Tensor statistics;
    if (!uses_batch) {
      statistics = running_statistics(running_mean, running_variance, epsilon);
    } else if (is_half) {
      statistics = batch_statistics(Images<Bf16>(x), running_mean, running_variance, momentum, epsilon);
    } else {
      statistics = batch_statistics(Images<float>(x), running_mean, running_variance, momentum, epsilon);
    }
    const Tensor affine = affine_of(statistics, weight, bias);
    const Tensor y = is_half ? evaluate<Bf16>(x, residual, affine, after) : evaluate<float>(x, residual, affine, after);
    context->save_for_backward({x, residual.defined() ? y : Tensor(), statistics, affine, weight});
    context->saved_data["after"] = after;
    context->saved_data["uses_batch"] = uses_batch;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor gradient = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    const Backward pass{saved[0], saved[1], saved[2], saved[3], saved[4], gradient,
                        context->saved_data["after"].toInt(), context->saved_data["uses_batch"].toBool()};
    auto result = saved[0].scalar_type() == at::kBFloat16 ? backward_of<Bf16>(pass) : backward_of<float>(pass);
    result.resize(10);
    return result;
  }
};

bool is_channels_last(const Tensor& tensor) {
  return tensor.is_contiguous(at::MemoryFormat::ChannelsLast);
}

void check(const Tensor& x, const Tensor& residual, const Tensor& weight, int64_t after) {
  TORCH_CHECK(x.is_cpu() && x.dim() == 4 && is_channels_last(x), "norm: images must be channels-last on the CPU");
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "norm: f32 or bf16, not ", x.dtype());
  TORCH_CHECK(x.size(1) % tutti::kLanes == 0 && weight.numel() == x.size(1), "norm: channels ", x.size(1));
  TORCH_CHECK(x.numel() > 0, "norm: an empty batch has no statistics");
  if (!residual.defined()) return;
  TORCH_CHECK(after == kRelu && residual.sizes() == x.sizes() && residual.scalar_type() == x.scalar_type() &&
                  is_channels_last(residual),
              "norm: what is added must be as the images are, and be rectified");
}

}  // namespace

// y = after(norm(x) + residual); `residual` may be null where `after` is not kRelu.
extern "C" at::Tensor* tutti_norm(const at::Tensor* x, const at::Tensor* residual, const at::Tensor* weight,
                                  const at::Tensor* bias, const at::Tensor* running_mean,
                                  const at::Tensor* running_variance, bool uses_batch, double momentum, double epsilon,
                                  int64_t after, char* message) {
  at::Tensor* result = nullptr;
  tutti::guarded(message, [&] {
    const std::optional<at::Tensor> added = residual == nullptr ? std::nullopt : std::optional(*residual);
    check(*x, added.value_or(at::Tensor()), *weight, after);
    result = new at::Tensor(Norm::apply(*x, added, *weight, *bias, *running_mean, *running_variance, uses_batch,
                                        momentum, epsilon, after));
  });
  return result;
}
