#include "rollout/endpoint/sampler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/http/secret_file.h"
#include "common/log.h"
#include "common/seeds.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "common/utf8.h"
#include "coordinator/endpoint_usage.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

// How long a thread sleeps at most before it looks again: what it waits for may be a file that somebody writes.
constexpr absl::Duration kLook = absl::Seconds(1);
// Of a chat template, which the server adds to the prompt.
constexpr int64_t kTemplateTokens = 256;

http::ClientOptions HttpOptions(const EndpointOptions& endpoint) {
  http::ClientOptions options;
  options.timeout = absl::Seconds(endpoint.timeout_s);
  options.connect_timeout = std::min(options.connect_timeout, options.timeout);
  options.ca_file = endpoint.ca_file;
  return options;
}

absl::Status CheckRequest(const GroupRequest& request) {
  if (request.prompt.empty()) return absl::InvalidArgumentError("the prompt is empty; give it a text");
  if (!IsUtf8(request.prompt)) return absl::InvalidArgumentError("the prompt is not UTF-8, which JSON must be");
  const v1::SamplingParams& sampling = request.sampling;
  for (const std::string& stop : sampling.stop()) {
    if (!IsUtf8(stop)) return absl::InvalidArgumentError("a stop string is not UTF-8, which JSON must be");
  }
  if (sampling.num_completions() >= 1 && sampling.max_new_tokens() >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("num_completions is ", sampling.num_completions(),
                                                 " and max_new_tokens ", sampling.max_new_tokens(),
                                                 "; both must be at least 1"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EndpointSampler>> EndpointSampler::Create(const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<AnswerLog> log,
                   AnswerLog::Open(absl::StrCat(options.folder, "/", options.policy, ".jsonl")));
  return std::unique_ptr<EndpointSampler>(new EndpointSampler(options, std::move(log)));
}

EndpointSampler::EndpointSampler(const Options& options, std::unique_ptr<AnswerLog> log)
    : options_(options),
      log_(std::move(log)),
      client_(HttpOptions(options.endpoint)),
      limiter_(options.endpoint.requests_per_minute),
      budget_(options.endpoint) {
  {
    MutexLock lock(&mutex_);
    budget_.SetSpent(log_->spent());
  }
  ReadBudget();
  for (int64_t i = 0; i < options_.endpoint.concurrency; ++i)
    threads_.push_back(StartThread("asking an endpoint", [this] { Loop(); }));
}

EndpointSampler::~EndpointSampler() {
  {
    MutexLock lock(&mutex_);
    closed_ = true;
    changed_.SignalAll();
  }
  client_.Cancel();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status EndpointSampler::Add(GroupRequest request) {
  RETURN_IF_ERROR(CheckRequest(request));
  auto group = std::make_shared<Group>();
  group->key = AnswerKey(options_.endpoint, request.prompt, request.sampling, request.seed);
  group->choices.resize(static_cast<size_t>(request.sampling.num_completions()));
  group->request = std::move(request);
  group->started = clock_.Now();
  absl::StatusOr<std::vector<LoggedAnswer>> known = log_->Find(group->key);
  if (!known.ok()) spdlog::error("{}; its group is asked for again", std::string(known.status().message()));

  MutexLock lock(&mutex_);
  for (LoggedAnswer& answer : known.ok() ? *known : std::vector<LoggedAnswer>()) {
    AddUsage(answer.usage, &group->usage);
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      const size_t index = static_cast<size_t>(answer.first) + i;
      if (index < group->choices.size() && !group->choices[index].has_value())
        group->choices[index] = std::move(answer.choices[i]);
    }
  }
  groups_[group->request.id] = group;
  FinishIfWhole(group.get());
  Ask(group);
  return absl::OkStatus();
}

void EndpointSampler::Cancel(int64_t id) {
  MutexLock lock(&mutex_);
  std::erase_if(whole_, [id](const SampledGroup& group) { return group.id == id; });
  const auto group = groups_.find(id);
  if (group == groups_.end()) return;
  group->second->over = true;
  groups_.erase(group);
}

absl::StatusOr<std::vector<SampledGroup>> EndpointSampler::Step() {
  MutexLock lock(&mutex_);
  return std::exchange(whole_, {});
}

bool EndpointSampler::idle() const {
  MutexLock lock(&mutex_);
  return groups_.empty() && whole_.empty();
}

int64_t EndpointSampler::num_unfinished() const {
  MutexLock lock(&mutex_);
  int64_t count = 0;
  for (const auto& [id, group] : groups_) {
    count += std::count(group->choices.begin(), group->choices.end(), std::nullopt);
  }
  return count;
}

int64_t EndpointSampler::num_tokens_generated() const {
  MutexLock lock(&mutex_);
  return num_tokens_;
}

std::string EndpointSampler::blocked_reason() const {
  MutexLock lock(&mutex_);
  return groups_.empty() ? "" : blocked_;
}

void EndpointSampler::Loop() {
  while (std::optional<Task> task = Take()) Try(*std::move(task));
}

std::optional<EndpointSampler::Task> EndpointSampler::Take() {
  while (true) {
    bool spent = false;
    {
      MutexLock lock(&mutex_);
      if (closed_) return std::nullopt;
      absl::Duration wait = kLook;
      if (std::optional<Task> task = TakeDue(clock_.Now(), &wait)) return task;
      changed_.WaitFor(&mutex_, std::min(wait, kLook));
      spent = budget_spent_;
    }
    // Somebody may have raised it.
    if (spent) ReadBudget();
  }
}

std::optional<EndpointSampler::Task> EndpointSampler::TakeDue(absl::Duration now, absl::Duration* wait) {
  std::erase_if(tasks_, [](const Task& task) { return task.group->over; });
  if (const absl::Duration pause = limiter_.NextStart() - now; pause > absl::ZeroDuration()) {
    *wait = pause;
    return std::nullopt;
  }
  const auto due = std::find_if(tasks_.begin(), tasks_.end(), [&](Task& task) {
    if (task.not_before <= now) return true;
    *wait = std::min(*wait, task.not_before - now);
    return false;
  });
  if (due == tasks_.end()) return std::nullopt;
  Task task = *due;
  task.count = std::min(task.count, max_choices_);
  if (!budget_.Reserve(MostOf(task))) {
    // What is under way may cost less than was set aside for it.
    if (num_in_flight_ > 0) return std::nullopt;
    const std::string text = budget_.Text(MostOf(task));
    const std::string reason = absl::StrCat("the budget of policies.", options_.policy, ".endpoint is spent: ", text,
                                            ". The run goes on by itself once ", options_.folder, "/", options_.policy,
                                            R"(.budget.json holds {"budget_tokens": N, "budget_usd": X} with more)");
    if (blocked_ != reason) spdlog::warn("{}", reason);
    blocked_ = reason;
    budget_spent_ = true;
    return std::nullopt;
  }
  if (std::exchange(budget_spent_, false)) blocked_.clear();
  if (task.count < due->count) {
    due->first += task.count;
    due->count -= task.count;
  } else {
    tasks_.erase(due);
  }
  limiter_.Start(now);
  ++num_in_flight_;
  return task;
}

void EndpointSampler::Try(Task task) {
  Verdict verdict = Attempt(task);
  const bool paid = verdict.kind == Verdict::Kind::kAnswer || verdict.kind == Verdict::Kind::kOtherModel ||
                    verdict.answer.usage.has_value();
  v1::EndpointUsage usage;
  if (paid) usage = Log(task, verdict);

  MutexLock lock(&mutex_);
  --num_in_flight_;
  budget_.Release(MostOf(task));
  budget_.SetSpent(log_->spent());
  num_tokens_ += usage.output_tokens();
  AddUsage(usage, &task.group->usage);
  switch (verdict.kind) {
    case Verdict::Kind::kAnswer:
      TakeAnswer(task, std::move(verdict.answer));
      break;
    case Verdict::Kind::kRetry:
    case Verdict::Kind::kBlocked:
      TryAgain(std::move(task), verdict);
      break;
    case Verdict::Kind::kRefused:
    case Verdict::Kind::kOtherModel:
      Refuse(task, verdict);
      break;
    case Verdict::Kind::kCancelled:
      break;
  }
  changed_.SignalAll();
}

Verdict EndpointSampler::Attempt(const Task& task) {
  const EndpointOptions& endpoint = options_.endpoint;
  const GroupRequest& request = task.group->request;
  http::Headers headers;
  std::string key;
  if (!endpoint.api_key_file.empty()) {
    absl::StatusOr<std::string> read = http::ReadSecretFile(endpoint.api_key_file);
    if (!read.ok()) return {.kind = Verdict::Kind::kBlocked, .message = std::string(read.status().message())};
    key = *std::move(read);
    headers.emplace_back("Authorization", absl::StrCat("Bearer ", key));
  }
  // A server that heeds it answers a repeated request from what it has, and bills it once.
  const std::string name = absl::StrCat(task.group->key, "/", task.first, "/", task.count, "/", task.num_bad_answers);
  headers.emplace_back("Idempotency-Key", Sha256Hex(name).substr(0, 32));
  const std::string body =
      RequestBody(endpoint, request.prompt, request.sampling, task.count, SampleSeed(request.seed, task.first));
  return Judge(endpoint, request.prompt, key, client_.Post(RequestUrl(endpoint), headers, body));
}

v1::EndpointUsage EndpointSampler::Log(const Task& task, const Verdict& verdict) {
  LoggedAnswer logged;
  logged.first = task.first;
  int64_t num_bytes = 0;
  for (const Choice& choice : verdict.answer.choices) num_bytes += static_cast<int64_t>(choice.text.size());
  const TokenCount tokens = verdict.answer.usage.value_or(
      TokenCount{.input = static_cast<int64_t>(task.group->request.prompt.size()), .output = num_bytes});
  logged.usage.set_num_requests(1);
  logged.usage.set_input_tokens(tokens.input);
  logged.usage.set_output_tokens(tokens.output);
  logged.usage.set_usd(Budget(options_.endpoint).Usd(tokens));
  if (verdict.kind == Verdict::Kind::kAnswer) {
    logged.choices = verdict.answer.choices;
    // More than was asked for belongs to nobody.
    logged.choices.resize(std::min(logged.choices.size(), static_cast<size_t>(task.count)));
  }
  const absl::Status written = log_->Append(task.group->key, logged);
  if (!written.ok()) {
    spdlog::error("{}: AN ANSWER THAT WAS PAID FOR IS NOT RECORDED, and a killed run would ask for it again",
                  written.ToString());
  }
  return logged.usage;
}

void EndpointSampler::TakeAnswer(const Task& task, Answer answer) {
  blocked_.clear();
  const auto num_answered = static_cast<int32_t>(std::min(answer.choices.size(), static_cast<size_t>(task.count)));
  if (task.split) max_choices_ = 1;
  if (num_answered < task.count) max_choices_ = std::min(max_choices_, num_answered);
  Group& group = *task.group;
  if (group.over) return;
  for (int32_t i = 0; i < num_answered; ++i) {
    group.choices[static_cast<size_t>(task.first + i)] = std::move(answer.choices[static_cast<size_t>(i)]);
  }
  if (num_answered < task.count) {
    tasks_.push_front({.group = task.group, .first = task.first + num_answered, .count = task.count - num_answered});
  }
  FinishIfWhole(&group);
}

void EndpointSampler::TryAgain(Task task, const Verdict& verdict) {
  ++task.failures;
  task.num_bad_answers += verdict.status != 0;
  const absl::Duration now = clock_.Now();
  const double uniform = static_cast<double>(random_()) * 0x1.0p-32;
  absl::Duration delay = options_.retry.Delay(task.failures, verdict.retry_after, uniform);
  if (verdict.kind == Verdict::Kind::kBlocked) delay = std::max(delay, options_.retry.longest);
  task.not_before = now + delay;
  // It is the server that is busy, not this request.
  if (verdict.retry_after.has_value()) limiter_.HoldUntil(now + std::min(*verdict.retry_after, delay));
  spdlog::warn("policies.{}.endpoint: {}; attempt {} failed, the next one follows in {:.1f} s", options_.policy,
               verdict.message, task.failures, absl::ToDoubleSeconds(delay));
  if (verdict.kind == Verdict::Kind::kBlocked || task.failures > options_.endpoint.max_retries) {
    blocked_ = absl::StrCat("policies.", options_.policy, ".endpoint (", options_.endpoint.url,
                            ") does not answer: ", verdict.message, "; it is tried on");
  }
  tasks_.push_front(std::move(task));
}

void EndpointSampler::Refuse(const Task& task, const Verdict& verdict) {
  Group& group = *task.group;
  if (group.over) return;
  // Some servers refuse what they cannot do several times at once.
  if (task.count > 1 && verdict.kind == Verdict::Kind::kRefused && (verdict.status == 400 || verdict.status == 422)) {
    for (int32_t i = task.count; i-- > 0;) {
      tasks_.push_front({.group = task.group, .first = task.first + i, .count = 1, .split = true});
    }
    return;
  }
  Finish(&group, absl::StrCat("policies.", options_.policy, ".endpoint (", options_.endpoint.url,
                              ") refuses it: ", verdict.message));
}

void EndpointSampler::Ask(const std::shared_ptr<Group>& group) {
  if (group->over) return;
  const auto size = static_cast<int32_t>(group->choices.size());
  for (int32_t first = 0; first < size;) {
    int32_t end = first;
    while (end < size && !group->choices[static_cast<size_t>(end)].has_value()) ++end;
    if (end > first) {
      tasks_.push_back({.group = group, .first = first, .count = end - first});
    }
    first = end + 1;
  }
  changed_.SignalAll();
}

void EndpointSampler::FinishIfWhole(Group* group) {
  const auto& choices = group->choices;
  if (std::all_of(choices.begin(), choices.end(), [](const auto& choice) { return choice.has_value(); }))
    Finish(group, "");
}

void EndpointSampler::Finish(Group* group, std::string error) {
  group->over = true;
  SampledGroup& sampled = whole_.emplace_back();
  sampled.id = group->request.id;
  sampled.usage = group->usage;
  sampled.generate_seconds = absl::ToDoubleSeconds(clock_.Now() - group->started);
  if (error.empty()) {
    for (size_t i = 0; i < group->choices.size(); ++i) {
      v1::Completion& completion = sampled.completions.emplace_back();
      completion.set_index(static_cast<int32_t>(i));
      completion.set_text(group->choices[i]->text);
      completion.set_finish_reason(group->choices[i]->finish_reason);
    }
  }
  sampled.error = std::move(error);
  groups_.erase(sampled.id);
}

void EndpointSampler::ReadBudget() {
  const absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(options_.folder, "/", options_.policy, ".budget.json"), /*max_bytes=*/4096);
  if (!text.ok()) return;
  const nlohmann::json budget = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!budget.is_object()) return;
  const auto limit = [&](const char* name, double otherwise) {
    const auto found = budget.find(name);
    return found != budget.end() && found->is_number() && found->get<double>() >= 0 ? found->get<double>() : otherwise;
  };
  const double tokens = limit("budget_tokens", static_cast<double>(options_.endpoint.budget_tokens));
  const double usd = limit("budget_usd", options_.endpoint.budget_usd);
  MutexLock lock(&mutex_);
  budget_.SetLimits(static_cast<int64_t>(std::min(tokens, 9e15)), usd);
}

TokenCount EndpointSampler::MostOf(const Task& task) {
  const GroupRequest& request = task.group->request;
  return {.input = static_cast<int64_t>(request.prompt.size()) + kTemplateTokens,
          .output = int64_t{task.count} * request.sampling.max_new_tokens()};
}

}  // namespace grpo
