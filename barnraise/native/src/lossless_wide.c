// Symbols of 32 lanes put and taken, eight at a time: what lossless_rans.c does, where the processor has AVX2.
//
// The words of a stream lie in the order of the lanes that are empty, so eight lanes take as many as have
// a bit in a mask, and the mask says which lane each of them goes to.
#include "lossless.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

// Which of the words that follow goes to each of eight lanes: as many as lanes before it are empty.
#define BEFORE(mask, lane) ((mask) & (1 << (lane)) ? 1 : 0)
#define PLACE1(m) BEFORE(m, 0)
#define PLACE2(m) PLACE1(m) + BEFORE(m, 1)
#define PLACE3(m) PLACE2(m) + BEFORE(m, 2)
#define PLACE4(m) PLACE3(m) + BEFORE(m, 3)
#define PLACE5(m) PLACE4(m) + BEFORE(m, 4)
#define PLACE6(m) PLACE5(m) + BEFORE(m, 5)
#define PLACE7(m) PLACE6(m) + BEFORE(m, 6)
#define PLACES1(m) {0, PLACE1(m), PLACE2(m), PLACE3(m), PLACE4(m), PLACE5(m), PLACE6(m), PLACE7(m)}
#define PLACES4(m) PLACES1(m), PLACES1((m) + 1), PLACES1((m) + 2), PLACES1((m) + 3)
#define PLACES16(m) PLACES4(m), PLACES4((m) + 4), PLACES4((m) + 8), PLACES4((m) + 12)
#define PLACES64(m) PLACES16(m), PLACES16((m) + 16), PLACES16((m) + 32), PLACES16((m) + 48)
static const uint8_t PLACES[256][8] = {PLACES64(0), PLACES64(64), PLACES64(128), PLACES64(192)};

#define WIDE static inline __attribute__((always_inline, target("avx2,popcnt")))

// Eight symbols, in 32 bits each; `next` goes on by the words that were taken.
WIDE __m256i pull_eight(__m256i *states, const Decoding *tables, const uint8_t *which, const uint8_t **next) {
    __m256i state = *states, slots = _mm256_and_si256(state, _mm256_set1_epi32(SCALE - 1));
    if (which) {
        __m256i table = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)which));
        slots = _mm256_or_si256(slots, _mm256_slli_epi32(table, SCALE_LOG));
    }
    __m256i found = _mm256_i32gather_epi32((const int *)tables, slots, 4);
    __m256i less = _mm256_and_si256(_mm256_srli_epi32(found, 8), _mm256_set1_epi32(SCALE - 1));
    __m256i frequency = _mm256_add_epi32(less, _mm256_set1_epi32(1));
    state = _mm256_mullo_epi32(frequency, _mm256_srli_epi32(state, SCALE_LOG));
    state = _mm256_add_epi32(state, _mm256_srli_epi32(found, 8 + SCALE_LOG));
    __m256i empty = _mm256_cmpgt_epi32(_mm256_set1_epi32(LOWEST), state);
    unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(empty));
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)*next));
    words = _mm256_permutevar8x32_epi32(words, _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)PLACES[mask])));
    *next += 2 * __builtin_popcount(mask);
    words = _mm256_or_si256(_mm256_slli_epi32(state, 16), words);
    *states = _mm256_blendv_epi8(state, words, empty);
    return _mm256_and_si256(found, _mm256_set1_epi32(SYMBOLS - 1));
}

WIDE int64_t turns(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count, uint8_t *symbols) {
    __m256i states[4], order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); // undoes what packing halves does to it
    for (int part = 0; part < 4; part++) states[part] = _mm256_loadu_si256((const __m256i *)stream->states + part);
    const uint8_t *next = stream->next, *last = stream->end - 2 * LANES_MOST;
    int64_t i = 0;
    for (; i + LANES_MOST <= count && next <= last; i += LANES_MOST) {
        __m256i pulled[4];
        for (int part = 0; part < 4; part++)
            pulled[part] = pull_eight(states + part, tables, which ? which + i + 8 * part : NULL, &next);
        __m256i low = _mm256_packus_epi32(pulled[0], pulled[1]), high = _mm256_packus_epi32(pulled[2], pulled[3]);
        __m256i packed = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
        _mm256_storeu_si256((__m256i *)(symbols + i), packed);
    }
    for (int part = 0; part < 4; part++) _mm256_storeu_si256((__m256i *)stream->states + part, states[part]);
    stream->next = next;
    return i;
}

__attribute__((target("avx2,popcnt"))) static int64_t take_wide(Stream *stream, const Decoding *tables,
                                                                const uint8_t *which, int64_t count, uint8_t *symbols) {
    return which ? turns(stream, tables, which, count, symbols) : turns(stream, tables, NULL, count, symbols);
}

int64_t barnraise_lossless_take_wide(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count,
                                     uint8_t *symbols) {
    if (!__builtin_cpu_supports("avx2")) return 0;
    return take_wide(stream, tables, which, count, symbols);
}

// The lanes that a mask names, in order, as the last of eight.
static void gather_lanes(uint8_t lanes[256][8]) {
    for (int mask = 0; mask < 256; mask++)
        for (int lane = 7, place = 7; lane >= 0; lane--)
            if (mask >> lane & 1) lanes[mask][place--] = (uint8_t)lane;
}

WIDE __m256i divided(__m256i state, __m256i reciprocal, __m256i places) {
    __m256i even = _mm256_mul_epu32(state, reciprocal);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(state, 32), _mm256_srli_epi64(reciprocal, 32));
    even = _mm256_srlv_epi64(even, _mm256_and_si256(places, _mm256_set1_epi64x(0xffffffff)));
    odd = _mm256_slli_epi64(_mm256_srlv_epi64(odd, _mm256_srli_epi64(places, 32)), 32);
    return _mm256_blend_epi32(even, odd, 0xaa);
}

// Eight symbols onto eight states; words of those that are full go out below `*at`, and 16 bytes there are written to.
WIDE __m256i push_eight(__m256i state, __m256i index, const Encoding *made, const uint8_t lanes[256][8], uint8_t **at) {
    // Both halves of an encoding at once: a gather takes as long as it has loads.
    __m256i first = _mm256_i32gather_epi64((const long long *)made, _mm256_castsi256_si128(index), 8);
    __m256i last = _mm256_i32gather_epi64((const long long *)made, _mm256_extracti128_si256(index, 1), 8);
    __m256 one = _mm256_castsi256_ps(first), other = _mm256_castsi256_ps(last);
    __m256i reciprocal = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(one, other, 0x88)), 0xd8);
    __m256i how = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(one, other, 0xdd)), 0xd8);
    __m256i low = _mm256_set1_epi32(0xfff), frequency = _mm256_and_si256(how, low);
    __m256i room = _mm256_sub_epi32(frequency, _mm256_set1_epi32(1));
    __m256i full = _mm256_cmpgt_epi32(_mm256_srli_epi32(state, 31 - SCALE_LOG), room);
    unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(full));
    __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)lanes[mask]));
    __m256i words = _mm256_permutevar8x32_epi32(_mm256_and_si256(state, _mm256_set1_epi32(0xffff)), order);
    __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(*at - 16), packed);
    *at -= 2 * __builtin_popcount(mask);
    state = _mm256_blendv_epi8(state, _mm256_srli_epi32(state, 16), full);
    __m256i whole = divided(state, reciprocal, _mm256_srli_epi32(how, 24));
    __m256i grown = _mm256_mullo_epi32(whole, _mm256_sub_epi32(_mm256_set1_epi32(SCALE), frequency));
    return _mm256_add_epi32(_mm256_add_epi32(state, grown), _mm256_and_si256(_mm256_srli_epi32(how, 12), low));
}

WIDE void pushes(uint32_t *found, const uint8_t *symbols, const uint16_t *pairs, int64_t count, const Encoding *made,
                 uint8_t **shared) {
    uint8_t lanes[256][8] = {{0}}, *at = *shared;
    gather_lanes(lanes);
    __m256i states[4];
    for (int part = 0; part < 4; part++) states[part] = _mm256_loadu_si256((const __m256i *)found + part);
    for (int64_t i = count; i > 0; i -= LANES_MOST)
        for (int part = 3; part >= 0; part--) {
            int64_t from = i - LANES_MOST + 8 * part;
            __m256i index = symbols ? _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(symbols + from)))
                                    : _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(pairs + from)));
            states[part] = push_eight(states[part], index, made, lanes, &at);
        }
    for (int part = 0; part < 4; part++) _mm256_storeu_si256((__m256i *)found + part, states[part]);
    *shared = at;
}

__attribute__((target("avx2,popcnt"))) static void push_wide(uint32_t *states, const uint8_t *symbols,
                                                             const uint16_t *pairs, int64_t count, const Encoding *made,
                                                             uint8_t **at) {
    if (symbols)
        pushes(states, symbols, NULL, count, made, at);
    else
        pushes(states, NULL, pairs, count, made, at);
}

int barnraise_lossless_push_wide(uint32_t *states, const uint8_t *symbols, const uint16_t *pairs, int64_t count,
                                 const Encoding *made, uint8_t **at) {
    if (!__builtin_cpu_supports("avx2")) return 0;
    push_wide(states, symbols, pairs, count, made, at);
    return 1;
}
#else
int barnraise_lossless_push_wide(uint32_t *states, const uint8_t *symbols, const uint16_t *pairs, int64_t count,
                                 const Encoding *made, uint8_t **at) {
    (void)states, (void)symbols, (void)pairs, (void)count, (void)made, (void)at;
    return 0;
}

int64_t barnraise_lossless_take_wide(Stream *stream, const Decoding *tables, const uint8_t *which, int64_t count,
                                     uint8_t *symbols) {
    (void)stream, (void)tables, (void)which, (void)count, (void)symbols;
    return 0;
}
#endif
