// Every element in 8, 4 or 2 bits: the compiled twin of merge/compress/blockwise.py and barnraise/updates/blockwise.py.
// For 1 bit see signs.c.
#include <math.h>

#include "scale.h"

enum { CHUNK = 4096 };
enum { DONE = 0, DIVISOR = 1, ZERO = 2, BEYOND = 3 };
#define ALWAYS static inline __attribute__((always_inline))

ALWAYS float level_of(float value, float scale, float top) {
    float level = 2.0f * floorf((value / scale) * 0.5f) + 1.0f;
    level = level < -top ? -top : level;
    return level > top ? top : level;
}

ALWAYS double square_error(float value, float scale, float top) {
    double error = (double)value - (double)level_of(value, scale, top) * (double)scale;
    return error * error;
}

// The sum of all squared errors in the order of merge.exact.tree_sum: halves are added until one number is left.
ALWAYS double error_of(const float *values, uint32_t size, float scale, float top) {
    double sums[CHUNK / 2];
    uint32_t half = 1;
    while (2 * half < size) half *= 2;
    if (size == 1) return square_error(values[0], scale, top);
    uint32_t paired = size - half;
    for (uint32_t i = 0; i < paired; i++)
        sums[i] = square_error(values[i], scale, top) + square_error(values[i + half], scale, top);
    for (uint32_t i = paired; i < half; i++) sums[i] = square_error(values[i], scale, top);
    for (half /= 2; half; half /= 2)
        for (uint32_t i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

ALWAYS int32_t common_divisor(const uint8_t *codes, uint32_t size, int32_t top) {
    int one = 0;
    uint8_t middle = (uint8_t)((top + 1) / 2);
    for (uint32_t i = 0; i < size; i++) one |= (codes[i] == middle) | (codes[i] == (uint8_t)(middle - 1));
    if (one) return 1;
    int32_t divisor = 0;
    for (uint32_t i = 0; i < size && divisor != 1; i++) {
        int32_t other = 2 * codes[i] - top;
        other = other < 0 ? -other : other;
        while (other) {
            int32_t rest = divisor % other;
            divisor = other;
            other = rest;
        }
    }
    return divisor;
}

// The largest magnitude; NaN counts as larger than infinity.
ALWAYS float largest_of(const float *values, uint32_t size) {
    uint32_t highest = 0;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t key;
        memcpy(&key, values + i, sizeof key);
        key &= 0x7fffffff;
        highest = key > highest ? key : highest;
    }
    float largest;
    memcpy(&largest, &highest, sizeof largest);
    return largest;
}

ALWAYS float quantise_chunk(const float *values, uint32_t size, int bits, const float *shares, int64_t count,
                            float largest, uint8_t *codes, float *decoded) {
    float top = (float)((1 << bits) - 1), best = 0.0f;
    double least = INFINITY;
    for (int64_t share = 0; share < count; share++) {
        float scale = rounded_scale(largest * shares[share] / top);
        double error = scale > 0.0f ? error_of(values, size, scale, top) : INFINITY;
        if (!(error < least)) break;
        least = error;
        best = scale;
    }
    if (best == 0.0f) {
        memset(codes, 1 << (bits - 1), size);
        memset(decoded, 0, size * sizeof *decoded);
        return 0.0f;
    }
    for (uint32_t i = 0; i < size; i++) {
        float level = level_of(values[i], best, top);
        decoded[i] = level * best;
        codes[i] = (uint8_t)(((int32_t)level + (int32_t)top) >> 1);
    }
    int32_t divisor = common_divisor(codes, size, (int32_t)top);
    if (divisor == 1) return best;
    for (uint32_t i = 0; i < size; i++) codes[i] = (uint8_t)(((2 * codes[i] - (int32_t)top) / divisor + (int32_t)top) >> 1);
    return best * (float)divisor;
}

// Chunks [from, to): a code for every element, its decoded value, and a scale for every chunk. Returns whether all
// elements are finite; the rest is not done where one is not.
EXPORT int barnraise_quantise(const float *values, const int64_t *starts, int64_t from, int64_t to, int32_t bits,
                              const float *shares, int64_t count, uint8_t *codes, float *scales, float *decoded);
MULTIVERSION int barnraise_quantise(const float *values, const int64_t *starts, int64_t from, int64_t to, int32_t bits,
                                    const float *shares, int64_t count, uint8_t *codes, float *scales, float *decoded) {
    for (int64_t chunk = from; chunk < to; chunk++) {
        int64_t start = starts[chunk];
        uint32_t size = (uint32_t)(starts[chunk + 1] - start);
        float largest = largest_of(values + start, size);
        if (!(largest < INFINITY)) return 0;
        scales[chunk] = quantise_chunk(values + start, size, bits, shares, count, largest, codes + start, decoded + start);
    }
    return 1;
}

// Codes of 4 or 2 bits into bytes, the lowest bits first. `codes` is filled up with zeros to whole bytes.
EXPORT void barnraise_pack_codes(const uint8_t *codes, int64_t bytes, int32_t bits, uint8_t *packed);
MULTIVERSION void barnraise_pack_codes(const uint8_t *codes, int64_t bytes, int32_t bits, uint8_t *packed) {
    if (bits == 4)
        for (int64_t i = 0; i < bytes; i++) packed[i] = (uint8_t)(codes[2 * i] | codes[2 * i + 1] << 4);
    else
        for (int64_t i = 0; i < bytes; i++)
            packed[i] = (uint8_t)(codes[4 * i] | codes[4 * i + 1] << 2 | codes[4 * i + 2] << 4 | codes[4 * i + 3] << 6);
}

ALWAYS int restore_chunk(const uint8_t *codes, uint32_t size, int32_t top, float scale, float *values) {
    if (common_divisor(codes, size, top) != 1) return DIVISOR;
    float highest = 0.0f;
    int odd = 0;
    for (uint32_t i = 0; i < size; i++) {
        int32_t level = 2 * codes[i] - top;
        float value = (float)level * scale, magnitude = fabsf(value);
        odd |= level != 1;
        highest = magnitude > highest ? magnitude : highest;
        values[i] = value;
    }
    if (scale == 0.0f && odd) return ZERO;
    return highest < INFINITY ? DONE : BEYOND;
}

// Values of one segment from packed codes and checked scales. Returns DONE or which rule a chunk breaks.
EXPORT int barnraise_restore(const uint8_t *packed, const int64_t *starts, int64_t chunks, int32_t bits,
                             const float *scales, float *values);
MULTIVERSION int barnraise_restore(const uint8_t *packed, const int64_t *starts, int64_t chunks, int32_t bits,
                                   const float *scales, float *values) {
    uint8_t room[CHUNK];
    int64_t each = 8 / bits;
    uint8_t mask = (uint8_t)((1 << bits) - 1);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        uint32_t size = (uint32_t)(starts[chunk + 1] - starts[chunk]);
        const uint8_t *codes = packed + starts[chunk];
        if (bits != 8) {
            if (starts[chunk] % each == 0) {
                const uint8_t *bytes = packed + starts[chunk] / each;
                if (bits == 4)
                    for (uint32_t i = 0; i < size; i++) room[i] = (uint8_t)(bytes[i >> 1] >> (4 * (i & 1)) & 15);
                else
                    for (uint32_t i = 0; i < size; i++) room[i] = (uint8_t)(bytes[i >> 2] >> (2 * (i & 3)) & 3);
            } else {
                for (uint32_t i = 0; i < size; i++) {
                    int64_t at = starts[chunk] + i;
                    room[i] = (uint8_t)(packed[at / each] >> (bits * (at % each))) & mask;
                }
            }
            codes = room;
        }
        int status = restore_chunk(codes, size, (1 << bits) - 1, scales[chunk], values + starts[chunk]);
        if (status != DONE) return status;
    }
    return DONE;
}
