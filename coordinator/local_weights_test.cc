#include "coordinator/local_weights.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/process_memory.h"
#include "common/shared_memory.h"
#include "common/status_testing.h"
#include "common/unix_socket.h"
#include "coordinator/coordinator.h"
#include "coordinator/testing.h"

namespace grpo {
namespace {

constexpr absl::Duration kTimeout = absl::Minutes(1);

std::string Content(const SharedMemory& memory, size_t size) {
  std::string content(size, '#');
  EXPECT_OK(ReadSharedMemory(memory.fd(), 0, absl::MakeSpan(content)));
  return content;
}

// --- The buffers ---

TEST(WeightBuffersTest, TwoAreFilledInTurn) {
  WeightBuffers buffers({});
  std::set<int> descriptors;
  for (int64_t number = 1; number <= 6; ++number) {
    const std::string payload = absl::StrCat("payload ", number);
    ASSERT_OK_AND_ASSIGN(const auto loan, buffers.Lend(*TestWeights(number, payload)));
    EXPECT_EQ(Content(loan.memory(), payload.size()), payload);
    descriptors.insert(loan.memory().fd());
  }
  EXPECT_EQ(descriptors.size(), 2u);
  EXPECT_EQ(buffers.num_buffers(), 2);
}

TEST(WeightBuffersTest, AVersionIsCopiedOnceForAllItsReaders) {
  WeightBuffers buffers({});
  const auto weights = TestWeights(1, "as it was");
  ASSERT_OK_AND_ASSIGN(const auto first, buffers.Lend(*weights));
  // Nothing is read of another source with the same digest.
  ASSERT_OK_AND_ASSIGN(const auto second, buffers.Lend(*TestWeights(1, "as it is")));
  EXPECT_EQ(second.memory().fd(), first.memory().fd());
  EXPECT_EQ(Content(second.memory(), 9), "as it was");
  EXPECT_EQ(buffers.num_buffers(), 1);
}

TEST(WeightBuffersTest, WhatASlowReaderReadsIsNotWrittenTo) {
  WeightBuffers buffers({.patience = absl::Milliseconds(50)});
  {
    ASSERT_OK_AND_ASSIGN(const auto slow, buffers.Lend(*TestWeights(1, "version 1")));
    for (int64_t number = 2; number <= 5; ++number) {
      ASSERT_OK_AND_ASSIGN(const auto loan, buffers.Lend(*TestWeights(number, absl::StrCat("version ", number))));
      EXPECT_EQ(Content(loan.memory(), 9), absl::StrCat("version ", number));
      EXPECT_EQ(Content(slow.memory(), 9), "version 1");
    }
    EXPECT_EQ(buffers.num_buffers(), 3) << "its own is kept for it";
    EXPECT_EQ(buffers.num_bytes(), 3 * 9);
  }
  EXPECT_EQ(buffers.num_buffers(), 2) << "and not longer";
  EXPECT_EQ(buffers.num_bytes(), 2 * 9);
}

TEST(WeightBuffersTest, AReaderThatEndsInTimeIsWaitedFor) {
  WeightBuffers buffers({.patience = kTimeout});
  absl::StatusOr<WeightBuffers::Loan> slow = buffers.Lend(*TestWeights(1));
  ASSERT_OK(slow);
  const int fd = slow->memory().fd();
  ASSERT_OK(buffers.Lend(*TestWeights(2)));
  std::thread reader([&] {
    absl::SleepFor(absl::Milliseconds(50));
    const WeightBuffers::Loan ended = *std::move(slow);
  });
  ASSERT_OK_AND_ASSIGN(const auto third, buffers.Lend(*TestWeights(3)));
  EXPECT_EQ(third.memory().fd(), fd);
  reader.join();
}

TEST(WeightBuffersTest, AnAbandonedLoanIsReadOnUndisturbed) {
  WeightBuffers buffers({});
  absl::StatusOr<WeightBuffers::Loan> loan = buffers.Lend(*TestWeights(1, "version 1"));
  ASSERT_OK(loan);
  const Descriptor readers(::dup(loan->memory().fd()));
  loan->Abandon();
  { const WeightBuffers::Loan ended = *std::move(loan); }
  EXPECT_EQ(buffers.num_buffers(), 0);
  for (int64_t number = 2; number <= 5; ++number) ASSERT_OK(buffers.Lend(*TestWeights(number, "another")));
  std::string content(9, '#');
  EXPECT_OK(ReadSharedMemory(readers.get(), 0, absl::MakeSpan(content)));
  EXPECT_EQ(content, "version 1");
}

TEST(WeightBuffersTest, LargerPayloadsGetLargerBuffers) {
  WeightBuffers buffers({.num_threads = 3});
  std::string payload = "x";
  for (int64_t number = 1; number <= 24; ++number) {
    ASSERT_OK_AND_ASSIGN(const auto loan, buffers.Lend(*TestWeights(number, payload)));
    EXPECT_TRUE(Content(loan.memory(), payload.size()) == payload) << payload.size();
    payload += payload;
    payload[payload.size() / 2] = static_cast<char>('a' + number);
  }
  EXPECT_EQ(buffers.num_bytes(), (1 << 22) + (1 << 23));
}

TEST(WeightBuffersTest, AVersionThatIsRetiredIsNotLent) {
  WeightBuffers buffers({});
  const auto weights = TestWeights(1);
  weights->Retire(absl::ZeroDuration());
  EXPECT_STATUS(buffers.Lend(*weights), absl::StatusCode::kUnavailable, "is being trained on");
  ASSERT_OK(buffers.Lend(*TestWeights(2)));
}

// The memory that there is not: buffers that fit are lent as before.
TEST(WeightBuffersTest, APayloadBeyondAllMemoryIsAnErrorAndNoMore) {
  WeightBuffers buffers({});
  v1::WeightsManifest manifest;
  manifest.set_digest("giant");
  manifest.set_payload_bytes(int64_t{1} << 50);
  ASSERT_OK(buffers.Lend(*TestWeights(1)));
  EXPECT_STATUS(buffers.Lend(TestWeightSource(manifest, "")), absl::StatusCode::kResourceExhausted, "bytes are left");
  ASSERT_OK(buffers.Lend(*TestWeights(2)));
  ASSERT_OK(buffers.Lend(*TestWeights(3)));
}

// --- The socket ---

class LocalWeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/local_weights_test.", ::getpid());
    ASSERT_OK(MakeFolders(folder_));
    path_ = folder_ + "/weights.sock";
    ASSERT_OK_AND_ASSIGN(served_, LocalWeights::Serve(&coordinator_, {.socket = path_, .buffers = {.patience = {}}}));
    coordinator_.Publish(TestWeights(1, "version 1"));
  }
  void TearDown() override {
    served_.reset();
    std::filesystem::remove_all(folder_);
  }

  // Asks for a version; the connection is in `socket`.
  absl::StatusOr<UnixMessage> Ask(int64_t number, Descriptor& socket) const {
    ASSIGN_OR_RETURN(socket, ConnectUnix(path_, kTimeout));
    v1::PullWeightsRequest request;
    request.mutable_policy()->set_policy_id("model");
    request.mutable_policy()->set_number(number);
    RETURN_IF_ERROR(SendUnix(socket.get(), 0, request.SerializeAsString()));
    return ReceiveUnix(socket.get(), 1 << 20);
  }

  static std::string Read(const UnixMessage& answer, size_t size = 9) {
    std::string content(size, '#');
    EXPECT_OK(CheckSharedMemory(answer.passed.get(), static_cast<int64_t>(size)));
    EXPECT_OK(ReadSharedMemory(answer.passed.get(), 0, absl::MakeSpan(content)));
    return content;
  }

  bool WaitForBuffers(int64_t count) const {
    for (int i = 0; i < 2000 && served_->buffers().num_buffers() != count; ++i) absl::SleepFor(absl::Milliseconds(10));
    return served_->buffers().num_buffers() == count;
  }

  Coordinator coordinator_ = Coordinator(CoordinatorOptions{}, {.run_id = "run"});
  std::string folder_, path_;
  std::unique_ptr<LocalWeights> served_;
};

TEST_F(LocalWeightsTest, LendsAVersionWithItsManifest) {
  Descriptor socket;
  ASSERT_OK_AND_ASSIGN(const UnixMessage answer, Ask(1, socket));
  EXPECT_EQ(answer.code, 0u);
  v1::WeightsManifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(answer.bytes));
  EXPECT_EQ(manifest.digest(), "digest-1");
  EXPECT_EQ(Read(answer), "version 1");
  EXPECT_EQ(coordinator_.weight_buffer_bytes(), 9);
}

// So that its memory can be measured.
TEST_F(LocalWeightsTest, WhoReadsIsKnownByItsProcess) {
  EXPECT_TRUE(coordinator_.local_workers().All().empty());
  Descriptor first, second;
  ASSERT_OK(Ask(1, first));
  ASSERT_OK(Ask(1, second));
  EXPECT_EQ(coordinator_.local_workers().All(), std::vector<ProcessId>{IdentifyProcess(::getpid()).value()});
}

TEST_F(LocalWeightsTest, WorkersThatRegisterAreToldOfIt) {
  v1::RegisterRequest request = TestWorker("rollout-0");
  for (const char* const channel : {"memfd", "grpc"}) request.add_weight_channels(channel);
  ASSERT_OK_AND_ASSIGN(const v1::RegisterResponse told, coordinator_.Register(request));
  EXPECT_EQ(told.weight_channel(), "memfd:" + path_);
  ASSERT_OK_AND_ASSIGN(const v1::RegisterResponse older, coordinator_.Register(TestWorker("rollout-1")));
  EXPECT_EQ(older.weight_channel(), "grpc");
}

TEST_F(LocalWeightsTest, AVersionThatIsNotKeptIsAnsweredSo) {
  Descriptor socket;
  ASSERT_OK_AND_ASSIGN(const UnixMessage answer, Ask(9, socket));
  EXPECT_EQ(static_cast<absl::StatusCode>(answer.code), absl::StatusCode::kNotFound);
  EXPECT_EQ(answer.passed.get(), -1);
}

TEST_F(LocalWeightsTest, WhoeverSaysNonsenseIsAnsweredAndTheNextOneServed) {
  {
    ASSERT_OK_AND_ASSIGN(const Descriptor socket, ConnectUnix(path_, kTimeout));
    ASSERT_OK(SendUnix(socket.get(), 0, "\xff\xff\xff"));
    ASSERT_OK_AND_ASSIGN(const UnixMessage answer, ReceiveUnix(socket.get(), 1000));
    EXPECT_EQ(static_cast<absl::StatusCode>(answer.code), absl::StatusCode::kInvalidArgument);
  }
  { ASSERT_OK(ConnectUnix(path_, kTimeout).status()); }
  Descriptor socket;
  ASSERT_OK_AND_ASSIGN(const UnixMessage answer, Ask(1, socket));
  EXPECT_EQ(Read(answer), "version 1");
}

TEST_F(LocalWeightsTest, ManyReadersAtATimeGetTheSame) {
  std::vector<std::thread> readers;
  for (int i = 0; i < 8; ++i) {
    readers.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        Descriptor socket;
        ASSERT_OK_AND_ASSIGN(const UnixMessage answer, Ask(1, socket));
        EXPECT_EQ(Read(answer), "version 1");
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(served_->buffers().num_buffers(), 1);
}

TEST_F(LocalWeightsTest, AReaderThatHoldsOnKeepsItsVersionAndEndsWithItsConnection) {
  Descriptor slow;
  ASSERT_OK_AND_ASSIGN(const UnixMessage first, Ask(1, slow));
  for (int64_t number = 2; number <= 4; ++number) {
    coordinator_.Publish(TestWeights(number, absl::StrCat("version ", number)));
    Descriptor socket;
    ASSERT_OK_AND_ASSIGN(const UnixMessage answer, Ask(number, socket));
    EXPECT_EQ(Read(answer), absl::StrCat("version ", number));
  }
  EXPECT_EQ(Read(first), "version 1");
  EXPECT_GE(served_->buffers().num_buffers(), 3);
  slow = Descriptor();
  EXPECT_TRUE(WaitForBuffers(2));
}

TEST_F(LocalWeightsTest, AReaderThatIsKilledHoldsNothing) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Descriptor socket;
    const absl::StatusOr<UnixMessage> answer = Ask(1, socket);
    if (!answer.ok() || ::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto publish = [&](int64_t number) {
    coordinator_.Publish(TestWeights(number, absl::StrCat("version ", number)));
    Descriptor socket;
    ASSERT_OK_AND_ASSIGN(const UnixMessage answer, Ask(number, socket));
    EXPECT_EQ(Read(answer), absl::StrCat("version ", number));
  };
  for (const int64_t number : {2, 3}) publish(number);
  EXPECT_GE(served_->buffers().num_buffers(), 3) << "it holds version 1";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(WaitForBuffers(2));
}

TEST_F(LocalWeightsTest, ItsEndRemovesTheSocketAndLeavesReadersWhatTheyHave) {
  Descriptor socket;
  ASSERT_OK_AND_ASSIGN(const UnixMessage answer, Ask(1, socket));
  served_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(Read(answer), "version 1");
  EXPECT_TRUE(WaitForClose(socket.get()));
}

TEST_F(LocalWeightsTest, WhereNoSocketCanBeMadeItSaysSo) {
  EXPECT_STATUS(LocalWeights::Serve(&coordinator_, {.socket = folder_ + "/none/weights.sock"}),
                absl::StatusCode::kNotFound, "none");
}

}  // namespace
}  // namespace grpo
