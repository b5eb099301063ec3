// The top-k codec's entropy coder: the compiled twin of barnraise/updates/support.py, bit for bit.
//
// Every byte that is decoded is hostile: every slot has a symbol, every count and place is bounded
// before it is used, and words are read only while there are some. See support.py for the format
// and for what the statuses mean.
#include <string.h>

#include "entropy.h"

// Four lanes in vector registers only go through memory to come back.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-vectorize")
#endif
#define ALWAYS static inline __attribute__((always_inline))

// What is written: slots of 1 << log, and the last `bits` bits of `rest`, as they are.
typedef struct {
    uint32_t start, width;
    uint32_t lane : 2, log : 5, bits : 5, rest : 20;
} Symbol;

// Symbols in the order of decoding.
typedef struct {
    Symbol *symbols;
    int64_t count;
} Writer;

enum { BIT_LOG = 24, ESCAPE_LOG = 13 };
typedef struct {
    uint32_t low, high; // counts of the two outcomes
} Bit;

ALWAYS uint32_t word_at(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

// What went wrong first is what is said.
ALWAYS void fail(Reader *reader, int status) {
    if (reader->status == DONE) reader->status = status;
}

// Move on by the symbol that has a lane's slot, of 1 << log; returns the bits that follow it.
ALWAYS uint32_t consume(Reader *reader, int lane, int log, uint32_t within, uint32_t width, uint32_t bits) {
    uint64_t state = (uint64_t)width * (reader->state[lane] >> log) + within;
    uint32_t rest = (uint32_t)state & ((1u << bits) - 1);
    state >>= bits;
    uint32_t low = state < LOWEST; // in one of four draws, which nobody can foresee: so there is no branch
    if (__builtin_expect(reader->next == reader->end, 0)) {
        if (low) fail(reader, TRUNCATED);
        state |= (uint64_t)low << 31;
    } else {
        state = state << 32 * low | (word_at(reader->next) & -low);
        reader->next += 4 * low;
    }
    reader->state[lane] = state;
    return rest;
}

ALWAYS uint32_t slot_of(const Reader *reader, int lane, int log) {
    return (uint32_t)reader->state[lane] & ((1u << log) - 1);
}

// The table that serves a draw, and the logarithm of its units: barnraise/updates/draw.py has the plain twin.
typedef struct {
    const uint32_t *table;
    uint32_t unit_log;
} Class;

// Eighths of octaves are a float's exponent and highest bits. A sixteenth of a place more keeps quotients away from
// where these change, so that it does not matter how they are rounded.
ALWAYS Class class_of(const Tables *tables, Draw draw) {
    float left = (float)draw.left;
    uint32_t eighth = (bits_of((float)(16 * draw.size + 1) * (1.0f / left)) >> 20) - (131 << 3);
    uint32_t column = eighth < LAST_OCTAVE ? eighth : (eighth & 7) | LAST_OCTAVE;
    uint32_t row = (bits_of(left) >> 22) - (127 << 1);
    row = draw.size == draw.left ? 0 : row < ROWS - 1 ? row : ROWS - 1;
    return (Class){tables->draws + (((row << COLUMNS_LOG) + column) << SLOTS_LOG), (eighth - column) >> 3};
}

// The first slot of the bucket that has a unit; units beyond the last one are in the last bucket.
ALWAYS const uint16_t *starts_of(const Tables *tables, const Class *class) {
    return tables->starts + ((class->table - tables->draws) >> SLOTS_LOG << UNITS_LOG);
}

// What a table says of a slot: the bucket that has it.
typedef struct {
    uint32_t within, width, first, log; // the slot in the bucket, the bucket's slots, its first unit, its units
} Bucket;

ALWAYS Bucket bucket_of(uint32_t word) {
    return (Bucket){word >> 10 & 511, word & 1023, word >> 19 & 255, word >> 27};
}

ALWAYS uint32_t draw_place(const Tables *tables, Reader *reader, int lane, Draw draw) {
    Class class = class_of(tables, draw);
    Bucket bucket = bucket_of(class.table[slot_of(reader, lane, SLOTS_LOG)]);
    uint32_t rest = consume(reader, lane, SLOTS_LOG, bucket.within, bucket.width, bucket.log + class.unit_log);
    uint32_t place = (bucket.first << class.unit_log) + rest, last = draw.size - draw.left;
    if (__builtin_expect(place > last, 0)) {
        fail(reader, RANGE);
        return last;
    }
    return place;
}

ALWAYS void put(Writer *writer, int lane, int log, uint32_t start, uint32_t width) {
    writer->symbols[writer->count++] = (Symbol){start, width, (uint32_t)lane, (uint32_t)log, 0, 0};
}

ALWAYS void put_place(const Tables *tables, Writer *writer, int lane, Draw draw, uint32_t place) {
    if (draw.size == draw.left) return;
    Class class = class_of(tables, draw);
    uint32_t unit = place >> class.unit_log;
    uint32_t start = starts_of(tables, &class)[unit < UNITS ? unit : UNITS - 1];
    Bucket bucket = bucket_of(class.table[start]);
    uint32_t rest = place - (bucket.first << class.unit_log), bits = bucket.log + class.unit_log;
    writer->symbols[writer->count++] = (Symbol){start, bucket.width, (uint32_t)lane, SLOTS_LOG, bits, rest};
}

ALWAYS uint32_t share(const Bit *bit) {
    return (uint32_t)(((uint64_t)bit->high << BIT_LOG) / (bit->low + bit->high));
}

ALWAYS int read_bit(Reader *reader, int lane, Bit *bit) {
    uint32_t border = share(bit), slot = slot_of(reader, lane, BIT_LOG);
    int high = slot < border;
    if (high) {
        consume(reader, lane, BIT_LOG, slot, border, 0);
        bit->high++;
    } else {
        consume(reader, lane, BIT_LOG, slot - border, (1u << BIT_LOG) - border, 0);
        bit->low++;
    }
    return high;
}

static inline void put_bit(Writer *writer, int lane, Bit *bit, int high) {
    uint32_t border = share(bit);
    if (high) {
        put(writer, lane, BIT_LOG, 0, border);
        bit->high++;
    } else {
        put(writer, lane, BIT_LOG, border, (1u << BIT_LOG) - border);
        bit->low++;
    }
}

ALWAYS uint32_t read_number(Reader *reader, int lane, Bit *bits) {
    uint32_t number = 0;
    while (number < CONTEXTS && read_bit(reader, lane, bits + number)) number++;
    if (number < CONTEXTS) return number;
    uint32_t rest = slot_of(reader, lane, ESCAPE_LOG);
    consume(reader, lane, ESCAPE_LOG, 0, 1, 0);
    return CONTEXTS + rest;
}

static void put_number(Writer *writer, int lane, Bit *bits, uint32_t number) {
    for (uint32_t at = 0; at < CONTEXTS; at++) {
        put_bit(writer, lane, bits + at, number > at);
        if (number == at) return;
    }
    put(writer, lane, ESCAPE_LOG, number - CONTEXTS, 1);
}

ALWAYS void start_bits(Bit bits[3][CONTEXTS]) {
    for (int set = 0; set < 3; set++)
        for (int at = 0; at < CONTEXTS; at++) bits[set][at] = (Bit){1, 1};
}

// How the entries of one chunk are best cut into pieces, after a chunk that was cut as `before` says.
ALWAYS int best_choice(const Tables *tables, const uint32_t *places, uint32_t count, uint32_t size, int before) {
    Counts counts = {{0}};
    for (uint32_t i = 0; i < count; i++) counts.counts[places[i] >> 7]++;
    return barnraise_best_choice(tables, &counts, count, size, before);
}

// One chunk on its way through its lane.
typedef struct {
    uint32_t size, count, pieces, log;
    uint32_t piece, at, left, base; // of the piece being drawn
    uint32_t counts[FINEST];
    uint32_t *places;
} Lane;

ALWAYS void next_piece(Lane *lane) {
    while (lane->left == 0) {
        lane->base = lane->piece << lane->log;
        lane->at = 0;
        lane->left = lane->counts[lane->piece++];
    }
}

ALWAYS uint32_t piece_size(const Lane *lane) {
    uint32_t end = lane->size - lane->base;
    return end < (1u << lane->log) ? end : 1u << lane->log;
}

ALWAYS void read_bars(const Tables *tables, Reader *reader, Lane *lanes) {
    uint32_t used[LANES] = {0}, most = 0;
    for (int l = 0; l < LANES; l++)
        if (lanes[l].count && lanes[l].pieces > most) most = lanes[l].pieces;
    for (uint32_t t = 0; t + 1 < most; t++)
        for (int l = 0; l < LANES; l++) {
            Lane *lane = lanes + l;
            if (lane->count == 0 || t + 1 >= lane->pieces) continue;
            uint32_t bars = lane->pieces - 1 - t;
            uint32_t here = draw_place(tables, reader, l, (Draw){lane->count - used[l] + bars, bars});
            lane->counts[t] = here;
            used[l] += here;
        }
    for (int l = 0; l < LANES; l++) {
        Lane *lane = lanes + l;
        if (lane->count == 0) continue;
        lane->counts[lane->pieces - 1] = lane->count - used[l];
        for (uint32_t piece = 0; piece < lane->pieces; piece++) {
            uint32_t room = lane->size - (piece << lane->log);
            if (room > 1u << lane->log) room = 1u << lane->log;
            if (lane->counts[piece] > room) fail(reader, RANGE);
        }
    }
}

ALWAYS void keep_place(Lane *lane, uint32_t t, uint32_t place) {
    lane->places[t] = lane->base + lane->at + place;
    lane->at += place + 1;
    lane->left--;
}

// One draw in every lane: nothing that they do depends on each other, so the processor works on all four at once.
ALWAYS void read_places(const Tables *tables, Reader *shared, Lane *lanes) {
    Reader reader = *shared;
    uint32_t most = 0;
    for (int l = 0; l < LANES; l++)
        if (lanes[l].count > most) most = lanes[l].count;
    for (uint32_t t = 0; t < most; t++)
        for (int l = 0; l < LANES; l++) {
            if (t >= lanes[l].count) continue;
            next_piece(lanes + l);
            Draw draw = {piece_size(lanes + l) - lanes[l].at, lanes[l].left};
            keep_place(lanes + l, t, draw_place(tables, &reader, l, draw));
        }
    *shared = reader;
}

static void put_group(const Tables *tables, Writer *writer, Lane *lanes) {
    uint32_t used[LANES] = {0}, most = 0, longest = 0;
    for (int l = 0; l < LANES; l++) {
        if (lanes[l].count > longest) longest = lanes[l].count;
        if (lanes[l].count && lanes[l].pieces > most) most = lanes[l].pieces;
    }
    for (uint32_t t = 0; t + 1 < most; t++)
        for (int l = 0; l < LANES; l++) {
            Lane *lane = lanes + l;
            if (lane->count == 0 || t + 1 >= lane->pieces) continue;
            uint32_t bars = lane->pieces - 1 - t;
            put_place(tables, writer, l, (Draw){lane->count - used[l] + bars, bars}, lane->counts[t]);
            used[l] += lane->counts[t];
        }
    for (uint32_t t = 0; t < longest; t++)
        for (int l = 0; l < LANES; l++) {
            Lane *lane = lanes + l;
            if (t >= lane->count) continue;
            next_piece(lane);
            uint32_t place = lane->places[t] - lane->base;
            put_place(tables, writer, l, (Draw){piece_size(lane) - lane->at, lane->left}, place - lane->at);
            lane->at = place + 1;
            lane->left--;
        }
}

ALWAYS Lane lane_of(const int64_t *starts, int64_t chunk, int64_t chunks, const uint32_t *counts,
                    const uint8_t *choices, uint32_t *places) {
    Lane lane = {0};
    if (chunk >= chunks) return lane;
    lane.size = (uint32_t)(starts[chunk + 1] - starts[chunk]);
    lane.count = counts[chunk];
    lane.log = (uint32_t)(PLAIN_LOG - choices[chunk]);
    lane.pieces = pieces_of(lane.size, (int)lane.log);
    lane.places = places;
    return lane;
}

// Whether the chunks are such as a segment has: at most CHUNKS, each of 1 to 4096 elements.
ALWAYS int sound(const int64_t *starts, int64_t chunks) {
    if (chunks < 1 || chunks > CHUNKS) return 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t size = starts[chunk + 1] - starts[chunk];
        if (size < 1 || size > 4096) return 0;
    }
    return 1;
}

ALWAYS void read_plan(Reader *reader, const int64_t *starts, int64_t chunks, int64_t k, int32_t unit, Plan *plan) {
    Bit bits[3][CONTEXTS];
    start_bits(bits);
    int32_t eighth = unit;
    uint8_t choice = 0;
    int first = 1;
    plan->total = 0;
    for (int64_t chunk = 0; chunk < chunks && reader->status == DONE; chunk++) {
        int lane = (int)(chunk & (LANES - 1));
        uint32_t kept = (uint32_t)(((starts[chunk + 1] - starts[chunk]) * k + 4095) >> 12);
        uint32_t missing = read_number(reader, lane, bits[0]);
        plan->counts[chunk] = 0;
        plan->choices[chunk] = choice;
        plan->eighths[chunk] = 0;
        if (missing > kept) {
            fail(reader, RANGE);
            return;
        }
        if (missing == kept) continue;
        plan->counts[chunk] = kept - missing;
        plan->total += kept - missing;
        if (!first) {
            uint32_t zigzag = read_number(reader, lane, bits[1]);
            eighth += (zigzag & 1) ? -(int32_t)((zigzag + 1) >> 1) : (int32_t)(zigzag >> 1);
        }
        first = 0;
        if (eighth < -1008 || eighth > 1023) {
            fail(reader, RANGE);
            return;
        }
        plan->eighths[chunk] = eighth;
        uint32_t other = read_number(reader, lane, bits[2]);
        if (other >= CHOICES) {
            fail(reader, CHOICE);
            return;
        }
        if (other) choice = (uint8_t)(other - 1 < choice ? other - 1 : other);
        plan->choices[chunk] = choice;
    }
}

ALWAYS int check_choices(const Tables *tables, const int64_t *starts, int64_t chunks, const Plan *plan,
                         const uint32_t *places) {
    int before = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        if (plan->counts[chunk] == 0) continue;
        uint32_t size = (uint32_t)(starts[chunk + 1] - starts[chunk]);
        int best = best_choice(tables, places, plan->counts[chunk], size, before);
        if (best != plan->choices[chunk]) return CHOICE;
        before = best;
        places += plan->counts[chunk];
    }
    return DONE;
}

// Read the plan of a segment; the reader's status says what came of it.
MULTIVERSION static Reader open_segment(Segment *segment) {
    Reader reader = {.next = segment->support + 8 * LANES, .end = segment->support + segment->size, .status = DONE};
    if (!sound(segment->starts, segment->chunks)) reader.status = RANGE;
    else if (segment->size < 8 * LANES) reader.status = TRUNCATED;
    else if (segment->size % 4) reader.status = EXTRA;
    segment->status = reader.status;
    if (reader.status != DONE) return reader;
    for (int l = 0; l < LANES; l++) {
        const uint8_t *at = segment->support + 8 * l;
        uint64_t state = word_at(at) | (uint64_t)word_at(at + 4) << 32;
        if (state < LOWEST || state >> 63) reader.status = EXTRA;
        reader.state[l] = state;
    }
    if (reader.status == DONE)
        read_plan(&reader, segment->starts, segment->chunks, segment->k, segment->unit, segment->plan);
    segment->status = reader.status;
    return reader;
}

// What comes after the places: which entries are high, and that nothing follows.
static int read_rest(Reader *reader, const Segment *segment) {
    if (segment->highs) {
        Bit bit = {1, 1};
        for (int64_t entry = 0; entry < segment->plan->total; entry++)
            segment->high[entry] = (uint8_t)read_bit(reader, (int)(entry & (LANES - 1)), &bit);
        if (reader->status != DONE) return reader->status;
    }
    for (int l = 0; l < LANES; l++)
        if (reader->state[l] != LOWEST) return EXTRA;
    return reader->next == reader->end ? DONE : EXTRA;
}

Reader barnraise_open_segment(Segment *segment) { return open_segment(segment); }

int barnraise_close_segment(Reader *reader, const Segment *segment) { return read_rest(reader, segment); }

MULTIVERSION static int read_alone(const Tables *tables, const Segment *segment, const Reader *opened) {
    Reader reader = *opened;
    const Plan *plan = segment->plan;
    uint32_t *at = segment->places;
    for (int64_t chunk = 0; chunk < segment->chunks; chunk += LANES) {
        Lane lanes[LANES];
        for (int l = 0; l < LANES; l++) {
            lanes[l] = lane_of(segment->starts, chunk + l, segment->chunks, plan->counts, plan->choices, at);
            at += lanes[l].count;
        }
        read_bars(tables, &reader, lanes);
        if (reader.status != DONE) return reader.status;
        read_places(tables, &reader, lanes);
        if (reader.status != DONE) return reader.status;
    }
    int status = read_rest(&reader, segment);
    return status == DONE ? check_choices(tables, segment->starts, segment->chunks, plan, segment->places) : status;
}

static int read_together(const Tables *tables, Segment *segments, int count) {
    Reader opened[TOGETHER], readers[TOGETHER];
    Segment *fine[TOGETHER];
    int found = 0;
    for (int i = 0; i < count; i++) {
        opened[i] = open_segment(segments + i);
        if (opened[i].status != DONE) continue;
        readers[found] = opened[i];
        fine[found++] = segments + i;
    }
    int wide = found > 1 && barnraise_read_wide(tables, fine, readers, found);
    for (int i = 0; i < found; i++) {
        fine[i]->status = wide ? read_rest(readers + i, fine[i]) : read_alone(tables, fine[i], opened + (fine[i] - segments));
    }
    return wide ? found : 0;
}

int barnraise_read_segments(const Tables *tables, Segment *segments, int count) {
    int in_step = 0;
    for (int i = 0; i < count; i += TOGETHER)
        in_step += read_together(tables, segments + i, count - i < TOGETHER ? count - i : TOGETHER);
    return in_step;
}

// Decode one segment: places within chunks, and what each chunk says. `places` and `high` hold all that may be kept.
EXPORT int barnraise_read_support(const uint32_t *tables, const uint8_t *support, int64_t size, const int64_t *starts,
                                  int64_t chunks, int64_t k, int32_t unit, int32_t highs, uint32_t *counts,
                                  int32_t *eighths, uint32_t *places, uint8_t *high);
EXPORT int barnraise_read_support(const uint32_t *tables, const uint8_t *support, int64_t size, const int64_t *starts,
                                  int64_t chunks, int64_t k, int32_t unit, int32_t highs, uint32_t *counts,
                                  int32_t *eighths, uint32_t *places, uint8_t *high) {
    Tables all = tables_at(tables);
    Plan plan;
    Segment segment = {support, size, starts, chunks, k, unit, highs, DONE, &plan, places, high};
    barnraise_read_segments(&all, &segment, 1);
    if (segment.status != DONE) return segment.status;
    memcpy(counts, plan.counts, (size_t)chunks * sizeof *counts);
    memcpy(eighths, plan.eighths, (size_t)chunks * sizeof *eighths);
    return DONE;
}

static void put_plan(Writer *writer, const int64_t *starts, int64_t chunks, int64_t k, const Plan *plan) {
    Bit bits[3][CONTEXTS];
    start_bits(bits);
    int32_t before = 0;
    uint8_t choice = 0;
    int first = 1;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int lane = (int)(chunk & (LANES - 1));
        uint32_t kept = (uint32_t)(((starts[chunk + 1] - starts[chunk]) * k + 4095) >> 12);
        put_number(writer, lane, bits[0], kept - plan->counts[chunk]);
        if (plan->counts[chunk] == 0) continue;
        int32_t delta = plan->eighths[chunk] - before;
        if (!first) put_number(writer, lane, bits[1], delta < 0 ? (uint32_t)(-2 * delta - 1) : (uint32_t)(2 * delta));
        first = 0;
        before = plan->eighths[chunk];
        uint8_t now = plan->choices[chunk];
        put_number(writer, lane, bits[2], now == choice ? 0 : now < choice ? now + 1u : now);
        choice = now;
    }
}

static int64_t flush(const Writer *writer, uint8_t *support, int64_t room) {
    uint64_t state[LANES];
    for (int l = 0; l < LANES; l++) state[l] = LOWEST;
    uint8_t *at = support + room;
    for (int64_t i = writer->count - 1; i >= 0; i--) {
        const Symbol *symbol = writer->symbols + i;
        uint32_t lane = symbol->lane, log = symbol->log, bits = symbol->bits;
        uint64_t x = state[lane], width = symbol->width;
        if (x >> (63 - log - bits) >= width) {
            if (at - support < 4 + 8 * LANES) return -1;
            for (int byte = 3; byte >= 0; byte--) *--at = (uint8_t)(x >> (8 * byte));
            x >>= 32;
        }
        x = x << bits | symbol->rest;
        state[lane] = ((x / width) << log) + x % width + symbol->start;
    }
    for (int l = LANES - 1; l >= 0; l--)
        for (int byte = 7; byte >= 0; byte--) *--at = (uint8_t)(state[l] >> (8 * byte));
    int64_t size = support + room - at;
    memmove(support, at, (size_t)size);
    return size;
}

// Encode one segment that has entries. `ops` has room for three words a symbol; the size of the support, or -1.
EXPORT int64_t barnraise_write_support(const uint32_t *tables, const int64_t *starts, int64_t chunks, int64_t k,
                                       const uint32_t *counts, const int32_t *eighths, uint32_t *places,
                                       const uint8_t *high, uint32_t *ops, uint8_t *support, int64_t room);
EXPORT int64_t barnraise_write_support(const uint32_t *tables, const int64_t *starts, int64_t chunks, int64_t k,
                                       const uint32_t *counts, const int32_t *eighths, uint32_t *places,
                                       const uint8_t *high, uint32_t *ops, uint8_t *support, int64_t room) {
    Tables all = tables_at(tables);
    Plan plan;
    if (!sound(starts, chunks)) return -1;
    plan.total = 0;
    int before = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        uint32_t size = (uint32_t)(starts[chunk + 1] - starts[chunk]);
        if (counts[chunk]) before = best_choice(&all, places + plan.total, counts[chunk], size, before);
        plan.counts[chunk] = counts[chunk];
        plan.eighths[chunk] = eighths[chunk];
        plan.choices[chunk] = (uint8_t)before;
        plan.total += counts[chunk];
    }
    Writer writer = {(Symbol *)ops, 0};
    put_plan(&writer, starts, chunks, k, &plan);
    uint32_t *at = places;
    for (int64_t chunk = 0; chunk < chunks; chunk += LANES) {
        Lane lanes[LANES];
        for (int l = 0; l < LANES; l++) {
            lanes[l] = lane_of(starts, chunk + l, chunks, plan.counts, plan.choices, at);
            at += lanes[l].count;
            for (uint32_t i = 0; i < lanes[l].count; i++) lanes[l].counts[lanes[l].places[i] >> lanes[l].log]++;
        }
        put_group(&all, &writer, lanes);
    }
    if (high != NULL) {
        Bit bit = {1, 1};
        for (int64_t entry = 0; entry < plan.total; entry++)
            put_bit(&writer, (int)(entry & (LANES - 1)), &bit, high[entry]);
    }
    return flush(&writer, support, room);
}
