// Chooses entries, fits levels to them and puts them back, compiled with sanitizers: says "DONE" if all went well.
//
// Values may be any; counts are what barnraise/native/codec.py and levels.py make sure of. Every buffer is as long as
// these make it and not an element longer, so that a read or a write beyond it is seen.
#include <math.h>
#include <stdio.h>

#include "drawing.h"

enum { CHUNK = 4096, NORMAL = 0x00800000, INFINITE = 0x7f800000 };

int barnraise_select(const float *, const int64_t *, const int64_t *, int64_t, int64_t, uint32_t *, float *, uint32_t *);
void barnraise_place(const int64_t *, const float *, int64_t, int64_t, float *);
void barnraise_relative(const float *, const uint32_t *, int64_t, int64_t, double *, double *, double *);
int64_t barnraise_parted(const double *, int64_t, int64_t, double, double *, double *);
double barnraise_left_out(const double *, int64_t, int64_t, double, double, double, double *);

static uint32_t size_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffff;
}

static float draw_value(uint64_t kind) {
    switch (kind) {
    case 0: return draw(2) ? 0.0f : -0.0f;
    case 1: return (float)draw(7) - 3.0f;
    case 2: return number_of((uint32_t)draw(2) << 31 | (uint32_t)draw(2 * NORMAL)); // subnormal, or hardly more
    case 3: return number_of((uint32_t)draw(2) << 31 | (uint32_t)draw(INFINITE));
    case 4: return draw(100) ? 0.0f : 1.0f;
    default: return (float)draw(1 << 20) * 0x1p-30f - 0x1p-11f;
    }
}

static int64_t draw_size(void) {
    switch (draw(4)) {
    case 0: return CHUNK - (int64_t)draw(9);
    case 1: return 1 + (int64_t)draw(CHUNK);
    case 2: return 1 + (int64_t)draw(20);
    default: return CHUNK;
    }
}

// The power of two that a sum is filled up to.
static int64_t width_for(int64_t count) {
    int64_t width = 1;
    while (width < count) width *= 2;
    return width;
}

// A chunk's places are in order, and nothing that was left out is larger, or as large and before.
static void check_chunk(const float *values, int64_t size, int64_t kept, const uint32_t *places, const float *chosen, int64_t count) {
    uint32_t least = UINT32_MAX, last_equal = 0;
    int64_t normal = 0, larger = 0;
    for (int64_t i = 0; i < count; i++) {
        REQUIRE(places[i] < size && (!i || places[i] > places[i - 1]) && size_bits(chosen[i]) == size_bits(values[places[i]]));
        if (size_bits(chosen[i]) < least) least = size_bits(chosen[i]);
    }
    for (int64_t i = 0; i < count; i++)
        if (size_bits(chosen[i]) == least) last_equal = places[i];
    for (int64_t place = 0; place < size; place++) {
        uint32_t bits = size_bits(values[place]);
        normal += bits >= NORMAL;
        larger += bits > least || (bits == least && place <= last_equal);
    }
    REQUIRE(count == (normal < kept ? normal : kept));
    REQUIRE(!count || larger == count);
}

static void fit_levels(const float *chosen, const uint32_t *counts, int64_t chunks, int64_t count) {
    int64_t most = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) most = counts[chunk] > most ? counts[chunk] : most;
    int64_t width = width_for(most), all = width_for(count);
    double *room = malloc((size_t)width * sizeof *room), *means = malloc((size_t)chunks * sizeof *means);
    double *relative = malloc((size_t)count * sizeof *relative), *part = malloc((size_t)all * sizeof *part);
    barnraise_relative(chosen, counts, chunks, width, room, means, relative);
    for (int times = 0; count && times < 3; times++) {
        double *sums = malloc(2 * sizeof *sums), border = draw(4) ? relative[draw((uint64_t)count)] : draw(2) ? -1.0 : 1e300;
        int64_t above = barnraise_parted(relative, count, all, border, part, sums), found = 0;
        for (int64_t i = 0; i < count; i++) found += relative[i] > border;
        REQUIRE(above == found);
        REQUIRE(barnraise_left_out(relative, count, all, border, sums[0], sums[1], part) >= 0);
        free(sums);
    }
    free(room), free(means), free(relative), free(part);
}

static void put_back(const float *values, const int64_t *starts, int64_t chunks, const uint32_t *places, const float *chosen, const uint32_t *counts, int64_t count) {
    int64_t size = starts[chunks], at = 0, *positions = malloc((size_t)count * sizeof *positions);
    float *out = malloc((size_t)size * sizeof *out);
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        for (uint32_t i = 0; i < counts[chunk]; i++, at++) positions[at] = starts[chunk] + places[at];
    barnraise_place(positions, chosen, count, size, out);
    int64_t found = 0;
    for (int64_t i = 0; i < size; i++) {
        REQUIRE(out[i] == 0 || out[i] == values[i]);
        found += out[i] != 0;
    }
    REQUIRE(found == count);
    free(positions), free(out);
}

static int64_t try_chunks(void) {
    int64_t chunks = 1 + (int64_t)draw(6), finite = 1, *starts = malloc((size_t)(chunks + 1) * sizeof *starts), *firsts = malloc((size_t)(chunks + 1) * sizeof *firsts);
    starts[0] = firsts[0] = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t size = draw_size(), kept = draw(2) ? 1 + (int64_t)draw((uint64_t)size) : (size * 64 + CHUNK - 1) / CHUNK;
        starts[chunk + 1] = starts[chunk] + size;
        firsts[chunk + 1] = firsts[chunk] + (draw(16) ? kept : size);
    }
    int64_t size = starts[chunks], most = firsts[chunks], from = (int64_t)draw((uint64_t)chunks + 1), count = 0;
    float *values = malloc((size_t)size * sizeof *values), *chosen = malloc((size_t)most * sizeof *chosen);
    uint32_t *places = malloc((size_t)most * sizeof *places), *counts = malloc((size_t)chunks * sizeof *counts);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        uint64_t kind = draw(6);
        for (int64_t i = starts[chunk]; i < starts[chunk + 1]; i++) values[i] = draw_value(kind);
    }
    if (!draw(8)) values[draw((uint64_t)size)] = draw(2) ? NAN : -INFINITY;
    for (int64_t i = 0; i < size; i++) finite &= isfinite(values[i]) != 0;
    int first = barnraise_select(values, starts, firsts, 0, from, places, chosen, counts);
    REQUIRE((first && barnraise_select(values, starts, firsts, from, chunks, places, chosen, counts)) == finite);
    for (int64_t chunk = 0; finite && chunk < chunks; chunk++) {
        const uint32_t *found = places + firsts[chunk];
        check_chunk(values + starts[chunk], starts[chunk + 1] - starts[chunk], firsts[chunk + 1] - firsts[chunk], found, chosen + firsts[chunk], counts[chunk]);
        memmove(places + count, found, counts[chunk] * sizeof *places);
        memmove(chosen + count, chosen + firsts[chunk], counts[chunk] * sizeof *chosen);
        count += counts[chunk];
    }
    if (finite) {
        float *exactly = copy_of(chosen, count * (int64_t)sizeof *chosen);
        fit_levels(exactly, counts, chunks, count);
        put_back(values, starts, chunks, places, exactly, counts, count);
        free(exactly);
    }
    free(starts), free(firsts), free(values), free(chosen), free(places), free(counts);
    return count;
}

int main(int count, char **arguments) {
    int64_t rounds = count > 1 ? atoll(arguments[1]) : 100, chosen = 0;
    for (int64_t round = 0; round < rounds; round++) chosen += try_chunks();
    printf("DONE %lld entries\n", (long long)chosen);
    return 0;
}
