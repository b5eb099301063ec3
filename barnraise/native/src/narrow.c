// float32 to the 16-bit formats, to nearest and ties to even: the compiled twin of merge/offline/tensors.py.
#include "rows.h"

INLINE uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// What is not a number becomes infinite, here and below; rounding it could carry it to zero.
INLINE uint16_t half_of_float(float value) {
    uint32_t bits = bits_of_float(value), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000u) >> 13;
    // In [0.5, 1) neighbours are as far apart as subnormal halves are, so the sum rounds as they do.
    uint32_t small = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? small : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    return (uint16_t)(half | (bits >> 16 & 0x8000u));
}

EXPORT void barnraise_narrow(const float *values, int64_t kind, int64_t size, uint16_t *out);
MULTIVERSION void barnraise_narrow(const float *restrict values, int64_t kind, int64_t size, uint16_t *restrict out) {
    if (kind == BFLOAT16)
        for (int64_t i = 0; i < size; i++) {
            uint32_t bits = bits_of_float(values[i]), magnitude = bits & 0x7fffffffu;
            magnitude = magnitude > 0x7f800000u ? 0x7f800000u : magnitude;
            out[i] = (uint16_t)((magnitude + 0x7fff + (magnitude >> 16 & 1)) >> 16 | (bits >> 16 & 0x8000u));
        }
    else
        for (int64_t i = 0; i < size; i++) out[i] = half_of_float(values[i]);
}
