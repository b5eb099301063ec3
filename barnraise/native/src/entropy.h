// What entropy.c shares with the loops that use what it decodes.
#ifndef BARNRAISE_ENTROPY_H
#define BARNRAISE_ENTROPY_H

#include <string.h>

#include "kernels.h"

enum { LANES = 4, CHUNKS = 256, PLAIN_LOG = 12, CHOICES = 6, FINEST = 32, CONTEXTS = 14 };
// Of the draws' tables: columns from LAST_OCTAVE on serve all octaves that follow.
enum { SLOTS_LOG = 9, SLOTS = 1 << SLOTS_LOG, UNITS_LOG = 8, UNITS = 1 << UNITS_LOG };
enum { ROWS = 11, COLUMNS_LOG = 5, LAST_OCTAVE = 24 };
enum { DONE = 0, TRUNCATED = 1, EXTRA = 2, RANGE = 3, CHOICE = 4 };
#define LOWEST (1ull << 31)
#define FRACTION 19
#define SWITCH (6u << FRACTION)
#define BACK (2u << FRACTION)

typedef struct {
    const uint32_t *factorials; // log2(i!) with 19 fraction bits, modulo 2 ** 32, i up to 4096
    const uint32_t *shares;     // log2(C(size, i)), i up to size, for pieces of 128, 256, 512, 1024 and 2048 elements
    const uint32_t *draws;      // what each slot says, SLOTS for each class of draws: draw_tables.py has the layout
    const uint16_t *starts;     // where buckets begin, UNITS for each class
} Tables;

static inline Tables tables_at(const uint32_t *tables) {
    const uint32_t *shares = tables + 4097;
    const uint32_t *draws = shares + 128 + 256 + 512 + 1024 + 2048 + 5;
    return (Tables){tables, shares, draws, (const uint16_t *)(draws + (ROWS << COLUMNS_LOG << SLOTS_LOG))};
}

// What a segment says of its chunks, before its positions.
typedef struct {
    uint32_t counts[CHUNKS];
    int32_t eighths[CHUNKS];
    uint8_t choices[CHUNKS];
    int64_t total;
} Plan;

// A segment's support, and room for all that it may say; `high` is used where there are `highs`.
typedef struct {
    const uint8_t *support;
    int64_t size;
    const int64_t *starts;
    int64_t chunks, k;
    int32_t unit;
    int highs, status;
    Plan *plan;
    uint32_t *places;
    uint8_t *high;
} Segment;

// Decode segments that have nothing to do with each other: several at once are faster than one after the other.
// Returns how many were decoded in step.
int barnraise_read_segments(const Tables *tables, Segment *segments, int count);

// -- what the parts of the decoder share -------------------------------------------------

enum { TOGETHER = 4 }; // streams that are decoded at once, at most

// Four states and the words that are left for them.
typedef struct {
    uint64_t state[LANES];
    const uint8_t *next;
    const uint8_t *end;
    int status;
} Reader;

// What is drawn next: the first of `left` chosen ones among `size` places.
typedef struct {
    uint32_t size, left;
} Draw;

// Read a segment's plan: `status` says what came of it. And what comes after its places, by a reader that stands there.
Reader barnraise_open_segment(Segment *segment);
int barnraise_close_segment(Reader *reader, const Segment *segment);

// Draws of two streams, a row for each step; where `asked` is 0 the draw before goes on. From the lowest bit on it has
// the size (13 bits), how many are left (9 bits), and which multiple of 128 the places are counted from.
enum { STEPS = 256, WIDTH = 8, PAIRS = TOGETHER / 2, SIZE_BITS = 13, LEFT_BITS = 9, BASE_LOG = 7 };
typedef struct {
    uint32_t asked[STEPS][WIDTH];
    uint32_t found[STEPS][WIDTH]; // places drawn
} Steps;

// Memory that is wanted next: a step of the decoder, which needs the memory little, asks for some lines of it.
typedef struct {
    const char *at, *end;
} Ahead;

// A segment that is decoded four chunks at a time.
typedef struct {
    Segment *segment;
    Reader reader;
    int before; // how the last chunk that had entries was cut
} Stream;

// Streams of as many chunks each that are decoded in step.
typedef struct {
    Stream *streams[TOGETHER];
    int count;
    Steps *steps; // of PAIRS
    Ahead *ahead;
} Walk;

// Whether the processor can do that.
int barnraise_can_walk(void);

// Where a row has a lane of a pair's streams: 0 and 1 of the first stream, 0 and 1 of the second, 2 and 3 of the first ...
static inline int column(int stream, int lane) { return 4 * (lane >> 1) + 2 * stream + (lane & 1); }

// Decode chunks `first` to `first` + 3 of streams whose plans are read. Returns 0 if it cannot be done here, or if
// anything is wrong with one of them: what was written means nothing then, and nothing is said about which.
int barnraise_walk(const Tables *tables, Walk *walk, int64_t first);

// The places that were drawn for chunk `first` + `lane` of a stream: one in WIDTH numbers.
static inline const uint32_t *walked(const Walk *walk, int stream, int lane) {
    return walk->steps[stream / 2].found[0] + column(stream & 1, lane);
}

// Decode the places of up to TOGETHER segments of as many chunks whose plans are read; returns 0 as above.
int barnraise_read_wide(const Tables *tables, Segment *const *segments, Reader *readers, int count);

// How many entries each 128 elements of a chunk have.
typedef struct {
    uint8_t counts[FINEST];
} Counts;

// The same from marks: for each 128 elements that have entries, how many entries there are up to their end; else 0.
Counts barnraise_counts_of(const Counts *marks);

// How a chunk of `size` elements is best cut into pieces, after a chunk that was cut as `before` says.
int barnraise_best_choice(const Tables *tables, const Counts *counts, uint32_t count, uint32_t size, int before);

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint32_t pieces_of(uint32_t size, int log) { return (size + (1u << log) - 1) >> log; }

#endif
