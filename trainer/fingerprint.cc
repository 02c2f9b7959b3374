#include "trainer/fingerprint.h"

#include <xxhash.h>

#include <memory>

#include "absl/strings/str_format.h"
#include "model/weights/host_pieces.h"

namespace grpo {
namespace {

class Hash {
 public:
  Hash() : state_(XXH3_createState()) { XXH3_128bits_reset(state_.get()); }

  void Add(const void* data, size_t num_bytes) { XXH3_128bits_update(state_.get(), data, num_bytes); }

  std::string Hex() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
  }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  const std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace

std::string WeightsHash(const std::vector<std::pair<std::string, at::Tensor>>& parameters) {
  Hash hash;
  for (const auto& [name, tensor] : parameters) {
    // It has no error of its own.
    ForEachHostPiece(tensor.detach().contiguous(), [&hash](absl::string_view bytes) {
      hash.Add(bytes.data(), bytes.size());
      return absl::OkStatus();
    }).IgnoreError();
  }
  return hash.Hex();
}

std::string TokenIdsHash(const StepBatch& batch) {
  Hash hash;
  for (const std::vector<TokenStreams>& sequences : batch.minibatches) {
    for (const TokenStreams& sequence : sequences) {
      const int64_t num_tokens = static_cast<int64_t>(sequence.ids.size());
      hash.Add(&num_tokens, sizeof(num_tokens));
      hash.Add(sequence.ids.data(), sequence.ids.size() * sizeof(int64_t));
    }
  }
  return hash.Hex();
}

}  // namespace grpo
