// How a chunk is best cut into pieces: barnraise/updates/support.py has the plain twin.
#include <string.h>

#include "entropy.h"

static inline uint32_t choose_cost(const Tables *tables, uint32_t size, uint32_t left) {
    return tables->factorials[size] - tables->factorials[left] - tables->factorials[size - left];
}

// What a chunk's entries cost in pieces of each length: `parts` has the pieces' entries, `last` those of the last one.
typedef struct {
    uint64_t parts[CHOICES];
} Costs;

static inline int cheapest(const Tables *tables, const Costs *costs, uint32_t count, uint32_t size, int before) {
    uint64_t least = UINT64_MAX; // a cost and below it its choice: so no branch is taken that cannot be foretold
    for (int choice = 0; choice < CHOICES; choice++) {
        uint32_t bars = pieces_of(size, PLAIN_LOG - choice) - 1;
        uint64_t cost = costs->parts[choice] + choose_cost(tables, count + bars, bars);
        cost += choice == before ? 0 : choice ? SWITCH : BACK;
        cost = cost << 3 | (uint64_t)choice;
        least = cost < least ? cost : least;
    }
    return (int)(least & 7);
}

static int best_plain(const Tables *tables, const Counts *counts, uint32_t count, uint32_t size, int before) {
    uint32_t now[FINEST];
    for (int piece = 0; piece < FINEST; piece++) now[piece] = counts->counts[piece];
    Costs costs;
    const uint32_t *shares = tables->shares;
    for (int choice = CHOICES - 1; choice > 0; choice--) {
        int log = PLAIN_LOG - choice;
        uint32_t pieces = pieces_of(size, log);
        uint64_t cost = choose_cost(tables, size - ((pieces - 1) << log), now[pieces - 1]);
        for (uint32_t piece = 0; piece + 1 < pieces; piece++) cost += shares[now[piece]];
        costs.parts[choice] = cost;
        for (uint32_t piece = 0; piece < 1u << (choice - 1); piece++) now[piece] = now[2 * piece] + now[2 * piece + 1];
        shares += (1 << log) + 1;
    }
    costs.parts[0] = choose_cost(tables, size, count);
    return cheapest(tables, &costs, count, size, before);
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define WIDE __attribute__((target("avx2")))

// Bytes move up by `count` places; zeros come in.
#define UP(x, count) _mm256_alignr_epi8(x, _mm256_permute2x128_si256(x, x, 0x08), 16 - (count))

WIDE Counts barnraise_counts_of(const Counts *marks) {
    __m256i most = _mm256_loadu_si256((const __m256i *)marks->counts);
    most = _mm256_max_epu8(most, UP(most, 1));
    most = _mm256_max_epu8(most, UP(most, 2));
    most = _mm256_max_epu8(most, UP(most, 4));
    most = _mm256_max_epu8(most, UP(most, 8));
    most = _mm256_max_epu8(most, _mm256_permute2x128_si256(most, most, 0x08));
    Counts counts;
    _mm256_storeu_si256((__m256i *)counts.counts, _mm256_sub_epi8(most, UP(most, 1)));
    return counts;
}

// The sum of a table's first sixteen numbers at 32 places of a byte each: byte by byte of the numbers.
WIDE static inline uint64_t sum_of(const uint32_t *table, __m256i at) {
    __m256i mix = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14,
                                   3, 7, 11, 15);
    __m256i low = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)table), mix);
    __m256i high = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(table + 8)), mix);
    // Four numbers a half, their first bytes first: collect the four first bytes, the four second ones ...
    __m256i order = _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7);
    low = _mm256_permutevar8x32_epi32(low, order);   // bytes 0 of 0 to 7, bytes 2; bytes 1, bytes 3
    high = _mm256_permutevar8x32_epi32(high, order); // the same of 8 to 15
    __m256i even = _mm256_unpacklo_epi64(low, high), odd = _mm256_unpackhi_epi64(low, high); // bytes 0, 1; bytes 2, 3
    __m256i sums = _mm256_setzero_si256(), zero = sums;
    __m256i planes[4] = {_mm256_permute4x64_epi64(even, 0x44), _mm256_permute4x64_epi64(even, 0xEE),
                         _mm256_permute4x64_epi64(odd, 0x44), _mm256_permute4x64_epi64(odd, 0xEE)};
    for (int byte = 3; byte >= 0; byte--) {
        __m256i sum = _mm256_sad_epu8(_mm256_shuffle_epi8(planes[byte], at), zero);
        sums = _mm256_add_epi64(_mm256_slli_epi64(sums, 8), sum);
    }
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return (uint64_t)_mm_cvtsi128_si64(half) + (uint64_t)_mm_extract_epi64(half, 1);
}

// What eight pieces of 512 elements cost, and those of twice and four times as many, and the whole chunk.
WIDE static inline void shares_of_eight(const Tables *tables, __m256i pieces, const uint32_t *shares, uint32_t count,
                                        Costs *costs) {
    uint32_t eight[8], four[8];
    __m256i fours = _mm256_hadd_epi32(pieces, pieces); // 0, 1, 0, 1, 2, 3, 2, 3
    _mm256_storeu_si256((__m256i *)eight, pieces);
    _mm256_storeu_si256((__m256i *)four, fours);
    const uint32_t *shares_1024 = shares + 512 + 1, *shares_2048 = shares_1024 + 1024 + 1;
    costs->parts[3] = 0;
    for (int i = 0; i < 8; i++) costs->parts[3] += shares[eight[i]];
    costs->parts[2] = (uint64_t)shares_1024[four[0]] + shares_1024[four[1]];
    costs->parts[2] += (uint64_t)shares_1024[four[4]] + shares_1024[four[5]];
    uint32_t half = four[0] + four[1];
    costs->parts[1] = (uint64_t)shares_2048[half] + shares_2048[count - half];
    costs->parts[0] = choose_cost(tables, 4096, count);
}

// A whole chunk with few entries in each piece: the many short pieces are looked up all at once.
WIDE static int best_wide(const Tables *tables, const Counts *counts, uint32_t count, int before, int *done) {
    __m256i finest = _mm256_loadu_si256((const __m256i *)counts->counts), zero = _mm256_setzero_si256();
    __m256i pairs = _mm256_maddubs_epi16(finest, _mm256_set1_epi8(1)); // of pieces of 256 elements
    __m256i large = _mm256_and_si256(pairs, _mm256_set1_epi16(-16));
    large = _mm256_or_si256(large, _mm256_and_si256(finest, _mm256_set1_epi8(-16)));
    *done = _mm256_testz_si256(large, large);
    if (!*done) return 0;
    Costs costs;
    const uint32_t *shares = tables->shares;
    costs.parts[5] = sum_of(shares, finest);
    shares += 128 + 1;
    costs.parts[4] = sum_of(shares, _mm256_packus_epi16(pairs, zero)); // no entries cost nothing
    shares += 256 + 1;
    shares_of_eight(tables, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)), shares, count, &costs);
    return cheapest(tables, &costs, count, 4096, before);
}

static int has_wide(void) { return __builtin_cpu_supports("avx2"); }
#else
static int best_wide(const Tables *tables, const Counts *counts, uint32_t count, int before, int *done) {
    (void)tables, (void)counts, (void)count, (void)before;
    return *done = 0;
}

static int has_wide(void) { return 0; }

Counts barnraise_counts_of(const Counts *marks) { return *marks; } // who cannot walk has no marks
#endif

int barnraise_best_choice(const Tables *tables, const Counts *counts, uint32_t count, uint32_t size, int before) {
    if (size == 4096 && has_wide()) {
        int done, best = best_wide(tables, counts, count, before, &done);
        if (done) return best;
    }
    return best_plain(tables, counts, count, size, before);
}
