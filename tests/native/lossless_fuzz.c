// Damages blocks and decodes them, compiled with sanitizers: reads cases from standard input, says "DONE" if all went well.
//
//     uint32 logarithms[2049], then for each case: int32 layout[5], kind, has_base; int64 size, length; body; base
//
// Every buffer is as long as it is said to be and not a byte longer, so that a read beyond it is seen.
#include <stdio.h>

#include "drawing.h"
#include "lossless.h"

int64_t barnraise_lossless_work(void);
int64_t barnraise_lossless_room(void);
int64_t barnraise_lossless_encode(const uint8_t *, const uint8_t *, int64_t, const void *, const uint32_t *, void *, uint8_t *);
int barnraise_lossless_decode(int32_t, const uint8_t *, int64_t, const uint8_t *, int64_t, const void *, void *, uint8_t *);

static uint8_t *read_bytes(int64_t size) {
    uint8_t *made = malloc(size ? (size_t)size : 1);
    if (size && fread(made, 1, (size_t)size, stdin) != (size_t)size) exit(2);
    return made;
}

static int64_t damage(uint8_t *body, int64_t length) {
    for (uint64_t times = 1 + draw(3); times && length; times--) {
        int64_t at = (int64_t)draw(draw(2) ? (uint64_t)length : length < 64 ? (uint64_t)length : 64);
        body[at] = draw(2) ? (uint8_t)draw(256) : body[at] ^ (uint8_t)(1u << draw(8));
    }
    return draw(4) || !length ? length : (int64_t)draw((uint64_t)length);
}

// Bits that are mostly short codes, as tables: the sum of the frequencies soon runs over.
static void read_tables(void) {
    int64_t size = (int64_t)draw(65);
    uint8_t *bits = malloc(size ? (size_t)size : 1);
    Decoding *made = malloc(sizeof *made);
    for (int64_t i = 0; i < size; i++) bits[i] = draw(2) ? (uint8_t)draw(256) : (uint8_t)(1u << draw(8));
    barnraise_lossless_read_tables(bits, bits + size, 1, SYMBOLS, made);
    free(bits), free(made);
}

int main(int count, char **arguments) {
    int64_t rounds = count > 1 ? atoll(arguments[1]) : 100, accepted = 0;
    uint32_t *logs = (uint32_t *)read_bytes(4 * 2049);
    void *work = calloc(1, (size_t)barnraise_lossless_work());
    uint8_t *room = malloc((size_t)barnraise_lossless_room());
    struct { int32_t layout[5], kind, has_base; } said;
    while (fread(&said, sizeof said, 1, stdin) == 1) {
        int64_t sizes[2];
        if (fread(sizes, sizeof sizes, 1, stdin) != 1) return 2;
        int64_t size = sizes[0], length = sizes[1];
        uint8_t *body = read_bytes(length), *base = said.has_base ? read_bytes(size) : NULL, *out = malloc((size_t)size);
        for (has_vectors = 0; has_vectors < 2; has_vectors++) {
            if (barnraise_lossless_decode(said.kind, body, length, base, size, said.layout, work, out)) return 3;
            int64_t again = barnraise_lossless_encode(out, base, size, said.layout, logs, work, room);
            if (again != length + 4 || memcmp(room + 4, body, (size_t)length)) return 4;
        }
        for (int64_t round = 0; round < rounds; round++) {
            has_vectors = (int)draw(2);
            uint8_t *bad = copy_of(body, length);
            int64_t left = damage(bad, length), asked = draw(8) ? size : said.layout[0] * (1 + (int64_t)draw((uint64_t)(size / said.layout[0])));
            uint8_t *short_bad = copy_of(bad, left), *short_base = base ? copy_of(base, asked) : NULL, *into = malloc((size_t)asked);
            int kind = draw(8) ? said.kind : (int)draw(6);
            accepted += !barnraise_lossless_decode(kind, short_bad, left, short_base, asked, said.layout, work, into);
            read_tables();
            free(bad), free(short_bad), free(short_base), free(into);
        }
        free(body), free(base), free(out);
    }
    free(logs), free(work), free(room);
    printf("DONE %lld\n", (long long)accepted);
    return 0;
}
