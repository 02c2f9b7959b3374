#include "trainer/records/completions_log.h"

#include <functional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/log.h"
#include "common/sqlite.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "nlohmann/json.hpp"
#include "reward/outcome.h"
#include "trainer/records/completions_format.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

// SQLite leaves open what its functions make of text with a NUL, so that is bytes too.
bool IsText(absl::string_view bytes) {
  return bytes.find('\0') == bytes.npos && IsUtf8(bytes);
}

void BindBytes(SqliteStatement& statement, int parameter, absl::string_view bytes) {
  if (IsText(bytes)) {
    statement.BindText(parameter, bytes);
  } else {
    statement.BindBlob(parameter, bytes);
  }
}

// "stop" for FINISH_REASON_STOP.
std::string ShortName(absl::string_view name, absl::string_view prefix) {
  return absl::AsciiStrToLower(absl::StripPrefix(name, prefix));
}

// What is not UTF-8 becomes U+FFFD, a number that is not finite null.
std::string RulesJson(const v1::Score& score) {
  ordered_json rules = ordered_json::object();
  for (const v1::RuleScore& rule : score.rules()) {
    rules[rule.name()] = {{"outcome", OutcomeName(rule.outcome())},
                          {"value", rule.value()},
                          {"weight", rule.weight()},
                          {"extracted", rule.extracted()}};
  }
  return rules.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

absl::Status Prepare(SqliteDatabase& database, const std::string& path) {
  ASSIGN_OR_RETURN(const int64_t format, database.Format());
  if (format == kCompletionsFormat) return absl::OkStatus();
  if (format != 0) {
    return absl::FailedPreconditionError(absl::StrCat(path, " has format ", format, ", and this program writes ",
                                                      kCompletionsFormat,
                                                      ": move it away, or go on with the program that wrote it"));
  }
  return database.Execute(
      absl::StrCat("BEGIN;", kCreateCompletions, "PRAGMA user_version=", kCompletionsFormat, "; COMMIT"));
}

// Deletes the groups for which the condition holds, whose parameters `bind` fills; within a transaction.
absl::Status DeleteWhere(SqliteDatabase& database, const std::string& condition,
                         const std::function<void(SqliteStatement&)>& bind) {
  for (const std::string& sql :
       {absl::StrCat("DELETE FROM samples WHERE group_id IN (SELECT id FROM groups WHERE ", condition, ")"),
        absl::StrCat("DELETE FROM groups WHERE ", condition)}) {
    ASSIGN_OR_RETURN(SqliteStatement statement, database.Prepare(sql));
    bind(statement);
    RETURN_IF_ERROR(statement.Run());
  }
  return absl::OkStatus();
}

}  // namespace

// The statements end before their database.
struct CompletionsLog::File {
  std::unique_ptr<SqliteDatabase> database;
  SqliteStatement insert_group, insert_sample;
};

absl::StatusOr<std::unique_ptr<CompletionsLog::File>> CompletionsLog::OpenFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> database,
                   SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWrite));
  RETURN_IF_ERROR(Prepare(*database, path));
  ASSIGN_OR_RETURN(SqliteStatement insert_group,
                   database->Prepare("INSERT INTO groups (stage, step, group_index, kind, prompt_id, prompt, answer, "
                                     "policy, policy_number, temperature) VALUES (?,?,?,?,?,?,?,?,?,?)"));
  ASSIGN_OR_RETURN(SqliteStatement insert_sample,
                   database->Prepare("INSERT INTO samples (group_id, sample_index, completion, num_tokens, "
                                     "finish_reason, outcome, excluded, reward, rules) VALUES (?,?,?,?,?,?,?,?,?)"));
  return std::unique_ptr<File>(new File{std::move(database), std::move(insert_group), std::move(insert_sample)});
}

absl::StatusOr<std::unique_ptr<CompletionsLog>> CompletionsLog::Open(const std::string& path,
                                                                     const std::vector<std::string>& stages,
                                                                     RunGuard* guard) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, OpenFile(path));
  const std::string kept = ordered_json(stages).dump();
  RETURN_IF_ERROR(file->database->Transaction([&] {
    return DeleteWhere(*file->database, "stage NOT IN (SELECT value FROM json_each(?1))",
                       [&](SqliteStatement& statement) { statement.BindText(1, kept); });
  }));
  return std::unique_ptr<CompletionsLog>(new CompletionsLog(path, std::move(file), guard));
}

CompletionsLog::CompletionsLog(std::string path, std::unique_ptr<File> file, RunGuard* guard)
    : path_(std::move(path)), file_(std::move(file)), guard_(guard) {}

CompletionsLog::~CompletionsLog() = default;

absl::Status CompletionsLog::BeginAnewIfGone() {
  if (file_ != nullptr && !file_->database->HasMoved()) return absl::OkStatus();
  // First, or it would take the new file's journal for its own.
  file_.reset();
  ASSIGN_OR_RETURN(file_, OpenFile(path_));
  RaiseAlarm(guard_, absl::StrCat(path_,
                                  " was deleted or replaced while the run was going on; it is begun anew, and the "
                                  "completions before are lost"));
  return absl::OkStatus();
}

void CompletionsLog::Write(const std::function<absl::Status()>& write) {
  // The run hears of it with its next poll, and ends.
  if (!MayWrite(guard_).ok()) return;
  absl::Status status = BeginAnewIfGone();
  if (status.ok()) status = file_->database->Transaction(write);
  Note(status);
}

void CompletionsLog::Rewind(const std::string& stage, int64_t step) {
  Write([&] {
    return DeleteWhere(*file_->database, "stage = ?1 AND step > ?2", [&](SqliteStatement& statement) {
      statement.BindText(1, stage);
      statement.Bind(2, step);
    });
  });
}

void CompletionsLog::Append(const std::string& stage, int64_t step, const std::vector<ScoredGroup>& groups) {
  Write([&] {
    for (const ScoredGroup& group : groups) RETURN_IF_ERROR(WriteGroup(stage, step, group));
    return absl::OkStatus();
  });
}

void CompletionsLog::Note(const absl::Status& written) {
  // Completions are not worth a run: a full disk is said once, and training goes on.
  if (!written.ok() && !failed_)
    spdlog::error("completions cannot be written ({}); the run goes on without them", std::string(written.message()));
  failed_ = !written.ok();
}

absl::Status CompletionsLog::WriteGroup(const std::string& stage, int64_t step, const ScoredGroup& group) {
  SqliteStatement &insert_group = file_->insert_group, &insert_sample = file_->insert_sample;
  const v1::Lease& lease = group.lease;
  const std::string kind = ShortName(v1::LeaseKind_Name(lease.kind()), "LEASE_KIND_");
  insert_group.BindText(1, stage);
  insert_group.Bind(2, step);
  insert_group.Bind(3, lease.key().group_index());
  insert_group.BindText(4, kind);
  BindBytes(insert_group, 5, lease.prompt().id());
  BindBytes(insert_group, 6, lease.prompt().text());
  BindBytes(insert_group, 7, lease.prompt().answer());
  insert_group.BindText(8, lease.policy().policy_id());
  insert_group.Bind(9, lease.policy().number());
  insert_group.Bind(10, lease.sampling().temperature());
  RETURN_IF_ERROR(insert_group.Run());
  const int64_t group_id = file_->database->last_insert_rowid();
  for (const v1::ScoredCompletion& scored : group.completions) {
    const v1::Completion& completion = scored.completion();
    const v1::Score& score = scored.score();
    const std::string finish_reason = ShortName(v1::FinishReason_Name(completion.finish_reason()), "FINISH_REASON_");
    const std::string outcome = OutcomeName(score.outcome());
    const std::string rules = RulesJson(score);
    insert_sample.Bind(1, group_id);
    insert_sample.Bind(2, int64_t{completion.index()});
    BindBytes(insert_sample, 3, completion.text());
    insert_sample.Bind(4, CompletionLength(completion));
    insert_sample.BindText(5, finish_reason);
    insert_sample.BindText(6, outcome);
    insert_sample.Bind(7, int64_t{score.excluded()});
    insert_sample.Bind(8, score.value());
    insert_sample.BindText(9, rules);
    RETURN_IF_ERROR(insert_sample.Run());
  }
  return absl::OkStatus();
}

}  // namespace grpo
