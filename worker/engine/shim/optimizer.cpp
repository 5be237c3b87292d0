// One optimizer step over the flat arena in one pass over memory.

#include "kernels.h"
#include "shim.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

namespace {

using tutti::Stretch;

// Elements of one piece of work: large enough to outweigh handing it to a thread.
constexpr int64_t kPiece = 1 << 15;

float* floats(const at::Tensor* tensor) {
  if (tensor == nullptr) return nullptr;
  TORCH_CHECK(tensor->is_cpu() && tensor->is_contiguous() && tensor->scalar_type() == at::kFloat,
              "optimizer: flat f32 tensors on the CPU");
  return tensor->data_ptr<float>();
}

Stretch part(const Stretch& whole, int64_t begin, int64_t length) {
  const auto at = [begin](auto* data) { return data == nullptr ? nullptr : data + begin; };
  return {at(whole.parameters), at(whole.first), at(whole.second), at(whole.gradients), length, whole.rate, whole.decay};
}

std::vector<Stretch> pieces(const std::vector<Stretch>& stretches) {
  std::vector<Stretch> result;
  for (const Stretch& stretch : stretches) {
    for (int64_t begin = 0; begin < stretch.length; begin += kPiece) {
      result.push_back(part(stretch, begin, std::min(kPiece, stretch.length - begin)));
    }
  }
  return result;
}

}  // namespace

// As `Stretch` in shim.rs.
struct TuttiStretch {
  int64_t offset, length;
  double rate, decay;
};

// As `Step` in shim.rs. SGD uses beta1 as momentum and no second moment.
struct TuttiStep {
  bool is_adam, nesterov, is_decoupled;
  double beta1, beta2, epsilon, correction1, correction2;
};

// Steps `parameters` along `gradients` over the given stretches; `first` and `second` may be null where the rule has none.
extern "C" bool tutti_step(const TuttiStep* step, const TuttiStretch* stretches, size_t count,
                           const at::Tensor* parameters, const at::Tensor* gradients, const at::Tensor* first,
                           const at::Tensor* second, char* message) {
  return tutti::guarded(message, [&] {
    const Stretch arena{floats(parameters), floats(first), floats(second), floats(gradients), parameters->numel(), 0, 0};
    TORCH_CHECK(gradients->numel() == arena.length, "optimizer: ", gradients->numel(), " gradients for ", arena.length);
    std::vector<Stretch> all;
    for (size_t i = 0; i < count; ++i) {
      all.push_back(part(arena, stretches[i].offset, stretches[i].length));
      all.back().rate = stretches[i].rate;
      all.back().decay = stretches[i].decay;
    }
    const tutti::Sgd sgd{step->beta1, step->nesterov};
    const tutti::Adam adam{step->beta1, step->beta2, step->epsilon, step->correction1, step->correction2,
                           step->is_decoupled};
    const std::vector<Stretch> work = pieces(all);
    at::parallel_for(0, static_cast<int64_t>(work.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        step->is_adam ? tutti::kernels().adam(adam, work[i]) : tutti::kernels().sgd(sgd, work[i]);
      }
    });
    // The arena was written behind autograd's back: whoever saved a view of it must hear of it.
    parameters->unsafeGetTensorImpl()->bump_version();
  });
}
