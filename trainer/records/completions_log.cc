#include "trainer/records/completions_log.h"

#include <functional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/log.h"
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

// Deletes the groups for which the condition holds, whose parameters `bind` fills.
absl::Status DeleteWhere(SqliteDatabase& database, const std::string& condition,
                         const std::function<void(SqliteStatement&)>& bind) {
  return database.Transaction([&] {
    for (const std::string& sql :
         {absl::StrCat("DELETE FROM samples WHERE group_id IN (SELECT id FROM groups WHERE ", condition, ")"),
          absl::StrCat("DELETE FROM groups WHERE ", condition)}) {
      ASSIGN_OR_RETURN(SqliteStatement statement, database.Prepare(sql));
      bind(statement);
      RETURN_IF_ERROR(statement.Run());
    }
    return absl::OkStatus();
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<CompletionsLog>> CompletionsLog::Open(const std::string& path,
                                                                     const std::vector<std::string>& stages) {
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> database,
                   SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWrite));
  RETURN_IF_ERROR(Prepare(*database, path));
  const std::string kept = ordered_json(stages).dump();
  RETURN_IF_ERROR(DeleteWhere(*database, "stage NOT IN (SELECT value FROM json_each(?1))",
                              [&](SqliteStatement& statement) { statement.BindText(1, kept); }));
  ASSIGN_OR_RETURN(SqliteStatement insert_group,
                   database->Prepare("INSERT INTO groups (stage, step, group_index, kind, prompt_id, prompt, answer, "
                                     "policy, policy_number, temperature) VALUES (?,?,?,?,?,?,?,?,?,?)"));
  ASSIGN_OR_RETURN(SqliteStatement insert_sample,
                   database->Prepare("INSERT INTO samples (group_id, sample_index, completion, num_tokens, "
                                     "finish_reason, outcome, excluded, reward, rules) VALUES (?,?,?,?,?,?,?,?,?)"));
  return std::unique_ptr<CompletionsLog>(
      new CompletionsLog(std::move(database), std::move(insert_group), std::move(insert_sample)));
}

CompletionsLog::CompletionsLog(std::unique_ptr<SqliteDatabase> database, SqliteStatement insert_group,
                               SqliteStatement insert_sample)
    : database_(std::move(database)),
      insert_group_(std::move(insert_group)),
      insert_sample_(std::move(insert_sample)) {}

void CompletionsLog::Rewind(const std::string& stage, int64_t step) {
  Note(DeleteWhere(*database_, "stage = ?1 AND step > ?2", [&](SqliteStatement& statement) {
    statement.BindText(1, stage);
    statement.Bind(2, step);
  }));
}

void CompletionsLog::Append(const std::string& stage, int64_t step, const std::vector<ScoredGroup>& groups) {
  Note(database_->Transaction([&] {
    for (const ScoredGroup& group : groups) RETURN_IF_ERROR(WriteGroup(stage, step, group));
    return absl::OkStatus();
  }));
}

void CompletionsLog::Note(const absl::Status& written) {
  // Completions are not worth a run: a full disk is said once, and training goes on.
  if (!written.ok() && !failed_)
    spdlog::error("completions cannot be written ({}); the run goes on without them", std::string(written.message()));
  failed_ = !written.ok();
}

absl::Status CompletionsLog::WriteGroup(const std::string& stage, int64_t step, const ScoredGroup& group) {
  const v1::Lease& lease = group.lease;
  const std::string kind = ShortName(v1::LeaseKind_Name(lease.kind()), "LEASE_KIND_");
  insert_group_.BindText(1, stage);
  insert_group_.Bind(2, step);
  insert_group_.Bind(3, lease.key().group_index());
  insert_group_.BindText(4, kind);
  BindBytes(insert_group_, 5, lease.prompt().id());
  BindBytes(insert_group_, 6, lease.prompt().text());
  BindBytes(insert_group_, 7, lease.prompt().answer());
  insert_group_.BindText(8, lease.policy().policy_id());
  insert_group_.Bind(9, lease.policy().number());
  insert_group_.Bind(10, lease.sampling().temperature());
  RETURN_IF_ERROR(insert_group_.Run());
  const int64_t group_id = database_->last_insert_rowid();
  for (const v1::ScoredCompletion& scored : group.completions) {
    const v1::Completion& completion = scored.completion();
    const v1::Score& score = scored.score();
    const std::string finish_reason = ShortName(v1::FinishReason_Name(completion.finish_reason()), "FINISH_REASON_");
    const std::string outcome = OutcomeName(score.outcome());
    const std::string rules = RulesJson(score);
    insert_sample_.Bind(1, group_id);
    insert_sample_.Bind(2, int64_t{completion.index()});
    BindBytes(insert_sample_, 3, completion.text());
    insert_sample_.Bind(4, CompletionLength(completion));
    insert_sample_.BindText(5, finish_reason);
    insert_sample_.BindText(6, outcome);
    insert_sample_.Bind(7, int64_t{score.excluded()});
    insert_sample_.Bind(8, score.value());
    insert_sample_.BindText(9, rules);
    RETURN_IF_ERROR(insert_sample_.Run());
  }
  return absl::OkStatus();
}

}  // namespace grpo
