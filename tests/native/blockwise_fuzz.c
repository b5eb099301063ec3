// Quantises chunks of every size, restores them, and restores what was damaged, compiled with sanitizers: says "DONE" if
// all went well.
//
// Every buffer is as long as it is said to be and not a byte longer, so that a read or a write beyond it is seen.
#include <math.h>
#include <stdio.h>

#include "drawing.h"

enum { CHUNK = 4096, CHUNKS = 9 };

int barnraise_quantise(const float *, const int64_t *, int64_t, int32_t, const float *, int64_t, uint8_t *, float *, float *);
void barnraise_pack_codes(const uint8_t *, int64_t, int32_t, uint8_t *);
int barnraise_restore(const uint8_t *, const int64_t *, int64_t, int32_t, const float *, float *);
int barnraise_quantise_signs(const float *, const int64_t *, int64_t, uint8_t *, float *, float *);
int barnraise_restore_signs(const uint8_t *, const int64_t *, int64_t, const float *, float *);

static float draw_value(uint64_t kind) {
    switch (kind) {
    case 0: return 0.0f;
    case 1: return (float)draw(7) - 3.0f;
    case 2: return number_of((uint32_t)draw(2) << 31 | (uint32_t)draw(1 << 23)); // subnormal, or zero
    case 3: return number_of((uint32_t)draw(2) << 31 | (uint32_t)draw(0x7f800000)); // of any size
    default: return (float)draw(1 << 20) * 0x1p-30f - 0x1p-11f;
    }
}

// As they are checked before: 0, or normal and of 16 significant bits.
static float draw_scale(void) { return draw(4) ? number_of((uint32_t)(0x8000 + draw(0x7f8000 - 0x8000)) << 8) : 0.0f; }

static int64_t draw_size(void) {
    switch (draw(4)) {
    case 0: return CHUNK - (int64_t)draw(9);
    case 1: return 1 + (int64_t)draw(CHUNK);
    default: return 1 + (int64_t)draw(20);
    }
}

typedef struct {
    int64_t *starts, chunks, size, bytes;
    int32_t bits;
} Shape;

static int quantise(Shape shape, const float *values, uint8_t *packed, float *scales, float *decoded) {
    if (shape.bits == 1) return barnraise_quantise_signs(values, shape.starts, shape.chunks, packed, scales, decoded);
    static const float wanted[] = {1.0f, 0.75f, 0.5f, 0.25f};
    uint64_t count = 1 + draw(4);
    float *shares = malloc(count * sizeof *shares);
    memcpy(shares, wanted, count * sizeof *shares);
    uint8_t *codes = calloc((size_t)(shape.bytes * 8 / shape.bits), 1);
    int finite = barnraise_quantise(values, shape.starts, shape.chunks, shape.bits, shares, (int64_t)count, codes, scales, decoded);
    if (finite && shape.bits == 8) memcpy(packed, codes, (size_t)shape.bytes);
    if (finite && shape.bits != 8) barnraise_pack_codes(codes, shape.bytes, shape.bits, packed);
    free(shares), free(codes);
    return finite;
}

static int restore(Shape shape, const uint8_t *packed, const float *scales, float *values) {
    if (shape.bits == 1) return barnraise_restore_signs(packed, shape.starts, shape.chunks, scales, values);
    return barnraise_restore(packed, shape.starts, shape.chunks, shape.bits, scales, values);
}

static int are_finite(const float *values, int64_t size) {
    for (int64_t i = 0; i < size; i++)
        if (!isfinite(values[i])) return 0;
    return 1;
}

static void damage(Shape shape, uint8_t *packed, float *scales) {
    for (uint64_t times = draw(4); times; times--) packed[draw((uint64_t)shape.bytes)] = draw(2) ? (uint8_t)draw(256) : 0;
    for (uint64_t times = draw(3); times; times--) scales[draw((uint64_t)shape.chunks)] = draw_scale();
}

// How many of the damaged arrays were accepted; ends the program where a result is wrong.
static int64_t try_shape(Shape shape) {
    size_t room = (size_t)shape.size * sizeof(float);
    float *values = malloc(room), *decoded = malloc(room), *restored = malloc(room);
    float *scales = malloc((size_t)shape.chunks * sizeof *scales);
    uint8_t *packed = calloc((size_t)shape.bytes, 1);
    for (int64_t chunk = 0; chunk < shape.chunks; chunk++) {
        uint64_t kind = draw(5);
        for (int64_t i = shape.starts[chunk]; i < shape.starts[chunk + 1]; i++) values[i] = draw_value(kind);
    }
    if (!draw(8)) values[draw((uint64_t)shape.size)] = draw(2) ? NAN : -INFINITY;
    int64_t accepted = 0;
    int finite = quantise(shape, values, packed, scales, decoded);
    if (finite != are_finite(values, shape.size)) exit(2);
    if (finite) {
        if (restore(shape, packed, scales, restored)) exit(3);
        if (memcmp(restored, decoded, room)) exit(4);
        for (int times = 0; times < 8; times++) {
            damage(shape, packed, scales);
            int status = restore(shape, packed, scales, restored);
            if (status < 0 || status > 3 || (!status && !are_finite(restored, shape.size))) exit(5);
            accepted += !status;
        }
    }
    free(values), free(decoded), free(restored), free(scales), free(packed);
    return accepted;
}

int main(int count, char **arguments) {
    int64_t rounds = count > 1 ? atoll(arguments[1]) : 100, accepted = 0;
    for (int64_t round = 0; round < rounds; round++) {
        int64_t chunks = 1 + (int64_t)draw(CHUNKS), *starts = malloc((size_t)(chunks + 1) * sizeof *starts);
        starts[0] = 0;
        for (int64_t chunk = 0; chunk < chunks; chunk++) starts[chunk + 1] = starts[chunk] + draw_size();
        for (int32_t bits = 8; bits; bits /= 2)
            accepted += try_shape((Shape){starts, chunks, starts[chunks], (starts[chunks] * bits + 7) / 8, bits});
        free(starts);
    }
    printf("DONE %lld\n", (long long)accepted);
    return 0;
}
