#include "rollout/weight_channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/rpc/server.h"
#include "common/shared_memory.h"
#include "common/status_testing.h"
#include "common/unix_socket.h"
#include "coordinator/local_weights.h"
#include "gmock/gmock.h"
#include "rollout/borrow_weights.h"
#include "rollout/testing.h"
#include "rollout/tiny_policy.h"

namespace grpo {
namespace {

constexpr int64_t kLease = 1;

// gRPC is answered by a FakeCoordinator, so that a test sees which way the weights came; shared memory by what a run
// has.
class WeightChannelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/weight_channel_test.", ::getpid());
    ASSERT_OK(MakeFolders(folder_));
    path_ = folder_ + "/weights.sock";
    for (const int64_t number : {1, 2, 3}) fake_.weights[number] = TinyWeights(number);
    server_ = *rpc::Server::Start({}, {&fake_});
    client_ = *rpc::Client::Create(server_->address());
    session_ = std::make_unique<Session>(*rpc::Client::Create(server_->address()),
                                         Session::Identity{.weight_channels = WeightChannelNames()});
    session_->Track(kLease, {});
    ASSERT_OK_AND_ASSIGN(channel_, MakeWeightChannel("memfd:" + path_, client_, session_.get()));
  }
  void TearDown() override {
    channel_.reset();
    served_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Serve() { ASSERT_OK_AND_ASSIGN(served_, LocalWeights::Serve(&coordinator_, {.socket = path_})); }

  void Publish(int64_t number, void (*damage)(WeightSet&) = nullptr) {
    WeightSet& set = published_.emplace_back(TinyWeights(number));
    if (damage != nullptr) damage(set);
    coordinator_.Publish(std::make_shared<PayloadWeights>(set.manifest, std::vector<absl::string_view>{set.payload}));
  }

  absl::StatusOr<HeldPolicy> Fetch(int64_t number, const HeldPolicy* previous = nullptr) {
    return channel_->Fetch(Ref(number), kLease, previous);
  }
  static v1::PolicyRef Ref(int64_t number) {
    v1::PolicyRef policy;
    policy.set_policy_id("tiny");
    policy.set_number(number);
    return policy;
  }
  static void ExpectHolds(const HeldPolicy& held, int64_t number) {
    EXPECT_EQ(held.manifest.policy().number(), number);
    EXPECT_TRUE(TinyWeights(number, *held.model).payload == TinyWeights(number).payload) << "version " << number;
  }
  size_t num_pulls() {
    MutexLock lock(&fake_.mutex);
    return fake_.pulls.size();
  }

  std::string folder_, path_;
  FakeCoordinator fake_;
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<rpc::Client> client_;
  std::unique_ptr<Session> session_;
  std::list<WeightSet> published_;
  Coordinator coordinator_ = Coordinator(CoordinatorOptions{}, {.run_id = "run"});
  std::unique_ptr<LocalWeights> served_;
  std::unique_ptr<WeightChannel> channel_;
};

TEST_F(WeightChannelTest, WeightsComeThroughSharedMemoryIntoTheModelThatThereIs) {
  Serve();
  Publish(1);
  ASSERT_OK_AND_ASSIGN(const HeldPolicy first, Fetch(1));
  ExpectHolds(first, 1);
  Publish(2);
  ASSERT_OK_AND_ASSIGN(const HeldPolicy second, Fetch(2, &first));
  ExpectHolds(second, 2);
  EXPECT_EQ(second.model, first.model);
  EXPECT_EQ(second.tokenizer, first.tokenizer);
  EXPECT_EQ(num_pulls(), 0u);
}

TEST_F(WeightChannelTest, AnotherArchitectureIsAnotherModel) {
  Serve();
  Publish(1);
  ASSERT_OK_AND_ASSIGN(const HeldPolicy first, Fetch(1));
  const WeightSet wide = TinyWeights(2, *TinyModel(2, /*intermediate_size=*/48));
  coordinator_.Publish(std::make_shared<PayloadWeights>(wide.manifest, std::vector<absl::string_view>{wide.payload}));
  ASSERT_OK_AND_ASSIGN(const HeldPolicy second, Fetch(2, &first));
  EXPECT_NE(second.model, first.model);
  EXPECT_EQ(second.model->config().intermediate_size, 48);
  ExpectHolds(first, 1);
}

TEST_F(WeightChannelTest, WhereThereIsNoSocketWeightsComeByGrpc) {
  ASSERT_OK_AND_ASSIGN(const HeldPolicy first, Fetch(1));
  ExpectHolds(first, 1);
  EXPECT_EQ(num_pulls(), 1u);
  // And by memory as soon as there is one.
  Serve();
  Publish(2);
  ASSERT_OK_AND_ASSIGN(const HeldPolicy second, Fetch(2, &first));
  ExpectHolds(second, 2);
  EXPECT_EQ(second.model, first.model);
  EXPECT_EQ(num_pulls(), 1u);
  // The publisher dies.
  served_.reset();
  ASSERT_OK_AND_ASSIGN(const HeldPolicy third, Fetch(3, &second));
  ExpectHolds(third, 3);
  EXPECT_EQ(num_pulls(), 2u);
}

TEST_F(WeightChannelTest, AVersionThatIsNotThereIsAskedForByGrpcToo) {
  Serve();
  Publish(1);
  ASSERT_OK_AND_ASSIGN(const HeldPolicy held, Fetch(2));
  ExpectHolds(held, 2);
  EXPECT_STATUS(Fetch(9), absl::StatusCode::kNotFound, "version 9 of policy tiny");
}

TEST_F(WeightChannelTest, DamagedBytesAreNoticedAndFetchedByGrpc) {
  Serve();
  Publish(1, [](WeightSet& set) { set.payload.back() ^= 1; });
  ASSERT_OK_AND_ASSIGN(const HeldPolicy first, Fetch(1));
  ExpectHolds(first, 1);
  EXPECT_EQ(num_pulls(), 1u);
  // Also where they have already gone into the model.
  Publish(2, [](WeightSet& set) { set.payload[set.payload.size() / 2] ^= 1; });
  ASSERT_OK_AND_ASSIGN(const HeldPolicy second, Fetch(2, &first));
  ExpectHolds(second, 2);
  EXPECT_EQ(num_pulls(), 2u);
}

TEST_F(WeightChannelTest, AManifestThatDoesNotFitIsNotFollowed) {
  Serve();
  Publish(1, [](WeightSet& set) { set.manifest.mutable_tensors(0)->set_offset_bytes(0); });
  ASSERT_OK_AND_ASSIGN(const HeldPolicy held, Fetch(1));
  ExpectHolds(held, 1);
  EXPECT_EQ(num_pulls(), 1u);
}

// What sits at the socket answers every request with `code`, `bytes` and a descriptor.
class Impostor {
 public:
  Impostor(const std::string& path, uint32_t code, std::string bytes, int passed)
      : listening_(*ListenUnix(path)), thread_([=, this] {
          while (true) {
            const absl::StatusOr<Descriptor> socket = AcceptUnix(listening_.get());
            if (!socket.ok()) return;
            if (ReceiveUnix(socket->get(), 1 << 20).ok()) SendUnix(socket->get(), code, bytes, passed).IgnoreError();
          }
        }) {}
  ~Impostor() {
    ::shutdown(listening_.get(), SHUT_RDWR);
    thread_.join();
  }

 private:
  const Descriptor listening_;
  std::thread thread_;
};

TEST_F(WeightChannelTest, WhateverElseAnswersIsAnErrorAndWeightsComeByGrpc) {
  const v1::WeightsManifest manifest = TinyWeights(1).manifest;
  const v1::WeightsManifest other = TinyWeights(2).manifest;
  const auto small = SharedMemory::Create(manifest.payload_bytes() - 1);
  const auto zeros = SharedMemory::Create(manifest.payload_bytes());
  ASSERT_OK(small);
  ASSERT_OK(zeros);
  const Descriptor file(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const struct {
    uint32_t code;
    std::string bytes;
    int passed;
    std::string words;
  } answers[] = {{0, "\xff\xff", (*zeros)->fd(), "the answer is no manifest"},
                 {0, "", (*zeros)->fd(), "kind 0"},
                 {0, other.SerializeAsString(), (*zeros)->fd(), "the manifest is of tiny version 2"},
                 {0, manifest.SerializeAsString(), -1, "shared memory"},
                 {0, manifest.SerializeAsString(), file.get(), "no memory whose size is sealed"},
                 {0, manifest.SerializeAsString(), (*small)->fd(), "were announced"},
                 {13, "no room", -1, "no room"},
                 {4711, "what is this", -1, "what is this"}};
  size_t pulls = 0;
  for (const auto& [code, bytes, passed, words] : answers) {
    const Impostor impostor(path_, code, bytes, passed);
    const absl::StatusOr<std::unique_ptr<WeightSource>> borrowed = BorrowWeights(path_, Ref(1));
    ASSERT_FALSE(borrowed.ok()) << words;
    EXPECT_THAT(std::string(borrowed.status().message()), ::testing::HasSubstr(words));
    ASSERT_OK_AND_ASSIGN(const HeldPolicy held, Fetch(1));
    ExpectHolds(held, 1);
    EXPECT_EQ(num_pulls(), ++pulls) << words;
  }
  // Memory of the right size with other bytes in it.
  const Impostor impostor(path_, 0, manifest.SerializeAsString(), (*zeros)->fd());
  ASSERT_OK(BorrowWeights(path_, Ref(1)).status());
  ASSERT_OK_AND_ASSIGN(const HeldPolicy held, Fetch(1));
  ExpectHolds(held, 1);
  EXPECT_EQ(num_pulls(), ++pulls);
}

TEST_F(WeightChannelTest, OnlyTheChannelsThatThereAreAreMade) {
  EXPECT_OK(MakeWeightChannel("grpc", client_, session_.get()).status());
  EXPECT_OK(MakeWeightChannel("memfd:/nowhere", client_, session_.get()).status());
  for (const char* const name : {"", "shm", "memf", "grpcs", ":grpc"}) {
    EXPECT_STATUS(MakeWeightChannel(name, client_, session_.get()), absl::StatusCode::kInvalidArgument,
                  "known are memfd, grpc");
  }
}

}  // namespace
}  // namespace grpo
