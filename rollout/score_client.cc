#include "rollout/score_client.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/check_message.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "reward/score_check.h"

namespace grpo {
namespace {

using ScoreStream = grpc::ClientReaderWriter<v1::ScoreRequest, v1::ScoreResponse>;

void SendGroup(ScoreStream& stream, const v1::RewardProfileRef& profile, const v1::Prompt& prompt,
               const std::vector<v1::Completion>& completions) {
  v1::ScoreRequest header;
  *header.mutable_header()->mutable_profile() = profile;
  *header.mutable_header()->mutable_prompt() = prompt;
  // A failed write means that the stream broke; Finish says why.
  bool open = stream.Write(header);
  for (size_t i = 0; open && i < completions.size(); ++i) {
    v1::ScoreRequest request;
    request.mutable_completion()->set_index(static_cast<int32_t>(i));
    request.mutable_completion()->set_text(completions[i].text());
    *request.mutable_completion()->mutable_ids() = completions[i].ids();
    open = stream.Write(request);
  }
  stream.WritesDone();
}

// Puts the answer in its place, or says what is wrong with it.
absl::Status TakeAnswer(v1::ScoreResponse& answer, std::vector<v1::Score>& scores) {
  const int64_t index = answer.index();
  if (index < 0 || index >= static_cast<int64_t>(scores.size())) {
    return absl::InternalError(absl::StrCat("answered for completion ", index, " of ", scores.size()));
  }
  if (scores[index].outcome() != v1::OUTCOME_UNSPECIFIED) {
    return absl::InternalError(absl::StrCat("answered twice for completion ", index));
  }
  // The coordinator would refuse the whole group, and this worker with it.
  rpc::CutTexts(&answer);
  absl::Status wrong = rpc::CheckMessage(answer);
  wrong.Update(CheckScore(answer.score()));
  if (!wrong.ok()) return absl::InternalError(absl::StrCat("answered for completion ", index, ": ", wrong.message()));
  scores[index] = std::move(*answer.mutable_score());
  return absl::OkStatus();
}

}  // namespace

absl::Status ScoreClient::UseServers(const std::vector<std::string>& addresses) {
  absl::MutexLock lock(&mutex_);
  if (addresses == addresses_) return unusable_;
  std::vector<std::shared_ptr<const Server>> servers;
  unusable_ = absl::OkStatus();
  for (const std::string& address : addresses) {
    const auto known = std::find_if(servers_.begin(), servers_.end(),
                                    [&](const auto& server) { return server->client->address() == address; });
    if (known != servers_.end()) {
      servers.push_back(*known);
      continue;
    }
    absl::StatusOr<std::shared_ptr<rpc::Client>> client = rpc::Client::Create(address, options_);
    if (!client.ok()) {
      unusable_.Update(Annotate(client.status(), absl::StrCat("reward server ", address)));
      continue;
    }
    std::unique_ptr<v1::RewardService::Stub> stub = v1::RewardService::NewStub((*client)->channel());
    servers.push_back(std::make_shared<Server>(Server{.client = *std::move(client), .stub = std::move(stub)}));
  }
  servers_ = std::move(servers);
  addresses_ = addresses;
  return unusable_;
}

int64_t ScoreClient::num_servers() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(servers_.size());
}

std::shared_ptr<const ScoreClient::Server> ScoreClient::NextServer() {
  absl::MutexLock lock(&mutex_);
  return servers_.empty() ? nullptr : servers_[turn_++ % servers_.size()];
}

absl::StatusOr<std::vector<v1::Score>> ScoreClient::Score(const v1::RewardProfileRef& profile, const v1::Prompt& prompt,
                                                          const std::vector<v1::Completion>& completions) {
  const std::shared_ptr<const Server> server = NextServer();
  if (server == nullptr) {
    return absl::FailedPreconditionError(
        "no reward server is registered yet: start one with --coordinator, or read its log");
  }
  rpc::CallContext context(*server->client, deadline_);
  const InFlightCalls::Scope scope(calls_, &context);
  const std::unique_ptr<ScoreStream> stream = server->stub->Score(&context);

  // Written beside reading: a server may answer while it reads, and with both buffers full each would wait for the
  // other.
  std::thread writer =
      StartThread("sending a group to be scored", [&] { SendGroup(*stream, profile, prompt, completions); });
  absl::Cleanup join = [&] { writer.join(); };
  std::vector<v1::Score> scores(completions.size());
  size_t num_answers = 0;
  absl::Status wrong;
  v1::ScoreResponse answer;
  while (stream->Read(&answer)) {
    ++num_answers;
    wrong.Update(TakeAnswer(answer, scores));
  }
  std::move(join).Invoke();
  absl::Status status = rpc::FromGrpc(context.Ended(stream->Finish()));
  status.Update(wrong);
  if (status.ok() && num_answers != completions.size()) {
    status =
        absl::InternalError(absl::StrCat("answered for ", num_answers, " of ", completions.size(), " completions"));
  }
  const bool unreachable = absl::IsUnavailable(status);
  RETURN_IF_ERROR(
      Annotate(status, absl::StrCat("reward server ", server->client->address(), unreachable ? " unreachable" : "")));
  return scores;
}

}  // namespace grpo
