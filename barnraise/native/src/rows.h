// Rows as the caller has them: float32, or the 16-bit formats, which convert to float32 exactly.
#ifndef BARNRAISE_ROWS_H
#define BARNRAISE_ROWS_H

#include <string.h>

#include "kernels.h"

enum kind { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2 }; // the same numbers as KINDS in barnraise/native/dense.py

#define INLINE static inline __attribute__((always_inline))

INLINE float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE float float_of_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = (uint32_t)(half & 0x7fffu) << 13;
    // Exponents differ by 112, and a multiplication by 2^112 moves subnormal numbers too.
    float scaled = float_of_bits(magnitude) * 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &scaled, sizeof bits);
    bits = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : bits; // infinite or not a number stays so
    return float_of_bits(bits | sign);
}

// Elements [start, start + size) of a row: where they lie if they are float32, else converted into `room`.
INLINE const float *floats_of(const void *row, uint8_t kind, int64_t start, int64_t size, float *restrict room) {
    if (kind == FLOAT32) return (const float *)row + start;
    const uint16_t *restrict from = (const uint16_t *)row + start;
    if (kind == BFLOAT16)
        for (int64_t i = 0; i < size; i++) room[i] = float_of_bits((uint32_t)from[i] << 16);
    else
        for (int64_t i = 0; i < size; i++) room[i] = float_of_half(from[i]);
    return room;
}

#endif
