#include "trainer/records/run_end.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

// Of the file, and of a reason in it: what is wrong with a configuration can take pages.
constexpr int64_t kMaxBytes = 1 << 16, kMaxReasonBytes = 1 << 13;

std::string TextOf(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

int64_t NumberOf(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

}  // namespace

std::string RunEndPath(const std::string& run_dir) {
  return run_dir + "/ended.json";
}

void RecordRunEnd(RunGuard* guard, const std::string& run_dir, const v1::RunStatus& status) {
  if (!MayWrite(guard).ok()) return;
  ordered_json end = {{"state", StateName(status.state())},
                      {"reason", status.state_reason().substr(0, kMaxReasonBytes)}};
  if (status.stage_index() >= 0 && status.stage_index() < status.stages_size()) {
    const v1::StageStatus& stage = status.stages(status.stage_index());
    end["stage"] = stage.name();
    end["step"] = stage.step();
    end["num_steps"] = stage.num_steps();
  }
  const std::string text = end.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  const absl::Status written = WriteFileAtomically(RunEndPath(run_dir), text);
  if (!written.ok()) spdlog::warn("how the run ended is not written down: {}", std::string(written.message()));
}

void RemoveRunEnd(const std::string& run_dir) {
  ::unlink(RunEndPath(run_dir).c_str());
}

absl::StatusOr<RunEnd> ReadRunEnd(const std::string& run_dir) {
  const std::string path = RunEndPath(run_dir);
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxBytes));
  const auto end = ordered_json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!end.is_object() || TextOf(end, "state").empty())
    return absl::DataLossError(absl::StrCat(path, " holds no \"state\""));
  return RunEnd{.state = TextOf(end, "state"),
                .reason = TextOf(end, "reason"),
                .stage = TextOf(end, "stage"),
                .step = NumberOf(end, "step"),
                .num_steps = NumberOf(end, "num_steps")};
}

}  // namespace grpo
