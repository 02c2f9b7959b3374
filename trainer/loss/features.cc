// Features (FitNets, arXiv:1412.6550; TinyBERT, arXiv:1909.10351; DistilBERT's cosine, arXiv:1910.01108): what leaves
// chosen layers of the student is to be what leaves the teacher's, through a learned projection P where the widths
// differ:
//   loss = sum_t distill_weight_t * 1/|pairs| * sum_pairs mse_weight * 1/D sum_d (P h_s - h_t)_d^2
//                                                        + cosine_weight * (1 - cos(P h_s, h_t))
// with h the residual stream behind the layer, at the token that predicts t. Departure from TinyBERT: no attention
// maps, and no embedding layer.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/loss_plugin.h"
#include "trainer/loss/teacher_options.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

class Features : public Loss {
 public:
  explicit Features(FeaturesOptions options) : options_(std::move(options)) {}

  absl::Status Begin(const LossModels& models) override {
    const auto teacher = models.frozen.find(options_.teacher);
    if (teacher == models.frozen.end())
      return absl::InvalidArgumentError(absl::StrCat("the loss features has no teacher \"", options_.teacher, "\""));
    const int64_t width = models.policy.hidden_size, teacher_width = teacher->second->hidden_size;
    pairs_ = options_.Pairs(models.policy.num_layers, teacher->second->num_layers);
    for (const LayerPair& pair : pairs_) {
      if (pair.student <= models.policy.num_layers && pair.teacher <= teacher->second->num_layers) continue;
      return absl::InvalidArgumentError(absl::StrCat("features.pairs has student ", pair.student, ", teacher ",
                                                     pair.teacher, "; they have ", models.policy.num_layers, " and ",
                                                     teacher->second->num_layers, " layers"));
    }
    if (width == teacher_width) return absl::OkStatus();
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const std::string name = absl::StrCat("features.projections.", i, ".weight");
      Rng rng(CombineSeeds(models.seed, HashName(name)));
      at::Tensor projection = at::empty({teacher_width, width});
      float* const numbers = projection.data_ptr<float>();
      // Uniform within 1 / sqrt(fan-in), as PyTorch begins a linear layer.
      const double bound = 1 / std::sqrt(static_cast<double>(width));
      for (int64_t k = 0; k < projection.numel(); ++k) numbers[k] = static_cast<float>(bound * (2 * rng.Uniform() - 1));
      // The same numbers wherever they lie.
      projections_.emplace_back(name, projection.to(models.device).requires_grad_(true));
    }
    return absl::OkStatus();
  }

  std::vector<std::string> streams() const override { return {stream::kDistillWeight}; }
  NamedTensors parameters() const override { return projections_; }

  std::vector<NeededOutputs> outputs() const override {
    std::vector<NeededOutputs> needed = {{.policy = ""}, {.policy = options_.teacher}};
    for (const LayerPair& pair : pairs_) {
      needed[0].layers.push_back(pair.student);
      needed[1].layers.push_back(pair.teacher);
    }
    return needed;
  }

  LossOutput Compute(const LossInput& input) const override {
    const at::Tensor& weight = input.streams.at(stream::kDistillWeight);  // [M]
    const LayerOutputs& student = input.outputs.at("").layers;
    const LayerOutputs& teacher = input.outputs.at(options_.teacher).layers;
    at::Tensor squares = at::zeros({}, weight.options().dtype(at::kFloat)), cosines = squares;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      at::Tensor of_student = student.at(pairs_[i].student);     // [M, D]
      const at::Tensor& wanted = teacher.at(pairs_[i].teacher);  // [M, D of the teacher]
      if (!projections_.empty()) of_student = at::matmul(of_student, projections_[i].second.t());
      squares = squares + ((of_student - wanted).square().mean(-1) * weight).sum();
      cosines = cosines + ((1 - at::cosine_similarity(of_student, wanted, -1)) * weight).sum();
    }
    const double num_pairs = static_cast<double>(pairs_.size());
    squares = squares / num_pairs;
    cosines = cosines / num_pairs;
    LossOutput output;
    output.loss = options_.mse_weight * squares + options_.cosine_weight * cosines;
    output.sums[metric::kFeatureMse] = squares.detach();
    output.sums[metric::kFeatureCosineDistance] = cosines.detach();
    return output;
  }

 private:
  const FeaturesOptions options_;
  std::vector<LayerPair> pairs_;
  // [D of the teacher, D] for each pair; none where the widths are the same.
  NamedTensors projections_;
};

}  // namespace

LossPlugin Loss_features() {
  return MakeLossPlugin<FeaturesOptions, Features>(
      "The difference between what leaves chosen layers of the student and of a teacher.");
}

}  // namespace grpo
