// What entropy.c shares with the loops that use what it decodes.
#ifndef BARNRAISE_ENTROPY_H
#define BARNRAISE_ENTROPY_H

#include "kernels.h"

enum { LANES = 4, CHUNKS = 256, PLAIN_LOG = 12, CHOICES = 6, FINEST = 32, CONTEXTS = 14 };
enum { DONE = 0, TRUNCATED = 1, EXTRA = 2, RANGE = 3, CHOICE = 4 };
#define ONE (1u << 24)
#define LOWEST (1ull << 31)
#define FRACTION 19
#define SWITCH (6u << FRACTION)
#define BACK (2u << FRACTION)

typedef struct {
    const uint32_t *factorials; // log2(i!) with 19 fraction bits, modulo 2 ** 32, i from -1 (not used) to 4096
    const uint32_t *powers;     // 2 ** 24 times 2 ** (-i / 1024), and how much less the next one is, i below 1024
    const uint32_t *logs;       // log2(1 + i / 1024) with 19 fraction bits, i below 1024: for guessing
    const uint32_t *shares;     // log2(C(size, i)), i up to size, for pieces of 128, 256, 512, 1024 and 2048 elements
} Tables;

static inline Tables tables_at(const uint32_t *tables) {
    return (Tables){tables + 1, tables + 4098, tables + 4098 + 2048, tables + 4098 + 2048 + 1024};
}

// What a segment says of its chunks, before its positions.
typedef struct {
    uint32_t counts[CHUNKS];
    int32_t eighths[CHUNKS];
    uint8_t choices[CHUNKS];
    int64_t total;
} Plan;

// Decode the support of one segment; `places` and `high` hold all that may be kept, `high` only where `highs`.
int barnraise_read_segment(const Tables *tables, const uint8_t *support, int64_t size, const int64_t *starts,
                           int64_t chunks, int64_t k, int32_t unit, int highs, Plan *plan, uint32_t *places,
                           uint8_t *high);

#endif
