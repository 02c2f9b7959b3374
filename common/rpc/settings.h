// What both ends of a connection must agree on.
#ifndef GRPO_COMMON_RPC_SETTINGS_H_
#define GRPO_COMMON_RPC_SETTINGS_H_

namespace grpo::rpc {

// gRPC's own default; larger things are streamed.
inline constexpr int kMaxMessageBytes = 4 << 20;
// A ping after so long without traffic, and how long its answer may take before the connection counts as dead: a peer
// whose machine vanished is noticed within 30 s.
inline constexpr int kKeepaliveTimeMs = 20'000;
inline constexpr int kKeepaliveTimeoutMs = 10'000;
// Servers punish faster pings with GOAWAY too_many_pings.
inline constexpr int kMinPingIntervalMs = 10'000;
static_assert(kMinPingIntervalMs < kKeepaliveTimeMs);
// What gRPC's own timers get before an alarm by the monotonic clock does their work.
inline constexpr int kLatenessMs = 100;

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_SETTINGS_H_
