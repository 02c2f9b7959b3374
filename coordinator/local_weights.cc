#include "coordinator/local_weights.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/parallel.h"
#include "common/process_memory.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "coordinator/weight_channels.h"

namespace grpo {
namespace {

constexpr size_t kKeptBuffers = 2;
constexpr int64_t kChunkBytes = int64_t{1} << 20;
// A worker that is served at a time; above it one is turned away, and pulls by gRPC.
constexpr size_t kMaxConnections = 256;
constexpr int64_t kMaxRequestBytes = int64_t{1} << 16;
// For a worker that has connected to say what it wants, and to take the answer.
constexpr absl::Duration kExchangeTimeout = absl::Seconds(10);
// For a loan. Who has not copied by then may go on with the descriptor that it has; the memory is not kept for others.
constexpr absl::Duration kLoanTimeout = absl::Minutes(10);

}  // namespace

// --- WeightBuffers ---

// Fields are guarded by WeightBuffers::mutex_, but for the memory's bytes, which only a sole borrower writes.
struct WeightBuffers::Loan::Buffer {
  std::unique_ptr<SharedMemory> memory;
  // Of what is in it; empty while it is being filled.
  std::string digest;
  int64_t num_loans = 0;
  bool kept = true;
};

WeightBuffers::Loan::~Loan() {
  if (buffer_ == nullptr) return;
  MutexLock lock(&buffers_->mutex_);
  if (--buffer_->num_loans > 0 || buffer_->kept) return;
  // It was kept for this reader.
  buffers_->num_bytes_ -= static_cast<int64_t>(buffer_->memory->bytes().size());
  --buffers_->num_buffers_;
}

const SharedMemory& WeightBuffers::Loan::memory() const {
  return *buffer_->memory;
}

void WeightBuffers::Loan::Abandon() {
  MutexLock lock(&buffers_->mutex_);
  buffer_->kept = false;
  std::erase(buffers_->kept_, buffer_);
}

std::shared_ptr<WeightBuffers::Buffer> WeightBuffers::Find(const std::string& digest) {
  MutexLock lock(&mutex_);
  for (const std::shared_ptr<Buffer>& buffer : kept_) {
    if (buffer->digest.empty() || buffer->digest != digest) continue;
    ++buffer->num_loans;
    return buffer;
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<WeightBuffers::Buffer>> WeightBuffers::TakeFree(int64_t num_bytes) {
  MutexLock lock(&mutex_);
  if (kept_.size() == kKeptBuffers) {
    // The one that was filled before the other: its readers have had a whole version's time.
    std::shared_ptr<Buffer> oldest = kept_.front();
    kept_.erase(kept_.begin());
    oldest->digest.clear();
    const auto is_free = [&] { return oldest->num_loans == 0; };
    if (!mutex_.AwaitFor(is_free, options_.patience)) {
      spdlog::warn("{} workers are slow to read weights: what they read is left to them, other memory is taken",
                   oldest->num_loans);
      oldest->kept = false;
    } else if (static_cast<int64_t>(oldest->memory->bytes().size()) >= num_bytes) {
      oldest->num_loans = 1;
      kept_.push_back(oldest);
      return oldest;
    } else {
      num_bytes_ -= static_cast<int64_t>(oldest->memory->bytes().size());
      --num_buffers_;
      oldest.reset();  // before the larger one is made
    }
  }
  auto buffer = std::make_shared<Buffer>();
  ASSIGN_OR_RETURN(buffer->memory, SharedMemory::Create(std::max<int64_t>(num_bytes, 1)));
  buffer->num_loans = 1;
  num_bytes_ += static_cast<int64_t>(buffer->memory->bytes().size());
  ++num_buffers_;
  kept_.push_back(buffer);
  return buffer;
}

absl::StatusOr<WeightBuffers::Loan> WeightBuffers::Lend(const WeightSource& source) {
  const std::string& digest = source.manifest().digest();
  MutexLock fill(&fill_mutex_);
  if (std::shared_ptr<Buffer> filled = Find(digest); filled != nullptr) return Loan(this, std::move(filled));
  const int64_t num_bytes = source.manifest().payload_bytes();
  ASSIGN_OR_RETURN(const WeightSource::Reader reader, source.Open());
  ASSIGN_OR_RETURN(std::shared_ptr<Buffer> buffer, TakeFree(num_bytes));
  Loan loan(this, buffer);
  const absl::Span<char> bytes = loan.memory().bytes();
  RETURN_IF_ERROR(
      RunParallel(std::min(options_.num_threads, 1 + num_bytes / (4 * kChunkBytes)),
                  (num_bytes + kChunkBytes - 1) / kChunkBytes, [&](int64_t i) {
                    const int64_t offset = i * kChunkBytes, size = std::min(kChunkBytes, num_bytes - offset);
                    return reader.Read(offset, bytes.subspan(static_cast<size_t>(offset), static_cast<size_t>(size)));
                  }));
  MutexLock lock(&mutex_);
  buffer->digest = digest;
  return loan;
}

int64_t WeightBuffers::num_bytes() const {
  MutexLock lock(&mutex_);
  return num_bytes_;
}

int64_t WeightBuffers::num_buffers() const {
  MutexLock lock(&mutex_);
  return num_buffers_;
}

// --- LocalWeights ---

absl::StatusOr<std::unique_ptr<LocalWeights>> LocalWeights::Serve(Coordinator* coordinator, const Options& options) {
  ASSIGN_OR_RETURN(Descriptor listening, ListenUnix(options.socket));
  std::unique_ptr<LocalWeights> served(new LocalWeights(coordinator, options, std::move(listening)));
  coordinator->AddWeightChannel(absl::StrCat(kMemfdChannel, ":", options.socket));
  return served;
}

LocalWeights::LocalWeights(Coordinator* coordinator, const Options& options, Descriptor listening)
    : coordinator_(*coordinator),
      path_(options.socket),
      buffers_(options.buffers),
      listening_(std::move(listening)),
      thread_(StartThread("lending weights", [this] { Accept(); })) {}

LocalWeights::~LocalWeights() {
  ::unlink(path_.c_str());
  ::shutdown(listening_.get(), SHUT_RDWR);
  thread_.join();
  std::list<Connection> left;
  {
    MutexLock lock(&mutex_);
    for (const Connection& connection : connections_) ::shutdown(connection.socket.get(), SHUT_RDWR);
    left.splice(left.end(), connections_);
  }
  for (Connection& connection : left) connection.thread.join();
}

void LocalWeights::Accept() {
  while (true) {
    absl::StatusOr<Descriptor> connected = AcceptUnix(listening_.get());
    if (!connected.ok()) return;
    Reap();
    MutexLock lock(&mutex_);
    if (connections_.size() >= kMaxConnections) continue;
    Connection& connection = connections_.emplace_back(*std::move(connected));
    try {
      connection.thread = std::thread([this, &connection] { Guarded("lending weights", [&] { Serve(connection); }); });
    } catch (const std::system_error&) {
      connections_.pop_back();
    }
  }
}

void LocalWeights::Reap() {
  std::list<Connection> done;
  {
    MutexLock lock(&mutex_);
    for (auto connection = connections_.begin(); connection != connections_.end();) {
      const auto next = std::next(connection);
      if (connection->done) done.splice(done.end(), connections_, connection);
      connection = next;
    }
  }
  for (Connection& connection : done) connection.thread.join();
}

void LocalWeights::Serve(Connection& connection) {
  Serve(connection.socket.get());
  // The worker sees the end now; the descriptor is closed when the thread is joined.
  ::shutdown(connection.socket.get(), SHUT_RDWR);
  MutexLock lock(&mutex_);
  connection.done = true;
}

void LocalWeights::Serve(int socket) {
  SetTimeout(socket, kExchangeTimeout);
  v1::WeightsManifest manifest;
  absl::StatusOr<WeightBuffers::Loan> loan = LendTo(socket, manifest);
  if (!loan.ok()) {
    if (!absl::IsNotFound(loan.status()) && !absl::IsUnavailable(loan.status()))
      spdlog::warn("weights are not lent to a worker: {}", std::string(loan.status().message()));
    SendUnix(socket, static_cast<uint32_t>(loan.status().code()), loan.status().message()).IgnoreError();
    return;
  }
  if (!SendUnix(socket, 0, manifest.SerializeAsString(), loan->memory().fd()).ok()) return;
  SetTimeout(socket, kLoanTimeout);
  if (!WaitForClose(socket)) loan->Abandon();
}

absl::StatusOr<WeightBuffers::Loan> LocalWeights::LendTo(int socket, v1::WeightsManifest& manifest) {
  RETURN_IF_ERROR(CheckSameUser(socket));
  if (const std::optional<ProcessId> worker = IdentifyProcess(PeerProcess(socket)); worker.has_value())
    coordinator_.local_workers().Note(*worker);
  ASSIGN_OR_RETURN(const UnixMessage message, ReceiveUnix(socket, kMaxRequestBytes));
  v1::PullWeightsRequest request;
  if (!request.ParseFromString(message.bytes)) return absl::InvalidArgumentError("the request is none");
  ASSIGN_OR_RETURN(const std::shared_ptr<const WeightSource> source, coordinator_.Weights(request.policy()));
  manifest = source->manifest();
  absl::StatusOr<WeightBuffers::Loan> loan = buffers_.Lend(*source);
  coordinator_.SetWeightBufferBytes(buffers_.num_bytes());
  return loan;
}

}  // namespace grpo
