// SQLite without its C interface: one file, opened, asked and closed. Messages name the path, SQLite's text and what to
// do. An object is for one thread.
#ifndef GRPO_COMMON_SQLITE_H_
#define GRPO_COMMON_SQLITE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace grpo {

class SqliteDatabase;

// Compiled SQL. Parameters count from 1, columns from 0. Ends before its database.
class SqliteStatement {
 public:
  void Bind(int parameter, int64_t value);
  void Bind(int parameter, double value);
  // Not copied: must live until the statement is reset.
  void BindText(int parameter, absl::string_view text);
  void BindBlob(int parameter, absl::string_view bytes);

  // Whether there is a row.
  absl::StatusOr<bool> Step();
  // For statements without rows: runs it and makes it ready to run again.
  absl::Status Run();
  void Reset();

  int num_columns() const;
  std::string Name(int column) const;
  enum class Type { kNull, kInteger, kReal, kText, kBlob };
  Type type(int column) const;
  int64_t Int(int column) const;
  double Double(int column) const;
  // Text or bytes, whole also where they hold NULs.
  std::string Bytes(int column) const;

 private:
  friend class SqliteDatabase;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  SqliteStatement(const SqliteDatabase* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}

  const SqliteDatabase* database_;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
};

class SqliteDatabase {
 public:
  enum class Mode { kReadWrite, kReadOnly };
  // kReadWrite creates the file, in WAL mode: readers see the last commit and never stop the writer. kReadOnly gives
  // NotFound where there is none. Nobody waits longer than a second for another's lock.
  static absl::StatusOr<std::unique_ptr<SqliteDatabase>> Open(const std::string& path, Mode mode);
  ~SqliteDatabase();

  // One statement or several.
  absl::Status Execute(const std::string& sql);
  // Runs `body` in a transaction: all that it does here stays, or nothing when it or the commit fails.
  absl::Status Transaction(const std::function<absl::Status()>& body);
  // One statement; InvalidArgument with SQLite's words when it is none.
  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql) const;
  int64_t last_insert_rowid() const;
  // The number of the format that its writer stored (PRAGMA user_version); 0 in a new file.
  absl::StatusOr<int64_t> Format() const;

  // From now on a statement may only read: no writing, attaching, pragma, recursion (it need not end) or function that
  // loads code. For SQL that a user wrote.
  void AllowOnlyReading();

 private:
  friend class SqliteStatement;
  SqliteDatabase(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}
  // The status of the last call's error.
  absl::Status Error(int code) const;

  const std::string path_;
  sqlite3* const handle_;
};

}  // namespace grpo

#endif  // GRPO_COMMON_SQLITE_H_
