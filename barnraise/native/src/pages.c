// A large new output costs more in page faults than in arithmetic; where the system has larger pages, ask for them.
#define _DEFAULT_SOURCE
#include "kernels.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

// A hint for the memory [address, address + size), which need not begin or end at a page; it may do nothing.
EXPORT void barnraise_prefer_large_pages(uintptr_t address, int64_t size);
void barnraise_prefer_large_pages(uintptr_t address, int64_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uintptr_t page = 4096, first = (address + page - 1) / page * page, last = (address + (uintptr_t)size) / page * page;
    if (last > first) madvise((void *)first, last - first, MADV_HUGEPAGE);
#else
    (void)address, (void)size;
#endif
}
