// Weights for workers on this machine: a version is copied once into memory that the workers read, whose descriptor
// goes to them over a socket in the file system (common/shared_memory.h, common/unix_socket.h). No gRPC, and no copy
// that is not into the worker's model.
//
//   worker                        here, a thread for each worker that asks
//   connect                  -->  is it this user's process?
//   PullWeightsRequest       -->  the version's WeightSource (Coordinator::Weights)
//                                 in one of the buffers already? else into the one that was not filled last, once
//                                 nobody reads it any more
//   manifest, descriptor     <--  the buffer is lent
//   copies, verifies, closes -->  it is not lent any more; a worker that dies closes too
//
// Two buffers are kept. A reader that is too slow for that costs a new one: what somebody may still read is never
// written to.
#ifndef GRPO_COORDINATOR_LOCAL_WEIGHTS_H_
#define GRPO_COORDINATOR_LOCAL_WEIGHTS_H_

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/shared_memory.h"
#include "common/unix_socket.h"
#include "coordinator/coordinator.h"

namespace grpo {

// Copies of payloads, kept by digest in two pieces of memory. Thread-safe.
class WeightBuffers {
 public:
  struct Options {
    // That copy a payload.
    int64_t num_threads = 1;
    // How long the filling of a buffer waits for its last readers, before another takes its place.
    absl::Duration patience = absl::Seconds(2);
  };
  explicit WeightBuffers(Options options) : options_(options) {}

  // A payload that stays as it is for as long as this lives. The buffers outlive it.
  class Loan {
   public:
    Loan(Loan&& other) noexcept : buffers_(other.buffers_), buffer_(std::move(other.buffer_)) {}
    Loan& operator=(Loan&&) = delete;
    ~Loan();
    const SharedMemory& memory() const;
    // Whoever was lent it may go on reading when this is gone: it is not written to any more, and not kept.
    void Abandon();

   private:
    friend class WeightBuffers;
    struct Buffer;
    Loan(WeightBuffers* buffers, std::shared_ptr<Buffer> buffer) : buffers_(buffers), buffer_(std::move(buffer)) {}
    WeightBuffers* buffers_;
    // Null after a move.
    std::shared_ptr<Buffer> buffer_;
  };

  // The source's payload, at offset 0: from a buffer that holds it, or copied now. Errors of the source and of
  // SharedMemory::Create. May wait for Options.patience, and for the copying that others asked for.
  absl::StatusOr<Loan> Lend(const WeightSource& source);

  // What all buffers take, those included that are kept only for their readers.
  int64_t num_bytes() const;
  // How many there are of them.
  int64_t num_buffers() const;

 private:
  using Buffer = Loan::Buffer;

  // The kept one with this content, lent; null where there is none.
  std::shared_ptr<Buffer> Find(const std::string& digest);
  // One to fill, of so many bytes at least, that nobody reads. It is lent to the caller and has no content.
  absl::StatusOr<std::shared_ptr<Buffer>> TakeFree(int64_t num_bytes);

  const Options options_;
  // Held while a buffer is filled, by one after the other.
  Mutex fill_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable Mutex mutex_;
  // Two at most, the one that was filled last behind.
  std::vector<std::shared_ptr<Buffer>> kept_ ABSL_GUARDED_BY(mutex_);
  // Of kept_, and of those that are lent and kept no more.
  int64_t num_bytes_ ABSL_GUARDED_BY(mutex_) = 0, num_buffers_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The socket and its threads. Thread-safe.
class LocalWeights {
 public:
  struct Options {
    // Where the socket is made; removed at the end.
    std::string socket;
    WeightBuffers::Options buffers = {};
  };
  // Serves the coordinator's weights from now on, and offers that to the workers that register. ListenUnix's errors.
  // `coordinator` outlives this.
  static absl::StatusOr<std::unique_ptr<LocalWeights>> Serve(Coordinator* coordinator, const Options& options);
  // Cuts off whoever reads (they have what they were lent, by its descriptor), and joins the threads.
  ~LocalWeights();

  const WeightBuffers& buffers() const { return buffers_; }

 private:
  // A worker that has connected.
  struct Connection {
    explicit Connection(Descriptor connected) : socket(std::move(connected)) {}
    const Descriptor socket;
    std::thread thread;
    bool done = false;
  };

  LocalWeights(Coordinator* coordinator, const Options& options, Descriptor listening);
  // The thread that accepts.
  void Accept();
  // The thread of one connection, and what it does.
  void Serve(Connection& connection);
  void Serve(int socket);
  // The request's version, lent, and its manifest. Errors are answered.
  absl::StatusOr<WeightBuffers::Loan> LendTo(int socket, v1::WeightsManifest& manifest);
  // Joins the threads that are done.
  void Reap();

  Coordinator& coordinator_;
  const std::string path_;
  WeightBuffers buffers_;
  const Descriptor listening_;
  Mutex mutex_;
  std::list<Connection> connections_ ABSL_GUARDED_BY(mutex_);
  // The last member: it uses all others.
  std::thread thread_;
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_LOCAL_WEIGHTS_H_
