// Included before every file that is compiled: a program may let the loops do without what the processor has, so that
// it goes both ways.
__attribute__((weak)) int has_vectors = 1;
#define __builtin_cpu_supports(feature) (has_vectors && __builtin_cpu_supports(feature))
