// All kernels, compiled once for each instruction set under the table's name that the build gives in TUTTI_TABLE. Includes
// nothing whose functions a linker could share between instruction sets.

#include "norm_kernels.h"

namespace tutti {
namespace {

// `Stream::bits` of random.rs.
TUTTI_INLINE uint64_t bits(uint64_t start, uint64_t twist, uint64_t index) {
  uint64_t z = start + index * 0x9e3779b97f4a7c15u;
  z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u) ^ twist;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void uniform(uint64_t start, uint64_t twist, int64_t begin, int64_t end, float* out) {
  for (int64_t index = begin; index < end; ++index) {
    out[index] = static_cast<float>(static_cast<int32_t>(bits(start, twist, index) >> 40)) * 0x1p-24f;
  }
}

// As torch.optim.SGD, with weight decay added to the gradient.
void sgd(const Sgd& rule, const Stretch& stretch) {
  const float rate = stretch.rate, decay = stretch.decay, momentum = rule.momentum;
  const float* __restrict gradients = stretch.gradients;
  float* __restrict parameters = stretch.parameters;
  float* __restrict buffers = stretch.first;
  if (buffers == nullptr) {
    for (int64_t i = 0; i < stretch.length; ++i) {
      parameters[i] -= rate * (gradients[i] + decay * parameters[i]);
    }
    return;
  }
  for (int64_t i = 0; i < stretch.length; ++i) {
    const float gradient = gradients[i] + decay * parameters[i];
    const float buffer = momentum * buffers[i] + gradient;
    buffers[i] = buffer;
    parameters[i] -= rate * (rule.nesterov ? gradient + momentum * buffer : buffer);
  }
}

// As torch.optim.Adam and AdamW.
void adam(const Adam& rule, const Stretch& stretch) {
  const float rate = stretch.rate / rule.correction1, root = __builtin_sqrt(rule.correction2), epsilon = rule.epsilon;
  const float keep1 = 1.0 - rule.beta1, beta2 = rule.beta2, keep2 = 1.0 - rule.beta2;
  const float added = rule.is_decoupled ? 0.0 : stretch.decay;
  const float shrunk = rule.is_decoupled ? 1.0 - stretch.rate * stretch.decay : 1.0;
  const float* __restrict gradients = stretch.gradients;
  float* __restrict parameters = stretch.parameters;
  float* __restrict means = stretch.first;
  float* __restrict squares = stretch.second;
  for (int64_t i = 0; i < stretch.length; ++i) {
    const float gradient = gradients[i] + added * parameters[i];
    means[i] += keep1 * (gradient - means[i]);
    squares[i] = beta2 * squares[i] + keep2 * gradient * gradient;
    const float denominator = __builtin_sqrtf(squares[i]) / root + epsilon;
    parameters[i] = shrunk * parameters[i] - rate * (means[i] / denominator);
  }
}

}  // namespace

extern const Kernels TUTTI_TABLE;
const Kernels TUTTI_TABLE = {norm_table<float>(), norm_table<Bf16>(), uniform, sgd, adam};

}  // namespace tutti
