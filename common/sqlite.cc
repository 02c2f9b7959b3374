#include "common/sqlite.h"

#include <errno.h>
#include <sqlite3.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// A lock that is held longer is not worth waiting for: what waits is a training step.
constexpr int kBusyTimeoutMs = 1000;

int AllowReading(void*, int action, const char*, const char* detail, const char*, const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      return absl::EqualsIgnoreCase(detail, "load_extension") ? SQLITE_DENY : SQLITE_OK;
    default:
      return SQLITE_DENY;
  }
}

}  // namespace

void SqliteStatement::Finalizer::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

void SqliteStatement::Bind(int parameter, int64_t value) {
  sqlite3_bind_int64(statement_.get(), parameter, value);
}

void SqliteStatement::Bind(int parameter, double value) {
  sqlite3_bind_double(statement_.get(), parameter, value);
}

void SqliteStatement::BindText(int parameter, absl::string_view text) {
  sqlite3_bind_text64(statement_.get(), parameter, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

void SqliteStatement::BindBlob(int parameter, absl::string_view bytes) {
  sqlite3_bind_blob64(statement_.get(), parameter, bytes.data(), bytes.size(), SQLITE_STATIC);
}

absl::StatusOr<bool> SqliteStatement::Step() {
  errno = 0;
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->Error(code);
}

absl::Status SqliteStatement::Run() {
  const absl::Status status = Step().status();
  Reset();
  return status;
}

void SqliteStatement::Reset() {
  sqlite3_reset(statement_.get());
}

int SqliteStatement::num_columns() const {
  return sqlite3_column_count(statement_.get());
}

std::string SqliteStatement::Name(int column) const {
  return sqlite3_column_name(statement_.get(), column);
}

SqliteStatement::Type SqliteStatement::type(int column) const {
  switch (sqlite3_column_type(statement_.get(), column)) {
    case SQLITE_INTEGER:
      return Type::kInteger;
    case SQLITE_FLOAT:
      return Type::kReal;
    case SQLITE_TEXT:
      return Type::kText;
    case SQLITE_BLOB:
      return Type::kBlob;
    default:
      return Type::kNull;
  }
}

int64_t SqliteStatement::Int(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double SqliteStatement::Double(int column) const {
  return sqlite3_column_double(statement_.get(), column);
}

std::string SqliteStatement::Bytes(int column) const {
  // The bytes first: asking for their number afterwards is the order that SQLite documents as safe.
  const void* bytes = type(column) == Type::kBlob
                          ? sqlite3_column_blob(statement_.get(), column)
                          : static_cast<const void*>(sqlite3_column_text(statement_.get(), column));
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return bytes == nullptr ? "" : std::string(static_cast<const char*>(bytes), size);
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(const std::string& path, Mode mode) {
  const bool read_only = mode == Mode::kReadOnly;
  // SQLite would wait for the writer of a pipe.
  const absl::Status is_file = ExpectFile(path);
  if (read_only && absl::IsNotFound(is_file)) return absl::NotFoundError(absl::StrCat("there is no database ", path));
  if (absl::IsInvalidArgument(is_file)) return is_file;
  sqlite3* handle = nullptr;
  const int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  errno = 0;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  if (handle == nullptr) return absl::ResourceExhaustedError(absl::StrCat("no memory to open ", path));
  std::unique_ptr<SqliteDatabase> database(new SqliteDatabase(path, handle));
  if (code != SQLITE_OK) return database->Error(code);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  // NORMAL: a commit waits for no disk. kill -9 loses nothing, a power failure perhaps the last commits.
  if (!read_only) RETURN_IF_ERROR(database->Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"));
  // The file is first read here: what is no database is said at once.
  RETURN_IF_ERROR(database->Format().status());
  return database;
}

SqliteDatabase::~SqliteDatabase() {
  sqlite3_close_v2(handle_);
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  errno = 0;
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::Status SqliteDatabase::Transaction(const std::function<absl::Status()>& body) {
  RETURN_IF_ERROR(Execute("BEGIN"));
  absl::Status status = body();
  if (status.ok()) status = Execute("COMMIT");
  // An error may have rolled it back already; then this one says so, and that is no news.
  if (!status.ok()) Execute("ROLLBACK").IgnoreError();
  return status;
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(absl::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  const char* rest = nullptr;
  errno = 0;
  const int code = sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, &rest);
  SqliteStatement prepared(this, statement);
  if ((code & 0xff) == SQLITE_ERROR || (code & 0xff) == SQLITE_AUTH || (code & 0xff) == SQLITE_TOOBIG)
    return absl::InvalidArgumentError(sqlite3_errmsg(handle_));
  if (code != SQLITE_OK) return Error(code);
  if (statement == nullptr || rest != sql.data() + sql.size())
    return absl::InvalidArgumentError("this is not one SQL statement");
  return prepared;
}

int64_t SqliteDatabase::last_insert_rowid() const {
  return sqlite3_last_insert_rowid(handle_);
}

absl::StatusOr<int64_t> SqliteDatabase::Format() const {
  ASSIGN_OR_RETURN(SqliteStatement statement, Prepare("PRAGMA user_version"));
  RETURN_IF_ERROR(statement.Step().status());
  return statement.Int(0);
}

bool SqliteDatabase::HasMoved() const {
  int moved = 0;
  return sqlite3_file_control(handle_, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

void SqliteDatabase::AllowOnlyReading() {
  sqlite3_exec(handle_, "PRAGMA query_only=1", nullptr, nullptr, nullptr);
  sqlite3_set_authorizer(handle_, AllowReading, nullptr);
}

int SqliteDatabase::SystemError() const {
  // Of a commit that fails SQLite keeps none; whoever calls this set errno to 0 before.
  const int kept = sqlite3_system_errno(handle_);
  return kept != 0 ? kept : errno;
}

absl::Status SqliteDatabase::Error(int code) const {
  const int system_error = SystemError();
  const std::string message = absl::StrCat(path_, ": ", sqlite3_errmsg(handle_));
  if ((code & 0xff) == SQLITE_IOERR && system_error != 0) return ErrnoStatus(system_error, "read or write", path_);
  switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return absl::DataLossError(absl::StrCat(message, "; move the file away"));
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(message, "; make room on its disk"));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(absl::StrCat(message, "; another process holds it"));
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return absl::PermissionDeniedError(absl::StrCat(message, "; see the rights of the file and its folder"));
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace grpo
