// Places drawn from two or four streams at once, eight to a vector: what entropy.c does, where the processor has AVX2.
//
// A draw is a long chain: a state's slot, which place that is about, where it begins and ends, the next state. Four
// lanes of one stream leave most of the processor waiting, so streams that have nothing to do with each other go in
// step. Here a lane that has no draw left draws one of one place, which says nothing and leaves its state alone.
#include <string.h>

#include "entropy.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define TARGET target("avx2,fma,popcnt")
#define WIDE static inline __attribute__((always_inline, TARGET))
#define NARROW static inline __attribute__((always_inline))

enum { LINES = 8 }; // that a step asks for

typedef struct {
    __m256i states[2];
    const uint8_t *next[2], *last[2];
} Pair;

#define EACH for (int p = 0; p < pairs; p++)
#define BOTH for (int s = 0; s < 2; s++)
#define ALL(x) _mm256_set1_epi32((int)(x))
#define REAL(x) _mm256_set1_ps(x)
#define ONES64 _mm256_set1_epi64x(1)

// From the order of a row's columns to four numbers of either stream, and back.
#define PACKED(a, b) _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88))
#define UNPACKED(s, low, high) ((s) ? _mm256_unpackhi_epi32(low, high) : _mm256_unpacklo_epi32(low, high))

// Which of the words that follow goes to each of four lanes.
#define NO 255, 255, 255, 255
#define W0 0, 1, 2, 3
#define W1 4, 5, 6, 7
#define W2 8, 9, 10, 11
#define W3 12, 13, 14, 15
static const uint8_t WORDS[16][16] = {
    {NO, NO, NO, NO}, {W0, NO, NO, NO}, {NO, W0, NO, NO}, {W0, W1, NO, NO}, {NO, NO, W0, NO}, {W0, NO, W1, NO},
    {NO, W0, W1, NO}, {W0, W1, W2, NO}, {NO, NO, NO, W0}, {W0, NO, NO, W1}, {NO, W0, NO, W1}, {W0, W1, NO, W2},
    {NO, NO, W0, W1}, {W0, NO, W1, W2}, {NO, W0, W1, W2}, {W0, W1, W2, W3},
};

// log2 of a positive number, to 3e-7.
WIDE __m256 log2_of(__m256 x) {
    __m256i bits = _mm256_castps_si256(x), whole = _mm256_srai_epi32(_mm256_sub_epi32(bits, ALL(0x3f3504f3)), 23);
    __m256 f = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(whole, 23))), REAL(1.0f));
    __m256 f2 = _mm256_mul_ps(f, f), f4 = _mm256_mul_ps(f2, f2);
    __m256 a = _mm256_fmadd_ps(f, REAL(-0.721375847f), REAL(1.44269973f));
    __m256 b = _mm256_fmadd_ps(f, REAL(-0.358962765f), REAL(0.480464822f));
    __m256 c = _mm256_fmadd_ps(f, REAL(-0.272690697f), REAL(0.297266428f));
    c = _mm256_fmadd_ps(f2, REAL(0.170611896f), c);
    a = _mm256_fmadd_ps(f4, c, _mm256_fmadd_ps(f2, b, a));
    return _mm256_fmadd_ps(f, a, _mm256_cvtepi32_ps(whole));
}

// 2 ** x for x from -25 to 0, to 1e-7.
WIDE __m256 exp2_of(__m256 x) {
    __m256 whole = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm256_sub_ps(x, whole);
    __m256 f2 = _mm256_mul_ps(f, f), a = _mm256_fmadd_ps(f, REAL(0.693147207f), REAL(1.00000008f));
    __m256 b = _mm256_fmadd_ps(f, REAL(0.0555032721f), REAL(0.240221074f));
    b = _mm256_fmadd_ps(f2, _mm256_fmadd_ps(f, REAL(0.00134004322f), REAL(0.0096760371f)), b);
    __m256i bits = _mm256_castps_si256(_mm256_fmadd_ps(f2, b, a));
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_slli_epi32(_mm256_cvtps_epi32(whole), 23)));
}

// Places near those that have the slots; only speed depends on them, and 998 of 1000 are right. `more` is candidates.
//
// The chance of place p or a later one is nearly (1 - p / middle) ** left, a little less where many are drawn of few,
// and each place has one slot on top of its chance.
WIDE __m256i guess(__m256i slot, __m256i size, __m256i left, __m256i more) {
    __m256 lefts = _mm256_cvtepi32_ps(left), inverse = _mm256_div_ps(REAL(1.0f), lefts);
    __m256 half = _mm256_fmsub_ps(lefts, REAL(0.5f), REAL(0.5f));
    __m256 middle = _mm256_sub_ps(_mm256_cvtepi32_ps(size), half);
    __m256 part = _mm256_mul_ps(half, _mm256_rcp_ps(middle));
    __m256 scale = _mm256_fnmadd_ps(_mm256_mul_ps(part, part), REAL(1.0f / 3.0f), REAL(1.0f));
    __m256 gone = _mm256_mul_ps(_mm256_cvtepi32_ps(slot), REAL(0x1p-24f));
    __m256 rest = _mm256_max_ps(_mm256_sub_ps(REAL(1.0f), gone), REAL(0x1p-25f));
    __m256 slope = _mm256_mul_ps(_mm256_mul_ps(_mm256_rcp_ps(rest), inverse), REAL(0x1p-24f));
    __m256 extra = _mm256_mul_ps(gone, _mm256_cvtepi32_ps(more));
    __m256 root = exp2_of(_mm256_mul_ps(log2_of(rest), inverse));
    __m256 after = _mm256_mul_ps(root, middle);
    __m256 place = _mm256_mul_ps(_mm256_sub_ps(middle, after), scale);
    place = _mm256_fmadd_ps(_mm256_sub_ps(extra, place), _mm256_mul_ps(after, slope), place);
    __m256i last = _mm256_sub_epi32(more, ALL(1));
    return _mm256_max_epi32(_mm256_min_epi32(_mm256_cvttps_epi32(place), last), _mm256_setzero_si256());
}

// Two numbers of 64 bits that begin at two places of a table, `at` being two numbers of 32 bits. Loading one by one
// takes less time here than gathering.
#define TWO(table, at) \
    _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(_mm_loadl_epi64((const __m128i *)((table) + (uint32_t)(at)))), \
                                  (const double *)((table) + ((at) >> 32))))

// The same of four of eight places: the first two of either half, or the others.
#define FOUR(table, low, high) _mm256_inserti128_si256(_mm256_castsi128_si256(TWO(table, low)), TWO(table, high), 1)

WIDE uint64_t quarter(__m256i x, const int which) {
    __m128i half = which < 2 ? _mm256_castsi256_si128(x) : _mm256_extracti128_si256(x, 1);
    return (uint64_t)(which & 1 ? _mm_extract_epi64(half, 1) : _mm_cvtsi128_si64(half));
}

// entropy.c's `power` of eight.
WIDE __m256i powers_of(const Tables *tables, __m256i exponents) {
    const uint64_t *points = (const uint64_t *)tables->powers;
    __m256i step = _mm256_and_si256(_mm256_srli_epi32(exponents, 9), ALL(1023));
    __m256 some = _mm256_castsi256_ps(FOUR(points, quarter(step, 0), quarter(step, 2)));
    __m256 others = _mm256_castsi256_ps(FOUR(points, quarter(step, 1), quarter(step, 3)));
    __m256i values = _mm256_castps_si256(_mm256_shuffle_ps(some, others, 0x88));
    __m256i slopes = _mm256_castps_si256(_mm256_shuffle_ps(some, others, 0xDD));
    __m256i whole = _mm256_srli_epi32(exponents, FRACTION), rest = _mm256_and_si256(exponents, ALL(511));
    values = _mm256_sub_epi32(values, _mm256_srli_epi32(_mm256_madd_epi16(slopes, rest), 9));
    return _mm256_and_si256(_mm256_srlv_epi32(values, whole), _mm256_cmpgt_epi32(ALL(24), whole));
}

// What is being drawn in the lanes of two streams: 32 bits each, and 64 bits each of either stream.
typedef struct {
    __m256i size, left, all, end, slot, place, more, after;
    __m256i start[2], stop[2];
} Drawing;

// Where a lane begins with other draws, these are taken.
WIDE void take_asked(Drawing *draw, const Asked *asked) {
    __m256i packed = _mm256_loadu_si256((const __m256i *)asked->draw);
    __m256i fresh = _mm256_cmpgt_epi32(packed, _mm256_setzero_si256());
    __m256i size = _mm256_and_si256(packed, ALL((1 << SIZE_BITS) - 1));
    __m256i left = _mm256_and_si256(_mm256_srli_epi32(packed, SIZE_BITS), ALL((1 << LEFT_BITS) - 1));
    __m256i base = _mm256_slli_epi32(_mm256_srli_epi32(packed, SIZE_BITS + LEFT_BITS), BASE_LOG);
    draw->size = _mm256_blendv_epi8(draw->size, size, fresh);
    draw->left = _mm256_blendv_epi8(draw->left, left, fresh);
    draw->all = _mm256_blendv_epi8(draw->all, _mm256_loadu_si256((const __m256i *)asked->all), fresh);
    draw->end = _mm256_blendv_epi8(draw->end, _mm256_add_epi32(base, size), fresh);
}

WIDE void begin_step(Drawing *draw, const Pair *pair) {
    draw->slot = _mm256_and_si256(PACKED(pair->states[0], pair->states[1]), ALL(ONE - 1));
    draw->more = _mm256_add_epi32(_mm256_sub_epi32(draw->size, draw->left), ALL(1));
    draw->place = guess(draw->slot, draw->size, draw->left, draw->more);
}

// Where the slots of the guessed places begin and end; returns whether one of them is not the right one.
WIDE int bound(Drawing *draw, const Tables *tables) {
    const uint32_t *factorials = tables->factorials - 1; // pairs: of one less, and of the number
    const __m256i zero = _mm256_setzero_si256();
    __m256i first = _mm256_sub_epi32(draw->size, draw->place), second = _mm256_sub_epi32(first, draw->left);
    __m256i last = _mm256_cmpeq_epi32(second, zero), wrong = zero, after[2];
    BOTH {
        __m256i sizes = FOUR(factorials, quarter(first, s), quarter(first, 2 + s));
        __m256i rests = FOUR(factorials, quarter(second, s), quarter(second, 2 + s));
        __m256i drops = _mm256_sub_epi32(UNPACKED(s, draw->all, draw->all), _mm256_sub_epi32(sizes, rests));
        after[s] = _mm256_sub_epi32(sizes, _mm256_srli_epi64(rests, 32));
        __m256i gone = _mm256_sub_epi32(ALL(ONE), powers_of(tables, drops)); // before the next place, before this one
        __m256i keeps = _mm256_sub_epi32(ALL(ONE), UNPACKED(s, draw->more, draw->more));
        __m256i places = UNPACKED(s, draw->place, zero), slots = UNPACKED(s, draw->slot, zero);
        __m256i start = _mm256_srli_epi64(_mm256_mul_epu32(_mm256_srli_epi64(gone, 32), keeps), 24);
        __m256i border = _mm256_srli_epi64(_mm256_mul_epu32(gone, keeps), 24); // one less than where it ends
        border = _mm256_add_epi64(border, places);
        border = _mm256_blendv_epi8(border, _mm256_set1_epi64x(ONE - 1), UNPACKED(s, last, zero));
        draw->start[s] = _mm256_add_epi64(start, places);
        draw->stop[s] = _mm256_add_epi64(border, ONES64);
        wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi32(draw->start[s], slots));
        wrong = _mm256_or_si256(wrong, _mm256_cmpgt_epi32(slots, border));
    }
    draw->after = PACKED(after[0], after[1]);
    return !_mm256_testz_si256(wrong, wrong);
}

// Find the right places from the guessed ones.
static __attribute__((noinline, TARGET)) void mend(Drawing *draw, const Tables *tables) {
    uint32_t size[WIDTH], left[WIDTH], slot[WIDTH], place[WIDTH], after[WIDTH];
    uint64_t start[WIDTH], stop[WIDTH];
    const uint32_t *factorials = tables->factorials;
    _mm256_storeu_si256((__m256i *)size, draw->size);
    _mm256_storeu_si256((__m256i *)left, draw->left);
    _mm256_storeu_si256((__m256i *)slot, draw->slot);
    _mm256_storeu_si256((__m256i *)place, draw->place);
    _mm256_storeu_si256((__m256i *)after, draw->after);
    BOTH {
        _mm256_storeu_si256((__m256i *)(start + 4 * s), draw->start[s]);
        _mm256_storeu_si256((__m256i *)(stop + 4 * s), draw->stop[s]);
    }
    for (int i = 0; i < WIDTH; i++) {
        int at = (i >> 1 & 1) * 4 + (i >> 2) * 2 + (i & 1); // of UNPACKED
        if (slot[i] >= start[at] && slot[i] < stop[at]) continue;
        Found found = barnraise_find(tables, (Draw){size[i], left[i]}, slot[i], place[i]);
        place[i] = found.place;
        start[at] = found.start;
        stop[at] = found.stop;
        uint32_t rest = size[i] - found.place;
        after[i] = factorials[rest - 1] - factorials[rest - left[i]];
    }
    draw->place = _mm256_loadu_si256((const __m256i *)place);
    draw->after = _mm256_loadu_si256((const __m256i *)after);
    BOTH {
        draw->start[s] = _mm256_loadu_si256((const __m256i *)(start + 4 * s));
        draw->stop[s] = _mm256_loadu_si256((const __m256i *)(stop + 4 * s));
    }
}

// The last words of a stream, and zeros behind them.
static __attribute__((noinline)) const uint8_t *last_words(const uint8_t *next, const uint8_t *last, uint8_t *room) {
    memset(room, 0, 16);
    if (next < last) memcpy(room, next, (size_t)(last - next));
    return room;
}

// Move the states of one stream on. A stream that ends too early reads zeros; `next` says so, it is behind `last`.
WIDE void consume(Pair *pair, int s, const Drawing *draw) {
    __m256i width = _mm256_sub_epi32(draw->stop[s], draw->start[s]), above = _mm256_srli_epi64(pair->states[s], 24);
    __m256i within = _mm256_sub_epi32(UNPACKED(s, draw->slot, _mm256_setzero_si256()), draw->start[s]);
    __m256i higher = _mm256_slli_epi64(_mm256_mul_epu32(width, _mm256_srli_epi64(above, 32)), 32);
    __m256i state = _mm256_add_epi64(_mm256_add_epi64(_mm256_mul_epu32(width, above), within), higher);
    __m256i empty = _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)LOWEST), state);
    unsigned mask = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(empty));
    const uint8_t *from = pair->next[s];
    uint8_t room[16];
    if (__builtin_expect(pair->last[s] - from < 16, 0)) {
        if (from > pair->last[s]) mask = 0;
        from = last_words(from, pair->last[s], room);
    }
    __m128i words = _mm_loadu_si128((const __m128i *)from);
    words = _mm_shuffle_epi8(words, _mm_loadu_si128((const __m128i *)WORDS[mask]));
    pair->next[s] += 4 * __builtin_popcount(mask);
    __m256i filled = _mm256_or_si256(_mm256_slli_epi64(state, 32), _mm256_cvtepu32_epi64(words));
    pair->states[s] = _mm256_blendv_epi8(state, filled, empty);
}

WIDE void end_step(Drawing *draw, Steps *steps, uint32_t t) {
    __m256i rest = _mm256_sub_epi32(draw->size, draw->place);
    _mm256_storeu_si256((__m256i *)steps->found[t], _mm256_sub_epi32(draw->end, rest));
    draw->size = _mm256_max_epi32(_mm256_sub_epi32(rest, ALL(1)), ALL(1)); // one of one place again
    draw->left = _mm256_max_epi32(_mm256_sub_epi32(draw->left, ALL(1)), ALL(1));
    draw->all = draw->after;
}

// Steps that are taken, of which the first `asked` ask for something.
typedef struct {
    uint32_t count, asked;
    Ahead *ahead;
} Run;

WIDE void run(const Tables *tables, Pair *shared, Steps *steps, Run what, const int pairs) {
    Drawing draws[PAIRS];
    Pair here[PAIRS];
    EACH {
        here[p] = shared[p];
        draws[p].size = draws[p].left = ALL(1);
        draws[p].all = draws[p].end = _mm256_setzero_si256();
    }
    Ahead ahead = *what.ahead;
    for (uint32_t t = 0; t < what.count; t++) {
        int wrong[PAIRS];
        for (int line = 0; line < LINES && ahead.at < ahead.end; line++, ahead.at += 64) __builtin_prefetch(ahead.at, 1);
        if (t < what.asked) EACH take_asked(draws + p, steps[p].asked + t);
        EACH begin_step(draws + p, here + p);
        EACH wrong[p] = bound(draws + p, tables);
        EACH if (__builtin_expect(wrong[p], 0)) {
            Drawing copy = draws[p]; // whose address may be taken
            mend(&copy, tables);
            draws[p] = copy;
        }
        EACH BOTH consume(here + p, s, draws + p);
        EACH end_step(draws + p, steps + p, t);
    }
    EACH shared[p] = here[p];
    *what.ahead = ahead;
}

static __attribute__((noinline, TARGET)) void run_one(const Tables *tables, Pair *pairs, Steps *steps, Run what) {
    run(tables, pairs, steps, what, 1);
}

static __attribute__((noinline, TARGET)) void run_two(const Tables *tables, Pair *pairs, Steps *steps, Run what) {
    run(tables, pairs, steps, what, 2);
}

// One chunk on its way through its lane.
typedef struct {
    uint32_t size, count, pieces, log, counts[FINEST];
    Asked *asked; // both from the first step on
    uint32_t *found;
    int at; // the lane in these
} Chunk;

NARROW void put_draw(const Chunk *chunk, const Tables *tables, uint32_t t, Draw draw, uint32_t base) {
    Asked *asked = chunk->asked + t;
    asked->draw[chunk->at] = draw.size | draw.left << SIZE_BITS | base >> BASE_LOG << (SIZE_BITS + LEFT_BITS);
    asked->all[chunk->at] = tables->factorials[draw.size] - tables->factorials[draw.size - draw.left];
}

// From t on the lane has nothing to draw.
NARROW void put_rest(const Chunk *chunk, const Tables *tables, uint32_t t, uint32_t count) {
    if (t < count) put_draw(chunk, tables, t, (Draw){1, 1}, 0);
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

NARROW void put_bars(const Chunk *chunk, const Tables *tables, uint32_t count) {
    uint32_t bars = chunk->pieces - 1;
    if (bars) put_draw(chunk, tables, 0, (Draw){chunk->count + bars, bars}, 0);
    put_rest(chunk, tables, bars, count);
}

// How many entries each piece has; returns whether one has more than it can.
NARROW int take_bars(Chunk *chunk) {
    uint32_t before = 0, bars = chunk->pieces - 1;
    int beyond = 0;
    for (uint32_t t = 0; t <= bars; t++) {
        uint32_t place = t < bars ? chunk->found[WIDTH * t] : chunk->count + bars, room = chunk->size - (t << chunk->log);
        chunk->counts[t] = place - before;
        before = place + 1;
        beyond |= chunk->counts[t] > (t < bars ? 1u << chunk->log : room);
    }
    return beyond;
}

NARROW void put_places(const Chunk *chunk, const Tables *tables, uint32_t count) {
    uint32_t t = 0;
    for (uint32_t piece = 0; t < chunk->count; piece++) {
        uint32_t here = chunk->counts[piece], base = piece << chunk->log, end = base + (1u << chunk->log);
        if (here == 0) continue;
        end = end < chunk->size ? end : chunk->size;
        put_draw(chunk, tables, t, (Draw){end - base, here}, base);
        t += here;
    }
    put_rest(chunk, tables, t, count);
}

static void clear(Steps *steps, int pairs, uint32_t count) {
    for (int p = 0; p < pairs; p++)
        for (uint32_t t = 0; t < count; t++) memset(steps[p].asked[t].draw, 0, sizeof steps[p].asked[t].draw);
}

static void run_all(const Tables *tables, Pair *shared, Steps *steps, Run what, int pairs) {
    if (pairs == 1) run_one(tables, shared, steps, what);
    else run_two(tables, shared, steps, what);
}

// Four chunks of every stream; returns whether something is wrong.
static int read_group(const Tables *tables, const Walk *walk, Pair *shared, Chunk chunks[TOGETHER][LANES], int pairs) {
    Steps *steps = walk->steps;
    uint32_t bars = 0, entries = 0, fewest = UINT32_MAX;
    int wrong = 0;
    for (int i = 0; i < 2 * pairs; i++)
        for (int l = 0; l < LANES; l++) {
            Chunk *chunk = &chunks[i][l];
            chunk->asked = steps[i / 2].asked;
            chunk->found = steps[i / 2].found[0] + column(i & 1, l);
            chunk->at = column(i & 1, l);
            if (chunk->pieces - 1 > bars) bars = chunk->pieces - 1;
            if (chunk->count > entries) entries = chunk->count;
            if (chunk->count < fewest) fewest = chunk->count;
        }
    if (entries > STEPS) return 1;
    if (bars) {
        clear(steps, pairs, bars);
        for (int i = 0; i < 2 * pairs; i++)
            for (int l = 0; l < LANES; l++) put_bars(&chunks[i][l], tables, bars);
        run_all(tables, shared, steps, (Run){bars, bars, walk->ahead}, pairs);
        for (int i = 0; i < 2 * pairs; i++)
            for (int l = 0; l < LANES; l++)
                if (chunks[i][l].pieces > 1) wrong |= take_bars(&chunks[i][l]);
        if (wrong) return 1;
    }
    uint32_t asked = bars == 0 && fewest == entries && entries ? 1 : entries; // whole chunks are asked for once
    clear(steps, pairs, asked);
    for (int i = 0; i < 2 * pairs; i++)
        for (int l = 0; l < LANES; l++) put_places(&chunks[i][l], tables, entries);
    run_all(tables, shared, steps, (Run){entries, asked, walk->ahead}, pairs);
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

int barnraise_can_walk(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
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
