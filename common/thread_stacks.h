// What every thread of this process is doing, for whoever asks why nothing moves.
#ifndef GRPO_COMMON_THREAD_STACKS_H_
#define GRPO_COMMON_THREAD_STACKS_H_

#include <string>

namespace grpo {

// Takes SIGURG, whose default is to be ignored, to ask a thread for its stack. Call once, early in main. A wait of a
// thread that is asked may end early with EINTR.
void InstallThreadStacks();

// One paragraph for each thread but the caller: "thread 77 (grpc_global_tim), S in futex_wait_queue" (state and place
// in the kernel, as /proc has them), then its calls, innermost first, one a line. A thread that does not answer within
// 0.2 s has no calls; after 3 s the rest have none. One call at a time; REQUIRES InstallThreadStacks.
std::string ThreadStacks();

}  // namespace grpo

#endif  // GRPO_COMMON_THREAD_STACKS_H_
