// Soft labels (Hinton et al., arXiv:1503.02531): the divergence between the teachers' and the student's distributions
// over the vocabulary, at a temperature T:
//   p = softmax(z_teacher / T), q = softmax(z_student / T)
//   loss = sum_t distill_weight_t * sum_teachers share * [T^2] * D(p_t || q_t)
// D is one of trainer/divergences.inc. With top_k the two are compared on the teacher's K most likely tokens E and, as
// `tail` says, what is behind them:
//   dropped       p, q on E as they are
//   renormalised  p / p(E), q / q(E)
//   bucket        p, q on E, and 1 - p(E), 1 - q(E) as one token more
// Departure: a teacher's ids beyond the student's vocabulary (rows that pad an embedding) are left out before its
// softmax.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "trainer/batch/streams.h"
#include "trainer/divergence/divergence.h"
#include "trainer/loss/logits_loss.h"
#include "trainer/loss/loss_plugin.h"
#include "trainer/loss/teacher_options.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

// Tensors of the size of a chunk's logits that are there at a time: of student and teacher logits and
// log-probabilities, and a divergence's own; on a device that has its temporaries too.
constexpr int64_t kTensorsOfAChunk = 8, kTensorsOfADeviceChunk = 20;

// The tokens of C rows on which a teacher is compared.
struct TeacherRows {
  // log p, [C, V] or, with ids, [C, K].
  at::Tensor log_probs;
  // [C, K] int64; undefined for the whole vocabulary.
  at::Tensor ids = {};
  // What is behind the top k, [C, 1]; where the tail is a bucket.
  at::Tensor log_rest = {};
};

at::Tensor LogSumExp(const at::Tensor& log_probs) {
  return log_probs.logsumexp(-1, /*keepdim=*/true);
}

// What the rows [C, V] give to all but these ids, [C, 1].
at::Tensor LogOfRest(const at::Tensor& log_probs, const at::Tensor& ids) {
  return LogSumExp(log_probs.scatter(1, ids, -std::numeric_limits<double>::infinity()));
}

// The same where nothing but the ids' own is known: what is left of 1 beside these [C, K]. Never 0, for sums may round
// to more than 1.
at::Tensor LogOfRest(const at::Tensor& top_log_probs) {
  return at::log((1 - at::exp(top_log_probs.to(at::kDouble)).sum(-1, /*keepdim=*/true)).clamp_min(1e-12))
      .to(top_log_probs.scalar_type());
}

class SoftLabels : public Loss {
 public:
  SoftLabels(SoftLabelsOptions options, std::unique_ptr<Divergence> divergence)
      : options_(std::move(options)), divergence_(std::move(divergence)) {
    for (const TeacherOptions& teacher : options_.teachers) sum_of_weights_ += teacher.weight;
    metric_ = metric::Divergence(
        options_.top_k > 0 ? absl::StrCat(options_.divergence.type, "_top", options_.top_k, "_tail_", options_.tail)
                           : options_.divergence.type);
  }

  static absl::StatusOr<std::unique_ptr<Loss>> Create(const SoftLabelsOptions& options) {
    ASSIGN_OR_RETURN(std::unique_ptr<Divergence> divergence,
                     MakeDivergence(options.divergence.type, options.divergence.options));
    return std::make_unique<SoftLabels>(options, std::move(divergence));
  }

  std::vector<std::string> streams() const override {
    std::vector<std::string> names = {stream::kDistillWeight};
    for (const TeacherOptions& teacher : options_.teachers) {
      if (!teacher.stored) continue;
      names.insert(names.end(), {stream::kTeacherTopIds, stream::kTeacherTopLogprob});
    }
    return names;
  }

  std::vector<NeededOutputs> outputs() const override {
    std::vector<NeededOutputs> needed = {{.policy = ""}};
    for (const TeacherOptions& teacher : options_.teachers) {
      if (!teacher.stored) needed.push_back({.policy = teacher.policy});
    }
    return needed;
  }

  LossOutput Compute(const LossInput& input) const override {
    const at::Tensor& weight = input.streams.at(stream::kDistillWeight);  // [M]
    at::Tensor divergence = at::zeros({}, weight.options().dtype(at::kDouble));
    double temperature = 0;
    for (const TeacherOptions& teacher : options_.teachers)
      temperature += Share(teacher) * teacher.temperature.At(input.done_frac);
    const auto rows = [&](int64_t begin, at::Tensor& logits) {
      const at::Tensor weights = weight.narrow(0, begin, logits.size(0));  // [C]
      LogitsLoss sum = {.value = at::zeros({}, logits.options()), .gradient = {}};
      for (const TeacherOptions& teacher : options_.teachers) {
        const double t = teacher.temperature.At(input.done_frac);
        const double factor = Share(teacher) * (options_.temperature_squared ? t * t : 1);
        const at::Tensor log_q = at::log_softmax(logits / t, -1);  // [C, V]
        DivergenceRows compared = Compare(RowsOf(teacher, t, input, begin, logits), log_q);
        const at::Tensor value = (compared.value * weights).sum();
        divergence += Share(teacher) * value;
        sum.value = sum.value + factor * value;
        // d log q / d logits at T: of each row, [v = u] - q_u, and 1 / T.
        const at::Tensor& gradient = compared.log_student_gradient;
        at::Tensor of_logits = gradient - at::exp(log_q) * gradient.sum(-1, /*keepdim=*/true);
        of_logits.mul_((weights * (factor / t)).unsqueeze(-1));
        sum.gradient = sum.gradient.defined() ? sum.gradient + of_logits : of_logits;
      }
      return sum;
    };
    LossOutput output;
    const int64_t num_tensors = weight.is_cpu() ? kTensorsOfAChunk : kTensorsOfADeviceChunk;
    output.loss = SumOverLogits(input.outputs.at(""), input.head_chunk_bytes / num_tensors, rows);
    output.sums[metric_] = divergence;
    output.sums[metric::kDistillTemperature] = temperature * weight.sum();
    return output;
  }

 private:
  bool bucket() const { return options_.tail == "bucket"; }
  double Share(const TeacherOptions& teacher) const { return teacher.weight / sum_of_weights_; }

  // What a teacher says of the C targets from `begin` on, of whose student `logits` [C, V] are.
  TeacherRows RowsOf(const TeacherOptions& teacher, double temperature, const LossInput& input, int64_t begin,
                     const at::Tensor& logits) const {
    const int64_t count = logits.size(0), vocab_size = logits.size(1);
    if (teacher.stored) {
      const auto stored = [&](const char* name) {
        const at::Tensor& all = input.streams.at(name);  // [M, K]
        TORCH_CHECK(all.dim() == 2 && all.size(1) >= options_.top_k, name, " has fewer entries than top_k");
        return all.narrow(0, begin, count).narrow(1, 0, options_.top_k);
      };
      TeacherRows rows = {.log_probs = stored(stream::kTeacherTopLogprob) / temperature,
                          .ids = stored(stream::kTeacherTopIds)};
      if (bucket()) rows.log_rest = LogOfRest(rows.log_probs);
      return rows;
    }
    const at::Tensor of_teacher = LogitsOf(input.outputs.at(teacher.policy), begin, count).narrow(1, 0, vocab_size);
    const at::Tensor log_p = at::log_softmax(of_teacher / temperature, -1);  // [C, V]
    if (options_.top_k == 0 || options_.top_k >= vocab_size) return {.log_probs = log_p};
    auto [values, ids] = at::topk(log_p, options_.top_k);
    return {.log_probs = values, .ids = ids, .log_rest = bucket() ? LogOfRest(log_p, ids) : at::Tensor()};
  }

  // The divergence of each row, and its derivatives by all of log q [C, V].
  DivergenceRows Compare(const TeacherRows& teacher, const at::Tensor& log_q) const {
    if (!teacher.ids.defined()) return divergence_->Compute(teacher.log_probs, log_q);
    const at::Tensor& log_p = teacher.log_probs;                     // [C, K]
    const at::Tensor log_q_top = at::gather(log_q, 1, teacher.ids);  // [C, K]
    DivergenceRows rows;
    at::Tensor of_top, of_all;
    if (options_.tail == "renormalised") {
      const at::Tensor log_q_norm = log_q_top - LogSumExp(log_q_top);
      rows = divergence_->Compute(log_p - LogSumExp(log_p), log_q_norm);
      of_top = rows.log_student_gradient - at::exp(log_q_norm) * rows.log_student_gradient.sum(-1, /*keepdim=*/true);
    } else if (bucket()) {
      const int64_t k = log_p.size(1);
      const at::Tensor log_q_rest = LogOfRest(log_q, teacher.ids);  // [C, 1]
      rows = divergence_->Compute(at::cat({log_p, teacher.log_rest}, 1), at::cat({log_q_top, log_q_rest}, 1));
      of_top = rows.log_student_gradient.narrow(1, 0, k);
      // d log q_rest / d log q_v = q_v / q_rest of what is behind the top k.
      of_all = rows.log_student_gradient.narrow(1, k, 1) * at::exp(log_q - log_q_rest);
    } else {
      rows = divergence_->Compute(log_p, log_q_top);
      of_top = rows.log_student_gradient;
    }
    if (!of_all.defined()) of_all = at::zeros_like(log_q);
    rows.log_student_gradient = of_all.scatter_(1, teacher.ids, of_top);
    return rows;
  }

  const SoftLabelsOptions options_;
  const std::unique_ptr<Divergence> divergence_;
  double sum_of_weights_ = 0;
  std::string metric_;
};

}  // namespace

LossPlugin Loss_soft_labels() {
  return MakeLossPlugin<SoftLabelsOptions, SoftLabels>(
      "The divergence between the teachers' and the student's distributions over the vocabulary.");
}

}  // namespace grpo
