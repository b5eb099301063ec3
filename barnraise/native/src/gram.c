// Inner products of all pairs of rows, block by block: see merge/gram.py, whose plain torch gives the same bits.
//
// The order of every sum is that of merge/exact.py: element n of a block of 4,096 belongs to lane n % 16, each lane
// adds its terms in order from 0.0, lanes are added by halving. Blocks are independent and may be shared out;
// barnraise_add_in_order then adds them from first to last.
#include <stdlib.h>

#include "rows.h"

enum { LANES = 16, BLOCK = 4096, STEPS = 16, BEYOND = 3 }; // up to three rows beyond the last are touched

// Left alone, the compiler loads a factor anew for each of its two products, and loads are what is scarce.
#ifdef __x86_64__
#define IN_REGISTER(z) __asm__("" : "+x"(z))
#else
#define IN_REGISTER(z) (void)0
#endif

#define WIDTH 2
#define NAME(x) x##_plain
#include "gram_tile.h"
#undef WIDTH
#undef NAME

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDER 1
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast") // exact products: see gram_tile.h
#pragma GCC target("avx2,fma")
#define WIDTH 4
#define NAME(x) x##_avx2
#include "gram_tile.h"
#undef WIDTH
#undef NAME
#pragma GCC target("avx512f,avx512vl,avx512dq")
#define WIDTH 8
#define NAME(x) x##_avx512
#include "gram_tile.h"
#undef WIDTH
#undef NAME
#pragma GCC pop_options
#endif

typedef struct {
    void (*block)(const float *const *, int64_t, int64_t, double *, double *);
    void (*gather)(const double *, int64_t, int64_t, double *);
} loops;

static loops widest(void) {
#ifdef WIDER
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return (loops){block_avx512, gather_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return (loops){block_avx2, gather_avx2};
#endif
    return (loops){block_plain, gather_plain};
}

static double lane_sum(double *lanes) {
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] + lanes[i + half];
    return lanes[0];
}

// A block of every row as float32; what is not, or is short, is copied into `room` and filled up with 0.0.
static void take(
    const void *const *rows, const uint8_t *kinds, int64_t count, int64_t start, int64_t size, float *room,
    const float **x) {
    for (int64_t r = 0; r < count; r++, room += BLOCK) {
        x[r] = floats_of(rows[r], kinds[r], start, size, room);
        if (size == BLOCK) continue;
        x[r] = memmove(room, x[r], (size_t)size * sizeof(float));
        memset(room + size, 0, (size_t)(BLOCK - size) * sizeof(float));
    }
}

// sums[block - first][pair] for blocks [first, last); pairs (0, 0), (0, 1) .. (0, K - 1), (1, 1) ..: the upper
// triangle row by row. Returns 0, or -1 when there is no memory.
EXPORT int barnraise_gram_blocks(const void *const *, const uint8_t *, int64_t, int64_t, int64_t, int64_t, double *);
int barnraise_gram_blocks(
    const void *const *rows, const uint8_t *kinds, int64_t count, int64_t size, int64_t first, int64_t last,
    double *sums) {
    loops use = widest();
    int64_t stride = count + BEYOND;
    size_t tile_bytes = (size_t)stride * STEPS * LANES * sizeof(double);
    double *tile = aligned_alloc(64, tile_bytes);
    double *lanes = aligned_alloc(64, (size_t)(stride * stride) * LANES * sizeof(double));
    float *room = malloc((size_t)count * BLOCK * sizeof(float));
    const float **x = malloc((size_t)count * sizeof *x);
    int made = tile && lanes && room && x;
    if (made) memset(tile, 0, tile_bytes);
    for (int64_t block = first; made && block < last; block++) {
        int64_t start = block * BLOCK;
        take(rows, kinds, count, start, size - start < BLOCK ? size - start : BLOCK, room, x);
        use.block(x, count, stride, tile, lanes);
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = i; j < count; j++) {
                double pair[LANES];
                use.gather(lanes, i * stride + j, stride, pair);
                *sums++ = lane_sum(pair);
            }
    }
    free(tile);
    free(lanes);
    free(room);
    free(x);
    return made ? 0 : -1;
}

// sums[block - first][row] of squares for blocks [first, last).
EXPORT void barnraise_square_blocks(const void *const *, const uint8_t *, int64_t, int64_t, int64_t, int64_t, double *);
MULTIVERSION void barnraise_square_blocks(
    const void *const *rows, const uint8_t *kinds, int64_t count, int64_t size, int64_t first, int64_t last,
    double *sums) {
    for (int64_t block = first; block < last; block++) {
        int64_t start = block * BLOCK, end = start + BLOCK < size ? start + BLOCK : size;
        for (int64_t r = 0; r < count; r++) {
            float room[BLOCK];
            double lanes[LANES] = {0};
            const float *x = floats_of(rows[r], kinds[r], start, end - start, room);
            int64_t at = 0;
            for (; at + LANES <= end - start; at += LANES)
                for (int lane = 0; lane < LANES; lane++) lanes[lane] += (double)x[at + lane] * x[at + lane];
            for (int lane = 0; at + lane < end - start; lane++)
                lanes[lane] += (double)x[at + lane] * x[at + lane];
            *sums++ = lane_sum(lanes);
        }
    }
}

// total[i] += sums[0][i], then sums[1][i], and so on.
EXPORT void barnraise_add_in_order(double *, const double *, int64_t, int64_t);
void barnraise_add_in_order(double *restrict total, const double *restrict sums, int64_t blocks, int64_t width) {
    for (int64_t block = 0; block < blocks; block++)
        for (int64_t i = 0; i < width; i++) total[i] += sums[block * width + i];
}
