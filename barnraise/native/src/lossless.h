// What the files of the lossless compressor share; the format is in barnraise/releases/lossless/blocks.py.
//
// Every byte that is decoded is hostile: a table covers all slots of a state, every count is
// bounded before it is used, and words and bits are read only while there are some.
#ifndef BARNRAISE_LOSSLESS_H
#define BARNRAISE_LOSSLESS_H

#include <string.h>

#include "kernels.h"

enum { SCALE_LOG = 11, SCALE = 1 << SCALE_LOG, TABLES = 64, LANES_MOST = 32, SYMBOLS = 256, GROUP = 64, PIECE = 64 * GROUP };
enum { BLOCK = 1 << 20, FLAGS = BLOCK / GROUP / 8, CONTEXTS = 256, TOKENS = 256, DIRECT = 16 };
enum { DONE = 0, DAMAGED = 1 };
#define LOWEST (1u << 15)
#define ALWAYS static inline __attribute__((always_inline))

typedef struct {
    uint32_t reciprocal; // of the frequency, times 2 ** places, rounded up: exact for states of 31 bits
    uint32_t how;        // the frequency | the first slot << 12 | places << 24
} Encoding;

typedef struct {
    uint32_t slots[SCALE]; // of each: the symbol that has it | how many that has, less one << 8 | which of them << 19
} Decoding;

typedef struct {
    uint32_t states[LANES_MOST];
    const uint8_t *next, *end;
    int lanes;
} Stream;

ALWAYS uint32_t load32(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

ALWAYS void store32(uint8_t *at, uint32_t word) { memcpy(at, &word, 4); }

ALWAYS int lanes_for(int64_t count) { return count >= 1 << 15 ? 32 : 4; }

// Frequencies of counts; the bytes that coding with them is expected to take.
void barnraise_lossless_normalise(const uint32_t *counts, int symbols, uint32_t *frequencies);
int64_t barnraise_lossless_cost(const uint32_t *logs, const uint32_t *counts, const uint32_t *frequencies, int symbols);

// Tables as bits: bytes written to zeroed memory, or bytes read, or -1.
int64_t barnraise_lossless_write_tables(const uint32_t *frequencies, int tables, int symbols, uint8_t *out);
int64_t barnraise_lossless_read_tables(const uint8_t *at, const uint8_t *end, int tables, int symbols, Decoding *made);

// How symbols of such frequencies are put.
void barnraise_lossless_explain(const uint32_t *frequencies, int symbols, Encoding *made);

// The stream of `count` symbols, or of pairs of context and symbol where `symbols` is null: `made` is for each of these.
// It is written to end at `end`; where it begins is returned.
uint8_t *barnraise_lossless_write_stream(const uint8_t *symbols, const uint16_t *pairs, int64_t count,
                                         const Encoding *made, uint8_t *end);

// Begin a stream; take its next symbols, from the first lane on; look whether it is at its end.
int barnraise_lossless_begin(Stream *stream, const uint8_t *at, const uint8_t *end, int64_t count);
int barnraise_lossless_take(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count, uint8_t *symbols);
int barnraise_lossless_at_end(const Stream *stream);

// Put `count` symbols or pairs, a multiple of 32, onto 32 states from the last to the first; words are written below
// `*at`. Whether that was done: 0 where the processor cannot.
int barnraise_lossless_push_wide(uint32_t *states, const uint8_t *symbols, const uint16_t *pairs, int64_t count,
                                 const Encoding *made, uint8_t **at);

// How many symbols of 32 lanes were taken at once, a multiple of 32; 0 where the processor cannot.
int64_t barnraise_lossless_take_wide(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count,
                                     uint8_t *symbols);

#endif
