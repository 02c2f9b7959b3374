// How the process keeps the memory of tensors that are gone.
#ifndef GRPO_MODEL_MEMORY_H_
#define GRPO_MODEL_MEMORY_H_

namespace grpo {

// Lets the allocator keep up to 512 MiB of freed memory, in place of giving it back to the system and faulting it in
// again at each step; tensors of 32 MiB and more come and go with the system's pages as before. Once, at the process's
// start. Nothing where the C library is not glibc; whoever set GLIBC_TUNABLES for malloc is overruled.
void KeepFreedMemory();

}  // namespace grpo

#endif  // GRPO_MODEL_MEMORY_H_
