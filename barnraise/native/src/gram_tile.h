// The inner loops of gram.c for one vector width; included once for each, with WIDTH (doubles in a vector) and
// NAME(x) defined. No include guard for that reason.
//
// A block is gone through once for every GROUP of its lanes, so that the tile and the running sums stay in the
// first-level cache. Two rows meet three rows at a time: twelve running sums of one vector each stay in registers,
// and ten loads feed twelve multiply-adds. A product of two float32 is exact in float64, so a fused multiply-add
// rounds as a multiply and an add do: whether the processor has one is of no consequence.

#define GROUP (2 * WIDTH)

typedef double NAME(vec) __attribute__((vector_size(WIDTH * sizeof(double))));

// sums[first + a][second + b] += rows first and second of the tile, for a < 2, b < 3, lane by lane.
static void NAME(meet)(const double *tile, int64_t first, int64_t second, int64_t stride, double *sums) {
    typedef NAME(vec) vec;
    enum { ROW = STEPS * GROUP };
    const double *a0 = tile + first * ROW, *a1 = a0 + ROW;
    const double *b0 = tile + second * ROW, *b1 = b0 + ROW, *b2 = b1 + ROW;
    vec *c0 = (vec *)(sums + (first * stride + second) * GROUP), *c1 = (vec *)((double *)c0 + stride * GROUP);
    vec s00l = c0[0], s00h = c0[1], s01l = c0[2], s01h = c0[3], s02l = c0[4], s02h = c0[5];
    vec s10l = c1[0], s10h = c1[1], s11l = c1[2], s11h = c1[3], s12l = c1[4], s12h = c1[5];
    for (int at = 0; at < ROW; at += GROUP) {
#define IN(p, n) (*(const vec *)((p) + (n)))
#define STEP(half, n)                                          \
    {                                                          \
        vec x = IN(a0, n), y = IN(a1, n), z;                   \
        z = IN(b0, n); IN_REGISTER(z); s00##half += x * z, s10##half += y * z; \
        z = IN(b1, n); IN_REGISTER(z); s01##half += x * z, s11##half += y * z; \
        z = IN(b2, n); IN_REGISTER(z); s02##half += x * z, s12##half += y * z; \
    }
        STEP(l, at) STEP(h, at + WIDTH)
#undef STEP
#undef IN
    }
    c0[0] = s00l, c0[1] = s00h, c0[2] = s01l, c0[3] = s01h, c0[4] = s02l, c0[5] = s02h;
    c1[0] = s10l, c1[1] = s10h, c1[2] = s11l, c1[3] = s11h, c1[4] = s12l, c1[5] = s12h;
}

// One block of every row into lanes[group][row * stride + row][lane of the group].
static void NAME(block)(const float *const *x, int64_t count, int64_t stride, double *tile, double *lanes) {
    memset(lanes, 0, (size_t)(stride * stride) * LANES * sizeof(double));
    for (int group = 0; group < LANES; group += GROUP) {
        double *sums = lanes + group * stride * stride;
        for (int start = group; start < BLOCK; start += STEPS * LANES) {
            for (int64_t r = 0; r < count; r++)
                for (int step = 0; step < STEPS; step++) {
                    const float *from = x[r] + start + step * LANES;
                    __builtin_prefetch(from + STEPS * LANES); // the next tile's; beyond the end it does nothing
                    for (int lane = 0; lane < GROUP; lane++) tile[(r * STEPS + step) * GROUP + lane] = from[lane];
                }
            for (int64_t first = 0; first < count; first += 2)
                for (int64_t second = first; second < count; second += 3)
                    NAME(meet)(tile, first, second, stride, sums);
        }
    }
}

// Lanes of one pair, in order.
static void NAME(gather)(const double *lanes, int64_t pair, int64_t stride, double *to) {
    for (int lane = 0; lane < LANES; lane++)
        to[lane] = lanes[lane / GROUP * GROUP * stride * stride + pair * GROUP + lane % GROUP];
}

#undef GROUP
