#include "trainer/stage/saver.h"

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace grpo {

absl::Status RunSaver::Poll(Cursor cursor) {
  if (on_poll_) RETURN_IF_ERROR(on_poll_());
  return control_.Poll([&] { return save_(cursor()); });
}

absl::Status RunSaver::Save(const std::string& when, Cursor cursor) {
  while (true) {
    if (on_poll_) RETURN_IF_ERROR(on_poll_());
    const absl::Status status = save_(cursor()).status();
    if (status.ok()) return absl::OkStatus();
    const std::string what = absl::StrCat("no checkpoint ", when, ": ", status.message(), "; the one before stays");
    spdlog::error("SAVING FAILED, {}", what);
    if (on_error_ == "continue") return absl::OkStatus();
    control_.Pause(absl::StrCat(what, ". Make room or mend the disk, then `grpoctl resume` tries again and goes on"));
    RETURN_IF_ERROR(Poll(cursor));
  }
}

}  // namespace grpo
