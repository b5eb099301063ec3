// Rows combined element by element: see merge/elementwise.py, whose plain torch gives the same bits.
//
// Every function fills out[start, end) from the same elements of `count` rows and reads each once. What is
// sorted goes through a tile of a few kilobytes that stays in the first-level cache.
#include <math.h>
#include <stdlib.h>

#include "network.h"
#include "rows.h"

enum { SUM_TILE = 2048, SUM_ROWS = 8, SORT_TILE = 128, IN_REGISTERS = 32 };

// out = (out +) x[0] * f[0] + x[1] * f[1] + ...; `rows` is a constant where this is inlined.
INLINE void add_rows(const float *const *x, const float *f, int rows, int begin, int64_t size, float *restrict out) {
#pragma GCC ivdep
    for (int64_t i = 0; i < size; i++) {
        float sum = x[0][i] * f[0];
        if (!begin) sum = out[i] + sum;
        for (int r = 1; r < rows; r++) sum = sum + x[r][i] * f[r];
        out[i] = sum;
    }
}

EXPORT void barnraise_weighted_sum(
    const void *const *, const uint8_t *, const float *, int64_t, int64_t, int64_t, float *);
MULTIVERSION void barnraise_weighted_sum(
    const void *const *rows, const uint8_t *kinds, const float *factors, int64_t count, int64_t start, int64_t end,
    float *out) {
    float room[SUM_ROWS][SUM_TILE];
    for (int64_t at = start; at < end; at += SUM_TILE) {
        int64_t size = end - at < SUM_TILE ? end - at : SUM_TILE;
        for (int64_t row = 0; row < count;) {
            const float *x[SUM_ROWS];
            int taken = count - row < SUM_ROWS ? (int)(count - row) : SUM_ROWS;
            for (int r = 0; r < taken; r++) x[r] = floats_of(rows[row + r], kinds[row + r], at, size, room[r]);
            const float *f = factors + row;
            switch (taken) {
            case 8: add_rows(x, f, 8, row == 0, size, out + at); break;
            case 7: add_rows(x, f, 7, row == 0, size, out + at); break;
            case 6: add_rows(x, f, 6, row == 0, size, out + at); break;
            case 5: add_rows(x, f, 5, row == 0, size, out + at); break;
            case 4: add_rows(x, f, 4, row == 0, size, out + at); break;
            case 3: add_rows(x, f, 3, row == 0, size, out + at); break;
            case 2: add_rows(x, f, 2, row == 0, size, out + at); break;
            default: add_rows(x, f, 1, row == 0, size, out + at); break;
            }
            row += taken;
        }
    }
}

// Sort the columns of a tile and leave ranks [low, high); K, low and high are constants where this is inlined, so
// the values stay in registers and a comparison whose outcome nobody needs is dropped by the compiler.
INLINE void sort_in_registers(const float *const *x, int K, int low, int high, float *restrict tile) {
#pragma GCC ivdep
    for (int i = 0; i < SORT_TILE; i++) {
        float v[IN_REGISTERS];
#define LOAD(r) \
    if (r < K) v[r] = x[r][i];
#define CE(a, b)                               \
    if (b < K) {                               \
        float first = v[a], second = v[b];     \
        v[a] = first < second ? first : second; \
        v[b] = first < second ? second : first; \
    }
#define STORE(r) \
    if (low <= r && r < high) tile[r * SORT_TILE + i] = v[r];
#define EVERY(DO)                                                                                         \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15) \
    DO(16) DO(17) DO(18) DO(19) DO(20) DO(21) DO(22) DO(23) DO(24) DO(25) DO(26) DO(27) DO(28) DO(29) DO(30) DO(31)
        EVERY(LOAD)
        NETWORK(CE)
        EVERY(STORE)
    }
}

INLINE void exchange(float *restrict low, float *restrict high) {
    for (int i = 0; i < SORT_TILE; i++) {
        float first = low[i], second = high[i];
        float least = first < second ? first : second, most = first < second ? second : first;
        low[i] = least;
        high[i] = most;
    }
}

// The same for any number of rows, with the network as a list of pairs; every comparison passes over the tile.
INLINE void sort_in_tile(const float *const *x, int64_t count, const int32_t *pairs, int64_t length, float *tile) {
    for (int64_t r = 0; r < count; r++) memcpy(tile + r * SORT_TILE, x[r], SORT_TILE * sizeof(float));
    for (int64_t p = 0; p < length; p++) exchange(tile + pairs[2 * p] * SORT_TILE, tile + pairs[2 * p + 1] * SORT_TILE);
}

// Loops for every number would fill the library, so above 16 rows of infinity are added, which end up on top.
static int64_t lines_for(int64_t count) { return count <= 16 ? count : count <= 24 ? 24 : count <= 32 ? 32 : count; }

INLINE void sort_tile(
    const float *const *x, int64_t count, const int32_t *pairs, int64_t length, int only_middle, float *tile) {
#define CASE(k)                                                                               \
    case k:                                                                                   \
        if (only_middle) sort_in_registers(x, k, (k - 1) / 2, k / 2 + 1, tile);               \
        else sort_in_registers(x, k, 0, k, tile);                                             \
        return;
    switch (count) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
        CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
    case 24: sort_in_registers(x, 24, 0, 24, tile); return;
    case 32: sort_in_registers(x, 32, 0, 32, tile); return;
    default: sort_in_tile(x, count, pairs, length, tile);
    }
}

// Ranks [low, high) of a sorted tile, added in ascending order and divided by their number.
INLINE void mean_of_ranks(const float *restrict tile, int64_t low, int64_t high, float *restrict mean) {
    float sum[SORT_TILE], divisor = (float)(high - low);
    const float *x = tile + low * SORT_TILE;
    for (int i = 0; i < SORT_TILE; i++) sum[i] = x[i];
    int64_t rank = low + 1;
    for (; rank + 4 <= high; rank += 4) { // four at a time, still one after the other: the sum is read less often
        x = tile + rank * SORT_TILE;
        for (int i = 0; i < SORT_TILE; i++)
            sum[i] = (((sum[i] + x[i]) + x[SORT_TILE + i]) + x[2 * SORT_TILE + i]) + x[3 * SORT_TILE + i];
    }
    for (; rank < high; rank++)
        for (int i = 0; i < SORT_TILE; i++) sum[i] = sum[i] + tile[rank * SORT_TILE + i];
    for (int i = 0; i < SORT_TILE; i++) mean[i] = sum[i] / divisor + 0.0f;
}

// Add a rank where it is among the `keep` nearest: where the window has reached it and has not yet passed it.
INLINE void add_if_near(
    const float *value, const float *leaver, const float *comer, const float *middle, float *restrict sum) {
    for (int i = 0; i < SORT_TILE; i++) {
        float kept = value[i];
        if (leaver) kept = value[i] - middle[i] < middle[i] - leaver[i] ? kept : 0.0f;
        if (comer) kept = comer[i] - middle[i] < middle[i] - value[i] ? 0.0f : kept;
        sum[i] = sum[i] + kept;
    }
}

INLINE void mean_near_median(const float *restrict tile, int64_t count, int64_t keep, float *restrict mean) {
    float middle[SORT_TILE], sum[SORT_TILE] = {0}, divisor = (float)keep;
    int64_t ahead = keep * SORT_TILE;
    mean_of_ranks(tile, (count - 1) / 2, count / 2 + 1, middle);
    for (int64_t rank = 0; rank < count; rank++) {
        const float *value = tile + rank * SORT_TILE;
        if (rank < keep && rank + keep < count) add_if_near(value, NULL, value + ahead, middle, sum);
        else if (rank < keep) add_if_near(value, NULL, NULL, middle, sum);
        else if (rank + keep < count) add_if_near(value, value - ahead, value + ahead, middle, sum);
        else add_if_near(value, value - ahead, NULL, middle, sum);
    }
    for (int i = 0; i < SORT_TILE; i++) mean[i] = sum[i] / divisor + 0.0f;
}

// Sorts, then takes the mean of ranks [drop, count - drop), or if keep > 0 of the `keep` values nearest the
// median. `pairs` is the sorting network, `length` pairs of ranks. Returns 0, or -1 when there is no memory.
EXPORT int barnraise_sorted_mean(
    const void *const *, const uint8_t *, int64_t, const int32_t *, int64_t, int64_t, int64_t, int64_t, int64_t,
    float *);
MULTIVERSION int barnraise_sorted_mean(
    const void *const *rows, const uint8_t *kinds, int64_t count, const int32_t *pairs, int64_t length, int64_t drop,
    int64_t keep, int64_t start, int64_t end, float *out) {
    int64_t lines = lines_for(count);
    float *tile = calloc((size_t)lines * 2 * SORT_TILE, sizeof(float)), *room = tile + lines * SORT_TILE;
    const float **x = malloc((size_t)lines * sizeof *x);
    int made = tile != NULL && x != NULL, only_middle = keep == 0 && drop == (count - 1) / 2;
    for (int64_t r = count; made && r < lines; r++) {
        x[r] = room + r * SORT_TILE;
        for (int i = 0; i < SORT_TILE; i++) room[r * SORT_TILE + i] = INFINITY;
    }
    for (int64_t at = start; made && at < end; at += SORT_TILE) {
        int64_t size = end - at < SORT_TILE ? end - at : SORT_TILE;
        for (int64_t r = 0; r < count; r++) {
            float *own = room + r * SORT_TILE;
            x[r] = floats_of(rows[r], kinds[r], at, size, own);
            if (size < SORT_TILE) x[r] = memmove(own, x[r], (size_t)size * sizeof(float)); // beyond the end is not read
        }
        float mean[SORT_TILE];
        sort_tile(x, lines, pairs, length, only_middle, tile);
        if (keep > 0)
            mean_near_median(tile, count, keep, mean);
        else
            mean_of_ranks(tile, drop, count - drop, mean);
        memcpy(out + at, mean, (size_t)size * sizeof(float));
    }
    free(tile);
    free(x);
    return made ? 0 : -1;
}
