// Entropy coding for lossless.c: the twin of frequencies.py and rans.py in barnraise/releases/lossless.
#include "lossless.h"

void barnraise_lossless_normalise(const uint32_t *counts, int symbols, uint32_t *frequencies) {
    uint64_t total = 0;
    int64_t spare = SCALE;
    for (int s = 0; s < symbols; s++) total += counts[s];
    for (int s = 0; s < symbols; s++) {
        frequencies[s] = 0;
        if (counts[s] == 0) continue;
        uint32_t share = (uint32_t)((counts[s] * (uint64_t)SCALE + total / 2) / total);
        frequencies[s] = share ? share : 1;
        spare -= frequencies[s];
    }
    do {
        int most = 0;
        for (int s = 1; s < symbols; s++)
            if (frequencies[s] > frequencies[most]) most = s;
        int64_t step = spare < 0 ? -1 : spare;
        frequencies[most] = (uint32_t)(frequencies[most] + step);
        spare -= step;
    } while (spare);
}

int64_t barnraise_lossless_cost(const uint32_t *logs, const uint32_t *counts, const uint32_t *frequencies, int symbols) {
    uint64_t bits = 0;
    for (int s = 0; s < symbols; s++)
        if (counts[s]) bits += counts[s] * (uint64_t)(((uint32_t)SCALE_LOG << 16) - logs[frequencies[s]]);
    return (int64_t)((bits + (1 << 19) - 1) >> 19);
}

static void put_bits(uint8_t *out, int64_t *at, uint32_t value, int bits) {
    for (int bit = 0; bit < bits; bit++, ++*at) out[*at >> 3] |= (uint8_t)(((value >> bit) & 1) << (*at & 7));
}

int64_t barnraise_lossless_write_tables(const uint32_t *frequencies, int tables, int symbols, uint8_t *out) {
    int64_t at = 0;
    for (int t = 0; t < tables; t++, frequencies += symbols) {
        int last = symbols - 1;
        while (frequencies[last] == 0) last--;
        put_bits(out, &at, (uint32_t)last, 8);
        for (int s = 0; s <= last; s++) {
            uint32_t value = frequencies[s] + 1;
            int length = 31 - __builtin_clz(value);
            put_bits(out, &at, 1u << length, length + 1);
            put_bits(out, &at, value - (1u << length), length);
        }
    }
    return (at + 7) >> 3;
}

typedef struct {
    const uint8_t *data;
    int64_t at, end; // bits
} Bits;

// So many bits, or -1.
static int32_t take_bits(Bits *bits, int count) {
    if (bits->end - bits->at < count) return -1;
    int32_t value = 0;
    for (int bit = 0; bit < count; bit++, bits->at++) value |= ((bits->data[bits->at >> 3] >> (bits->at & 7)) & 1) << bit;
    return value;
}

static int read_table(Bits *bits, int symbols, Decoding *made) {
    int32_t last = take_bits(bits, 8), start = 0;
    if (last < 0 || last >= symbols) return DAMAGED;
    for (int s = 0; s <= last; s++) {
        int length = 0;
        int32_t bit;
        while ((bit = take_bits(bits, 1)) == 0)
            if (++length > SCALE_LOG) return DAMAGED;
        int32_t rest = bit < 0 ? -1 : take_bits(bits, length);
        if (rest < 0) return DAMAGED;
        int32_t frequency = (1 << length) - 1 + rest;
        if (frequency > SCALE - start || (s == last && frequency == 0)) return DAMAGED;
        uint32_t entry = (uint32_t)s | (uint32_t)(frequency - 1) << 8;
        for (int32_t i = 0; i < frequency; i++) made->slots[start + i] = entry | (uint32_t)i << (8 + SCALE_LOG);
        start += frequency;
    }
    return start == SCALE ? DONE : DAMAGED;
}

int64_t barnraise_lossless_read_tables(const uint8_t *at, const uint8_t *end, int tables, int symbols, Decoding *made) {
    Bits bits = {at, 0, 8 * (end - at)};
    for (int t = 0; t < tables; t++)
        if (read_table(&bits, symbols, made + t) != DONE) return -1;
    if ((bits.at & 7) && at[bits.at >> 3] >> (bits.at & 7)) return -1;
    return (bits.at + 7) >> 3;
}

// One symbol onto a state; a word of it may go out first.
ALWAYS uint32_t push(uint32_t state, const Encoding *symbol, uint8_t **at) {
    uint32_t frequency = symbol->how & 0xfff;
    uint32_t full = state >> (31 - SCALE_LOG) >= frequency;
    uint16_t word = (uint16_t)state;
    memcpy(*at - 2, &word, 2);
    *at -= 2 * full;
    state >>= 16 * full;
    uint32_t whole = (uint32_t)((uint64_t)state * symbol->reciprocal >> (symbol->how >> 24));
    return state + whole * (SCALE - frequency) + (symbol->how >> 12 & 0xfff);
}

ALWAYS uint8_t *write_lanes(const uint8_t *symbols, const uint16_t *pairs, int64_t count, const Encoding *made,
                            uint8_t *end, int lanes) {
    uint32_t states[LANES_MOST];
    uint8_t *at = end;
    for (int lane = 0; lane < lanes; lane++) states[lane] = LOWEST;
    int64_t i = count;
    for (; i % lanes; i--)
        states[(i - 1) % lanes] = push(states[(i - 1) % lanes], made + (symbols ? symbols[i - 1] : pairs[i - 1]), &at);
    if (lanes == LANES_MOST && barnraise_lossless_push_wide(states, symbols, pairs, i, made, &at)) i = 0;
    for (; i > 0; i -= lanes)
        for (int lane = lanes - 1; lane >= 0; lane--) {
            int64_t each = i - lanes + lane;
            states[lane] = push(states[lane], made + (symbols ? symbols[each] : pairs[each]), &at);
        }
    at -= 4 * lanes;
    memcpy(at, states, 4 * (size_t)lanes);
    return at;
}

// Source: Granlund and Montgomery, Division by invariant integers using multiplication, 1994.
static Encoding encoding_for(uint32_t frequency, uint32_t start) {
    uint32_t places = 31 + (frequency > 1 ? 32 - (uint32_t)__builtin_clz(frequency - 1) : 0);
    uint64_t reciprocal = ((1ull << places) + frequency - 1) / frequency;
    return (Encoding){(uint32_t)reciprocal, frequency | start << 12 | places << 24};
}

void barnraise_lossless_explain(const uint32_t *frequencies, int symbols, Encoding *made) {
    uint32_t start = 0;
    for (int s = 0; s < symbols; s++) {
        if (frequencies[s]) made[s] = encoding_for(frequencies[s], start);
        start += frequencies[s];
    }
}

MULTIVERSION uint8_t *barnraise_lossless_write_stream(const uint8_t *symbols, const uint16_t *pairs, int64_t count,
                                                      const Encoding *made, uint8_t *end) {
    if (lanes_for(count) == 4) return write_lanes(symbols, pairs, count, made, end, 4);
    if (symbols) return write_lanes(symbols, NULL, count, made, end, 32);
    return write_lanes(NULL, pairs, count, made, end, 32);
}

int barnraise_lossless_begin(Stream *stream, const uint8_t *at, const uint8_t *end, int64_t count) {
    stream->lanes = lanes_for(count);
    if (end - at < 4 * stream->lanes || (end - at) % 2) return DAMAGED;
    memcpy(stream->states, at, 4 * (size_t)stream->lanes);
    for (int lane = 0; lane < stream->lanes; lane++)
        if (stream->states[lane] < LOWEST || stream->states[lane] >= LOWEST << 16) return DAMAGED;
    stream->next = at + 4 * stream->lanes;
    stream->end = end;
    return DONE;
}

int barnraise_lossless_at_end(const Stream *stream) {
    for (int lane = 0; lane < stream->lanes; lane++)
        if (stream->states[lane] != LOWEST) return 0;
    return stream->next == stream->end;
}

// The next symbol of a state, which is then too small where a word has to follow.
ALWAYS uint32_t pull(uint32_t state, const Decoding *table, uint8_t *symbol) {
    uint32_t found = table->slots[state & (SCALE - 1)];
    *symbol = (uint8_t)found;
    return ((found >> 8 & (SCALE - 1)) + 1) * (state >> SCALE_LOG) + (found >> (8 + SCALE_LOG));
}

static int take_some(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count, uint8_t *symbols) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t state = pull(stream->states[i % stream->lanes], tables + (which ? which[i] : 0), symbols + i);
        if (state < LOWEST) {
            if (stream->next == stream->end) return DAMAGED;
            state = state << 16 | (uint32_t)stream->next[0] | (uint32_t)stream->next[1] << 8;
            stream->next += 2;
        }
        stream->states[i % stream->lanes] = state;
    }
    return DONE;
}

// As long as there are words for every lane, nobody needs to ask.
ALWAYS int64_t take_turns(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count, uint8_t *symbols) {
    uint32_t states[LANES_MOST];
    memcpy(states, stream->states, sizeof states);
    const uint8_t *next = stream->next, *last = stream->end - 2 * LANES_MOST;
    int64_t i = 0;
    for (; i + LANES_MOST <= count && next <= last; i += LANES_MOST)
        for (int lane = 0; lane < LANES_MOST; lane++) {
            uint32_t state = pull(states[lane], which ? tables + which[i + lane] : tables, symbols + i + lane);
            uint16_t word;
            memcpy(&word, next, 2);
            uint32_t empty = (state - LOWEST) >> 31; // a branch would be guessed wrong as often as words are read
            states[lane] = state << (16 * empty) | (word & (0 - empty));
            next += 2 * empty;
        }
    memcpy(stream->states, states, sizeof states);
    stream->next = next;
    return i;
}

MULTIVERSION int barnraise_lossless_take(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count,
                                         uint8_t *symbols) {
    int64_t done = 0;
    if (stream->lanes == LANES_MOST && stream->end - stream->next >= 2 * LANES_MOST) {
        done = barnraise_lossless_take_wide(stream, tables, which, count, symbols);
        if (!done) done = which ? take_turns(stream, tables, which, count, symbols) : take_turns(stream, tables, NULL, count, symbols);
    }
    return take_some(stream, tables, which ? which + done : NULL, count - done, symbols + done);
}
