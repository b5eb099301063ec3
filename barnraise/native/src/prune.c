// Pruned rows and what they agree on: TIES, DARE, DELLA, breadcrumbs. merge/prune.py and
// merge/strategies/consensus.py say what is computed; here it is done in one pass over the rows, in short
// runs that stay in the first-level cache.
#include "kernels.h"

enum { RUN = 512, KEYS = 1 << 15 };
enum { KEEP_ALL = 0, BY_SIZE = 1, BY_LOT = 2, BY_LOT_AND_SIZE = 3 };
enum { SUM = 0, BY_MASS = 1, BY_COUNT = 2 };

// The same fields in the same order as in barnraise/native/prune.py.
struct row {
    const float *values;
    const float *keeps; // BY_LOT_AND_SIZE: probability of staying, for each upper half of a magnitude
    int64_t place;      // of element 0, for the draws
    int32_t kind;
    uint32_t key; // of the draws
    float low;    // BY_SIZE: low <= |x| < high stays
    float high;
    float keep; // BY_LOT: probability of staying
    float factor; // what the row is multiplied by; a row of factor 0 takes no part
    float weight; // what it adds to the divisor
};

struct consensus {
    int32_t kind;
    int32_t divide; // by the weights of those that agree
    float scale;
};

typedef uint32_t __attribute__((may_alias)) bits_of_float;

#define INLINE static inline __attribute__((always_inline))

INLINE float size_of(float value) { return __builtin_fabsf(value); }

INLINE uint32_t mixed(uint32_t word) {
    word = (word ^ (word >> 16)) * 0x85EBCA6Bu;
    word = (word ^ (word >> 13)) * 0xC2B2AE35u;
    return word ^ (word >> 16);
}

// Draws of `count` neighbours whose places have the same upper half.
INLINE void draw_run(uint32_t low, uint32_t high, uint32_t key, int64_t count, float *restrict out) {
    const uint32_t turn = high * 0x85EBCA77u + key;
    for (int64_t i = 0; i < count; i++) {
        uint32_t word = mixed(mixed((low + (uint32_t)i) ^ key) ^ turn);
        out[i] = (float)(int32_t)(word >> 8) * 0x1p-24f;
    }
}

INLINE void draw(uint64_t place, uint32_t key, int64_t count, float *restrict out) {
    const uint32_t low = (uint32_t)place, high = (uint32_t)(place >> 32);
    const uint64_t left = (UINT64_C(1) << 32) - low; // before the upper half changes
    const int64_t first = (uint64_t)count < left ? count : (int64_t)left;
    draw_run(low, high, key, first, out);
    draw_run(0, high + 1, key, count - first, out + first);
}

INLINE void prune(const struct row *row, int64_t start, int64_t count, float *restrict draws, float *restrict out) {
    const float *restrict values = row->values + start;
    if (row->kind == BY_SIZE) {
        const float low = row->low, high = row->high;
        for (int64_t i = 0; i < count; i++) {
            float size = size_of(values[i]);
            out[i] = (size >= low) & (size < high) ? values[i] : 0.0f;
        }
    } else if (row->kind == BY_LOT) {
        const float keep = row->keep;
        draw((uint64_t)(row->place + start), row->key, count, draws);
        for (int64_t i = 0; i < count; i++) {
            float scaled = values[i] / keep;
            out[i] = draws[i] < keep ? scaled : 0.0f;
        }
    } else if (row->kind == BY_LOT_AND_SIZE) {
        const float *restrict keeps = row->keeps;
        const bits_of_float *restrict bits = (const bits_of_float *)values;
        draw((uint64_t)(row->place + start), row->key, count, draws);
        for (int64_t i = 0; i < count; i++) {
            float keep = keeps[(bits[i] & 0x7FFFFFFFu) >> 16];
            float scaled = values[i] / keep;
            out[i] = draws[i] < keep ? scaled : 0.0f;
        }
    } else {
        for (int64_t i = 0; i < count; i++) out[i] = values[i];
    }
}

// ((row_0 * factor_0) + row_1 * factor_1) + ..., without the rows whose factor is 0.
INLINE void sum_run(const struct row *rows, int64_t rows_K, int64_t start, int64_t count, float *restrict out) {
    float pruned[RUN], draws[RUN];
    int begun = 0;
    for (int64_t k = 0; k < rows_K; k++) {
        const float factor = rows[k].factor;
        if (factor == 0.0f) continue;
        prune(&rows[k], start, count, draws, pruned);
        if (begun)
            for (int64_t i = 0; i < count; i++) out[i] = out[i] + pruned[i] * factor;
        else
            for (int64_t i = 0; i < count; i++) out[i] = pruned[i] * factor;
        begun = 1;
    }
    if (!begun)
        for (int64_t i = 0; i < count; i++) out[i] = 0.0f;
}

// What rises and what falls is added apart; the heavier side wins, a draw changes nothing.
INLINE void elect_run(const struct row *rows, int64_t rows_K, const struct consensus *rule, int64_t start,
                      int64_t count, float *restrict out) {
    float pruned[RUN], draws[RUN], up[RUN], down[RUN], up_weights[RUN], down_weights[RUN], votes[RUN];
    for (int64_t i = 0; i < count; i++) up[i] = down[i] = up_weights[i] = down_weights[i] = votes[i] = 0.0f;
    for (int64_t k = 0; k < rows_K; k++) {
        const float factor = rows[k].factor, weight = rows[k].weight;
        if (factor == 0.0f) continue;
        prune(&rows[k], start, count, draws, pruned);
        for (int64_t i = 0; i < count; i++) {
            float value = pruned[i] * factor;
            up[i] += value > 0.0f ? value : 0.0f;
            down[i] += value < 0.0f ? -value : 0.0f;
            up_weights[i] += value > 0.0f ? weight : 0.0f;
            down_weights[i] += value < 0.0f ? weight : 0.0f;
        }
        if (rule->kind == BY_COUNT)
            for (int64_t i = 0; i < count; i++) {
                float value = pruned[i] * factor;
                votes[i] += (value > 0.0f ? 1.0f : 0.0f) - (value < 0.0f ? 1.0f : 0.0f);
            }
    }
    const float scale = rule->scale;
    const int divide = rule->divide;
    for (int64_t i = 0; i < count; i++) {
        int rises = (votes[i] > 0.0f) | ((votes[i] == 0.0f) & (up[i] > down[i]));
        int falls = (votes[i] < 0.0f) | ((votes[i] == 0.0f) & (up[i] < down[i]));
        float total = rises ? up[i] : -down[i];
        float divisor = rises ? up_weights[i] : down_weights[i];
        float mean = total / (divide ? divisor : 1.0f);
        out[i] = rises | falls ? mean * scale : 0.0f;
    }
}

EXPORT MULTIVERSION void barnraise_prune_and_combine(const struct row *rows, int64_t rows_K,
                                                     const struct consensus *rule, int64_t start, int64_t end,
                                                     float *out) {
    for (int64_t i = start; i < end; i += RUN) {
        const int64_t count = end - i < RUN ? end - i : RUN;
        if (rule->kind == SUM)
            sum_run(rows, rows_K, i, count, out + i);
        else
            elect_run(rows, rows_K, rule, i, count, out + i);
    }
}

EXPORT MULTIVERSION void barnraise_draws(uint64_t place, uint32_t key, int64_t start, int64_t end, float *out) {
    for (int64_t i = start; i < end; i += RUN)
        draw(place + (uint64_t)i, key, end - i < RUN ? end - i : RUN, out + i);
}

// How many elements have each upper half of a magnitude. In a long range neighbours go to
// different tables, so that equal ones do not wait for each other.
EXPORT void barnraise_count_magnitudes(const bits_of_float *bits, int64_t start, int64_t end, int64_t *counts) {
    static const int64_t most = INT64_C(1) << 30; // what a table of 32 bits surely holds
    if (end - start < KEYS) {
        for (int64_t i = start; i < end; i++) counts[(bits[i] & 0x7FFFFFFFu) >> 16]++;
        return;
    }
    for (int64_t from = start; from < end; from += most) {
        const int64_t to = end - from < most ? end : from + most;
        uint32_t tables[2][KEYS] = {{0}};
        int64_t i = from;
        for (; i + 2 <= to; i += 2) {
            tables[0][(bits[i] & 0x7FFFFFFFu) >> 16]++;
            tables[1][(bits[i + 1] & 0x7FFFFFFFu) >> 16]++;
        }
        for (; i < to; i++) tables[0][(bits[i] & 0x7FFFFFFFu) >> 16]++;
        for (int64_t key = 0; key < KEYS; key++) counts[key] += (int64_t)tables[0][key] + tables[1][key];
    }
}

// How many elements with this upper half have each lower half.
EXPORT MULTIVERSION void barnraise_count_within(const bits_of_float *bits, int64_t start, int64_t end, uint32_t upper,
                                                int64_t *counts) {
    for (int64_t i = start; i < end; i += RUN) {
        const int64_t count = end - i < RUN ? end - i : RUN;
        uint8_t inside[RUN];
        uint32_t found = 0;
        for (int64_t j = 0; j < count; j++) {
            inside[j] = ((bits[i + j] & 0x7FFFFFFFu) >> 16) == upper;
            found |= inside[j];
        }
        if (!found) continue;
        for (int64_t j = 0; j < count; j++)
            if (inside[j]) counts[bits[i + j] & 0xFFFFu]++;
    }
}
