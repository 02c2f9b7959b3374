#include "common/gzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

constexpr int64_t kPlenty = 1 << 20;

std::string Gzip(const std::string& text) {
  z_stream stream = {};
  EXPECT_EQ(::deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(::deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = text.size();
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = packed.size();
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  return packed;
}

// Longer than a buffer of the reader, and not well packed.
std::string LongText() {
  std::string text;
  for (uint32_t i = 0; i < 60000; ++i) text += std::to_string(i * 2654435761u) + "\n";
  return text;
}

TEST(GzipTest, UnpacksWhatWasPacked) {
  for (const std::string& text : {std::string(), std::string("one line\n"), LongText()}) {
    ASSERT_OK_AND_ASSIGN(const std::string back, Gunzip(Gzip(text), kPlenty));
    EXPECT_TRUE(back == text) << text.size();
  }
}

TEST(GzipTest, ReadsSeveralMembersAsOne) {
  ASSERT_OK_AND_ASSIGN(const std::string text, Gunzip(Gzip("one\n") + Gzip("") + Gzip("two\n"), kPlenty));
  EXPECT_EQ(text, "one\ntwo\n");
}

TEST(GzipTest, ABrokenFileIsNamedWhereverItBreaks) {
  const std::string packed = Gzip("one line, and then another one line\n");
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_STATUS(Gunzip(packed.substr(0, size), kPlenty), absl::StatusCode::kDataLoss, "is truncated");
  }
  std::string damaged = packed;
  damaged[packed.size() - 8] ^= 1;
  EXPECT_STATUS(Gunzip(damaged, kPlenty), absl::StatusCode::kDataLoss, "is damaged: incorrect data check");
  damaged = packed;
  damaged[packed.size() - 4] ^= 1;
  EXPECT_STATUS(Gunzip(damaged, kPlenty), absl::StatusCode::kDataLoss, "is damaged: incorrect length check");
  EXPECT_STATUS(Gunzip("\x1f\x8b\x09" + packed.substr(3), kPlenty), absl::StatusCode::kDataLoss, "is damaged");
  EXPECT_STATUS(Gunzip(packed + "junk", kPlenty), absl::StatusCode::kDataLoss, "followed by 4 bytes");
}

TEST(GzipTest, ABombIsRefusedAtItsLimit) {
  const std::string bomb = Gzip(std::string(64 << 20, '0'));
  ASSERT_LT(bomb.size(), 100'000);
  EXPECT_STATUS(Gunzip(bomb, 100'000), absl::StatusCode::kInvalidArgument, "more than 100000 bytes");
  EXPECT_OK(Gunzip(bomb, 64 << 20));
  EXPECT_STATUS(Gunzip(bomb, (64 << 20) - 1), absl::StatusCode::kInvalidArgument, "more than 67108863 bytes");
}

TEST(GzipTest, AFileIsUnpackedByWhatItHoldsAndNotByItsName) {
  const std::string path = testing::TempDir() + "/maybe";
  ASSERT_OK(WriteFileSynced(path, "plain"));
  ASSERT_OK_AND_ASSIGN(std::string text, ReadMaybeGzip(path, kPlenty));
  EXPECT_EQ(text, "plain");
  ASSERT_OK(WriteFileSynced(path, Gzip("packed")));
  ASSERT_OK_AND_ASSIGN(text, ReadMaybeGzip(path, kPlenty));
  EXPECT_EQ(text, "packed");
  ASSERT_OK(WriteFileSynced(path, Gzip("packed").substr(0, 12)));
  EXPECT_STATUS(ReadMaybeGzip(path, kPlenty), absl::StatusCode::kDataLoss, path + ": the gzip file is truncated");
  EXPECT_STATUS(ReadMaybeGzip(path, 4), absl::StatusCode::kInvalidArgument, path + " is longer than 4 bytes");
}

}  // namespace
}  // namespace grpo
