// Tensors without loss, block by block: the twin of barnraise/releases/lossless/blocks.py, bit for bit.
#include "lossless.h"

enum { RAW, SAME, CHANGE, PLANES };           // kinds of blocks
enum { PLAIN, CONSTANT, CODED };              // methods of sections
enum { LOW_MOST = 32, CHANGE_MOST = 3 * BLOCK }; // bits read at once; bytes of a block's change
enum { BANKS = 4 };                              // counters of one thing

typedef struct {
    int32_t width, shift, mask, is_float, tokens;
} Layout;

typedef struct {
    uint8_t *at;
    uint64_t pending;
    int filled;
} Low; // being written

typedef struct {
    const uint8_t *data;
    int64_t at, end; // bits
} LowBits;           // being read

typedef struct {
    uint64_t high; // the bits that a token says
    uint32_t open; // how many it leaves open, above the lowest
    uint32_t mask; // as many ones, at most 32
} Meaning;

typedef struct {
    int lowest, highest;
} Range; // of contexts

// What one block needs of memory; Python allocates it, all zero, and does not look inside.
typedef struct {
    uint32_t counts[CONTEXTS * TOKENS * BANKS]; // all zero but while a block is encoded; neighbours count in other banks
    uint32_t gathered[TABLES * TOKENS], frequencies[TABLES * SYMBOLS];
    Encoding encodings[CONTEXTS * TOKENS];
    Decoding decodings[TABLES];
    Meaning meanings[TOKENS];
    uint16_t pairs[BLOCK + GROUP]; // of context and token
    uint8_t flags[FLAGS], seen[CONTEXTS], which[PIECE], taken[PIECE];
    uint8_t planes[BLOCK], low[BLOCK + 64], stream[2 * BLOCK];
    uint8_t lowest[TABLES]; // contexts of the tables of a block that is being read, but for the last
    int tables;
} Work;

// At most 56 bits.
ALWAYS void put_low(Low *low, uint64_t value, int bits) {
    low->pending |= value << low->filled;
    memcpy(low->at, &low->pending, 8);
    low->filled += bits;
    low->at += low->filled >> 3;
    low->pending >>= low->filled & ~7;
    low->filled &= 7;
}

ALWAYS uint64_t take_some_low(LowBits *low, int bits) {
    const uint8_t *at = low->data + (low->at >> 3);
    int64_t left = (low->end >> 3) - (low->at >> 3);
    uint64_t window = 0;
    if (__builtin_expect(left >= 8, 1))
        memcpy(&window, at, 8);
    else
        memcpy(&window, at, (size_t)left);
    window >>= low->at & 7;
    low->at += bits;
    return window & ((1ull << bits) - 1);
}

ALWAYS uint64_t take_low(LowBits *low, int bits) {
    if (bits <= LOW_MOST) return take_some_low(low, bits);
    uint64_t value = take_some_low(low, LOW_MOST);
    return value | take_some_low(low, bits - LOW_MOST) << LOW_MOST;
}

// A group's words: all of them but at the end of a block.
ALWAYS void copy_some(void *to, const void *from, int64_t size, size_t most) {
    if (__builtin_expect((size_t)size == most, 1)) {
        memcpy(to, from, most);
    } else {
        memset(to, 0, most);
        memcpy(to, from, (size_t)size);
    }
}

// Where the highest one of a value below 2 ** 31 is: what a float's exponent says, where nothing can be rounded up.
ALWAYS uint32_t order_of(uint32_t value) {
    float exact = (float)(int32_t)(value & ~(value >> 1));
    uint32_t bits;
    memcpy(&bits, &exact, 4);
    return (bits >> 23) - 127;
}

// The token of a difference of 64 bits; the bits that it leaves open are written.
ALWAYS uint32_t wide_token(uint64_t value, int fine, Low *low) {
    if (value < DIRECT) return (uint32_t)value;
    int order = 63 - __builtin_clzll(value), open = order - fine - 1, first = open < LOW_MOST ? open : LOW_MOST;
    uint64_t rest = (value >> 1) & ((1ull << open) - 1);
    put_low(low, rest & ((1ull << first) - 1), first);
    put_low(low, rest >> first, open - first);
    uint32_t below = (uint32_t)(value >> (order - fine)) & ((1u << fine) - 1);
    return DIRECT + (((uint32_t)(order - 4) << fine | below) << 1 | (uint32_t)(value & 1));
}

#define FINE_OF(width) ((width) == 4 ? 2 : 1) // bits below the highest one that a token says

#define WORD uint8_t
#define SIGNED int8_t
#define NAME(name) name##_8
#include "lossless_words.h"
#define WORD uint16_t
#define SIGNED int16_t
#define NAME(name) name##_16
#include "lossless_words.h"
#define WORD uint32_t
#define SIGNED int32_t
#define NAME(name) name##_32
#include "lossless_words.h"
#define WORD uint64_t
#define SIGNED int64_t
#define NAME(name) name##_64
#include "lossless_words.h"

// The loop for a layout's width.
#define EACH_WIDTH(layout, name, ...)                                                                                  \
    ((layout).width == 1   ? name##_8(__VA_ARGS__)                                                                     \
     : (layout).width == 2 ? name##_16(__VA_ARGS__)                                                                    \
     : (layout).width == 4 ? name##_32(__VA_ARGS__)                                                                    \
                           : name##_64(__VA_ARGS__))

static void write_head(uint8_t *at, int kind, int64_t length) { store32(at, (uint32_t)kind << 24 | (uint32_t)length); }

// A stream is written from its end, in room of its own, and then moved to `out`.
static int64_t write_stream(Work *work, const uint8_t *symbols, const uint16_t *pairs, int64_t count, uint8_t *out) {
    uint8_t *end = work->stream + sizeof work->stream;
    uint8_t *at = barnraise_lossless_write_stream(symbols, pairs, count, work->encodings, end);
    memcpy(out, at, (size_t)(end - at));
    return end - at;
}

ALWAYS int64_t write_section(Work *work, const uint32_t *logs, const uint8_t *plane, int64_t count, uint8_t *out) {
    uint32_t counts[4][SYMBOLS] = {{0}};
    for (int64_t i = 0; i < count; i++) counts[i & 3][plane[i]]++;
    for (int s = 0; s < SYMBOLS; s++) counts[0][s] += counts[1][s] + counts[2][s] + counts[3][s];
    if (counts[0][plane[0]] == (uint64_t)count) {
        write_head(out, CONSTANT, 1);
        out[4] = plane[0];
        return 5;
    }
    barnraise_lossless_normalise(counts[0], SYMBOLS, work->frequencies);
    uint8_t written[SYMBOLS * 3 + 8] = {0};
    int64_t size = barnraise_lossless_write_tables(work->frequencies, 1, SYMBOLS, written);
    int64_t expected = size + 4 * lanes_for(count) + barnraise_lossless_cost(logs, counts[0], work->frequencies, SYMBOLS);
    if (expected >= count - count / 32) {
        write_head(out, PLAIN, count);
        memcpy(out + 4, plane, (size_t)count);
        return 4 + count;
    }
    memcpy(out + 4, written, (size_t)size);
    barnraise_lossless_explain(work->frequencies, SYMBOLS, work->encodings);
    size += write_stream(work, plane, NULL, count, out + 4 + size);
    write_head(out, CODED, size);
    return 4 + size;
}

ALWAYS int64_t write_planes(Work *work, const uint32_t *logs, const uint8_t *data, int64_t words, Layout layout,
                            uint8_t *out) {
    int64_t size = 0;
    for (int byte = layout.width - 1; byte >= 0; byte--) {
        EACH_WIDTH(layout, take_plane, data, words, layout, byte, work->planes);
        size += write_section(work, logs, work->planes, words, out + size);
    }
    return size;
}

// Let neighbouring contexts share a table until it has `LEAST` symbols; how many tables there are.
enum { LEAST = 512 };
ALWAYS int gather(Work *work, Range range, int tokens, uint8_t *lowest) {
    uint32_t open[TOKENS] = {0};
    uint64_t some = 0;
    int tables = 0;
    memset(work->seen, 0, sizeof work->seen);
    for (int context = range.highest; context >= range.lowest; context--) {
        uint32_t *counts = work->counts + context * TOKENS * BANKS, own = 0;
        for (int s = 0; s < tokens; s++) {
            uint32_t count = counts[4 * s] + counts[4 * s + 1] + counts[4 * s + 2] + counts[4 * s + 3];
            open[s] += count;
            own += count;
        }
        memset(counts, 0, TOKENS * BANKS * sizeof *counts);
        work->seen[context] = own > 0;
        some += own;
        if (some < LEAST || tables == TABLES) continue;
        memcpy(work->gathered + tables * tokens, open, (size_t)tokens * sizeof *open);
        lowest[tables++] = (uint8_t)context;
        memset(open, 0, sizeof open);
        some = 0;
    }
    uint32_t *last = work->gathered + (tables ? tables - 1 : 0) * tokens;
    if (tables == 0) memset(last, 0, (size_t)tokens * sizeof *last);
    for (int s = 0; s < tokens; s++) last[s] += open[s];
    return tables ? tables : 1;
}

// The encodings of every context that some words have, from the frequencies of its table.
static void explain_contexts(Work *work, const uint8_t *lowest, int tables, int tokens) {
    int table = tables - 1;
    const Encoding *made = NULL;
    for (int context = 0; context < CONTEXTS; context++) {
        while (table > 0 && context >= lowest[table - 1]) {
            table--;
            made = NULL;
        }
        if (!work->seen[context]) continue;
        Encoding *own = work->encodings + context * TOKENS;
        if (made)
            memcpy(own, made, (size_t)tokens * sizeof *own);
        else
            barnraise_lossless_explain(work->frequencies + table * tokens, tokens, own);
        made = own;
    }
}

ALWAYS void find_changed(const uint8_t *data, const uint8_t *base, int64_t size, int width, uint8_t *flags) {
    int64_t step = GROUP * width, groups = (size + step - 1) / step;
    memset(flags, 0, (size_t)((groups + 7) / 8));
    for (int64_t group = 0, at = 0; group < groups; group++, at += step) {
        int64_t count = size - at < step ? size - at : step;
        flags[group >> 3] |= (uint8_t)((memcmp(data + at, base + at, (size_t)count) != 0) << (group & 7));
    }
}

ALWAYS int64_t write_change(Work *work, const uint32_t *logs, const uint8_t *data, const uint8_t *base, int64_t size,
                            Layout layout, uint8_t *out) {
    int64_t words = size / layout.width, groups = (words + GROUP - 1) / GROUP;
    find_changed(data, base, size, layout.width, work->flags);
    int64_t at = write_section(work, logs, work->flags, (groups + 7) / 8, out);
    Low low = {work->low, 0, 0};
    Range range;
    int64_t changed =
        EACH_WIDTH(layout, split, data, base, words, layout, work->flags, work->counts, work->pairs, &low, &range);
    uint8_t lowest[TABLES];
    int tables = gather(work, range, layout.tokens, lowest);
    for (int t = 0; t < tables; t++)
        barnraise_lossless_normalise(work->gathered + t * layout.tokens, layout.tokens, work->frequencies + t * layout.tokens);
    explain_contexts(work, lowest, tables, layout.tokens);
    out[at++] = (uint8_t)tables;
    memcpy(out + at, lowest, (size_t)(tables - 1));
    at += tables - 1;
    memset(out + at, 0, (size_t)(3 * TABLES * TOKENS));
    at += barnraise_lossless_write_tables(work->frequencies, tables, layout.tokens, out + at);
    int64_t length = write_stream(work, NULL, work->pairs, changed, out + at + 4);
    store32(out + at, (uint32_t)length);
    at += 4 + length;
    length = low.at - work->low + (low.filled > 0);
    memcpy(out + at, work->low, (size_t)length);
    return at + length;
}

EXPORT int64_t barnraise_lossless_work(void);
EXPORT int64_t barnraise_lossless_work(void) { return sizeof(Work); }

EXPORT int64_t barnraise_lossless_room(void);
EXPORT int64_t barnraise_lossless_room(void) { return 2 * CHANGE_MOST; }

// A block with its head: how many bytes it has in `out`.
EXPORT int64_t barnraise_lossless_encode(const uint8_t *data, const uint8_t *base, int64_t size, const Layout *layout,
                                         const uint32_t *logs, Work *work, uint8_t *out);
MULTIVERSION EXPORT int64_t barnraise_lossless_encode(const uint8_t *data, const uint8_t *base, int64_t size,
                                                      const Layout *layout, const uint32_t *logs, Work *work, uint8_t *out) {
    int kind = CHANGE;
    int64_t length = 0;
    if (base && memcmp(data, base, (size_t)size) == 0) {
        write_head(out, SAME, 0);
        return 4;
    }
    if (base) length = write_change(work, logs, data, base, size, *layout, out + 4);
    if (base == NULL || 3 * length > 2 * size) {
        int64_t planes = write_planes(work, logs, data, size / layout->width, *layout, out + 4 + length);
        if (base == NULL || planes < length) {
            memmove(out + 4, out + 4 + length, (size_t)planes);
            kind = PLANES;
            length = planes;
        }
    }
    if (length >= size) {
        memcpy(out + 4, data, (size_t)size);
        kind = RAW;
        length = size;
    }
    write_head(out, kind, length);
    return 4 + length;
}

// A section's `count` bytes; where it ends, or null.
static const uint8_t *read_section(Work *work, const uint8_t *at, const uint8_t *end, int64_t count, uint8_t *plane) {
    if (end - at < 4) return NULL;
    uint32_t head = load32(at), length = head & 0xffffff;
    at += 4;
    if (length > end - at) return NULL;
    const uint8_t *stop = at + length;
    if (head >> 24 == PLAIN && length == count) {
        memcpy(plane, at, (size_t)count);
    } else if (head >> 24 == CONSTANT && length == 1) {
        memset(plane, *at, (size_t)count);
    } else if (head >> 24 == CODED) {
        int64_t used = barnraise_lossless_read_tables(at, stop, 1, SYMBOLS, work->decodings);
        Stream stream;
        if (used < 0 || barnraise_lossless_begin(&stream, at + used, stop, count) != DONE) return NULL;
        if (barnraise_lossless_take(&stream, work->decodings, NULL, count, plane) != DONE) return NULL;
        if (!barnraise_lossless_at_end(&stream)) return NULL;
    } else {
        return NULL;
    }
    return stop;
}

ALWAYS int read_planes(Work *work, const uint8_t *at, const uint8_t *end, int64_t words, Layout layout, uint8_t *out) {
    for (int byte = layout.width - 1; byte >= 0; byte--) {
        at = read_section(work, at, end, words, work->planes + byte * words);
        if (at == NULL) return DAMAGED;
    }
    EACH_WIDTH(layout, join_planes, work->planes, words, layout, out);
    return at == end ? DONE : DAMAGED;
}

// Words of the groups that changed, or 0 if there are flags for groups that there are not, or none.
static int64_t count_changed(const uint8_t *flags, int64_t words) {
    int64_t groups = (words + GROUP - 1) / GROUP, changed = 0;
    if ((groups & 7) && flags[groups >> 3] >> (groups & 7)) return 0;
    for (int64_t byte = 0; byte < (groups + 7) / 8; byte++) changed += GROUP * __builtin_popcount(flags[byte]);
    int last = flags[(groups - 1) >> 3] >> ((groups - 1) & 7) & 1;
    return last ? changed - (groups * GROUP - words) : changed;
}

static void explain_tokens(Meaning *meanings, Layout layout) {
    int fine = FINE_OF(layout.width);
    for (uint64_t token = 0; token < DIRECT; token++) meanings[token] = (Meaning){token, 0, 0};
    for (uint64_t large = 0; large < (uint64_t)layout.tokens - DIRECT; large++) {
        uint64_t open = 3 - fine + (large >> (fine + 1)), top = 1ull << fine | ((large >> 1) & ((1ull << fine) - 1));
        meanings[DIRECT + large] = (Meaning){top << (open + 1) | (large & 1), (uint32_t)open, (uint32_t)((1ull << open) - 1)};
    }
}

// Whether there are as many open bits as so many tokens need.
ALWAYS int has_open(const Meaning *meanings, const uint8_t *tokens, int64_t count, const LowBits *low) {
    int64_t open = 0;
    for (int64_t i = 0; i < count; i++) open += (int64_t)meanings[tokens[i]].open;
    return open <= low->end - low->at;
}

// Some groups of a block that changed: where they begin, in words.
typedef struct {
    int64_t starts[PIECE / GROUP], words;
    int count;
} Piece;

static int64_t words_at(int64_t start, int64_t words) { return words - start < GROUP ? words - start : GROUP; }

// The next groups that changed; what did not is copied on the way.
ALWAYS int64_t next_piece(const Work *work, const uint8_t *base, int64_t group, int64_t words, int width, Piece *piece,
                          uint8_t *out) {
    piece->count = 0;
    piece->words = 0;
    for (; group * GROUP < words && piece->count < PIECE / GROUP; group++) {
        int64_t start = group * GROUP, count = words_at(start, words);
        if (work->flags[group >> 3] >> (group & 7) & 1) {
            piece->starts[piece->count++] = start;
            piece->words += count;
        } else {
            memcpy(out + start * width, base + start * width, (size_t)(count * width));
        }
    }
    return group;
}

ALWAYS int read_pieces(Work *work, Stream *stream, LowBits *low, const uint8_t *base, int64_t words, Layout layout,
                       uint8_t *out) {
    for (int64_t group = 0; group * GROUP < words;) {
        Piece piece;
        group = next_piece(work, base, group, words, layout.width, &piece, out);
        for (int i = 0; i < piece.count; i++)
            EACH_WIDTH(layout, contexts, base + piece.starts[i] * layout.width, words_at(piece.starts[i], words), layout,
                       work->lowest, work->tables, work->which + i * GROUP);
        if (barnraise_lossless_take(stream, work->decodings, work->which, piece.words, work->taken) != DONE)
            return DAMAGED;
        if (low->end - low->at < piece.words * 8 * layout.width && !has_open(work->meanings, work->taken, piece.words, low))
            return DAMAGED; // nobody counts where there are as many bits as words could have
        for (int i = 0; i < piece.count; i++)
            EACH_WIDTH(layout, restore, base + piece.starts[i] * layout.width, words_at(piece.starts[i], words), layout,
                       work->meanings, work->taken + i * GROUP, low, out + piece.starts[i] * layout.width);
    }
    return DONE;
}

// How many tables there are and for which contexts; where that ends, or null.
static const uint8_t *read_contexts(Work *work, const uint8_t *at, const uint8_t *end, int *tables) {
    if (at == end || *at < 1 || *at > TABLES || end - at < *at) return NULL;
    *tables = *at;
    for (int t = 1; t < *tables; t++)
        if (at[t] <= (t + 1 < *tables ? at[t + 1] : 0)) return NULL;
    work->tables = *tables;
    memcpy(work->lowest, at + 1, (size_t)(*tables - 1));
    return at + *tables;
}

ALWAYS int read_change(Work *work, const uint8_t *at, const uint8_t *end, const uint8_t *base, int64_t words, Layout layout,
                       uint8_t *out) {
    int tables;
    at = read_section(work, at, end, ((words + GROUP - 1) / GROUP + 7) / 8, work->flags);
    int64_t changed = at ? count_changed(work->flags, words) : 0;
    if (changed == 0) return DAMAGED;
    at = read_contexts(work, at, end, &tables);
    if (at == NULL) return DAMAGED;
    int64_t used = barnraise_lossless_read_tables(at, end, tables, layout.tokens, work->decodings);
    if (used < 0) return DAMAGED;
    at += used;
    if (end - at < 4 || load32(at) > end - at - 4) return DAMAGED;
    const uint8_t *after = at + 4 + load32(at);
    Stream stream;
    if (barnraise_lossless_begin(&stream, at + 4, after, changed) != DONE) return DAMAGED;
    LowBits low = {after, 0, 8 * (end - after)};
    explain_tokens(work->meanings, layout);
    if (read_pieces(work, &stream, &low, base, words, layout, out) != DONE) return DAMAGED;
    if (!barnraise_lossless_at_end(&stream) || (low.at + 7) >> 3 != end - after) return DAMAGED;
    return (low.at & 7) && after[low.at >> 3] >> (low.at & 7) ? DAMAGED : DONE;
}

// The `size` bytes of a block whose head was read.
EXPORT int barnraise_lossless_decode(int32_t kind, const uint8_t *body, int64_t length, const uint8_t *base, int64_t size,
                                     const Layout *layout, Work *work, uint8_t *out);
MULTIVERSION EXPORT int barnraise_lossless_decode(int32_t kind, const uint8_t *body, int64_t length, const uint8_t *base,
                                                  int64_t size, const Layout *layout, Work *work, uint8_t *out) {
    int64_t words = size / layout->width;
    if (kind == RAW && length == size) {
        memcpy(out, body, (size_t)size);
        return DONE;
    }
    if (kind == PLANES) return read_planes(work, body, body + length, words, *layout, out);
    if (base && kind == SAME && length == 0) {
        memcpy(out, base, (size_t)size);
        return DONE;
    }
    if (base && kind == CHANGE) return read_change(work, body, body + length, base, words, *layout, out);
    return DAMAGED;
}
