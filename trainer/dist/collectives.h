// What the ranks of a trainer do together, over c10d: sum gradients, pass bytes, and tell each other what they are
// doing.
#ifndef GRPO_TRAINER_DIST_COLLECTIVES_H_
#define GRPO_TRAINER_DIST_COLLECTIVES_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/device.h"
#include "trainer/dist/rank_environment.h"

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace grpo {

// Every rank makes the same calls in the same order. A peer that dies, or that does not take part within the timeout,
// makes them Unavailable on the others: the group is broken then, and all ranks have to start again. One thread but
// where it says otherwise.
class Collectives {
 public:
  struct Options {
    // For one collective; covers the time by which the slowest rank computes longer than the fastest.
    absl::Duration timeout = absl::Minutes(5);
    // For the slowest rank to start.
    absl::Duration start_timeout = absl::Minutes(5);
    // Network interface of a private network between the ranks; empty for loopback.
    std::string private_interface = {};
    // Gradients are summed in messages of this size at least (but for the last): few enough to hide latency, small
    // enough that copying one overlaps with sending another.
    int64_t bucket_bytes = int64_t{25} << 20;
    // Where this rank computes. Its own among the ranks of its machine, unless through_host.
    c10::Device device = c10::kCPU;
    // Sums and broadcasts of a device's tensors go through the host's memory and over Gloo where its own backend would
    // do it: for ranks that share a GPU, which NCCL refuses. Slow.
    bool through_host = false;
  };

  // One process that is all ranks there are. Listens nowhere. Every call returns at once: a sum is the rank's own.
  static std::unique_ptr<Collectives> SingleRank(c10::Device device = c10::kCPU);
  // Joins the ranks of the environment. Returns when all are there. OpenStore's errors (trainer/dist/rendezvous.h).
  // With a world size of 1 it is SingleRank.
  static absl::StatusOr<std::unique_ptr<Collectives>> Connect(const RankEnvironment& environment,
                                                              const Options& options);
  ~Collectives();

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }
  // Whether a collective has failed: nothing more can be done together.
  bool broken() const { return broken_; }

  // Replaces each tensor by its sum over the ranks; every rank gets the same bits. float32, contiguous. Every rank
  // gives tensors of the same shapes in the same order, all on its device. GPUs sum over NCCL, and the host does not
  // wait for that: what it then asks of the device comes after it. Other devices' tensors go through the host and over
  // Gloo. At most two buckets are copies at a time.
  absl::Status AllReduceSum(const std::vector<at::Tensor>& tensors);
  // What each rank gave, by rank. Texts may have different lengths and hold any bytes. Two exchanges: lengths, then
  // contents padded to the longest.
  absl::StatusOr<std::vector<std::string>> AllGather(const std::string& mine);
  // Rank 0's bytes, to all. What the others' held is replaced.
  absl::Status Broadcast(std::string& bytes);
  // Rank 0's values, into the others' tensors of the same shapes. Contiguous; on the CPU or on the ranks' devices, over
  // what AllReduceSum says.
  absl::Status Broadcast(const std::vector<at::Tensor>& tensors);

  // Rank 0 has something to do for all: message r goes to rank r, messages[0] nowhere. world_size messages. Returns
  // when all have taken theirs.
  absl::Status Send(std::vector<std::string> messages);
  // The others wait for it, however long; `poll` is called every few seconds, and its error ends the wait. The message
  // that Send gave this rank. An error of `poll` is returned as it is and breaks nothing.
  absl::StatusOr<std::string> Receive(const std::function<absl::Status()>& poll);

  // Tells everybody what this rank is doing. Never an error: a store that is gone shows in the next collective. The
  // training thread.
  void SetPhase(absl::string_view phase);
  // What each rank said last, by rank, with a number that changes with each SetPhase. Any thread; waits for the network.
  struct Phase {
    // Empty before the rank's first SetPhase.
    std::string name;
    int64_t sequence = 0;
    // Of its device, when it said so; zeros on the CPU.
    DeviceMemory memory = {};
  };
  // Internal when the store is gone.
  absl::StatusOr<std::vector<Phase>> Phases();

 private:
  Collectives(int rank, int world_size, Options options, c10::intrusive_ptr<c10d::Store> store);

  // Runs a collective; what it throws becomes Unavailable. Sets broken_.
  absl::Status Guard(absl::string_view what, const std::function<void()>& body);
  // Rank 0's values of a device's tensor, in pieces through the host's memory.
  void BroadcastThroughHost(const at::Tensor& tensor);
  // Bytes of one rank to another, in two messages: length, content.
  void SendBytes(std::string& bytes, int rank);
  std::string ReceiveBytes(int rank);

  const int rank_, world_size_;
  const Options options_;
  const c10::intrusive_ptr<c10d::Store> store_;
  // A connection of its own, since a wait on a connection blocks it.
  const c10::intrusive_ptr<c10d::Store> phases_store_;
  // Null with a single rank. gloo_ carries bytes, gradients_ the sums; they may be the same.
  c10::intrusive_ptr<c10d::Backend> gloo_, gradients_;
  // Where gradients_ wants its tensors.
  c10::Device gradient_device_ = c10::kCPU;
  // Set by Guard, for good.
  bool broken_ = false;
  // Messages so far, counted alike on rank 0 and on the others: each has a key of its own in the store, which says that
  // it is coming.
  int64_t num_messages_ = 0;
  // Of this rank, also where there is no store.
  absl::Mutex phase_mutex_;
  Phase phase_ ABSL_GUARDED_BY(phase_mutex_);
};

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_COLLECTIVES_H_
