// Combines dense rows, narrows and prunes them, compiled with sanitizers: says "DONE" if all went well.
//
// Elements may be any, and rows of every kind; sizes are what merge/elementwise.py, merge/gram.py and
// barnraise/native/prune.py make sure of. Rows and outputs are as long as they are said to be and not an element
// longer, so that a read or a write beyond them is seen.
#include <math.h>
#include <stdio.h>

#include "drawing.h"

enum { ROWS = 40, LARGEST = 9000, BLOCK = 4096, KEYS = 1 << 15, LOWER = 1 << 16, FLOAT32 = 0, KINDS = 3 };
enum { BY_LOT_AND_SIZE = 3, PRUNINGS = 4, CONSENSUSES = 3 };

struct row {
    const float *values, *keeps;
    int64_t place;
    int32_t kind;
    uint32_t key;
    float low, high, keep, factor, weight;
};

struct consensus {
    int32_t kind, divide;
    float scale;
};

void barnraise_weighted_sum(const void *const *, const uint8_t *, const float *, int64_t, int64_t, int64_t, float *);
int barnraise_sorted_mean(const void *const *, const uint8_t *, int64_t, const int32_t *, int64_t, int64_t, int64_t, int64_t, int64_t, float *);
int barnraise_gram_blocks(const void *const *, const uint8_t *, int64_t, int64_t, int64_t, int64_t, double *);
void barnraise_square_blocks(const void *const *, const uint8_t *, int64_t, int64_t, int64_t, int64_t, double *);
void barnraise_add_in_order(double *, const double *, int64_t, int64_t);
void barnraise_narrow(const float *, int64_t, int64_t, uint16_t *);
void barnraise_prune_and_combine(const struct row *, int64_t, const struct consensus *, int64_t, int64_t, float *);
void barnraise_draws(uint64_t, uint32_t, int64_t, int64_t, float *);
void barnraise_count_magnitudes(const void *, int64_t, int64_t, int64_t *);
void barnraise_count_within(const void *, int64_t, int64_t, uint32_t, int64_t *);
void barnraise_prefer_large_pages(void *, int64_t);

// K rows of one size; `cut` is where the work is shared out.
typedef struct {
    void *values[ROWS];
    uint8_t kinds[ROWS];
    int64_t count, size, cut;
} Rows;

static int64_t draw_size(void) {
    switch (draw(3)) {
    case 0: return 1 + (int64_t)draw(300);
    case 1: return BLOCK * (1 + (int64_t)draw(2)) - 2 + (int64_t)draw(5);
    default: return 1 + (int64_t)draw(LARGEST);
    }
}

static uint32_t draw_bits(void) { return draw(8) ? (uint32_t)(0x30000000 + draw(0x20000000)) | (uint32_t)draw(2) << 31 : (uint32_t)draw(1ull << 32); }

static Rows draw_rows(void) {
    Rows rows = {.count = draw(4) ? 1 + (int64_t)draw(9) : 1 + (int64_t)draw(ROWS), .size = draw_size()};
    rows.cut = (int64_t)draw((uint64_t)rows.size + 1);
    for (int64_t r = 0; r < rows.count; r++) {
        rows.kinds[r] = draw(2) ? FLOAT32 : (uint8_t)draw(KINDS);
        int64_t bytes = rows.size * (rows.kinds[r] == FLOAT32 ? 4 : 2);
        uint8_t *values = rows.values[r] = malloc((size_t)bytes);
        for (int64_t at = 0; at < bytes; at += 4) {
            uint32_t bits = draw_bits();
            memcpy(values + at, &bits, bytes - at < 4 ? 2 : 4);
        }
    }
    return rows;
}

// Of numbers only, for what asks for them.
static void keep_finite(Rows *rows) {
    for (int64_t r = 0; r < rows->count; r++)
        for (int64_t i = 0; i < rows->size; i++) {
            uint16_t *half = (uint16_t *)rows->values[r] + (rows->kinds[r] == FLOAT32 ? 2 * i + 1 : i);
            *half &= 0xbbff; // an exponent that has a zero in it, in each of the three formats
        }
}

static void add_up(const Rows *rows) {
    float *factors = malloc((size_t)rows->count * sizeof *factors), *out = malloc((size_t)rows->size * sizeof *out);
    for (int64_t r = 0; r < rows->count; r++) factors[r] = (float)draw(9) - 4.0f;
    const void *const *values = (const void *const *)rows->values;
    barnraise_weighted_sum(values, rows->kinds, factors, rows->count, 0, rows->cut, out);
    barnraise_weighted_sum(values, rows->kinds, factors, rows->count, rows->cut, rows->size, out);
    for (int64_t kind = 1; kind < KINDS; kind++) {
        uint16_t *narrowed = malloc((size_t)rows->size * sizeof *narrowed);
        barnraise_narrow(out, kind, rows->size, narrowed);
        free(narrowed);
    }
    free(factors), free(out);
}

// Pairs that sort so many values, as merge/sorting.py says them: Batcher's merge exchange.
static int64_t network_of(int32_t count, int32_t *pairs) {
    int64_t length = 0;
    int32_t top = 1;
    while (2 * top < count) top *= 2;
    for (int32_t stride = count < 2 ? 0 : top; stride; stride /= 2)
        for (int32_t merging = top, offset = 0, distance = stride;; distance = merging - stride, merging /= 2, offset = stride) {
            for (int32_t i = 0; i + distance < count; i++)
                if ((i & stride) == offset) pairs[2 * length] = i, pairs[2 * length++ + 1] = i + distance;
            if (merging == stride) break;
        }
    return length;
}

static void sort(const Rows *rows) {
    static int32_t all[2 * ROWS * ROWS];
    int64_t length = network_of((int32_t)rows->count, all), keep = draw(2) ? 1 + (int64_t)draw((uint64_t)rows->count) : 0;
    int64_t most = (rows->count - 1) / 2, drop = keep ? 0 : draw(2) ? most : (int64_t)draw((uint64_t)most + 1);
    int32_t *pairs = copy_of(all, 2 * length * (int64_t)sizeof *pairs);
    float *out = malloc((size_t)rows->size * sizeof *out);
    const void *const *values = (const void *const *)rows->values;
    REQUIRE(!barnraise_sorted_mean(values, rows->kinds, rows->count, pairs, length, drop, keep, 0, rows->cut, out));
    REQUIRE(!barnraise_sorted_mean(values, rows->kinds, rows->count, pairs, length, drop, keep, rows->cut, rows->size, out));
    for (int64_t i = 0; i < rows->size; i++) REQUIRE(!isnan(out[i]));
    free(pairs), free(out);
}

static void multiply(const Rows *rows) {
    int64_t blocks = (rows->size + BLOCK - 1) / BLOCK, pairs = rows->count * (rows->count + 1) / 2, cut = (int64_t)draw((uint64_t)blocks + 1);
    double *sums[2], *squares = malloc((size_t)(blocks * rows->count) * sizeof *squares), *total = calloc((size_t)pairs, sizeof *total);
    const void *const *values = (const void *const *)rows->values;
    for (has_vectors = 0; has_vectors < 2; has_vectors++) {
        double *here = sums[has_vectors] = malloc((size_t)(blocks * pairs) * sizeof *here);
        REQUIRE(!barnraise_gram_blocks(values, rows->kinds, rows->count, rows->size, 0, cut, here));
        REQUIRE(!barnraise_gram_blocks(values, rows->kinds, rows->count, rows->size, cut, blocks, here + cut * pairs));
    }
    REQUIRE(!memcmp(sums[0], sums[1], (size_t)(blocks * pairs) * sizeof *total));
    barnraise_square_blocks(values, rows->kinds, rows->count, rows->size, 0, cut, squares);
    barnraise_square_blocks(values, rows->kinds, rows->count, rows->size, cut, blocks, squares + cut * rows->count);
    for (int64_t block = 0; block < blocks; block++)
        for (int64_t r = 0, pair = block * pairs; r < rows->count; pair += rows->count - r++)
            REQUIRE(sums[0][pair] == squares[block * rows->count + r]);
    barnraise_add_in_order(total, sums[0], blocks, pairs);
    free(sums[0]), free(sums[1]), free(squares), free(total);
}

// Rows of float32 alone, as merge/strategies/consensus.py has them.
static void prune(const Rows *rows) {
    struct row *pruned = malloc((size_t)rows->count * sizeof *pruned);
    float *keeps = malloc(KEYS * sizeof *keeps), *out = malloc((size_t)rows->size * sizeof *out);
    for (int64_t key = 0; key < KEYS; key++) keeps[key] = (float)(1 + draw(100)) * 0.01f;
    int64_t count = 0;
    for (int64_t r = 0; r < rows->count; r++) {
        if (rows->kinds[r] != FLOAT32) continue;
        struct row row = {.values = rows->values[r], .place = (int64_t)draw(1ull << 33), .kind = (int32_t)draw(PRUNINGS)};
        row.keeps = row.kind == BY_LOT_AND_SIZE ? keeps : NULL;
        row.key = (uint32_t)draw(1ull << 32), row.low = 0x1p-10f, row.high = draw(2) ? INFINITY : 1.0f, row.keep = 0.3f;
        row.factor = (float)draw(4) - 1.0f, row.weight = 0.5f;
        if (!draw(4)) row.place = (1ll << 32) - (int64_t)draw((uint64_t)rows->size + 1); // the upper half changes within
        pruned[count++] = row;
    }
    struct consensus rule = {(int32_t)draw(CONSENSUSES), (int32_t)draw(2), 2.0f};
    barnraise_prune_and_combine(pruned, count, &rule, 0, rows->cut, out);
    barnraise_prune_and_combine(pruned, count, &rule, rows->cut, rows->size, out);
    for (int64_t r = 0; r < count; r++) {
        barnraise_draws((uint64_t)pruned[r].place, pruned[r].key, 0, rows->cut, out);
        barnraise_draws((uint64_t)pruned[r].place, pruned[r].key, rows->cut, rows->size, out);
        for (int64_t i = 0; i < rows->size; i++) REQUIRE(out[i] >= 0.0f && out[i] < 1.0f);
    }
    free(pruned), free(keeps), free(out);
}

static void count_sizes(const float *values, int64_t size) {
    int64_t *uppers = calloc(KEYS, sizeof *uppers), *lowers = calloc(LOWER, sizeof *lowers), found = 0;
    uint32_t bits;
    memcpy(&bits, values + draw((uint64_t)size), sizeof bits);
    uint32_t upper = (bits & 0x7fffffff) >> 16;
    barnraise_count_magnitudes(values, 0, size, uppers);
    barnraise_count_within(values, 0, size, upper, lowers);
    for (int64_t lower = 0; lower < LOWER; lower++) found += lowers[lower];
    REQUIRE(found == uppers[upper]);
    free(uppers), free(lowers);
}

// Long ones: these are counted in tables of their own, and large pages are asked for.
static void try_long(void) {
    int64_t size = 3 * (1 << 21) + (int64_t)draw(1 << 20);
    float *values = malloc((size_t)size * sizeof *values);
    barnraise_prefer_large_pages(values, size * (int64_t)sizeof *values);
    for (int64_t i = 0; i < size; i++) values[i] = (float)i;
    count_sizes(values, size - (int64_t)draw(2));
    free(values);
}

int main(int count, char **arguments) {
    int64_t rounds = count > 1 ? atoll(arguments[1]) : 100;
    try_long();
    for (int64_t round = 0; round < rounds; round++) {
        Rows rows = draw_rows();
        add_up(&rows);
        prune(&rows);
        if (rows.kinds[0] == FLOAT32) count_sizes(rows.values[0], rows.size);
        keep_finite(&rows);
        sort(&rows);
        multiply(&rows);
        for (int64_t r = 0; r < rows.count; r++) free(rows.values[r]);
    }
    printf("DONE %lld\n", (long long)rounds);
    return 0;
}
