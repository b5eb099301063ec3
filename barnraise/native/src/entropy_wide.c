// Places drawn from two or four streams at once, eight to a vector: what entropy.c does, where the processor has AVX2.
//
// A draw is a long chain: a state's slot, what its table says of it, the next state. Four lanes of one stream leave
// most of the processor waiting, so streams that have nothing to do with each other go in step. Here a lane that has no
// draw left draws one of one place, which says nothing and leaves its state alone.
#include "entropy.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define TARGET target("avx2,popcnt")
#define WIDE static inline __attribute__((always_inline, TARGET))
#define NARROW static inline __attribute__((always_inline))

enum { LINES = 8 }; // that a step asks for

typedef struct {
    __m256i states[2];
    const uint8_t *next[2], *last[2];
} Pair;

#define EACH _Pragma("GCC unroll 2") for (int p = 0; p < pairs; p++)
#define BOTH _Pragma("GCC unroll 2") for (int s = 0; s < 2; s++)
#define ALL(x) _mm256_set1_epi32((int)(x))

// From the order of a row's columns to four numbers of either stream, and back.
#define PACKED(a, b) _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88))
#define UNPACKED(s, low, high) ((s) ? _mm256_unpackhi_epi32(low, high) : _mm256_unpacklo_epi32(low, high))

// Which of the words that follow goes to the lower half of each of four lanes; the upper halves get zeros.
#define NO 255, 255, 255, 255, NONE
#define W0 0, 1, 2, 3, NONE
#define W1 4, 5, 6, 7, NONE
#define W2 8, 9, 10, 11, NONE
#define W3 12, 13, 14, 15, NONE
#define NONE 255, 255, 255, 255
static const uint8_t WORDS[16][32] = {
    {NO, NO, NO, NO}, {W0, NO, NO, NO}, {NO, W0, NO, NO}, {W0, W1, NO, NO}, {NO, NO, W0, NO}, {W0, NO, W1, NO},
    {NO, W0, W1, NO}, {W0, W1, W2, NO}, {NO, NO, NO, W0}, {W0, NO, NO, W1}, {NO, W0, NO, W1}, {W0, W1, NO, W2},
    {NO, NO, W0, W1}, {W0, NO, W1, W2}, {NO, W0, W1, W2}, {W0, W1, W2, W3},
};

// What is being drawn in the lanes of two streams: `room` is how far the next place may be away, size less left.
typedef struct {
    __m256i room, left, end;
} Drawing;

// Where a lane begins with other draws, these are taken.
WIDE void take_asked(Drawing *draw, const uint32_t *asked) {
    __m256i packed = _mm256_loadu_si256((const __m256i *)asked);
    __m256i fresh = _mm256_cmpgt_epi32(packed, _mm256_setzero_si256());
    __m256i size = _mm256_and_si256(packed, ALL((1 << SIZE_BITS) - 1));
    __m256i left = _mm256_and_si256(_mm256_srli_epi32(packed, SIZE_BITS), ALL((1 << LEFT_BITS) - 1));
    __m256i base = _mm256_slli_epi32(_mm256_srli_epi32(packed, SIZE_BITS + LEFT_BITS), BASE_LOG);
    draw->room = _mm256_blendv_epi8(draw->room, _mm256_sub_epi32(size, left), fresh);
    draw->left = _mm256_blendv_epi8(draw->left, left, fresh);
    draw->end = _mm256_blendv_epi8(draw->end, _mm256_add_epi32(base, size), fresh);
}

// entropy.c's `class_of` of eight draws: where their tables begin, and the logarithms of their units.
WIDE __m256i classes_of(const Drawing *draw, __m256i *unit_logs) {
    const __m256i no_eighths = ALL(131 << 3);
    __m256 lefts = _mm256_cvtepi32_ps(draw->left), inverse = _mm256_div_ps(_mm256_set1_ps(1.0f), lefts);
    __m256i row = _mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(lefts), 22), ALL(127 << 1));
    __m256i alone = _mm256_cmpeq_epi32(draw->room, _mm256_setzero_si256());
    row = _mm256_andnot_si256(alone, _mm256_min_epi32(row, ALL(ROWS - 1)));
    __m256i sizes = _mm256_add_epi32(_mm256_slli_epi32(_mm256_add_epi32(draw->room, draw->left), 4), ALL(1));
    __m256i ratio = _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(sizes), inverse));
    __m256i eighth = _mm256_srli_epi32(ratio, 20), last = _mm256_and_si256(eighth, ALL(7));
    __m256i column = _mm256_min_epi32(eighth, _mm256_or_si256(last, ALL((131 << 3) + LAST_OCTAVE)));
    *unit_logs = _mm256_srli_epi32(_mm256_sub_epi32(eighth, column), 3);
    row = _mm256_sub_epi32(_mm256_slli_epi32(row, COLUMNS_LOG), no_eighths);
    return _mm256_slli_epi32(_mm256_add_epi32(row, column), SLOTS_LOG);
}

// The last words of a stream, and zeros behind them.
static __attribute__((noinline)) const uint8_t *last_words(const uint8_t *next, const uint8_t *last, uint8_t *room) {
    memset(room, 0, 16);
    if (next < last) memcpy(room, next, (size_t)(last - next));
    return room;
}

// The states of one stream that ran low get their next words. A stream that ends too early reads zeros; `next` says so,
// it is behind `last`.
WIDE void refill(Pair *pair, int s) {
    __m256i empty = _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)LOWEST), pair->states[s]);
    unsigned mask = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(empty));
    const uint8_t *from = pair->next[s];
    uint8_t room[16];
    if (__builtin_expect(pair->last[s] - from < 16, 0)) {
        if (from > pair->last[s]) mask = 0;
        from = last_words(from, pair->last[s], room);
    }
    __m256i words = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)from));
    words = _mm256_shuffle_epi8(words, _mm256_loadu_si256((const __m256i *)WORDS[mask]));
    pair->next[s] += 4 * __builtin_popcount(mask);
    __m256i up = _mm256_and_si256(empty, _mm256_set1_epi64x(32));
    pair->states[s] = _mm256_or_si256(_mm256_sllv_epi64(pair->states[s], up), words);
}

// Draw one place in every lane; returns the lanes whose place is beyond the last one that it may be.
WIDE __m256i draw_places(const Tables *tables, Pair *pair, Drawing *draw, uint32_t *found) {
    const __m256i zero = _mm256_setzero_si256(), field = ALL(SLOTS - 1);
    __m256i unit_logs, table = classes_of(draw, &unit_logs);
    __m256i slots = _mm256_and_si256(PACKED(pair->states[0], pair->states[1]), field);
    __m256i words = _mm256_i32gather_epi32((const int *)tables->draws, _mm256_add_epi32(table, slots), 4);
    __m256i widths = _mm256_and_si256(words, ALL(1023)), within = _mm256_and_si256(_mm256_srli_epi32(words, 10), field);
    __m256i first = _mm256_and_si256(_mm256_srli_epi32(words, 19), ALL(255));
    __m256i bits = _mm256_add_epi32(_mm256_srli_epi32(words, 27), unit_logs), lower[2];
    BOTH {
        __m256i width = UNPACKED(s, widths, zero), above = _mm256_srli_epi64(pair->states[s], SLOTS_LOG);
        __m256i higher = _mm256_slli_epi64(_mm256_mul_epu32(width, _mm256_srli_epi64(above, 32)), 32);
        lower[s] = _mm256_add_epi64(_mm256_mul_epu32(width, above), UNPACKED(s, within, zero));
        pair->states[s] = _mm256_srlv_epi64(_mm256_add_epi64(lower[s], higher), UNPACKED(s, bits, zero));
        refill(pair, s);
    }
    __m256i rest = _mm256_andnot_si256(_mm256_sllv_epi32(ALL(-1), bits), PACKED(lower[0], lower[1]));
    __m256i place = _mm256_add_epi32(_mm256_sllv_epi32(first, unit_logs), rest);
    __m256i beyond = _mm256_cmpgt_epi32(place, draw->room);
    draw->room = _mm256_sub_epi32(draw->room, _mm256_min_epi32(place, draw->room));
    _mm256_storeu_si256((__m256i *)found, _mm256_sub_epi32(_mm256_sub_epi32(draw->end, draw->left), draw->room));
    draw->left = _mm256_max_epi32(_mm256_sub_epi32(draw->left, ALL(1)), ALL(1)); // one of one place again
    return beyond;
}

// Steps that are taken, of which the first `asked` ask for something.
typedef struct {
    uint32_t count, asked;
    Ahead *ahead;
} Run;

// Returns whether a place is beyond the last one that it may be.
WIDE int run(const Tables *tables, Pair *shared, Steps *steps, Run what, const int pairs) {
    Drawing draws[PAIRS];
    Pair here[PAIRS];
    __m256i beyond = _mm256_setzero_si256();
    EACH {
        here[p] = shared[p];
        draws[p].left = ALL(1);
        draws[p].room = draws[p].end = _mm256_setzero_si256();
    }
    Ahead ahead = *what.ahead;
    for (uint32_t t = 0; t < what.count; t++) {
        for (int line = 0; line < LINES && ahead.at < ahead.end; line++, ahead.at += 64)
            __builtin_prefetch(ahead.at, 1);
        if (t < what.asked) EACH take_asked(draws + p, steps[p].asked[t]);
        EACH beyond = _mm256_or_si256(beyond, draw_places(tables, here + p, draws + p, steps[p].found[t]));
    }
    EACH shared[p] = here[p];
    *what.ahead = ahead;
    return !_mm256_testz_si256(beyond, beyond);
}

static __attribute__((noinline, TARGET)) int run_one(const Tables *tables, Pair *pairs, Steps *steps, Run what) {
    return run(tables, pairs, steps, what, 1);
}

static __attribute__((noinline, TARGET)) int run_two(const Tables *tables, Pair *pairs, Steps *steps, Run what) {
    return run(tables, pairs, steps, what, 2);
}

// One chunk on its way through its lane.
typedef struct {
    uint32_t size, count, pieces, log, counts[FINEST];
    uint32_t *asked, *found; // its column of these, from the first step on: one in WIDTH numbers
} Chunk;

NARROW void put_draw(const Chunk *chunk, uint32_t t, Draw draw, uint32_t base) {
    chunk->asked[WIDTH * t] = draw.size | draw.left << SIZE_BITS | base >> BASE_LOG << (SIZE_BITS + LEFT_BITS);
}

// From t on the lane has nothing to draw.
NARROW void put_rest(const Chunk *chunk, uint32_t t, uint32_t count) {
    if (t < count) put_draw(chunk, t, (Draw){1, 1}, 0);
}

NARROW void set_chunk(Chunk *chunk, const Segment *segment, int64_t number) {
    chunk->size = chunk->count = chunk->log = 0;
    chunk->pieces = 1;
    if (segment == NULL || number >= segment->chunks || segment->plan->counts[number] == 0) return;
    chunk->size = (uint32_t)(segment->starts[number + 1] - segment->starts[number]);
    chunk->count = chunk->counts[0] = segment->plan->counts[number];
    chunk->log = (uint32_t)(PLAIN_LOG - segment->plan->choices[number]);
    chunk->pieces = pieces_of(chunk->size, (int)chunk->log);
}

NARROW void put_bars(const Chunk *chunk, uint32_t count) {
    uint32_t bars = chunk->pieces - 1;
    if (bars) put_draw(chunk, 0, (Draw){chunk->count + bars, bars}, 0);
    put_rest(chunk, bars, count);
}

// How many entries each piece has; returns whether one has more than it can.
NARROW int take_bars(Chunk *chunk) {
    uint32_t before = 0, bars = chunk->pieces - 1;
    int beyond = 0;
    for (uint32_t t = 0; t <= bars; t++) {
        uint32_t place = t < bars ? chunk->found[WIDTH * t] : chunk->count + bars;
        uint32_t room = chunk->size - (t << chunk->log);
        chunk->counts[t] = place - before;
        before = place + 1;
        beyond |= chunk->counts[t] > (t < bars ? 1u << chunk->log : room);
    }
    return beyond;
}

NARROW void put_places(const Chunk *chunk, uint32_t count) {
    uint32_t t = 0;
    for (uint32_t piece = 0; t < chunk->count; piece++) {
        uint32_t here = chunk->counts[piece], base = piece << chunk->log, end = base + (1u << chunk->log);
        if (here == 0) continue;
        end = end < chunk->size ? end : chunk->size;
        put_draw(chunk, t, (Draw){end - base, here}, base);
        t += here;
    }
    put_rest(chunk, t, count);
}

static void clear(Steps *steps, int pairs, uint32_t count) {
    for (int p = 0; p < pairs; p++) memset(steps[p].asked, 0, count * sizeof steps[p].asked[0]);
}

static int run_all(const Tables *tables, Pair *shared, Steps *steps, Run what, int pairs) {
    return pairs == 1 ? run_one(tables, shared, steps, what) : run_two(tables, shared, steps, what);
}

// Four chunks of every stream; returns whether something is wrong.
static int read_group(const Tables *tables, const Walk *walk, Pair *shared, Chunk chunks[TOGETHER][LANES], int pairs) {
    Steps *steps = walk->steps;
    uint32_t bars = 0, entries = 0, fewest = UINT32_MAX;
    int wrong = 0;
    for (int i = 0; i < 2 * pairs; i++)
        for (int l = 0; l < LANES; l++) {
            Chunk *chunk = &chunks[i][l];
            chunk->asked = steps[i / 2].asked[0] + column(i & 1, l);
            chunk->found = steps[i / 2].found[0] + column(i & 1, l);
            if (chunk->pieces - 1 > bars) bars = chunk->pieces - 1;
            if (chunk->count > entries) entries = chunk->count;
            if (chunk->count < fewest) fewest = chunk->count;
        }
    if (entries > STEPS) return 1;
    if (bars) {
        clear(steps, pairs, bars);
        for (int i = 0; i < 2 * pairs; i++)
            for (int l = 0; l < LANES; l++) put_bars(&chunks[i][l], bars);
        wrong = run_all(tables, shared, steps, (Run){bars, bars, walk->ahead}, pairs);
        for (int i = 0; i < 2 * pairs; i++)
            for (int l = 0; l < LANES; l++)
                if (chunks[i][l].pieces > 1) wrong |= take_bars(&chunks[i][l]);
        if (wrong) return 1;
    }
    uint32_t asked = bars == 0 && fewest == entries && entries ? 1 : entries; // whole chunks are asked for once
    clear(steps, pairs, asked);
    for (int i = 0; i < 2 * pairs; i++)
        for (int l = 0; l < LANES; l++) put_places(&chunks[i][l], entries);
    wrong = run_all(tables, shared, steps, (Run){entries, asked, walk->ahead}, pairs);
    EACH BOTH wrong |= shared[p].next[s] > shared[p].last[s];
    return wrong;
}

static __attribute__((TARGET)) int walk_on(const Tables *tables, Walk *walk, int64_t first) {
    static const uint64_t still[LANES] = {LOWEST, LOWEST, LOWEST, LOWEST};
    const int count = walk->count, pairs = (count + 1) / 2;
    Pair shared[PAIRS];
    Chunk chunks[TOGETHER][LANES];
    for (int i = 0; i < 2 * pairs; i++) {
        Pair *pair = shared + i / 2;
        const Reader *reader = i < count ? &walk->streams[i]->reader : NULL;
        pair->states[i & 1] = _mm256_loadu_si256((const __m256i *)(reader ? reader->state : still));
        pair->next[i & 1] = reader ? reader->next : (const uint8_t *)still;
        pair->last[i & 1] = reader ? reader->end : (const uint8_t *)still;
        for (int l = 0; l < LANES; l++) set_chunk(&chunks[i][l], reader ? walk->streams[i]->segment : NULL, first + l);
    }
    if (read_group(tables, walk, shared, chunks, pairs)) return 0;
    for (int i = 0; i < count; i++) {
        Reader *reader = &walk->streams[i]->reader;
        _mm256_storeu_si256((__m256i *)reader->state, shared[i / 2].states[i & 1]);
        reader->next = shared[i / 2].next[i & 1];
    }
    return 1;
}

int barnraise_walk(const Tables *tables, Walk *walk, int64_t first) { return walk_on(tables, walk, first); }

int barnraise_can_walk(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"); }
#else
int barnraise_walk(const Tables *tables, Walk *walk, int64_t first) {
    (void)tables, (void)walk, (void)first;
    return 0;
}

int barnraise_can_walk(void) { return 0; }
#endif

// Copy a chunk's places to where they belong; returns how it should have been cut.
static int take_places(const Tables *tables, const uint32_t *found, uint32_t count, uint32_t size, int before,
                       uint32_t *places) {
    Counts counts = {{0}};
    for (uint32_t t = 0; t < count; t++) {
        uint32_t place = found[WIDTH * t];
        places[t] = place;
        counts.counts[place >> 7]++;
    }
    return barnraise_best_choice(tables, &counts, count, size, before);
}

int barnraise_read_wide(const Tables *tables, Segment *const *segments, Reader *readers, int count) {
    if (!barnraise_can_walk()) return 0;
    Steps steps[PAIRS];
    Ahead nothing = {NULL, NULL};
    Walk walk = {.count = count, .steps = steps, .ahead = &nothing};
    Stream streams[TOGETHER];
    uint32_t *at[TOGETHER];
    int64_t most = 0;
    for (int i = 0; i < count; i++) {
        streams[i] = (Stream){segments[i], readers[i], 0};
        walk.streams[i] = streams + i;
        at[i] = segments[i]->places;
        if (segments[i]->chunks > most) most = segments[i]->chunks;
    }
    for (int64_t first = 0; first < most; first += LANES) {
        if (!barnraise_walk(tables, &walk, first)) return 0;
        for (int i = 0; i < count; i++)
            for (int64_t chunk = first; chunk < first + LANES && chunk < segments[i]->chunks; chunk++) {
                const Plan *plan = segments[i]->plan;
                uint32_t here = plan->counts[chunk];
                if (here == 0) continue;
                uint32_t size = (uint32_t)(segments[i]->starts[chunk + 1] - segments[i]->starts[chunk]);
                const uint32_t *found = walked(&walk, i, (int)(chunk - first));
                streams[i].before = take_places(tables, found, here, size, streams[i].before, at[i]);
                if (streams[i].before != plan->choices[chunk]) return 0;
                at[i] += here;
            }
    }
    for (int i = 0; i < count; i++) readers[i] = streams[i].reader;
    return 1;
}
