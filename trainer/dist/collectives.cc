#include "trainer/dist/collectives.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <deque>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/failpoint.h"
#include "common/status_macros.h"
#include "model/tensor.h"
#include "trainer/dist/backend.h"
#include "trainer/dist/rendezvous.h"

namespace grpo {
namespace {

constexpr std::chrono::milliseconds kReceivePoll{5000};
// One is copied while another is on its way.
constexpr size_t kBucketsInFlight = 2;

// [bytes] uint8, a view.
at::Tensor View(std::string& bytes) {
  return at::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size())}, at::kByte);
}

std::string BellKey(int64_t message) {
  return absl::StrCat("message/", message);
}
std::string PhaseKey(int rank) {
  return absl::StrCat("phase/", rank);
}

// A part of the gradients on its way round the ranks.
struct Bucket {
  std::vector<at::Tensor> tensors;
  // Their values, back to back, [n] float32.
  std::vector<at::Tensor> flat;
  c10::intrusive_ptr<c10d::Work> work;

  void Land() {
    work->wait();
    const c10::Device device = tensors[0].device();
    // Back to where it came from, at once.
    const at::Tensor sum = flat[0].device() == device ? flat[0] : ToDevice(flat[0], device);
    int64_t offset = 0;
    for (at::Tensor& tensor : tensors) {
      tensor.copy_(sum.narrow(0, offset, tensor.numel()).view(tensor.sizes()));
      offset += tensor.numel();
    }
  }
};

// The host's, where the sum is made there and not where the tensor lies.
at::Tensor ForSumOn(c10::Device device, const at::Tensor& tensor) {
  return tensor.device() == device ? tensor : HostCopy(tensor).Wait();
}

constexpr int kPhaseFields = 5;

// "7 1024 4096 8192 forward": the sequence, then bytes of memory, and last the name, which may hold anything.
std::string PhaseText(const Collectives::Phase& phase) {
  return absl::StrCat(phase.sequence, " ", phase.memory.allocated_bytes, " ", phase.memory.peak_bytes, " ",
                      phase.memory.reserved_bytes, " ", phase.name);
}

// Of a text of another kind, that of a rank which has said nothing.
Collectives::Phase PhaseOf(const std::string& text) {
  const std::vector<std::string> fields = absl::StrSplit(text, absl::MaxSplits(' ', kPhaseFields - 1));
  Collectives::Phase phase;
  if (fields.size() == kPhaseFields && absl::SimpleAtoi(fields[0], &phase.sequence) &&
      absl::SimpleAtoi(fields[1], &phase.memory.allocated_bytes) &&
      absl::SimpleAtoi(fields[2], &phase.memory.peak_bytes) &&
      absl::SimpleAtoi(fields[3], &phase.memory.reserved_bytes)) {
    phase.name = fields[4];
    return phase;
  }
  return {};
}

}  // namespace

std::unique_ptr<Collectives> Collectives::SingleRank(c10::Device device) {
  Options options;
  options.device = device;
  return std::unique_ptr<Collectives>(new Collectives(/*rank=*/0, /*world_size=*/1, options, /*store=*/nullptr));
}

absl::StatusOr<std::unique_ptr<Collectives>> Collectives::Connect(const RankEnvironment& environment,
                                                                  const Options& options) {
  if (environment.world_size == 1) return SingleRank(options.device);
  ASSIGN_OR_RETURN(auto store, OpenStore(environment, options.private_interface, options.start_timeout));
  std::unique_ptr<Collectives> collectives;
  RETURN_IF_ERROR(TorchGuard([&] {
    collectives.reset(new Collectives(environment.rank, environment.world_size, options, store));
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(collectives->Guard("connecting", [&] {
    collectives->gloo_ = MakeGloo(store, environment, options.private_interface, options.timeout);
    GradientBackend gradients = {.backend = collectives->gloo_};
    if (!options.device.is_cpu() && !options.through_host)
      gradients = MakeGradientBackend(store, environment, options.device, collectives->gloo_, options.timeout);
    collectives->gradients_ = std::move(gradients.backend);
    collectives->gradient_device_ = gradients.device;
  }));
  return collectives;
}

Collectives::Collectives(int rank, int world_size, Options options, c10::intrusive_ptr<c10d::Store> store)
    : rank_(rank),
      world_size_(world_size),
      options_(std::move(options)),
      store_(std::move(store)),
      phases_store_(store_ ? store_->clone() : nullptr) {}

Collectives::~Collectives() = default;

absl::Status Collectives::Guard(absl::string_view what, const std::function<void()>& body) {
  const absl::Status status = TorchGuard([&] {
    body();
    return absl::OkStatus();
  });
  if (status.ok()) return status;
  broken_ = true;
  return absl::UnavailableError(absl::StrCat(what, " failed on rank ", rank_, " of ", world_size_, ": ",
                                             status.message(), "; another rank died, or took longer than ",
                                             absl::FormatDuration(options_.timeout),
                                             " (trainer.collective_timeout_s): see the logs of the others"));
}

absl::Status Collectives::AllReduceSum(const std::vector<at::Tensor>& tensors) {
  if (world_size_ == 1) return absl::OkStatus();
  const at::NoGradGuard no_grad;
  return Guard("the sum of the gradients", [&] {
    std::deque<Bucket> in_flight;
    for (size_t next = 0; next < tensors.size();) {
      Bucket bucket;
      std::vector<at::Tensor> views;
      for (int64_t bytes = 0; next < tensors.size() && bytes < options_.bucket_bytes; ++next) {
        bucket.tensors.push_back(tensors[next]);
        views.push_back(tensors[next].reshape({-1}));
        bytes += static_cast<int64_t>(tensors[next].nbytes());
      }
      bucket.flat = {ForSumOn(gradient_device_, at::cat(views))};
      bucket.work = gradients_->allreduce(bucket.flat);
      in_flight.push_back(std::move(bucket));
      if (in_flight.size() < kBucketsInFlight) continue;
      in_flight.front().Land();
      in_flight.pop_front();
    }
    for (Bucket& bucket : in_flight) bucket.Land();
  });
}

absl::StatusOr<std::vector<std::string>> Collectives::AllGather(const std::string& mine) {
  if (world_size_ == 1) return std::vector<std::string>{mine};
  std::vector<std::string> all;
  RETURN_IF_ERROR(Guard("an exchange", [&] {
    std::vector<std::vector<at::Tensor>> sizes(1);
    for (int rank = 0; rank < world_size_; ++rank) sizes[0].push_back(at::empty({1}, at::kLong));
    std::vector<at::Tensor> my_size = {at::full({1}, static_cast<int64_t>(mine.size()), at::kLong)};
    gloo_->allgather(sizes, my_size)->wait();
    int64_t longest = 1;
    for (const at::Tensor& size : sizes[0]) longest = std::max(longest, size.item<int64_t>());
    // Every rank's, padded to the longest.
    std::string padded = mine;
    padded.resize(static_cast<size_t>(longest));
    all.assign(static_cast<size_t>(world_size_), std::string(static_cast<size_t>(longest), '\0'));
    std::vector<std::vector<at::Tensor>> outputs(1);
    for (std::string& bytes : all) outputs[0].push_back(View(bytes));
    std::vector<at::Tensor> input = {View(padded)};
    gloo_->allgather(outputs, input)->wait();
    for (int rank = 0; rank < world_size_; ++rank)
      all[rank].resize(static_cast<size_t>(sizes[0][rank].item<int64_t>()));
  }));
  return all;
}

absl::Status Collectives::Broadcast(std::string& bytes) {
  std::vector<at::Tensor> size = {at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong)};
  RETURN_IF_ERROR(Broadcast(size));
  bytes.resize(static_cast<size_t>(size[0].item<int64_t>()));
  return bytes.empty() ? absl::OkStatus() : Broadcast({View(bytes)});
}

absl::Status Collectives::Broadcast(const std::vector<at::Tensor>& tensors) {
  if (world_size_ == 1) return absl::OkStatus();
  return Guard("a broadcast", [&] {
    for (const at::Tensor& tensor : tensors) {
      std::vector<at::Tensor> one = {tensor.detach()};
      if (tensor.is_cpu()) {
        gloo_->broadcast(one)->wait();
      } else if (tensor.device() == gradient_device_) {
        gradients_->broadcast(one)->wait();
      } else {
        BroadcastThroughHost(one[0]);
      }
    }
  });
}

void Collectives::BroadcastThroughHost(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.view({-1});
  const int64_t piece = std::max<int64_t>(1, options_.bucket_bytes / static_cast<int64_t>(flat.element_size()));
  for (int64_t begin = 0; begin < flat.numel(); begin += piece) {
    const at::Tensor there = flat.narrow(0, begin, std::min(piece, flat.numel() - begin));
    std::vector<at::Tensor> here = {rank_ == 0 ? HostCopy(there).Wait()
                                               : at::empty(there.sizes(), there.scalar_type())};
    gloo_->broadcast(here)->wait();
    if (rank_ > 0) there.copy_(here[0]);
  }
}

absl::Status Collectives::Send(std::vector<std::string> messages) {
  if (world_size_ == 1) return absl::OkStatus();
  return Guard("handing out work", [&] {
    store_->set(BellKey(num_messages_), std::vector<uint8_t>{1});
    for (int rank = 1; rank < world_size_; ++rank) SendBytes(messages[rank], rank);
    // Everybody has long heard the one before.
    if (num_messages_ > 0) store_->deleteKey(BellKey(num_messages_ - 1));
    ++num_messages_;
  });
}

absl::StatusOr<std::string> Collectives::Receive(const std::function<absl::Status()>& poll) {
  // A receive that runs into its timeout breaks the connection, so patience is asked of the store.
  for (bool rung = false; !rung;) {
    RETURN_IF_ERROR(poll());
    RETURN_IF_ERROR(Guard("waiting for rank 0", [&] {
      try {
        store_->wait({BellKey(num_messages_)}, kReceivePoll);
        rung = true;
      } catch (const c10::DistStoreError&) {
        // Not yet. A store that is gone throws something else.
      }
    }));
  }
  ++num_messages_;
  std::string message;
  RETURN_IF_ERROR(Guard("taking work", [&] { message = ReceiveBytes(/*rank=*/0); }));
  return message;
}

void Collectives::SendBytes(std::string& bytes, int rank) {
  std::vector<at::Tensor> size = {at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong)};
  gloo_->send(size, rank, /*tag=*/0)->wait();
  if (bytes.empty()) return;
  std::vector<at::Tensor> content = {View(bytes)};
  gloo_->send(content, rank, /*tag=*/0)->wait();
}

std::string Collectives::ReceiveBytes(int rank) {
  std::vector<at::Tensor> size = {at::empty({1}, at::kLong)};
  gloo_->recv(size, rank, /*tag=*/0)->wait();
  std::string bytes(static_cast<size_t>(size[0].item<int64_t>()), '\0');
  if (bytes.empty()) return bytes;
  std::vector<at::Tensor> content = {View(bytes)};
  gloo_->recv(content, rank, /*tag=*/0)->wait();
  return bytes;
}

void Collectives::SetPhase(absl::string_view phase) {
  Phase now;
  const DeviceMemory memory = MemoryOf(options_.device);
  {
    absl::MutexLock lock(&phase_mutex_);
    phase_.name = std::string(phase);
    ++phase_.sequence;
    phase_.memory = memory;
    now = phase_;
  }
  Failpoint("trainer.phase", absl::StrCat("rank ", rank_, ": ", phase)).IgnoreError();
  if (world_size_ == 1) return;
  const std::string value = PhaseText(now);
  // Of a store that is gone the next collective tells.
  TorchGuard([&] {
    store_->set(PhaseKey(rank_), std::vector<uint8_t>(value.begin(), value.end()));
    return absl::OkStatus();
  }).IgnoreError();
}

absl::StatusOr<std::vector<Collectives::Phase>> Collectives::Phases() {
  std::vector<Phase> phases(static_cast<size_t>(world_size_));
  if (world_size_ > 1) {
    RETURN_IF_ERROR(TorchGuard([&] {
      for (int rank = 0; rank < world_size_; ++rank) {
        if (!phases_store_->check({PhaseKey(rank)})) continue;
        const std::vector<uint8_t> value = phases_store_->get(PhaseKey(rank));
        phases[rank] = PhaseOf(std::string(value.begin(), value.end()));
      }
      return absl::OkStatus();
    }));
  }
  absl::MutexLock lock(&phase_mutex_);
  phases[rank_] = phase_;
  return phases;
}

}  // namespace grpo
