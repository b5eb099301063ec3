// The top-k codec's entropy coder: the compiled twin of barnraise/updates/support.py, bit for bit.
//
// Every byte that is decoded is hostile: a symbol is found by search in a table that covers all
// of a state's values, every count is bounded before it is used, and words are read only while
// there are some. See support.py for the format and for what the statuses mean.
#include <string.h>

#include "entropy.h"

// Four lanes in vector registers only go through memory to come back.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-vectorize")
#endif
#define ALWAYS static inline __attribute__((always_inline))

typedef struct {
    uint32_t *ops; // start, width, lane of every symbol in the order of decoding
    int64_t count;
} Writer;

typedef struct {
    uint32_t low, high; // counts of the two outcomes
} Bit;

ALWAYS uint32_t word_at(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

ALWAYS uint32_t power(const Tables *tables, uint32_t exponent) {
    uint32_t whole = exponent >> FRACTION;
    if (whole >= 24) return 0;
    uint32_t step = (exponent >> 9) & 1023, rest = exponent & 511;
    const uint32_t *point = tables->powers + 2 * step;
    return (point[0] - ((point[1] * rest) >> 9)) >> whole;
}

// The share of ONE that lies below place `place`, for place < candidates.
ALWAYS uint32_t below(const Tables *tables, Draw draw, uint32_t candidates, uint32_t all, uint32_t place) {
    const uint32_t *factorials = tables->factorials;
    uint32_t drop = all - (factorials[draw.size - place] - factorials[draw.size - draw.left - place]);
    uint32_t gone = ONE - power(tables, drop);
    return place + (uint32_t)(((uint64_t)gone * (ONE - candidates)) >> 24);
}

ALWAYS uint32_t whole_of(const Tables *tables, Draw draw) {
    return tables->factorials[draw.size] - tables->factorials[draw.size - draw.left];
}

ALWAYS void consume(Reader *reader, int lane, uint32_t start, uint32_t width) {
    uint64_t state = reader->state[lane];
    state = (uint64_t)width * (state >> 24) + (state & (ONE - 1)) - start;
    if (state < LOWEST) {
        if (reader->next == reader->end) {
            reader->status = TRUNCATED;
            state |= LOWEST;
        } else {
            state = state << 32 | word_at(reader->next);
            reader->next += 4;
        }
    }
    reader->state[lane] = state;
}

// A place near the one that has the slot; only speed depends on it.
ALWAYS uint32_t guess(const Tables *tables, Draw draw, uint32_t candidates, uint32_t slot) {
    uint32_t left = ONE - slot;
    int top = 31 - __builtin_clz(left);
    uint32_t lg = ((uint32_t)top << FRACTION) + tables->logs[(left << (31 - top) >> 21) & 1023];
    uint32_t exponent = (24u << FRACTION) - lg;
    uint32_t root = power(tables, (uint32_t)((float)exponent / (float)draw.left));
    uint32_t place = (uint32_t)(((uint64_t)(ONE - root) * (2 * draw.size - draw.left + 1)) >> 25);
    return place < candidates ? place : candidates - 1;
}

// Move from a place nearby to the one whose slots hold `slot`.
static __attribute__((noinline)) void search(const Tables *tables, Draw draw, uint32_t slot, uint32_t *place,
                                              uint32_t *start, uint32_t *stop) {
    uint32_t candidates = draw.size - draw.left + 1, all = whole_of(tables, draw);
    while (*start > slot) {
        *stop = *start;
        *start = below(tables, draw, candidates, all, --*place);
    }
    while (*stop <= slot) {
        *start = *stop;
        ++*place;
        *stop = *place + 1 < candidates ? below(tables, draw, candidates, all, *place + 1) : ONE;
    }
}

Found barnraise_find(const Tables *tables, Draw draw, uint32_t slot, uint32_t place) {
    uint32_t candidates = draw.size - draw.left + 1, all = whole_of(tables, draw);
    Found found = {place, below(tables, draw, candidates, all, place), ONE};
    if (place + 1 < candidates) found.stop = below(tables, draw, candidates, all, place + 1);
    search(tables, draw, slot, &found.place, &found.start, &found.stop);
    return found;
}

ALWAYS uint32_t draw_place(const Tables *tables, Reader *reader, int lane, Draw draw) {
    uint32_t candidates = draw.size - draw.left + 1;
    if (candidates == 1) return 0;
    uint32_t slot = (uint32_t)reader->state[lane] & (ONE - 1), all = whole_of(tables, draw);
    uint32_t place = guess(tables, draw, candidates, slot);
    uint32_t start = below(tables, draw, candidates, all, place);
    uint32_t stop = place + 1 < candidates ? below(tables, draw, candidates, all, place + 1) : ONE;
    search(tables, draw, slot, &place, &start, &stop);
    consume(reader, lane, start, stop - start);
    return place;
}

static inline void put(Writer *writer, int lane, uint32_t start, uint32_t width) {
    uint32_t *op = writer->ops + 3 * writer->count++;
    op[0] = start;
    op[1] = width;
    op[2] = (uint32_t)lane;
}

static inline void put_place(const Tables *tables, Writer *writer, int lane, Draw draw, uint32_t place) {
    uint32_t candidates = draw.size - draw.left + 1;
    if (candidates == 1) return;
    uint32_t all = whole_of(tables, draw);
    uint32_t start = below(tables, draw, candidates, all, place);
    uint32_t stop = place + 1 < candidates ? below(tables, draw, candidates, all, place + 1) : ONE;
    put(writer, lane, start, stop - start);
}

ALWAYS uint32_t share(const Bit *bit) {
    return (uint32_t)(((uint64_t)bit->high << 24) / (bit->low + bit->high));
}

ALWAYS int read_bit(Reader *reader, int lane, Bit *bit) {
    uint32_t border = share(bit), slot = (uint32_t)reader->state[lane] & (ONE - 1);
    int high = slot < border;
    if (high) {
        consume(reader, lane, 0, border);
        bit->high++;
    } else {
        consume(reader, lane, border, ONE - border);
        bit->low++;
    }
    return high;
}

static inline void put_bit(Writer *writer, int lane, Bit *bit, int high) {
    uint32_t border = share(bit);
    if (high) {
        put(writer, lane, 0, border);
        bit->high++;
    } else {
        put(writer, lane, border, ONE - border);
        bit->low++;
    }
}

ALWAYS uint32_t read_number(Reader *reader, int lane, Bit *bits) {
    uint32_t number = 0;
    while (number < CONTEXTS && read_bit(reader, lane, bits + number)) number++;
    if (number < CONTEXTS) return number;
    uint32_t rest = ((uint32_t)reader->state[lane] & (ONE - 1)) >> 11;
    consume(reader, lane, rest << 11, 1u << 11);
    return CONTEXTS + rest;
}

static void put_number(Writer *writer, int lane, Bit *bits, uint32_t number) {
    for (uint32_t at = 0; at < CONTEXTS; at++) {
        put_bit(writer, lane, bits + at, number > at);
        if (number == at) return;
    }
    put(writer, lane, (number - CONTEXTS) << 11, 1u << 11);
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
            if (lane->counts[piece] > room) reader->status = RANGE;
        }
    }
}

ALWAYS void keep_place(Lane *lane, uint32_t t, uint32_t place) {
    lane->places[t] = lane->base + lane->at + place;
    lane->at += place + 1;
    lane->left--;
}

// One draw in every lane, stage by stage, so that the processor works on all four at once.
ALWAYS void draw_places(const Tables *tables, Reader *reader, const Draw *draws, uint32_t *places) {
    uint32_t slots[LANES], starts[LANES], stops[LANES];
    for (int l = 0; l < LANES; l++) slots[l] = (uint32_t)reader->state[l] & (ONE - 1);
    for (int l = 0; l < LANES; l++) places[l] = guess(tables, draws[l], draws[l].size - draws[l].left + 1, slots[l]);
    for (int l = 0; l < LANES; l++) {
        uint32_t candidates = draws[l].size - draws[l].left + 1, all = whole_of(tables, draws[l]);
        uint32_t last = places[l] + 1 == candidates, next = places[l] + !last;
        starts[l] = below(tables, draws[l], candidates, all, places[l]);
        stops[l] = below(tables, draws[l], candidates, all, next);
        stops[l] = last ? ONE : stops[l];
    }
    int wrong = 0;
    for (int l = 0; l < LANES; l++) wrong |= slots[l] - starts[l] >= stops[l] - starts[l];
    if (__builtin_expect(wrong, 0))
        for (int l = 0; l < LANES; l++) search(tables, draws[l], slots[l], places + l, starts + l, stops + l);
    for (int l = 0; l < LANES; l++) consume(reader, l, starts[l], stops[l] - starts[l]);
}

// The common case, kept in registers: four whole chunks with as many entries each.
ALWAYS void read_whole_chunks(const Tables *tables, Reader *shared, Lane *lanes) {
    Reader reader = *shared;
    uint32_t at[LANES] = {0}, size = lanes[0].size, count = lanes[0].count;
    if (size == count) {
        for (int l = 0; l < LANES; l++)
            for (uint32_t t = 0; t < count; t++) lanes[l].places[t] = t;
        return;
    }
    for (uint32_t t = 0; t < count; t++) {
        Draw draws[LANES];
        uint32_t places[LANES];
        int easy = 1;
        for (int l = 0; l < LANES; l++) {
            draws[l] = (Draw){size - at[l], count - t};
            easy &= draws[l].size != draws[l].left;
        }
        if (__builtin_expect(easy, 1))
            draw_places(tables, &reader, draws, places);
        else
            for (int l = 0; l < LANES; l++) places[l] = draw_place(tables, &reader, l, draws[l]);
        for (int l = 0; l < LANES; l++) {
            lanes[l].places[t] = at[l] + places[l];
            at[l] += places[l] + 1;
        }
    }
    *shared = reader;
}

ALWAYS int are_whole(const Lane *lanes) {
    for (int l = 0; l < LANES; l++)
        if (lanes[l].pieces != 1 || lanes[l].size != lanes[0].size || lanes[l].count != lanes[0].count) return 0;
    return 1;
}

ALWAYS void read_places(const Tables *tables, Reader *reader, Lane *lanes) {
    if (are_whole(lanes)) {
        read_whole_chunks(tables, reader, lanes);
        return;
    }
    uint32_t most = 0, least = UINT32_MAX;
    for (int l = 0; l < LANES; l++) {
        if (lanes[l].count > most) most = lanes[l].count;
        if (lanes[l].count < least) least = lanes[l].count;
    }
    uint32_t t = 0;
    for (; t < least; t++) {
        Draw draws[LANES];
        uint32_t places[LANES];
        int easy = 1;
        for (int l = 0; l < LANES; l++) {
            next_piece(lanes + l);
            draws[l] = (Draw){piece_size(lanes + l) - lanes[l].at, lanes[l].left};
            easy &= draws[l].size != draws[l].left;
        }
        if (__builtin_expect(easy, 1))
            draw_places(tables, reader, draws, places);
        else
            for (int l = 0; l < LANES; l++) places[l] = draw_place(tables, reader, l, draws[l]);
        for (int l = 0; l < LANES; l++) keep_place(lanes + l, t, places[l]);
    }
    for (; t < most; t++)
        for (int l = 0; l < LANES; l++)
            if (t < lanes[l].count) {
                next_piece(lanes + l);
                Draw draw = {piece_size(lanes + l) - lanes[l].at, lanes[l].left};
                keep_place(lanes + l, t, draw_place(tables, reader, l, draw));
            }
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
            reader->status = RANGE;
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
            reader->status = RANGE;
            return;
        }
        plan->eighths[chunk] = eighth;
        uint32_t other = read_number(reader, lane, bits[2]);
        if (other >= CHOICES) {
            reader->status = CHOICE;
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
        const uint32_t *op = writer->ops + 3 * i;
        uint64_t x = state[op[2]], width = op[1];
        if (x >> 39 >= width) {
            if (at - support < 4 + 8 * LANES) return -1;
            for (int byte = 3; byte >= 0; byte--) *--at = (uint8_t)(x >> (8 * byte));
            x >>= 32;
        }
        state[op[2]] = ((x / width) << 24) + x % width + op[0];
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
    Writer writer = {ops, 0};
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
