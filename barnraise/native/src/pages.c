// Memory that is written once from end to end: a fault for every 2 MiB instead of every 4 KiB.
#ifdef __linux__
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#include <time.h>
#endif

#include "kernels.h"

enum { PAGE = 4096, LARGE_PAGE = 1 << 21, PROBES = 4, PATIENCE_NS = 1000000 };

#ifdef __linux__
static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
#endif

// Ask for large pages, as long as they come quickly. Where memory is in small pieces the system first moves things
// about, which takes ten times as long as small pages do; then the rest stays with these. Overwrites a few bytes.
EXPORT void barnraise_prefer_large_pages(void *start, int64_t size);
EXPORT void barnraise_prefer_large_pages(void *start, int64_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)
    uintptr_t first = ((uintptr_t)start + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    uintptr_t end = ((uintptr_t)start + (uintptr_t)size) / PAGE * PAGE;
    if (end <= first + PROBES * LARGE_PAGE) return;
    madvise((void *)first, end - first, MADV_HUGEPAGE);
    int64_t began = now_ns();
    for (int probe = 0; probe < PROBES; probe++, first += LARGE_PAGE) {
        *(volatile uint8_t *)first = 0;
        if (now_ns() - began > (probe + 1) * (int64_t)PATIENCE_NS) {
            madvise((void *)(first + LARGE_PAGE), end - first - LARGE_PAGE, MADV_NOHUGEPAGE);
            return;
        }
    }
#else
    (void)start;
    (void)size;
#endif
}
