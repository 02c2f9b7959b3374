#include "trainer/references.h"

#include "absl/strings/str_cat.h"

namespace grpo {

absl::Status ReferenceAudit::Add(const v1::Prompt& prompt) {
  ++num_answers_;
  absl::Status readable = profile_.CheckReference(prompt);
  if (!readable.ok() && num_unreadable_++ == 0) first_unreadable_ = readable;
  return readable;
}

absl::Status ReferenceAudit::Judge(const std::string& data, double max_frac) const {
  if (num_unreadable_ == 0) return absl::OkStatus();
  const std::string& rewards = profile_.ref().name();
  const std::string advice = absl::StrCat("; mend the answers, name the right answer_field or another rule (`grpoctl ",
                                          "reward audit --profile ", rewards, " --data ", data, "` lists them)");
  if (num_unreadable_ == num_answers_) {
    return absl::InvalidArgumentError(absl::StrCat("the rules of rewards.", rewards, " can read none of the ",
                                                   num_answers_, " reference answers of data.", data,
                                                   "; the first: ", first_unreadable_.message(), advice));
  }
  // A product, so that 1 of 100 is not more than 0.01.
  if (static_cast<double>(num_unreadable_) <= max_frac * static_cast<double>(num_answers_)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the rules of rewards.", rewards, " cannot read ", num_unreadable_, " of the ", num_answers_,
                   " reference answers of data.", data, ", and run.max_unreadable_reference_frac is ", max_frac,
                   "; the first: ", first_unreadable_.message(), advice, ", or raise that key to go without them"));
}

std::string ReferenceAudit::Summary(const std::string& data) const {
  if (num_unreadable_ == 0) return "";
  return absl::StrCat(
      num_unreadable_, " of ", num_answers_, " reference answers of data.", data,
      " cannot be read by the rules of rewards.", profile_.ref().name(),
      "; completions for them are left out of every mean and loss. The first: ", first_unreadable_.message());
}

}  // namespace grpo
