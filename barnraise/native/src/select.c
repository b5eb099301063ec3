// The k largest magnitudes of every chunk, exactly: the compiled twin of `_select` in merge/compress/topk.py.
//
// A chunk stays in the first-level cache. Its elements are dealt out to groups; the k-th largest of the groups'
// maxima is a bound that at least k elements reach, and few more. Only groups that reach it are looked at again.
#include <string.h>

#include "kernels.h"

enum { CHUNK = 4096, NORMAL = 0x00800000, INFINITE = 0x7f800000 };
#define ALWAYS static inline __attribute__((always_inline))

ALWAYS uint32_t count_from(const uint32_t *keys, uint32_t size, uint32_t bound) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < size; i++) count += keys[i] >= bound;
    return count;
}

// The largest bound in [low, high) that at least `wanted` keys reach, or one that at most `enough` reach.
ALWAYS uint32_t bound_of(const uint32_t *keys, uint32_t size, uint32_t low, uint32_t high, uint32_t wanted,
                         uint32_t enough) {
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2, count = count_from(keys, size, middle);
        if (count >= wanted) {
            low = middle;
            if (count <= enough) break;
        } else {
            high = middle;
        }
    }
    return low;
}

ALWAYS uint32_t groups_for(uint32_t size, uint32_t kept) {
    if (size != CHUNK) return size;
    uint32_t groups = 256;
    while (groups < CHUNK && groups < 3 * kept) groups *= 2;
    return groups;
}

// The places of a chunk in order: all above `least`, and of those equal to it as many as there is room for.
ALWAYS uint32_t write_places(const uint32_t *found, const uint32_t *keys, uint32_t count, uint32_t least,
                             uint32_t room, uint32_t *places) {
    uint64_t above[CHUNK / 64] = {0}, equal[CHUNK / 64] = {0};
    for (uint32_t i = 0; i < count; i++) {
        above[found[i] >> 6] |= (uint64_t)(keys[i] > least) << (found[i] & 63);
        equal[found[i] >> 6] |= (uint64_t)(keys[i] == least) << (found[i] & 63);
    }
    uint32_t written = 0;
    for (uint32_t word = 0; word < CHUNK / 64; word++) {
        uint64_t marks = above[word];
        for (uint64_t ties = equal[word]; ties && room; ties &= ties - 1, room--) marks |= ties & -ties;
        for (; marks; marks &= marks - 1) places[written++] = 64 * word + (uint32_t)__builtin_ctzll(marks);
    }
    return written;
}

// Returns how many were chosen, or -1 if an element is not finite.
ALWAYS int32_t select_chunk(const float *values, uint32_t size, uint32_t kept, uint32_t *places) {
    uint32_t keys[CHUNK], tops[CHUNK], found[CHUNK], among[CHUNK];
    uint32_t groups = groups_for(size, kept), highest = 0;
    memcpy(keys, values, size * sizeof *keys);
    for (uint32_t i = 0; i < size; i++) {
        keys[i] &= 0x7fffffff;
        highest = keys[i] > highest ? keys[i] : highest;
    }
    if (highest >= INFINITE) return -1;
    if (highest < NORMAL) return 0;
    memcpy(tops, keys, groups * sizeof *tops);
    for (uint32_t row = groups; row < size; row += groups)
        for (uint32_t i = 0; i < groups; i++) tops[i] = keys[row + i] > tops[i] ? keys[row + i] : tops[i];
    uint32_t near = highest > (4u << 23) ? highest - (4u << 23) : 0;
    if (count_from(tops, groups, near) < kept) near = 0;
    uint32_t bound = bound_of(tops, groups, near, highest + 1, kept, kept + kept / 16);
    uint32_t count = 0;
    for (uint32_t group = 0; group < groups; group++) {
        if (tops[group] < bound) continue;
        for (uint32_t place = group; place < size; place += groups) {
            found[count] = place;
            among[count] = keys[place];
            count += keys[place] >= bound;
        }
    }
    uint32_t least = bound_of(among, count, bound, highest + 1, kept, kept);
    if (least < NORMAL) return (int32_t)write_places(found, among, count, NORMAL - 1, 0, places);
    uint32_t above = count_from(among, count, least + 1);
    return (int32_t)write_places(found, among, count, least, kept - above, places);
}

// Chunks [from, to). A chunk's places go to `places` from `firsts[chunk]` on, what lies there to `chosen`. Returns
// whether all was finite.
EXPORT int barnraise_select(const float *values, const int64_t *starts, const int64_t *firsts, int64_t from, int64_t to,
                            uint32_t *places, float *chosen, uint32_t *counts);
MULTIVERSION int barnraise_select(const float *values, const int64_t *starts, const int64_t *firsts, int64_t from,
                                  int64_t to, uint32_t *places, float *chosen, uint32_t *counts) {
    for (int64_t chunk = from; chunk < to; chunk++) {
        const float *part = values + starts[chunk];
        uint32_t size = (uint32_t)(starts[chunk + 1] - starts[chunk]);
        uint32_t kept = (uint32_t)(firsts[chunk + 1] - firsts[chunk]);
        uint32_t *found = places + firsts[chunk];
        int32_t count = select_chunk(part, size, kept, found);
        if (count < 0) return 0;
        for (int32_t i = 0; i < count; i++) chosen[firsts[chunk] + i] = part[found[i]];
        counts[chunk] = (uint32_t)count;
    }
    return 1;
}

// Zeros, and values at their places: `size` elements of which `count` are named.
EXPORT void barnraise_place(const int64_t *positions, const float *values, int64_t count, int64_t size, float *out);
EXPORT void barnraise_place(const int64_t *positions, const float *values, int64_t count, int64_t size, float *out) {
    memset(out, 0, (size_t)size * sizeof *out);
    for (int64_t i = 0; i < count; i++) out[positions[i]] = values[i];
}
