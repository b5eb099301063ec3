// What the programs that try the loops share: draws that are the same every time, buffers without room to spare, and an
// end where something is not as it must be.
#ifndef BARNRAISE_DRAWING_H
#define BARNRAISE_DRAWING_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t drawn = 88172645463325252ull;
static inline uint64_t draw(uint64_t below) {
    drawn ^= drawn << 13, drawn ^= drawn >> 7, drawn ^= drawn << 17;
    return (drawn >> 11) % below;
}

static inline float number_of(uint32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline void *copy_of(const void *from, int64_t size) {
    void *made = malloc(size ? (size_t)size : 1);
    if (size) memcpy(made, from, (size_t)size);
    return made;
}

static inline void require(int fine, const char *file, int line) {
    if (fine) return;
    fprintf(stderr, "%s:%d: not as it must be\n", file, line);
    exit(2);
}
#define REQUIRE(fine) require(fine, __FILE__, __LINE__)

#endif
