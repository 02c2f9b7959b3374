#include "tools/grpoctl/records/completions.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "tools/grpoctl/text.h"
#include "trainer/records/completions_format.h"

namespace grpo {
namespace {

using nlohmann::ordered_json;

constexpr int kMaxShownBytes = 400;

// The conditions on columns stand inside, so that no `where` can undo them.
std::string Sql(const CompletionsQuery& query) {
  std::vector<std::string> conditions = {"1"};
  if (query.stage) conditions.push_back("stage = ?1");
  if (query.step) conditions.push_back("step = ?2");
  if (query.prompt_id) conditions.push_back("prompt_id = ?3");
  std::string sql = absl::StrCat("SELECT * FROM (SELECT * FROM completions WHERE ", absl::StrJoin(conditions, " AND "),
                                 ") AS completions");
  // The line break ends a comment that the expression may end in.
  if (!query.where.empty()) absl::StrAppend(&sql, " WHERE (", query.where, "\n)");
  return absl::StrCat(sql, " ORDER BY id LIMIT ?4");
}

void Bind(const CompletionsQuery& query, SqliteStatement& statement) {
  if (query.stage) statement.BindText(1, *query.stage);
  if (query.step) statement.Bind(2, *query.step);
  if (query.prompt_id) statement.BindText(3, *query.prompt_id);
  statement.Bind(4, query.limit);
}

ordered_json Columns(const SqliteStatement& row) {
  ordered_json columns = ordered_json::object();
  for (int i = 0; i < row.num_columns(); ++i) {
    const std::string name = row.Name(i);
    switch (row.type(i)) {
      case SqliteStatement::Type::kNull:
        columns[name] = nullptr;
        break;
      case SqliteStatement::Type::kInteger:
        columns[name] = row.Int(i);
        break;
      case SqliteStatement::Type::kReal:
        columns[name] = row.Double(i);
        break;
      case SqliteStatement::Type::kText:
        columns[name] = row.Bytes(i);
        break;
      case SqliteStatement::Type::kBlob:
        columns[name + "_b64"] = absl::Base64Escape(row.Bytes(i));
    }
  }
  ordered_json& rules = columns["rules"];
  rules = rules.is_string() ? ordered_json::parse(rules.get<std::string>(), nullptr, /*allow_exceptions=*/false)
                            : ordered_json();
  if (rules.is_discarded()) rules = nullptr;
  return columns;
}

StoredCompletion Completion(const SqliteStatement& row) {
  StoredCompletion stored;
  for (int i = 0; i < row.num_columns(); ++i) {
    const std::string name = row.Name(i);
    for (const auto& [column, text] : {std::pair{"stage", &stored.stage},
                                       {"prompt_id", &stored.prompt_id},
                                       {"prompt", &stored.prompt},
                                       {"answer", &stored.answer},
                                       {"policy", &stored.policy},
                                       {"completion", &stored.completion},
                                       {"outcome", &stored.outcome}}) {
      if (name == column) *text = row.Bytes(i);
    }
    for (const auto& [column, number] : {std::pair{"step", &stored.step},
                                         {"sample_index", &stored.sample_index},
                                         {"num_tokens", &stored.num_tokens}}) {
      if (name == column) *number = row.Int(i);
    }
    if (name == "temperature") stored.temperature = row.Double(i);
    if (name == "reward") stored.reward = row.Double(i);
    if (name == "excluded") stored.excluded = row.Int(i) != 0;
  }
  stored.columns = Columns(row);
  stored.rules = stored.columns["rules"];
  return stored;
}

std::string Shown(const std::string& text) {
  const std::string shown = Printable(text);
  const std::string cut = Truncated(shown, kMaxShownBytes);
  return cut.size() < shown.size() ? cut + "..." : cut;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CompletionsReader>> CompletionsReader::Open(const std::string& run_dir) {
  const std::string path = absl::StrCat(run_dir, "/", kCompletionsFile);
  ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> database,
                   SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadOnly));
  ASSIGN_OR_RETURN(const int64_t format, database->Format());
  if (format != kCompletionsFormat) {
    return absl::FailedPreconditionError(absl::StrCat(path, " has format ", format, ", and this program reads ",
                                                      kCompletionsFormat, ": use the grpoctl of the run's version"));
  }
  database->AllowOnlyReading();
  return std::unique_ptr<CompletionsReader>(new CompletionsReader(std::move(database)));
}

absl::StatusOr<std::vector<StoredCompletion>> CompletionsReader::Select(const CompletionsQuery& query) const {
  absl::StatusOr<SqliteStatement> statement = database_->Prepare(Sql(query));
  if (!statement.ok()) return ExplainWhere(query, statement.status());
  Bind(query, *statement);
  std::vector<StoredCompletion> found;
  for (;;) {
    const absl::StatusOr<bool> row = statement->Step();
    // An expression can also fail on a row ("json(completion)").
    if (!row.ok()) return ExplainWhere(query, row.status());
    if (!*row) return found;
    found.push_back(Completion(*statement));
  }
}

absl::Status CompletionsReader::ExplainWhere(const CompletionsQuery& query, const absl::Status& status) const {
  if (!absl::IsInvalidArgument(status) || query.where.empty()) return status;
  std::vector<std::string> names;
  if (const absl::StatusOr<SqliteStatement> all = database_->Prepare("SELECT * FROM completions LIMIT 0"); all.ok()) {
    for (int i = 0; i < all->num_columns(); ++i) names.push_back(all->Name(i));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--where '", Shown(query.where), "': ", status.message(),
                   "; give an SQL expression that reads these columns: ", absl::StrJoin(names, ", ")));
}

std::string CompletionsText(const std::vector<StoredCompletion>& completions) {
  std::string text;
  for (const StoredCompletion& stored : completions) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", Shown(stored.stage), " step ", FormatCount(stored.step), ", ",
                    Shown(stored.prompt_id), " sample ", stored.sample_index, ", policy ", Shown(stored.policy),
                    stored.temperature == 0 ? ", greedy" : "", "\n  reward ",
                    stored.excluded ? "none" : FormatNumber(stored.reward), " (", Shown(stored.outcome), "), ",
                    FormatCount(stored.num_tokens), " tokens, reference answer ", Shown(stored.answer), "\n  ",
                    Shown(stored.prompt), "\n    ", Shown(stored.completion), "\n");
  }
  return text;
}

std::string CompletionsJson(const std::vector<StoredCompletion>& completions) {
  std::string lines;
  for (const StoredCompletion& stored : completions)
    absl::StrAppend(&lines, stored.columns.dump(-1, ' ', false, ordered_json::error_handler_t::replace), "\n");
  return lines;
}

}  // namespace grpo
