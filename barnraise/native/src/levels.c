// What fitting one or two levels to a segment's entries adds up: the compiled twin of merge/compress/topk.py.
//
// Every sum has the order of merge.exact.tree_sum: filled up with zeros to a power of two, and halves are added until
// one number is left. Adding the zeros changes nothing here, as no term is negative.
#include "kernels.h"

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS double halved(double *sums, int64_t width) {
    for (width /= 2; width; width /= 2)
        for (int64_t i = 0; i < width; i++) sums[i] += sums[i + width];
    return sums[0];
}

ALWAYS double size_of(float value) { return value < 0.0f ? -(double)value : (double)value; }

// The mean magnitude of every chunk, and every magnitude in units of it. `room` has `width` numbers, a power of two
// that no chunk's count exceeds.
EXPORT void barnraise_relative(const float *values, const uint32_t *counts, int64_t chunks, int64_t width, double *room,
                               double *means, double *relative);
MULTIVERSION void barnraise_relative(const float *values, const uint32_t *counts, int64_t chunks, int64_t width,
                                     double *room, double *means, double *relative) {
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t count = counts[chunk];
        for (int64_t i = 0; i < width; i++) room[i] = i < count ? size_of(values[i]) : 0.0;
        double mean = halved(room, width) / (double)(count ? count : 1);
        for (int64_t i = 0; i < count; i++) relative[i] = size_of(values[i]) / mean;
        means[chunk] = mean;
        values += count;
        relative += count;
    }
}

// The sums of what is at most `border` and of what is above, and how many are above. `room` has `width` numbers.
EXPORT int64_t barnraise_parted(const double *terms, int64_t size, int64_t width, double border, double *room,
                                double *sums);
MULTIVERSION int64_t barnraise_parted(const double *restrict terms, int64_t size, int64_t width, double border,
                                      double *restrict room, double *restrict sums) {
    int64_t half = width / 2, paired = size - half, above = 0;
    if (width == 1) {
        above = terms[0] > border;
        sums[0] = above ? 0.0 : terms[0];
        sums[1] = above ? terms[0] : 0.0;
        return above;
    }
    for (int64_t i = 0; i < size; i++) above += terms[i] > border;
    for (int part = 0; part < 2; part++) {
        for (int64_t i = 0; i < paired; i++) {
            double one = (terms[i] > border) == part ? terms[i] : 0.0;
            double other = (terms[i + half] > border) == part ? terms[i + half] : 0.0;
            room[i] = one + other;
        }
        for (int64_t i = paired; i < half; i++) room[i] = (terms[i] > border) == part ? terms[i] : 0.0;
        sums[part] = halved(room, half);
    }
    return above;
}

ALWAYS double square(double term, double level) {
    double error = term - level;
    return error * error;
}

// The sum of squares of what `low` below the border and `high` above it leave of the terms.
EXPORT double barnraise_left_out(const double *terms, int64_t size, int64_t width, double border, double low, double high,
                                 double *room);
MULTIVERSION double barnraise_left_out(const double *restrict terms, int64_t size, int64_t width, double border,
                                       double low, double high, double *restrict room) {
    int64_t half = width / 2, paired = size - half;
    if (width == 1) return square(terms[0], terms[0] > border ? high : low);
    for (int64_t i = 0; i < half; i++) {
        double error = square(terms[i], terms[i] > border ? high : low);
        room[i] = error;
    }
    for (int64_t i = 0; i < paired; i++) room[i] += square(terms[i + half], terms[i + half] > border ? high : low);
    return halved(room, half);
}
