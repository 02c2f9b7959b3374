#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "trainer/dist/backend.h"

namespace grpo {

c10::intrusive_ptr<c10d::Backend> MakeGloo(const c10::intrusive_ptr<c10d::Store>& store,
                                           const RankEnvironment& environment, const std::string& private_interface,
                                           absl::Duration timeout) {
  const auto options =
      c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(absl::ToInt64Milliseconds(timeout)));
  options->devices.push_back(private_interface.empty()
                                 ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                 : c10d::ProcessGroupGloo::createDeviceForInterface(private_interface));
  // Buckets in flight (collectives.cc).
  options->threads = 2;
  return c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store),
                                                     environment.rank, environment.world_size, options);
}

}  // namespace grpo
