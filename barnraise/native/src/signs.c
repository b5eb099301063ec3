// Every element in 1 bit, its sign: the compiled twin of merge/compress/blockwise.py and barnraise/updates/blockwise.py
// for that width. Bits lie lowest first, and a chunk begins within a byte where chunks before it were short.
#include <math.h>

#include "scale.h"

enum { CHUNK = 4096 };
enum { DONE = 0, ZERO = 2 }; // as in quantise.c
#define ALWAYS static inline __attribute__((always_inline))

// The sum of all magnitudes in the order of merge.exact.tree_sum: halves are added until one number is left.
// Not finite if and only if an element is not.
ALWAYS double sum_of_sizes(const float *values, uint32_t size) {
    double sums[CHUNK / 2];
    uint32_t half = 1;
    while (2 * half < size) half *= 2;
    if (size == 1) return fabs((double)values[0]);
    uint32_t paired = size - half;
    for (uint32_t i = 0; i < paired; i++) sums[i] = fabs((double)values[i]) + fabs((double)values[i + half]);
    for (uint32_t i = paired; i < half; i++) sums[i] = fabs((double)values[i]);
    for (half /= 2; half; half /= 2)
        for (uint32_t i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

// 8 signs as a byte, 1 for what is not negative.
ALWAYS uint32_t signs_of(const float *values, uint32_t size) {
    uint32_t byte = 0;
    for (uint32_t j = 0; j < size; j++) byte |= (uint32_t)!(values[j] < 0.0f) << j;
    return byte;
}

// Put up to 8 bits at `at`; the bits there are 0 so far. Writes no byte that gets no bit.
ALWAYS void put_bits(uint8_t *packed, int64_t at, uint32_t byte) {
    uint32_t wide = byte << (at & 7);
    packed[at >> 3] |= (uint8_t)wide;
    if (wide >> 8) packed[(at >> 3) + 1] |= (uint8_t)(wide >> 8);
}

// All chunks: packed signs, the decoded values, and a scale for every chunk. `packed` is zero before. Returns whether
// all elements are finite; the rest is not done where one is not.
EXPORT int barnraise_quantise_signs(const float *values, const int64_t *starts, int64_t chunks, uint8_t *packed,
                                    float *scales, float *decoded);
MULTIVERSION int barnraise_quantise_signs(const float *values, const int64_t *starts, int64_t chunks, uint8_t *packed,
                                          float *scales, float *decoded) {
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t start = starts[chunk];
        uint32_t size = (uint32_t)(starts[chunk + 1] - start), whole = size & ~7u;
        const float *from = values + start;
        double sum = sum_of_sizes(from, size);
        if (!(sum < INFINITY)) return 0;
        float scale = rounded_scale((float)(sum / (double)size));
        scales[chunk] = scale;
        if (scale == 0.0f) {
            for (uint32_t i = 0; i < whole; i += 8) put_bits(packed, start + i, 255);
            if (whole < size) put_bits(packed, start + whole, (1u << (size - whole)) - 1);
        } else {
            for (uint32_t i = 0; i < whole; i += 8) put_bits(packed, start + i, signs_of(from + i, 8));
            if (whole < size) put_bits(packed, start + whole, signs_of(from + whole, size - whole));
        }
        for (uint32_t i = 0; i < size; i++) decoded[start + i] = scale != 0.0f && from[i] < 0.0f ? -scale : scale;
    }
    return 1;
}

// The 8 bits from `at` on; bytes behind the last one count as 0.
ALWAYS uint32_t bits_at(const uint8_t *packed, int64_t bytes, int64_t at) {
    int64_t first = at >> 3;
    uint32_t wide = packed[first] | (first + 1 < bytes ? (uint32_t)packed[first + 1] << 8 : 0);
    return wide >> (at & 7) & 255;
}

ALWAYS void restore_some(uint32_t byte, uint32_t size, uint32_t scale, float *values) {
    for (uint32_t j = 0; j < size; j++) {
        uint32_t bits = scale ^ (~byte >> j & 1) << 31;
        memcpy(values + j, &bits, sizeof bits);
    }
}

// Values of one segment from packed signs and checked scales. Returns DONE or which rule a chunk breaks.
EXPORT int barnraise_restore_signs(const uint8_t *packed, const int64_t *starts, int64_t chunks, const float *scales,
                                   float *values);
MULTIVERSION int barnraise_restore_signs(const uint8_t *packed, const int64_t *starts, int64_t chunks,
                                         const float *scales, float *values) {
    int64_t bytes = (starts[chunks] + 7) / 8;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t start = starts[chunk];
        uint32_t size = (uint32_t)(starts[chunk + 1] - start), whole = size & ~7u, scale, lacking = 0;
        memcpy(&scale, scales + chunk, sizeof scale);
        for (uint32_t i = 0; i < whole; i += 8) {
            uint32_t byte = bits_at(packed, bytes, start + i);
            lacking |= ~byte & 255;
            restore_some(byte, 8, scale, values + start + i);
        }
        if (whole < size) {
            uint32_t byte = bits_at(packed, bytes, start + whole);
            lacking |= ~byte & ((1u << (size - whole)) - 1);
            restore_some(byte, size - whole, scale, values + start + whole);
        }
        if (scale == 0 && lacking) return ZERO;
    }
    return DONE;
}
