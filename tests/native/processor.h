// Included before every file that is compiled: a program may let the loops do without what the processor has, so that
// it goes both ways.
__attribute__((weak)) int has_vectors = 1;
#define __builtin_cpu_supports(feature) (has_vectors && __builtin_cpu_supports(feature))

#if defined(__x86_64__) && defined(__GNUC__)
#define _DEFAULT_SOURCE // which counts before the first header only, and loops that need it say so themselves
#include <immintrin.h>
#undef _DEFAULT_SOURCE

// No sanitizer sees what a gather reads, so here the numbers are read one by one.
__attribute__((target("avx2"), unused)) static __m256i gathered(const int *table, __m256i at) {
    int places[8], found[8];
    _mm256_storeu_si256((__m256i *)places, at);
    for (int i = 0; i < 8; i++) found[i] = table[places[i]];
    return _mm256_loadu_si256((const __m256i *)found);
}
#undef _mm256_i32gather_epi32
#define _mm256_i32gather_epi32(table, at, bytes) gathered(table, at)
#endif
