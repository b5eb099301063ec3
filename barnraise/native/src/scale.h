// A scale as the blockwise codec writes it.
#ifndef BARNRAISE_SCALE_H
#define BARNRAISE_SCALE_H

#include <string.h>

#include "kernels.h"

// Cut to 8 significant bits, so that levels times scale are exact; 0 where it is too small.
static inline __attribute__((always_inline)) float rounded_scale(float scale) {
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    bits &= 0xffff0000u;
    memcpy(&scale, &bits, sizeof scale);
    return scale >= 0x1p-126f ? scale : 0.0f;
}

#endif
