// Packs updates, adds them, damages them and adds them again, compiled with sanitizers: reads the tables from standard
// input, says "DONE" if all went well.
//
// What is damaged is what barnraise/updates/container.py leaves to the loops: any byte of the arrays, and where segments
// begin, as long as offsets begin at 0, end where their array ends and never go back. Every buffer is as long as
// barnraise/native/codec.py makes it and not a byte longer, so that a read or a write beyond it is seen. Both paths
// are gone, with vectors and without, and must say the same.
#include <stdio.h>

#include "drawing.h"
#include "entropy.h"

enum { CHUNK = 4096, LEVELS = 0, SCALES = 1, SUPPORT = 2, ARRAYS = 3, HEAD = 3, STATES = 8 * LANES };
enum { MOST_UPDATES = 18, ENTRIES = 6000, TOGETHER_MOST = 16, AT_LEAST = 4, ROOM = 1 << 18 };

typedef struct {
    const uint8_t *levels, *scales, *support;
    const int64_t *offsets;
    int64_t k;
    float factor;
} Packed;

typedef struct {
    const uint16_t *places;
    const float *values;
    const int64_t *firsts;
    float factor;
} Decoded;

int barnraise_read_support(const uint32_t *, const uint8_t *, int64_t, const int64_t *, int64_t, int64_t, int32_t, int32_t, uint32_t *, int32_t *, uint32_t *, uint8_t *);
int64_t barnraise_write_support(const uint32_t *, const int64_t *, int64_t, int64_t, const uint32_t *, const int32_t *, uint32_t *, const uint8_t *, uint32_t *, uint8_t *, int64_t);
int64_t barnraise_add_packed(const uint32_t *, const int64_t *, int64_t, int64_t, int64_t, const Packed *, int64_t, int64_t, int64_t, uint32_t *, uint8_t *, float *, int64_t *, uint32_t *);
int64_t barnraise_decode_packed(const uint32_t *, const int64_t *, int64_t, int64_t, int64_t, const Packed *, int64_t, uint32_t *, uint8_t *, const int64_t *, uint16_t *, float *, uint32_t *);
void barnraise_add_decoded(const int64_t *, int64_t, int64_t, const Decoded *, int64_t, float *);
int barnraise_settle(const float *, float *, int64_t, int64_t);

enum { MOST_TABLES = 1 << 22 }; // bytes that may be read
static const uint32_t *tables;

// -- what is packed ----------------------------------------------------------------------

// `starts` of all chunks.
typedef struct {
    int64_t *starts, chunks, segments;
} Space;

// What a segment says; `high` is NULL if it has one level.
typedef struct {
    uint32_t *counts, *places;
    int32_t *eighths;
    uint8_t *high;
    int64_t total;
} Said;

// `offsets` has a row of `segments` + 1 for each array.
typedef struct {
    uint8_t *arrays[ARRAYS];
    int64_t *offsets, row, k;
    float factor;
} Update;

static int64_t draw_size(int many) {
    if (many) return draw(50) ? 1 + (int64_t)draw(3) : 1 + (int64_t)draw(CHUNK);
    switch (draw(6)) {
    case 0: return 1 + (int64_t)draw(20);
    case 1: return 1 + (int64_t)draw(CHUNK);
    case 2: return 128 * (1 + (int64_t)draw(31)) + 1 + (int64_t)draw(3); // the last piece has hardly any room
    default: return CHUNK;
    }
}

static Space draw_space(void) {
    int many = !draw(5);
    int64_t alike = draw(8) ? 0 : 1 + (int64_t)draw(40);
    Space space = {.chunks = many ? 200 + (int64_t)draw(500) : 1 + (int64_t)draw(12)};
    space.segments = (space.chunks + CHUNKS - 1) / CHUNKS;
    space.starts = malloc((size_t)(space.chunks + 1) * sizeof *space.starts);
    space.starts[0] = 0;
    for (int64_t chunk = 0; chunk < space.chunks; chunk++) space.starts[chunk + 1] = space.starts[chunk] + (alike ? alike : draw_size(many));
    return space;
}

static int64_t chunks_of(const Space *space, int64_t segment) {
    int64_t left = space->chunks - segment * CHUNKS;
    return left < CHUNKS ? left : CHUNKS;
}

static int64_t *starts_of(const Space *space, int64_t segment) {
    const int64_t *from = space->starts + segment * CHUNKS;
    int64_t chunks = chunks_of(space, segment), *starts = copy_of(from, (chunks + 1) * (int64_t)sizeof *from);
    for (int64_t chunk = chunks; chunk >= 0; chunk--) starts[chunk] -= starts[0];
    return starts;
}

static int64_t kept_of(const int64_t *starts, int64_t chunk, int64_t k) {
    return ((starts[chunk + 1] - starts[chunk]) * k + CHUNK - 1) / CHUNK;
}

static int64_t most_of(const int64_t *starts, int64_t chunks, int64_t k) {
    int64_t most = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) most += kept_of(starts, chunk, k);
    return most;
}

static Said new_said(int64_t chunks, int64_t most, int highs) {
    Said said = {malloc((size_t)chunks * 4), malloc((size_t)most * 4), malloc((size_t)chunks * 4), NULL, 0};
    if (highs) said.high = malloc((size_t)most);
    return said;
}

static void drop_said(Said *said) { free(said->counts), free(said->places), free(said->eighths), free(said->high); }

// Somewhere in a stretch of the chunk, long or short, so that it is cut in every way.
static void draw_places(int64_t size, int64_t count, uint32_t *places) {
    int64_t room = count + (int64_t)draw((uint64_t)(size - count + 1)), first = (int64_t)draw((uint64_t)(size - room + 1));
    if (draw(2)) first = first / 128 * 128;
    for (int64_t at = 0; count; at++)
        if ((int64_t)draw((uint64_t)(room - at)) < count) *places++ = (uint32_t)(first + at), count--;
}

// What a segment may say, or if it is `wrong` what it can say but may not: scales beyond the grid, chunks with high
// entries only, or no high entry anywhere.
static Said draw_said(const int64_t *starts, int64_t chunks, int64_t k, int wrong) {
    Said said = new_said(chunks, most_of(starts, chunks, k), !draw(3));
    int any_high = wrong, far = !draw(8), lowest = far ? -1008 : -100, width = far ? 1800 : 30, some = (int)draw(8);
    if (wrong && far) lowest = draw(3) ? 900 : -1040, width = draw(2) ? 120 : 140;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t size = starts[chunk + 1] - starts[chunk], count = kept_of(starts, chunk, k);
        if (!draw(8)) count = (int64_t)draw((uint64_t)count + 1);
        said.counts[chunk] = (uint32_t)count;
        said.eighths[chunk] = count ? lowest + (int)draw((uint64_t)width) : 0;
        draw_places(size, count, said.places + said.total);
        for (int64_t i = 0; said.high && i < count; i++) {
            said.high[said.total + i] = wrong ? draw(8) < (uint64_t)some : i && !draw(4);
            any_high |= said.high[said.total + i];
        }
        said.total += count;
    }
    if (!any_high) free(said.high), said.high = NULL;
    return said;
}

typedef struct {
    uint8_t *at;
    int64_t size;
} Bytes;

static Bytes written(const int64_t *starts, int64_t chunks, int64_t k, const Said *said) {
    int64_t symbols = (said->high ? 2 : 1) * said->total + (3 * 16 + 32) * chunks, room = 4 * symbols + 64;
    uint32_t *ops = malloc((size_t)symbols * 3 * sizeof *ops), *places = copy_of(said->places, said->total * 4);
    uint8_t *made = malloc((size_t)room), *high = said->high ? copy_of(said->high, said->total) : NULL;
    int64_t size = barnraise_write_support(tables, starts, chunks, k, said->counts, said->eighths, places, high, ops, made, room);
    REQUIRE(size > 0);
    Bytes bytes = {copy_of(made, size), size};
    free(ops), free(places), free(made), free(high);
    return bytes;
}

// Put bytes in the place of a segment's; NULL for any.
static void put(Update *update, int array, int64_t segment, const uint8_t *bytes, int64_t size) {
    int64_t *offsets = update->offsets + array * update->row, all = offsets[update->row - 1];
    int64_t from = offsets[segment], to = offsets[segment + 1], more = size - (to - from);
    uint8_t *made = malloc((size_t)(all + more ? all + more : 1));
    memcpy(made, update->arrays[array], (size_t)from);
    for (int64_t i = 0; i < size; i++) made[from + i] = bytes ? bytes[i] : (uint8_t)draw(256);
    memcpy(made + from + size, update->arrays[array] + to, (size_t)(all - to));
    for (int64_t later = segment + 1; later < update->row; later++) offsets[later] += more;
    free(update->arrays[array]);
    update->arrays[array] = made;
}

static void put_segment(const Space *space, Update *update, int64_t segment, int wrong) {
    int64_t chunks = chunks_of(space, segment), *starts = starts_of(space, segment);
    Said said = draw_said(starts, chunks, update->k, wrong);
    if (said.total && draw(10)) {
        Bytes support = written(starts, chunks, update->k, &said);
        put(update, SUPPORT, segment, support.at, support.size);
        int64_t first = 0, signs = (said.total + 7) / 8;
        while (!said.counts[first]) first++;
        uint16_t unit = (uint16_t)said.eighths[first];
        uint8_t step = said.high ? (uint8_t)(1 + draw(wrong ? 255 : 100)) : 0;
        put(update, SCALES, segment, (uint8_t[]){unit & 255, unit >> 8, step}, HEAD);
        put(update, LEVELS, segment, NULL, signs);
        if (said.total % 8) update->arrays[LEVELS][update->offsets[segment + 1] - 1] &= (1 << said.total % 8) - 1;
        free(support.at);
    }
    drop_said(&said);
    free(starts);
}

static int64_t draw_k(const Space *space) {
    static const int64_t usual[] = {1, 5, 64, 64, 255, 256, 300, 2048};
    int64_t k = draw(3) ? usual[draw(8)] : 1 + (int64_t)draw(CHUNK / 2);
    while (k > 1 && most_of(space->starts, space->chunks, k) > ENTRIES) k /= 2;
    return k;
}

static Update draw_update(const Space *space, int64_t k) {
    static const float factors[] = {0.5f, 0.5f, -1.7f, 1e-30f, 3e38f, 0.0f};
    Update update = {.row = space->segments + 1, .k = k, .factor = factors[draw(6)]};
    update.offsets = calloc((size_t)(ARRAYS * update.row), sizeof *update.offsets);
    for (int array = 0; array < ARRAYS; array++) update.arrays[array] = malloc(1);
    for (int64_t segment = 0; segment < space->segments; segment++) put_segment(space, &update, segment, 0);
    return update;
}

static Update copy_update(const Update *update) {
    Update copy = *update;
    copy.offsets = copy_of(update->offsets, ARRAYS * update->row * (int64_t)sizeof *update->offsets);
    for (int array = 0; array < ARRAYS; array++)
        copy.arrays[array] = copy_of(update->arrays[array], update->offsets[(array + 1) * update->row - 1]);
    return copy;
}

static void drop_update(Update *update) {
    for (int array = 0; array < ARRAYS; array++) free(update->arrays[array]);
    free(update->offsets);
}

// -- what is damaged ---------------------------------------------------------------------

static void turn_bytes(uint8_t *at, int64_t size) {
    for (uint64_t times = 1 + draw(3); times && size; times--) {
        int64_t byte = (int64_t)draw(draw(2) || size < 64 ? (uint64_t)size : 64);
        at[byte] = draw(2) ? (uint8_t)draw(256) : at[byte] ^ (uint8_t)(1u << draw(8));
    }
}

// States as a stream begins with, so that what follows is read.
static void mend_states(uint8_t *at, int64_t size) {
    for (int l = 0; l < LANES && size >= STATES; l++) at[8 * l + 7] &= 127, at[8 * l + 3] |= 128;
}

static void damage(const Space *space, Update *update) {
    int array = draw(4) ? SUPPORT : (int)draw(ARRAYS);
    int64_t segment = (int64_t)draw((uint64_t)space->segments), *offsets = update->offsets + array * update->row;
    int64_t size = offsets[segment + 1] - offsets[segment], other = size + (int64_t)draw(17) - 8, any = STATES + 4 * (int64_t)draw(draw(4) ? 100 : 4000);
    uint8_t *bytes = copy_of(update->arrays[array] + offsets[segment], size);
    switch (draw(7)) {
    case 0: // other bytes, as many
        put(update, array, segment, NULL, size);
        break;
    case 1: // a stream that may well be long enough
        put(update, SUPPORT, segment, NULL, any);
        break;
    case 2: // something at the end, or less of it
        if (other < 0) other = 0;
        bytes = realloc(bytes, (size_t)other + 1);
        for (int64_t i = size; i < other; i++) bytes[i] = draw(2) ? (uint8_t)draw(256) : 0;
        put(update, array, segment, bytes, other);
        break;
    case 3: // what is one segment's is said to be another's
        if (segment + 2 < update->row) offsets[segment + 1] = offsets[segment] + (int64_t)draw((uint64_t)(offsets[segment + 2] - offsets[segment] + 1));
        break;
    case 4:
        put_segment(space, update, segment, 1);
        break;
    default:
        turn_bytes(update->arrays[array] + offsets[segment], size);
    }
    free(bytes);
    offsets = update->offsets + SUPPORT * update->row;
    if (draw(2)) mend_states(update->arrays[SUPPORT] + offsets[segment], offsets[segment + 1] - offsets[segment]);
}

// -- what is done with it ----------------------------------------------------------------

static int read_segment(const int64_t *starts, int64_t chunks, const Update *update, int64_t segment, int highs, int32_t unit, Said *said) {
    const int64_t *offsets = update->offsets + SUPPORT * update->row + segment;
    int64_t size = offsets[1] - offsets[0];
    uint8_t *support = copy_of(update->arrays[SUPPORT] + offsets[0], size);
    *said = new_said(chunks, most_of(starts, chunks, update->k), highs);
    int status = barnraise_read_support(tables, support, size, starts, chunks, update->k, unit, highs, said->counts, said->eighths, said->places, said->high);
    for (int64_t chunk = 0; !status && chunk < chunks; chunk++) said->total += said->counts[chunk];
    free(support);
    return status;
}

// Whatever is taken is the one encoding of what it says. Returns the status.
static int check_segment(const Space *space, const Update *update, int64_t segment) {
    const int64_t *head = update->offsets + SCALES * update->row + segment, *at = update->offsets + SUPPORT * update->row + segment;
    const uint8_t *scales = update->arrays[SCALES] + *head;
    int read_head = head[1] - head[0] == HEAD;
    int32_t unit = read_head ? (int16_t)(scales[0] | scales[1] << 8) : (int32_t)draw(1 << 16) - (1 << 15);
    int highs = read_head ? scales[2] > 0 : (int)draw(2), statuses[2];
    int64_t chunks = chunks_of(space, segment), *starts = starts_of(space, segment);
    for (has_vectors = 0; has_vectors < 2; has_vectors++) {
        Said said;
        statuses[has_vectors] = read_segment(starts, chunks, update, segment, highs, unit, &said);
        if (statuses[has_vectors] == DONE) {
            Bytes again = written(starts, chunks, update->k, &said);
            REQUIRE(again.size == at[1] - at[0] && !memcmp(again.at, update->arrays[SUPPORT] + *at, (size_t)again.size));
            free(again.at);
        }
        drop_said(&said);
    }
    free(starts);
    REQUIRE(statuses[0] == statuses[1] && statuses[0] >= DONE && statuses[0] <= CHOICE);
    return statuses[0];
}

typedef struct {
    int64_t failed, which, size;
    uint32_t said[2];
    float *out;
} Sum;

// Add updates to segments [from, to), as `add_packed` in codec.py does.
static Sum sum_of(const Space *space, const Update *updates, int64_t count, int64_t from, int64_t to, float before) {
    int64_t most = 0, end = to * CHUNKS < space->chunks ? to * CHUNKS : space->chunks;
    Packed *packed = malloc((size_t)count * sizeof *packed);
    for (int64_t u = 0; u < count; u++) {
        const Update *update = updates + u;
        packed[u] = (Packed){update->arrays[LEVELS], update->arrays[SCALES], update->arrays[SUPPORT], update->offsets, update->k, update->factor};
        if (update->k * CHUNKS > most) most = update->k * CHUNKS;
    }
    int64_t together = count > AT_LEAST ? count : AT_LEAST;
    if (together > TOGETHER_MOST) together = TOGETHER_MOST;
    if (together > ROOM / most) together = ROOM / most ? ROOM / most : 1;
    Sum sum = {.size = space->starts[end] - space->starts[from * CHUNKS]};
    sum.out = malloc((size_t)sum.size * sizeof *sum.out);
    for (int64_t i = 0; i < sum.size; i++) sum.out[i] = before;
    uint32_t *places = malloc((size_t)(together * most) * sizeof *places);
    uint8_t *high = malloc((size_t)(together * most));
    sum.failed = barnraise_add_packed(tables, space->starts, space->chunks, from, to, packed, count, together, most, places, high, sum.out, &sum.which, sum.said);
    free(packed), free(places), free(high);
    return sum;
}

// The same on both paths, which must agree; the caller drops `out`.
static Sum add(const Space *space, const Update *updates, int64_t count, int64_t from, int64_t to, float before) {
    has_vectors = 0;
    Sum plain = sum_of(space, updates, count, from, to, before);
    has_vectors = 1;
    Sum wide = sum_of(space, updates, count, from, to, before);
    REQUIRE(plain.failed == wide.failed && plain.said[1] == 0);
    if (wide.failed >= 0) REQUIRE(plain.which == wide.which && wide.failed >= from && wide.failed < to && wide.which < count);
    else REQUIRE(plain.said[0] == wide.said[0] && !memcmp(plain.out, wide.out, (size_t)wide.size * sizeof *wide.out));
    free(plain.out);
    return wide;
}

// Add an update after it was decoded, entry by entry, by adding it once to zeros.
static void check_decoded(const Space *space, const Update *update) {
    Update alone = *update;
    alone.factor = 1.0f;
    Sum zeros = add(space, &alone, 1, 0, space->segments, 0.0f), half = add(space, update, 1, 0, space->segments, 0.5f);
    int64_t count = 0, *firsts = malloc((size_t)(space->chunks + 1) * sizeof *firsts);
    for (int64_t i = 0; i < zeros.size; i++) count += zeros.out[i] != 0;
    uint16_t *places = malloc((size_t)count * sizeof *places);
    float *values = malloc((size_t)count * sizeof *values), *out = malloc((size_t)zeros.size * sizeof *out);
    count = 0;
    for (int64_t chunk = 0; chunk < space->chunks; chunk++) {
        firsts[chunk] = count;
        for (int64_t i = space->starts[chunk]; i < space->starts[chunk + 1]; i++) {
            if (zeros.out[i] != 0) places[count] = (uint16_t)(i - space->starts[chunk]), values[count++] = zeros.out[i];
            out[i] = 0.5f;
        }
    }
    firsts[space->chunks] = count;
    Decoded decoded = {places, values, firsts, update->factor};
    int64_t middle = (int64_t)draw((uint64_t)space->chunks + 1);
    barnraise_add_decoded(space->starts, 0, middle, &decoded, 1, out);
    barnraise_add_decoded(space->starts, middle, space->chunks, &decoded, 1, out);
    REQUIRE(!memcmp(out, half.out, (size_t)half.size * sizeof *out));
    REQUIRE(barnraise_settle(out, out, 0, half.size) == !half.said[0]);
    free(zeros.out), free(half.out), free(firsts), free(places), free(values), free(out);
}

// Decode an update as a whole: it is refused where adding it alone is, or says the same elements.
static void check_whole(const Space *space, const Update *update) {
    Update alone = *update;
    alone.factor = 1.0f;
    Sum zeros = add(space, &alone, 1, 0, space->segments, 0.0f);
    Packed packed = {update->arrays[LEVELS], update->arrays[SCALES], update->arrays[SUPPORT], update->offsets, update->k, 1.0f};
    int64_t most = update->k * CHUNKS, named = 0, *firsts = malloc((size_t)(space->chunks + 1) * sizeof *firsts);
    firsts[0] = 0;
    for (int64_t chunk = 0; chunk < space->chunks; chunk++) {
        int64_t size = space->starts[chunk + 1] - space->starts[chunk];
        firsts[chunk + 1] = firsts[chunk] + ((size * update->k + 4095) >> 12);
    }
    uint32_t *room = malloc((size_t)(AT_LEAST * most) * sizeof *room), *counts = malloc((size_t)space->chunks * sizeof *counts);
    uint8_t *high = malloc((size_t)(AT_LEAST * most));
    uint16_t *places = malloc((size_t)firsts[space->chunks] * sizeof *places);
    float *values = malloc((size_t)firsts[space->chunks] * sizeof *values);
    int64_t failed = barnraise_decode_packed(tables, space->starts, space->chunks, 0, space->segments, &packed, most, room, high, firsts, places, values, counts);
    REQUIRE(failed == zeros.failed);
    for (int64_t chunk = 0; failed < 0 && chunk < space->chunks; chunk++)
        for (int64_t i = 0; i < counts[chunk]; i++, named++)
            REQUIRE(zeros.out[space->starts[chunk] + places[firsts[chunk] + i]] == values[firsts[chunk] + i]);
    for (int64_t i = 0; failed < 0 && i < zeros.size; i++) named -= zeros.out[i] != 0;
    REQUIRE(named == 0);
    free(zeros.out), free(firsts), free(room), free(counts), free(high), free(places), free(values);
}

// -- all of it ---------------------------------------------------------------------------

typedef struct {
    int64_t cases, taken, in_step;
} Tally;

static void try_damage(const Space *space, Update *updates, int64_t count, Tally *tally) {
    int64_t which = (int64_t)draw((uint64_t)count), segment = (int64_t)draw((uint64_t)space->segments);
    Update whole = updates[which];
    updates[which] = copy_update(&whole);
    for (uint64_t times = 1 + draw(2); times; times--) damage(space, updates + which);
    int64_t from = (int64_t)draw((uint64_t)space->segments), to = from + 1 + (int64_t)draw((uint64_t)(space->segments - from));
    Sum sum = add(space, updates, count, from, to, 0.25f);
    REQUIRE(sum.failed < 0 || sum.which == which);
    int status = check_segment(space, updates + which, segment);
    int has_support = updates[which].offsets[SUPPORT * updates[which].row + segment] < updates[which].offsets[SUPPORT * updates[which].row + segment + 1];
    if (segment >= from && segment < to && has_support && status != DONE) REQUIRE(sum.failed >= 0);
    tally->cases++, tally->taken += sum.failed < 0, tally->in_step += sum.said[1];
    free(sum.out);
    check_whole(space, updates + which);
    drop_update(updates + which);
    updates[which] = whole;
}

static void try_space(Tally *tally) {
    Space space = draw_space();
    int64_t count = draw(3) ? 1 + (int64_t)draw(5) : 1 + (int64_t)draw(MOST_UPDATES), k = draw_k(&space);
    Update *updates = malloc((size_t)count * sizeof *updates);
    for (int64_t u = 0; u < count; u++) updates[u] = draw_update(&space, draw(8) ? k : draw_k(&space));
    Sum sum = add(&space, updates, count, 0, space.segments, 0.25f);
    REQUIRE(sum.failed < 0);
    tally->in_step += sum.said[1];
    free(sum.out);
    check_decoded(&space, updates);
    check_whole(&space, updates);
    for (int times = 0; times < 12; times++) try_damage(&space, updates, count, tally);
    for (int64_t u = 0; u < count; u++) drop_update(updates + u);
    free(updates), free(space.starts);
}

// More chunks than a segment has: nothing is written.
static void try_too_many(void) {
    int64_t starts[CHUNKS + 2];
    for (int64_t chunk = 0; chunk < CHUNKS + 2; chunk++) starts[chunk] = chunk;
    uint8_t support[STATES + 1] = {0};
    REQUIRE(barnraise_read_support(tables, support, STATES, starts, CHUNKS + 1, 1, 0, 0, NULL, NULL, NULL, NULL) == RANGE);
}

int main(int count, char **arguments) {
    int64_t rounds = count > 1 ? atoll(arguments[1]) : 100, size = 0;
    uint8_t *read = malloc(MOST_TABLES);
    for (size_t more; (more = fread(read + size, 1, (size_t)(MOST_TABLES - size), stdin)) > 0;) size += (int64_t)more;
    REQUIRE(size < MOST_TABLES);
    tables = copy_of(read, size);
    free(read);
    try_too_many();
    Tally tally = {0, 0, 0};
    for (int64_t round = 0; round < rounds; round++) try_space(&tally);
    has_vectors = 1;
    REQUIRE(!barnraise_can_walk() || tally.in_step);
    free((void *)tables);
    printf("DONE %lld cases, %lld taken, %lld segments in step\n", (long long)tally.cases, (long long)tally.taken, (long long)tally.in_step);
    return 0;
}
