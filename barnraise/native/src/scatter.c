// Packed top-k updates added into float32, decoded on the way: barnraise/updates/add.py has the plain twin.
#include <string.h>

#include "entropy.h"

enum { HEAD = 3, EXPONENT = 0x7f800000, MOST = 16, LINE = 16, SIGNS = 56 };

// The 23 fraction bits of 2 ** (j / 16), as in barnraise/updates/grid.py.
static const uint32_t FRACTIONS[16] = {0x000000, 0x05AAC3, 0x0B95C2, 0x11C3D3, 0x1837F0, 0x1EF532, 0x25FED7, 0x2D583F,
                                       0x3504F3, 0x3D08A4, 0x45672A, 0x4E248C, 0x5744FD, 0x60CCDF, 0x6AC0C7, 0x75257D};

typedef struct {
    const uint8_t *levels, *scales, *support;
    const int64_t *offsets; // [3, segments + 1], rows in this order
    int64_t k;
    float factor;
} Packed;

static inline uint32_t magnitude(int32_t number) {
    return (uint32_t)((number >> 4) + 127) << 23 | FRACTIONS[number & 15];
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// The rules of topk.py for chunks with high entries, and what both kinds of entries are worth.
static int check_highs(const Plan *plan, int64_t chunks, int32_t step, const uint8_t *high) {
    int64_t at = 0, all = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        uint32_t here = 0;
        for (uint32_t i = 0; i < plan->counts[chunk]; i++) here += high[at++];
        if (here && here == plan->counts[chunk]) return EXTRA;
        if (here && 2 * plan->eighths[chunk] + step > 2047) return RANGE;
        all += here;
    }
    return all ? DONE : EXTRA;
}

// One segment of one update, decoded: what its entries are, and where the next chunk's begin.
typedef struct {
    Plan plan;
    Segment segment;
    uint32_t *places;
    uint8_t *high; // of every entry if there is a second level
    const uint8_t *signs;
    int64_t signs_size, at;
    int64_t done; // chunks of it that are added already
    Stream stream;
    const Walk *walk; // that decodes it, and its number there
    int number, ready; // or whether it is decoded
    int32_t step;
    float factor;
} Opened;

// Look at what comes before an update's segment is decoded; it has a plan if there is something to decode.
static void open_segment(const Packed *packed, int64_t segments, int64_t number, const int64_t *starts, int64_t chunks,
                        Opened *opened) {
    const int64_t *offsets = packed->offsets + number;
    int64_t row = segments + 1, sizes[3];
    for (int i = 0; i < 3; i++) sizes[i] = offsets[i * row + 1] - offsets[i * row];
    const uint8_t *scales = packed->scales + offsets[row];
    opened->at = opened->done = 0;
    opened->walk = NULL;
    opened->ready = 0;
    opened->step = 0;
    opened->factor = packed->factor;
    opened->signs = packed->levels + offsets[0];
    opened->signs_size = sizes[0];
    memset(opened->plan.counts, 0, sizeof opened->plan.counts);
    opened->segment = (Segment){.status = DONE};
    if (sizes[2] == 0) opened->segment.status = sizes[0] || sizes[1] ? EXTRA : DONE;
    else if (sizes[1] != HEAD) opened->segment.status = sizes[1] < HEAD ? TRUNCATED : EXTRA;
    if (sizes[2] == 0 || opened->segment.status != DONE) return;
    int32_t unit = (int16_t)(scales[0] | scales[1] << 8);
    opened->step = scales[2] ? 2 * scales[2] - 1 : 0;
    opened->segment = (Segment){packed->support + offsets[2 * row], sizes[2], starts, chunks, packed->k, unit,
                                opened->step != 0, DONE, &opened->plan, opened->places, opened->high};
}

// What can be said of a segment when its plan has been read.
static int check_signs(const Opened *opened) {
    int64_t total = opened->plan.total, size = (total + 7) / 8;
    if (total == 0) return EXTRA;
    if (opened->signs_size != size) return opened->signs_size < size ? TRUNCATED : EXTRA;
    return total % 8 && opened->signs[size - 1] >> (total % 8) ? EXTRA : DONE;
}

// What can be said of a segment when it has been decoded.
static int check_segment(const Opened *opened) {
    const Segment *segment = &opened->segment;
    if (segment->status != DONE || segment->plan == NULL) return segment->status;
    int status = check_signs(opened);
    if (status != DONE) return status;
    return opened->step ? check_highs(&opened->plan, segment->chunks, opened->step, opened->high) : DONE;
}

// Decode a few segments that have something, at once; returns how many were decoded in step.
static int decode(const Tables *tables, Opened *const *opened, int count) {
    Segment segments[MOST];
    for (int i = 0; i < count; i++) segments[i] = opened[i]->segment;
    int in_step = barnraise_read_segments(tables, segments, count);
    for (int i = 0; i < count; i++) opened[i]->segment.status = segments[i].status;
    return in_step;
}

static int decode_all(const Tables *tables, Opened *opened, int64_t count) {
    Opened *found[MOST];
    int some = 0;
    for (int64_t i = 0; i < count; i++)
        if (opened[i].segment.plan) found[some++] = opened + i;
    return decode(tables, found, some);
}

// SIGNS signs from an entry on, the first one lowest; beyond the end there are zeros.
static inline uint64_t signs_from(const Opened *opened, int64_t entry) {
    uint64_t bits = 0;
    int64_t first = entry >> 3, left = opened->signs_size - first;
    if (left >= 8) memcpy(&bits, opened->signs + first, 8);
    else
        for (int64_t i = 0; i < left; i++) bits |= (uint64_t)opened->signs[first + i] << (8 * i);
    return bits >> (entry & 7);
}

// Add the next chunk. A product has the same digits for both signs, so it is taken once for each level.
static uint32_t add_chunk(Opened *opened, int64_t chunk, float *out) {
    uint32_t count = opened->plan.counts[chunk], beyond = 0;
    if (count == 0) return 0;
    int32_t number = 2 * opened->plan.eighths[chunk];
    float low = opened->factor * float_of(magnitude(number)), high = low;
    if (opened->step) high = opened->factor * float_of(magnitude(number + opened->step));
    const float values[2][2] = {{low, -low}, {high, -high}};
    const uint32_t *places = opened->places + opened->at;
    const uint8_t *highs = opened->high + opened->at, low_only = opened->step == 0;
    for (uint32_t first = 0; first < count; first += SIGNS) {
        uint32_t end = first + SIGNS < count ? first + SIGNS : count;
        uint64_t signs = signs_from(opened, opened->at + first);
        for (uint32_t i = first; i < end; i++, signs >>= 1) {
            float sum = out[places[i]] + values[low_only ? 0 : highs[i]][signs & 1];
            out[places[i]] = sum;
            beyond |= (bits_of(sum) & 0x7fffffffu) + 0x00800000u; // reaches the highest bit if it is not finite
        }
    }
    opened->at += count;
    return beyond >> 31;
}

// Updates that are added, and all chunks of their space.
typedef struct {
    const int64_t *chunk_starts;
    int64_t chunks;
    const Packed *updates;
    int64_t count;
} Sum;

static int64_t chunks_of(const Sum *sum, int64_t segment) {
    int64_t left = sum->chunks - segment * CHUNKS;
    return left < CHUNKS ? left : CHUNKS;
}

// Open updates [first, first + now) of a few segments; `starts` has a row for each segment.
static void open_all(const Sum *sum, int64_t segment, int64_t segments, int64_t first, int64_t now,
                     int64_t (*starts)[CHUNKS + 1], Opened *opened) {
    int64_t all = (sum->chunks + CHUNKS - 1) / CHUNKS;
    for (int64_t s = 0; s < segments; s++) {
        const int64_t *chunk_starts = sum->chunk_starts + (segment + s) * CHUNKS;
        int64_t here = chunks_of(sum, segment + s);
        for (int64_t chunk = 0; chunk <= here; chunk++) starts[s][chunk] = chunk_starts[chunk] - chunk_starts[0];
        for (int64_t u = 0; u < now; u++)
            open_segment(sum->updates + first + u, all, segment + s, starts[s], here, opened + s * now + u);
    }
}

// Add decoded updates to one segment, chunk by chunk; the next chunk is on its way to the cache meanwhile.
static uint32_t add_segment(Opened *opened, int64_t now, const int64_t *starts, int64_t chunks, float *out) {
    uint32_t beyond = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const float *next = out + starts[chunk + 1], *end = chunk + 1 < chunks ? out + starts[chunk + 2] : next;
        int64_t lines = (end - next + LINE - 1) / LINE, each = (lines + now - 1) / now;
        for (int64_t u = 0; u < now; u++) {
            int64_t last = (u + 1) * each < lines ? (u + 1) * each : lines;
            for (int64_t line = u * each; line < last; line++) __builtin_prefetch(next + LINE * line, 1);
            if (chunk >= opened[u].done) beyond |= add_chunk(opened + u, chunk, out + starts[chunk]);
        }
    }
    return beyond;
}

// -- adding while it is decoded ----------------------------------------------------------

static Counts counts_among(const uint32_t *found, uint32_t count) {
    Counts counts = {{0}};
    for (uint32_t t = 0; t < count; t++) counts.counts[found[WIDTH * t] >> 7]++;
    return counts;
}

// Add a chunk of one level whose places were just drawn. Returns whether it was cut as it should be.
static int add_walked(const Tables *tables, Opened *opened, int64_t chunk, float *out, float *nothing) {
    const Segment *segment = &opened->segment;
    const uint32_t *found = walked(opened->walk, opened->number, (int)(chunk % LANES));
    uint32_t count = opened->plan.counts[chunk];
    if (count == 0) return 1;
    uint32_t size = (uint32_t)(segment->starts[chunk + 1] - segment->starts[chunk]);
    float product = opened->factor * float_of(magnitude(2 * opened->plan.eighths[chunk])), zero = *nothing;
    const float values[2] = {product, -product};
    Counts marks = {{0}};
    for (uint32_t first = 0; first < count; first += SIGNS) {
        uint32_t end = first + SIGNS < count ? first + SIGNS : count;
        uint64_t signs = signs_from(opened, opened->at + first);
        for (uint32_t t = first; t < end; t++, signs >>= 1) {
            uint32_t place = found[WIDTH * t];
            float sum = out[place] + values[signs & 1];
            out[place] = sum;
            marks.counts[place >> 7] = (uint8_t)(t + 1);
            zero += sum - sum; // not a number from the first sum on that is not finite
        }
    }
    *nothing = zero;
    opened->at += count;
    Counts counts = count <= UINT8_MAX ? barnraise_counts_of(&marks) : counts_among(found, count);
    opened->stream.before = barnraise_best_choice(tables, &counts, count, size, opened->stream.before);
    return opened->stream.before == opened->plan.choices[chunk];
}

// What has two levels is decoded first: its levels come last. Others that fill up its round of TOGETHER go with it.
static int decode_first(const Tables *tables, Opened *opened, int64_t now, int *in_step) {
    int64_t highs = 0;
    for (int64_t u = 0; u < now; u++) highs += opened[u].segment.plan && opened[u].step;
    int64_t more = (TOGETHER - highs % TOGETHER) % TOGETHER, count = 0;
    Opened *chosen[MOST];
    for (int64_t u = 0; u < now; u++) {
        if (opened[u].segment.plan == NULL || (opened[u].step == 0 && more-- <= 0)) continue;
        opened[u].ready = 1;
        chosen[count++] = opened + u;
    }
    *in_step += decode(tables, chosen, (int)count);
    for (int64_t i = 0; i < count; i++)
        if (check_segment(chosen[i]) != DONE) return 0;
    return 1;
}

// Get ready what is not decoded in step, and open the rest. Returns how many these are; -1 if something is wrong.
static int begin_walks(const Tables *tables, Opened *opened, int64_t now, Opened **walking, int *in_step) {
    int count = 0;
    if (!decode_first(tables, opened, now, in_step)) return -1;
    for (int64_t u = 0; u < now; u++) {
        Opened *one = opened + u;
        Segment *segment = &one->segment;
        if (segment->status != DONE) return -1;
        if (segment->plan == NULL || one->ready) continue;
        one->stream = (Stream){segment, barnraise_open_segment(segment), 0};
        walking[count++] = one;
        if (segment->status != DONE || check_signs(one) != DONE) return -1;
    }
    *in_step += count;
    return count;
}

// The shortest pieces among four chunks: for as long as these have bars to be drawn, all that is in step waits.
static int finest_of(const Plan *plan, int64_t first, int64_t last) {
    int finest = 0;
    for (int64_t chunk = first; chunk < last; chunk++)
        if (plan->counts[chunk] && plan->choices[chunk] > finest) finest = plan->choices[chunk];
    return finest;
}

// Put those into step whose next four chunks are cut alike. Returns the number of walks.
static int line_up(Opened *const *walking, int count, int64_t first, int64_t last, Walk *walks) {
    int finest[MOST], at = 0;
    for (int i = 0; i < count; i++) finest[i] = finest_of(&walking[i]->plan, first, last);
    for (int choice = CHOICES - 1; choice >= 0; choice--)
        for (int i = 0; i < count; i++) {
            if (finest[i] != choice) continue;
            Opened *one = walking[i];
            Walk *walk = walks + at / TOGETHER;
            one->walk = walk;
            one->number = at++ % TOGETHER;
            walk->streams[one->number] = &one->stream;
            walk->count = one->number + 1;
        }
    return (count + TOGETHER - 1) / TOGETHER;
}

// Add four chunks of every update. Returns whether those that were just decoded are cut as they should be.
static int add_group(const Tables *tables, Opened *opened, int64_t now, const int64_t *starts, int64_t first, int64_t last,
                     float *out, uint32_t *beyond) {
    float nothing = 0;
    int fine = 1;
    for (int64_t chunk = first; chunk < last; chunk++)
        for (int64_t u = 0; u < now; u++) {
            float *part = out + starts[chunk];
            if (opened[u].walk) fine &= add_walked(tables, opened + u, chunk, part, &nothing);
            else *beyond |= add_chunk(opened + u, chunk, part);
        }
    for (int64_t u = 0; u < now; u++) opened[u].done = last;
    *beyond |= nothing != 0;
    return fine;
}

// Add segments of updates while they are decoded. Returns how many were decoded in step; if it is 0 the rest is to be
// decoded first: something is wrong, or it cannot be done here.
static int add_walking(const Tables *tables, Opened *opened, int64_t now, const int64_t *starts, int64_t chunks,
                       float *out, uint32_t *beyond) {
    if (now < 2 || !barnraise_can_walk()) return 0;
    for (int64_t u = 0; u < now; u++)
        if (opened[u].segment.plan && opened[u].segment.k > STEPS) return 0;
    Steps steps[MOST / TOGETHER][PAIRS];
    Walk walks[MOST / TOGETHER];
    Ahead ahead;
    for (int i = 0; i < MOST / TOGETHER; i++) {
        walks[i].steps = steps[i];
        walks[i].ahead = &ahead;
    }
    int in_step = 0;
    Opened *walking[MOST];
    const int count = begin_walks(tables, opened, now, walking, &in_step);
    if (count <= 0) return 0;
    for (int64_t first = 0; first < chunks; first += LANES) {
        int64_t last = first + LANES < chunks ? first + LANES : chunks;
        int64_t after = last + LANES < chunks ? last + LANES : chunks;
        ahead = (Ahead){(const char *)(out + starts[last]), (const char *)(out + starts[after])};
        const int all = line_up(walking, count, first, last, walks);
        for (int i = 0; i < all; i++)
            if (!barnraise_walk(tables, walks + i, first)) return 0;
        if (!add_group(tables, opened, now, starts, first, last, out, beyond)) return 0;
    }
    for (int i = 0; i < count; i++)
        if (barnraise_close_segment(&walking[i]->stream.reader, &walking[i]->segment) != DONE) return 0;
    return in_step;
}

// -- adding what is decoded --------------------------------------------------------------

// Updates [first, first + now) of `here` segments from `segment` on; returns -1, or a segment in which one is wrong.
static int64_t add_some(const Tables *tables, const Sum *sum, int64_t segment, int64_t here, int64_t first, int64_t now,
                        Opened *opened, float *out, int64_t *which, uint32_t *said) {
    int64_t starts[MOST][CHUNKS + 1];
    int64_t origin = sum->chunk_starts[segment * CHUNKS];
    open_all(sum, segment, here, first, now, starts, opened);
    if (here == 1) {
        int in_step = add_walking(tables, opened, now, starts[0], chunks_of(sum, segment), out, said);
        said[1] += (uint32_t)in_step;
        if (in_step) return -1;
    }
    said[1] += (uint32_t)decode_all(tables, opened, here * now);
    for (int64_t s = 0; s < here; s++) {
        for (int64_t u = 0; u < now; u++) {
            Opened *one = opened + s * now + u;
            if (check_segment(one) != DONE) {
                *which = first + u;
                return segment + s;
            }
            one->at = 0;
            for (int64_t chunk = 0; chunk < one->done; chunk++) one->at += one->plan.counts[chunk];
        }
        float *part = out + (sum->chunk_starts[(segment + s) * CHUNKS] - origin);
        said[0] |= add_segment(opened + s * now, now, starts[s], chunks_of(sum, segment + s), part);
    }
    return -1;
}

// out = (out + factor_0 * change_0) + factor_1 * change_1 ..., segment by segment, in the elements that changes name.
//
// A few updates are decoded at once and then added chunk by chunk, so that what is added to stays in the cache; of
// fewer updates a few segments are decoded at once. `chunk_starts` has all chunks of the space, `out` begins at the
// first segment's first element. `places` and `high` have room for `together` segments with `most` entries each.
// Returns -1, or the segment in which an update (`which`) is wrong; it is half added then. `said` has two numbers:
// the first becomes 1 if a sum is not finite, the second grows by the segments that were decoded in step.
EXPORT int64_t barnraise_add_packed(const uint32_t *tables, const int64_t *chunk_starts, int64_t chunks, int64_t from,
                                    int64_t to, const Packed *updates, int64_t count, int64_t together, int64_t most,
                                    uint32_t *places, uint8_t *high, float *out, int64_t *which, uint32_t *said);
EXPORT int64_t barnraise_add_packed(const uint32_t *tables, const int64_t *chunk_starts, int64_t chunks, int64_t from,
                                    int64_t to, const Packed *updates, int64_t count, int64_t together, int64_t most,
                                    uint32_t *places, uint8_t *high, float *out, int64_t *which, uint32_t *said) {
    Tables all = tables_at(tables);
    Sum sum = {chunk_starts, chunks, updates, count};
    Opened opened[MOST];
    together = together > MOST ? MOST : together;
    for (int64_t i = 0; i < together; i++) {
        opened[i].places = places + i * most;
        opened[i].high = high + i * most;
    }
    int64_t at_once = count && count < together ? together / count : 1;
    for (int64_t segment = from; segment < to; segment += at_once) {
        int64_t here = to - segment < at_once ? to - segment : at_once;
        float *part = out + (chunk_starts[segment * CHUNKS] - chunk_starts[from * CHUNKS]);
        for (int64_t first = 0; first < count; first += together) {
            int64_t now = count - first < together ? count - first : together;
            int64_t wrong = add_some(&all, &sum, segment, here, first, now, opened, part, which, said);
            if (wrong >= 0) return wrong;
        }
    }
    return -1;
}

// -- decoding whole updates --------------------------------------------------------------

// Write down the entries of a decoded segment: `firsts` says where those of each chunk go.
static void put_segment(const Opened *opened, const int64_t *firsts, int64_t chunks, uint16_t *places, float *values,
                        uint32_t *counts) {
    int64_t at = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        uint32_t count = counts[chunk] = opened->plan.counts[chunk];
        if (count == 0) continue;
        int32_t number = 2 * opened->plan.eighths[chunk];
        const uint32_t low = magnitude(number), both[2] = {low, opened->step ? magnitude(number + opened->step) : low};
        for (uint32_t i = 0; i < count; i++, at++) {
            uint32_t sign = opened->signs[at >> 3] >> (at & 7) & 1u;
            places[firsts[chunk] + i] = (uint16_t)opened->places[at];
            values[firsts[chunk] + i] = float_of(both[opened->step ? opened->high[at] : 0] | sign << 31);
        }
    }
}

// Decode consecutive segments of one update, TOGETHER at once: places within chunks, values, and how many entries each
// chunk has. `firsts` has room for all entries that each chunk of the space may have; `places_of` and `high` have it for
// TOGETHER segments with `most` entries each. Returns -1, or the segment that is wrong.
EXPORT int64_t barnraise_decode_packed(const uint32_t *tables, const int64_t *chunk_starts, int64_t chunks, int64_t from,
                                       int64_t to, const Packed *update, int64_t most, uint32_t *places_of,
                                       uint8_t *high, const int64_t *firsts, uint16_t *places, float *values,
                                       uint32_t *counts);
EXPORT int64_t barnraise_decode_packed(const uint32_t *tables, const int64_t *chunk_starts, int64_t chunks, int64_t from,
                                       int64_t to, const Packed *update, int64_t most, uint32_t *places_of,
                                       uint8_t *high, const int64_t *firsts, uint16_t *places, float *values,
                                       uint32_t *counts) {
    Tables all = tables_at(tables);
    Sum sum = {chunk_starts, chunks, update, 1};
    Opened opened[TOGETHER];
    int64_t starts[TOGETHER][CHUNKS + 1];
    for (int i = 0; i < TOGETHER; i++) {
        opened[i].places = places_of + i * most;
        opened[i].high = high + i * most;
    }
    for (int64_t segment = from; segment < to; segment += TOGETHER) {
        int64_t here = to - segment < TOGETHER ? to - segment : TOGETHER;
        open_all(&sum, segment, here, 0, 1, starts, opened);
        decode_all(&all, opened, here);
        for (int64_t s = 0; s < here; s++) {
            int64_t first = (segment + s) * CHUNKS;
            if (check_segment(opened + s) != DONE) return segment + s;
            put_segment(opened + s, firsts + first, chunks_of(&sum, segment + s), places, values, counts + first);
        }
    }
    return -1;
}

// out = base + 0: a -0.0 becomes 0.0. Returns whether all elements are finite.
EXPORT int barnraise_settle(const float *base, float *out, int64_t start, int64_t end);
MULTIVERSION int barnraise_settle(const float *base, float *out, int64_t start, int64_t end) {
    uint32_t highest = 0;
#pragma GCC ivdep
    for (int64_t i = start; i < end; i++) {
        float value = base[i] + 0.0f;
        uint32_t bits;
        __builtin_memcpy(&bits, &value, sizeof bits);
        bits &= EXPONENT;
        highest = bits > highest ? bits : highest;
        out[i] = value;
    }
    return highest != EXPONENT;
}

typedef struct {
    const uint16_t *places; // within their chunks
    const float *values;
    const int64_t *firsts; // [chunks + 1], each chunk's first entry
    float factor;
} Decoded;

// out = (out + factor_0 * change_0) + factor_1 * change_1 ..., chunk by chunk, in the elements that changes name.
EXPORT void barnraise_add_decoded(const int64_t *starts, int64_t from, int64_t to, const Decoded *updates,
                                  int64_t count, float *out);
EXPORT void barnraise_add_decoded(const int64_t *starts, int64_t from, int64_t to, const Decoded *updates,
                                  int64_t count, float *out) {
    for (int64_t chunk = from; chunk < to; chunk++) {
        float *part = out + starts[chunk];
        for (int64_t u = 0; u < count; u++) {
            const uint16_t *places = updates[u].places;
            const float *values = updates[u].values, factor = updates[u].factor;
            int64_t end = updates[u].firsts[chunk + 1];
            for (int64_t i = updates[u].firsts[chunk]; i < end; i++) part[places[i]] = part[places[i]] + factor * values[i];
        }
    }
}
