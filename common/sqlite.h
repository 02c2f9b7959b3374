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

// Compiled SQL. Parameters count from 1, columns from 0. Ends before its database. Made by SqliteDatabase::Prepare
// alone. What Bind and its like cannot do (a parameter that does not exist) they do not report; an unbound parameter is
// NULL.
class SqliteStatement {
 public:
  // Sets a parameter for the runs to come.
  void Bind(int parameter, int64_t value);
  void Bind(int parameter, double value);
  // Not copied: must live until the statement is reset.
  void BindText(int parameter, absl::string_view text);
  void BindBlob(int parameter, absl::string_view bytes);

  // Whether there is a row. Its columns are those of that row, until the next Step or Reset. False at the end. Errors
  // are those of SqliteDatabase: DataLoss (no database, or damaged), ResourceExhausted (disk full, or the file may not grow), Unavailable (locked
  // for longer than a second), PermissionDenied, InvalidArgument (what SQLite objects to in the SQL or a type),
  // Internal.
  absl::StatusOr<bool> Step();
  // For statements without rows: runs it and makes it ready to run again. Also after an error. The bindings stay.
  absl::Status Run();
  // To the state before the first Step; the bindings stay.
  void Reset();

  int num_columns() const;
  // What the SELECT calls the column.
  std::string Name(int column) const;
  // Of the value in this row, not of the column as declared.
  enum class Type { kNull, kInteger, kReal, kText, kBlob };
  Type type(int column) const;
  // The value as SQLite converts it: NULL and text that is no number are 0, a number is cut to a whole one.
  int64_t Int(int column) const;
  // The same as a double.
  double Double(int column) const;
  // Text or bytes, whole also where they hold NULs. A copy. Empty for NULL; a number is written out.
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

// One connection to one file; it outlives its statements. One thread. Errors as at SqliteStatement::Step.
class SqliteDatabase {
 public:
  enum class Mode { kReadWrite, kReadOnly };
  // kReadWrite creates the file, in WAL mode: readers see the last commit and never stop the writer. kReadOnly gives
  // NotFound where there is none. Nobody waits longer than a second for another's lock. DataLoss, at once, for a file
  // that is no database. A commit is safe from kill -9; a power failure may take the last ones (synchronous=NORMAL).
  static absl::StatusOr<std::unique_ptr<SqliteDatabase>> Open(const std::string& path, Mode mode);
  ~SqliteDatabase();

  // One statement or several. Separated by semicolons; rows are dropped. Stops at the first error, and what ran before
  // it stays.
  absl::Status Execute(const std::string& sql);
  // Runs `body` in a transaction: all that it does here stays, or nothing when it or the commit fails. Returns the
  // body's error or the commit's. Transactions do not nest.
  absl::Status Transaction(const std::function<absl::Status()>& body);
  // One statement; InvalidArgument with SQLite's words when it is none. Two statements are none, and so is an empty
  // text, and what AllowOnlyReading forbids.
  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql) const;
  // Of the last INSERT on this connection; 0 before the first.
  int64_t last_insert_rowid() const;
  // The number of the format that its writer stored (PRAGMA user_version); 0 in a new file. Not after AllowOnlyReading,
  // which forbids pragmas.
  absl::StatusOr<int64_t> Format() const;

  // Whether the file is no longer at its path: it was deleted, moved away or replaced. What is written then is lost.
  bool HasMoved() const;

  // From now on a statement may only read: no writing, attaching, pragma, recursion (it need not end) or function that
  // loads code. For SQL that a user wrote. Cannot be undone.
  void AllowOnlyReading();

 private:
  friend class SqliteStatement;
  SqliteDatabase(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}
  // The status of the last call's error.
  absl::Status Error(int code) const;
  // The system's number for what failed last; 0 when it was not the system.
  int SystemError() const;

  const std::string path_;
  sqlite3* const handle_;
};

}  // namespace grpo

#endif  // GRPO_COMMON_SQLITE_H_
