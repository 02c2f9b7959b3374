#include "common/sqlite.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using Mode = SqliteDatabase::Mode;
using Type = SqliteStatement::Type;
using ::testing::HasSubstr;

class SqliteTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
    ASSERT_OK_AND_ASSIGN(database_, SqliteDatabase::Open(path_, Mode::kReadWrite));
    ASSERT_OK(database_->Execute("CREATE TABLE t(a, b)"));
  }

  static int64_t Count(const SqliteDatabase& database) {
    auto statement = database.Prepare("SELECT count(*) FROM t");
    EXPECT_OK(statement);
    if (!statement.ok()) return -1;
    EXPECT_OK(statement->Step());
    return statement->Int(0);
  }

  const std::string folder_ = absl::StrCat(::testing::TempDir(), "/sqlite_test.", ::getpid());
  const std::string path_ = folder_ + "/records.sqlite";
  std::unique_ptr<SqliteDatabase> database_;
};

TEST_F(SqliteTest, EveryKindOfValueComesBackAsItWas) {
  // Two NULs and bytes that are no UTF-8; a text with a NUL.
  const std::string bytes("\0\xff\x80\0", 4), text("a\0b", 3);
  ASSERT_OK_AND_ASSIGN(SqliteStatement insert, database_->Prepare("INSERT INTO t VALUES(?1, ?2)"));
  insert.Bind(1, std::numeric_limits<int64_t>::min());
  insert.Bind(2, 0.1);
  ASSERT_OK(insert.Run());
  insert.BindText(1, text);
  insert.BindBlob(2, bytes);
  ASSERT_OK(insert.Run());
  ASSERT_OK(database_->Execute("INSERT INTO t VALUES(NULL, '')"));

  ASSERT_OK_AND_ASSIGN(SqliteStatement select, database_->Prepare("SELECT a, b AS second FROM t ORDER BY rowid"));
  EXPECT_EQ(select.num_columns(), 2);
  EXPECT_EQ(select.Name(0), "a");
  EXPECT_EQ(select.Name(1), "second");
  ASSERT_OK_AND_ASSIGN(bool row, select.Step());
  ASSERT_TRUE(row);
  EXPECT_EQ(select.type(0), Type::kInteger);
  EXPECT_EQ(select.Int(0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(select.type(1), Type::kReal);
  EXPECT_EQ(select.Double(1), 0.1);
  ASSERT_OK_AND_ASSIGN(row, select.Step());
  ASSERT_TRUE(row);
  EXPECT_EQ(select.type(0), Type::kText);
  EXPECT_EQ(select.Bytes(0), text);
  EXPECT_EQ(select.type(1), Type::kBlob);
  EXPECT_EQ(select.Bytes(1), bytes);
  ASSERT_OK_AND_ASSIGN(row, select.Step());
  ASSERT_TRUE(row);
  EXPECT_EQ(select.type(0), Type::kNull);
  EXPECT_EQ(select.Bytes(0), "");
  EXPECT_EQ(select.type(1), Type::kText);
  EXPECT_EQ(select.Bytes(1), "");
  ASSERT_OK_AND_ASSIGN(row, select.Step());
  EXPECT_FALSE(row);
}

TEST_F(SqliteTest, AStatementRunsAgainWithTheValuesThatWereNotBoundAnew) {
  ASSERT_OK_AND_ASSIGN(SqliteStatement insert, database_->Prepare("INSERT INTO t VALUES(?1, ?2)"));
  insert.Bind(1, int64_t{1});
  for (int64_t i = 0; i < 3; ++i) {
    insert.Bind(2, i);
    ASSERT_OK(insert.Run());
    EXPECT_EQ(database_->last_insert_rowid(), i + 1);
  }
  ASSERT_OK_AND_ASSIGN(SqliteStatement sum, database_->Prepare("SELECT sum(a), sum(b) FROM t"));
  ASSERT_OK(sum.Step());
  EXPECT_EQ(sum.Int(0), 3);
  EXPECT_EQ(sum.Int(1), 3);
}

TEST_F(SqliteTest, AStatementThatFailedCanRunAgain) {
  ASSERT_OK(database_->Execute("CREATE TABLE u(key TEXT UNIQUE)"));
  ASSERT_OK_AND_ASSIGN(SqliteStatement insert, database_->Prepare("INSERT INTO u VALUES(?1)"));
  insert.BindText(1, "once");
  ASSERT_OK(insert.Run());
  EXPECT_STATUS(insert.Run(), absl::StatusCode::kInternal, "UNIQUE constraint failed: u.key");
  insert.BindText(1, "twice");
  EXPECT_OK(insert.Run());
}

TEST_F(SqliteTest, ATransactionStaysWhole) {
  EXPECT_OK(database_->Transaction([&]() -> absl::Status {
    RETURN_IF_ERROR(database_->Execute("INSERT INTO t VALUES(1, 2)"));
    return database_->Execute("INSERT INTO t VALUES(3, 4)");
  }));
  EXPECT_EQ(Count(*database_), 2);
}

TEST_F(SqliteTest, OfATransactionThatFailsNothingStays) {
  const absl::Status why = absl::CancelledError("the caller's own reason");
  EXPECT_EQ(database_->Transaction([&]() -> absl::Status {
    RETURN_IF_ERROR(database_->Execute("INSERT INTO t VALUES(1, 2)"));
    return why;
  }),
            why);
  EXPECT_EQ(Count(*database_), 0);
  // The next one is not inside of it.
  ASSERT_OK(database_->Transaction([&] { return database_->Execute("INSERT INTO t VALUES(1, 2)"); }));
  EXPECT_EQ(Count(*database_), 1);
}

TEST_F(SqliteTest, ATransactionInsideAnotherIsAnErrorAndCostsNothingOfTheOuterOne) {
  EXPECT_OK(database_->Transaction([&]() -> absl::Status {
    RETURN_IF_ERROR(database_->Execute("INSERT INTO t VALUES(1, 2)"));
    EXPECT_STATUS(database_->Transaction([] { return absl::OkStatus(); }), absl::StatusCode::kInvalidArgument,
                  "within a transaction");
    return absl::OkStatus();
  }));
  EXPECT_EQ(Count(*database_), 1);
}

TEST_F(SqliteTest, AReaderSeesTheLastCommitAndNotWhatIsUnderWay) {
  ASSERT_OK(database_->Execute("INSERT INTO t VALUES(1, 2)"));
  ASSERT_OK_AND_ASSIGN(const auto reader, SqliteDatabase::Open(path_, Mode::kReadOnly));
  ASSERT_OK(database_->Execute("BEGIN; INSERT INTO t VALUES(3, 4)"));
  EXPECT_EQ(Count(*reader), 1);
  ASSERT_OK(database_->Execute("COMMIT"));
  EXPECT_EQ(Count(*reader), 2);
}

TEST_F(SqliteTest, AReaderCannotWrite) {
  ASSERT_OK_AND_ASSIGN(const auto reader, SqliteDatabase::Open(path_, Mode::kReadOnly));
  EXPECT_STATUS(reader->Execute("INSERT INTO t VALUES(1, 2)"), absl::StatusCode::kPermissionDenied,
                path_ + ": attempt to write a readonly database; see the rights of the file and its folder");
  EXPECT_EQ(Count(*database_), 0);
}

TEST_F(SqliteTest, AReaderOfNoFileMakesNone) {
  const std::string missing = folder_ + "/missing.sqlite";
  EXPECT_STATUS(SqliteDatabase::Open(missing, Mode::kReadOnly), absl::StatusCode::kNotFound,
                "there is no database " + missing);
  EXPECT_FALSE(std::filesystem::exists(missing));
}

// SQLite waited for the pipe's writer, and said "disk I/O error" of the folder.
TEST_F(SqliteTest, WhatIsNoFileIsNamed) {
  const std::string pipe = folder_ + "/pipe.sqlite";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const Mode mode : {Mode::kReadOnly, Mode::kReadWrite}) {
    EXPECT_STATUS(SqliteDatabase::Open(pipe, mode), absl::StatusCode::kInvalidArgument, pipe + " is a pipe");
    EXPECT_STATUS(SqliteDatabase::Open(folder_, mode), absl::StatusCode::kInvalidArgument, folder_ + " is a folder");
  }
}

TEST_F(SqliteTest, AFileThatIsNoDatabaseIsSaidWhenItIsOpened) {
  const std::string text = folder_ + "/text.sqlite";
  ASSERT_OK(WriteFileSynced(text, std::string(4096, 'x')));
  for (const Mode mode : {Mode::kReadOnly, Mode::kReadWrite}) {
    EXPECT_STATUS(SqliteDatabase::Open(text, mode), absl::StatusCode::kDataLoss,
                  text + ": file is not a database; move the file away");
  }
  // It is not overwritten.
  ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(text));
  EXPECT_EQ(content, std::string(4096, 'x'));
}

TEST_F(SqliteTest, ADamagedPageIsDataLoss) {
  for (int i = 0; i < 200; ++i) ASSERT_OK(database_->Execute("INSERT INTO t VALUES(randomblob(500), 1)"));
  database_.reset();  // the last to close writes the log into the file
  ASSERT_OK_AND_ASSIGN(std::string content, ReadFile(path_));
  // All but the first page, which says what tables there are.
  ASSERT_GT(content.size(), 8192u);
  for (size_t i = 4096; i < content.size(); ++i) content[i] = '\x7f';
  ASSERT_OK(WriteFileSynced(path_, content));
  ASSERT_OK_AND_ASSIGN(const auto damaged, SqliteDatabase::Open(path_, Mode::kReadOnly));
  ASSERT_OK_AND_ASSIGN(SqliteStatement select, damaged->Prepare("SELECT sum(length(a)) FROM t"));
  EXPECT_STATUS(select.Step(), absl::StatusCode::kDataLoss, "; move the file away");
}

TEST_F(SqliteTest, AFolderThatIsNotThereIsNamed) {
  const std::string nowhere = folder_ + "/no/such/folder.sqlite";
  const absl::Status status = SqliteDatabase::Open(nowhere, Mode::kReadWrite).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(nowhere + ": unable to open database file"));
}

// max_page_count stands for the end of the disk.
TEST_F(SqliteTest, AFullDiskIsResourceExhaustedAndWhatWasCommittedStays) {
  ASSERT_OK(database_->Execute("INSERT INTO t VALUES(1, 2); PRAGMA max_page_count=10"));
  const absl::Status full = database_->Transaction([&]() -> absl::Status {
    for (int i = 0; i < 100; ++i) RETURN_IF_ERROR(database_->Execute("INSERT INTO t VALUES(randomblob(2000), 1)"));
    return absl::OkStatus();
  });
  EXPECT_STATUS(full, absl::StatusCode::kResourceExhausted,
                path_ + ": database or disk is full; make room on its disk");
  EXPECT_EQ(Count(*database_), 1);
  ASSERT_OK(database_->Execute("PRAGMA max_page_count=1000"));
  EXPECT_OK(database_->Transaction([&] { return database_->Execute("INSERT INTO t VALUES(randomblob(9000), 1)"); }));
}

// SQLite itself says "disk I/O error" of all that the system refuses.
TEST_F(SqliteTest, WhatTheSystemRefusesIsSaidInItsWords) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limited = {.rlim_cur = 40'000, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  const absl::Status refused = database_->Execute("INSERT INTO t VALUES(randomblob(100000), 1)");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_STATUS(refused, absl::StatusCode::kResourceExhausted, path_);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("File too large"));
  EXPECT_EQ(Count(*database_), 0);
}

// Another process that holds the file costs a second, not the run.
TEST_F(SqliteTest, WhoeverCannotWriteBecauseAnotherDoesIsToldSo) {
  ASSERT_OK_AND_ASSIGN(const auto other, SqliteDatabase::Open(path_, Mode::kReadWrite));
  ASSERT_OK(database_->Execute("BEGIN IMMEDIATE; INSERT INTO t VALUES(1, 2)"));
  EXPECT_STATUS(other->Execute("INSERT INTO t VALUES(3, 4)"), absl::StatusCode::kUnavailable,
                path_ + ": database is locked; another process holds it");
  ASSERT_OK(database_->Execute("COMMIT"));
  EXPECT_OK(other->Execute("INSERT INTO t VALUES(3, 4)"));
}

TEST_F(SqliteTest, WhatIsNotOneStatementIsRefusedWithSqlitesWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"SELEKT 1", "syntax error"},
      {"SELECT x FROM t", "no such column: x"},
      {"SELECT * FROM nowhere", "no such table: nowhere"},
      {"SELECT 1; DROP TABLE t", "this is not one SQL statement"},
      {"SELECT 1; SELECT 2", "this is not one SQL statement"},
      {"", "this is not one SQL statement"},
      {"-- nothing", "this is not one SQL statement"},
  };
  for (const auto& [sql, words] : cases) {
    EXPECT_STATUS(database_->Prepare(sql), absl::StatusCode::kInvalidArgument, words);
  }
  EXPECT_EQ(Count(*database_), 0);
}

TEST_F(SqliteTest, AViewOfATextIsReadToItsEndOnly) {
  const std::string longer = "SELECT 1 and what follows";
  ASSERT_OK_AND_ASSIGN(SqliteStatement one, database_->Prepare(absl::string_view(longer).substr(0, 8)));
  ASSERT_OK(one.Step());
  EXPECT_EQ(one.Int(0), 1);
}

TEST_F(SqliteTest, TheFormatIsWhatTheWriterStored) {
  ASSERT_OK_AND_ASSIGN(const int64_t fresh, database_->Format());
  EXPECT_EQ(fresh, 0);
  ASSERT_OK(database_->Execute("PRAGMA user_version=3"));
  ASSERT_OK_AND_ASSIGN(const auto reader, SqliteDatabase::Open(path_, Mode::kReadOnly));
  ASSERT_OK_AND_ASSIGN(const int64_t stored, reader->Format());
  EXPECT_EQ(stored, 3);
}

// What a user writes after --where must not change, leave or stop the program that reads.
TEST_F(SqliteTest, SaysWhenItsFileWasDeletedOrReplaced) {
  EXPECT_FALSE(database_->HasMoved());
  ASSERT_OK(database_->Execute("INSERT INTO t VALUES(1, 'ab')"));
  EXPECT_FALSE(database_->HasMoved());
  ASSERT_OK(Rename(path_, path_ + ".aside"));
  EXPECT_TRUE(database_->HasMoved());
  ASSERT_OK(WriteFileSynced(path_, ""));
  EXPECT_TRUE(database_->HasMoved());
}

TEST_F(SqliteTest, SqlOfAUserMayOnlyRead) {
  ASSERT_OK(database_->Execute("INSERT INTO t VALUES(1, 'ab'), (2, 'c'); CREATE INDEX i ON t(a)"));
  database_->AllowOnlyReading();
  for (const char* sql : {
           "INSERT INTO t VALUES(5, 6)",
           "UPDATE t SET a = 0",
           "DELETE FROM t",
           "DROP TABLE t",
           "CREATE TABLE u(a)",
           "CREATE TEMP TABLE u(a)",
           "CREATE VIEW v AS SELECT 1",
           "ATTACH DATABASE '/tmp/other.sqlite' AS other",
           "DETACH DATABASE main",
           "PRAGMA query_only=0",
           "PRAGMA writable_schema=1",
           "BEGIN",
           "SAVEPOINT s",
           "REINDEX",
           "ANALYZE",
           "SELECT load_extension('/tmp/evil.so')",
           "SELECT LOAD_EXTENSION('/tmp/evil.so')",
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
       }) {
    EXPECT_EQ(database_->Prepare(sql).status().code(), absl::StatusCode::kInvalidArgument) << sql;
  }
  for (const char* sql : {
           "SELECT a FROM t WHERE b LIKE 'a%'",
           "SELECT count(*), length(b) FROM t GROUP BY b HAVING a > 1",
           "WITH u AS (SELECT a FROM t) SELECT * FROM u",
           "SELECT json_extract('{\"x\":1}', '$.x')",
           "SELECT a FROM t WHERE a IN (SELECT max(a) FROM t)",
       }) {
    ASSERT_OK_AND_ASSIGN(SqliteStatement statement, database_->Prepare(sql));
    EXPECT_OK(statement.Step()) << sql;
  }
  EXPECT_EQ(Count(*database_), 2);
}

}  // namespace
}  // namespace grpo
