#include "model/memory.h"

#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace grpo {

void KeepFreedMemory() {
#ifdef __GLIBC__
  // Setting either stops glibc from moving both with what is freed; 32 MiB is where it would have stopped by itself.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

}  // namespace grpo
