// Every element in a few bits: the compiled twin of merge/compress/blockwise.py and barnraise/updates/blockwise.py. First
// 8, 4 and 2 bits, whose scale is searched for; then 1 bit, a sign, whose scale is the mean magnitude.
#include <math.h>
#include <string.h>

#include "kernels.h"

enum { CHUNK = 4096 };
enum { DONE = 0, DIVISOR = 1, ZERO = 2, BEYOND = 3 };
#define ALWAYS static inline __attribute__((always_inline))

// Cut to 8 significant bits, so that levels times scale are exact; 0 where it is too small.
ALWAYS float rounded_scale(float scale) {
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    bits &= 0xffff0000u;
    memcpy(&scale, &bits, sizeof scale);
    return scale >= 0x1p-126f ? scale : 0.0f;
}

// Sums have the order of merge.exact.tree_sum: halves are added until one number is left. Who makes the terms adds the
// first half and the second, which may be shorter, on the way; `halved` does the rest.
ALWAYS uint32_t first_half(uint32_t size) {
    uint32_t half = 1;
    while (2 * half < size) half *= 2;
    return half;
}

ALWAYS double halved(double *sums, uint32_t width) {
    for (uint32_t half = width / 2; half; half /= 2)
        for (uint32_t i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

// -- 8, 4 and 2 bits -----------------------------------------------------------------------

ALWAYS float level_of(float value, float scale, float top) {
    float level = 2.0f * floorf((value / scale) * 0.5f) + 1.0f;
    level = level < -top ? -top : level;
    return level > top ? top : level;
}

ALWAYS double square_error(float value, float scale, float top) {
    double error = (double)value - (double)level_of(value, scale, top) * (double)scale;
    return error * error;
}

ALWAYS double error_of(const float *values, uint32_t size, float scale, float top) {
    double sums[CHUNK / 2];
    uint32_t half = first_half(size), paired = size - half;
    for (uint32_t i = 0; i < paired; i++)
        sums[i] = square_error(values[i], scale, top) + square_error(values[i + half], scale, top);
    for (uint32_t i = paired; i < half; i++) sums[i] = square_error(values[i], scale, top);
    return halved(sums, half);
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

// A code for every element, its decoded value, and a scale for every chunk. Returns whether all
// elements are finite; the rest is not done where one is not.
EXPORT int barnraise_quantise(const float *values, const int64_t *starts, int64_t chunks, int32_t bits,
                              const float *shares, int64_t count, uint8_t *codes, float *scales, float *decoded);
MULTIVERSION int barnraise_quantise(const float *values, const int64_t *starts, int64_t chunks, int32_t bits,
                                    const float *shares, int64_t count, uint8_t *codes, float *scales, float *decoded) {
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
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

// -- 1 bit ----------------------------------------------------------------------------------

// Not finite if and only if an element is not.
ALWAYS double sum_of_sizes(const float *values, uint32_t size) {
    double sums[CHUNK / 2];
    uint32_t half = first_half(size), paired = size - half;
    for (uint32_t i = 0; i < paired; i++) sums[i] = fabs((double)values[i]) + fabs((double)values[i + half]);
    for (uint32_t i = paired; i < half; i++) sums[i] = fabs((double)values[i]);
    return halved(sums, half);
}

// 8 signs as a byte, 1 for what is not negative.
ALWAYS uint32_t signs_of(const float *values, uint32_t size) {
    uint32_t byte = 0;
    for (uint32_t j = 0; j < size; j++) byte |= (uint32_t)!(values[j] < 0.0f) << j;
    return byte;
}

// Put up to 8 bits at `at`, the lowest first, and within a byte where chunks before were short; the bits there are 0 so
// far. Writes no byte that gets no bit.
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
