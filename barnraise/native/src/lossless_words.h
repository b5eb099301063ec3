// The loops over words of one width; lossless.c includes this with WORD, SIGNED and NAME set.
#define FINE FINE_OF((int)sizeof(WORD))

// Floats to their numbers in order and back: all bits but the sign turn over where it is set.
ALWAYS WORD NAME(ordered)(WORD word, WORD turned) {
    return word ^ ((WORD)((SIGNED)word >> (8 * sizeof(WORD) - 1)) & turned);
}

// Folded differences of `count` words, at most GROUP, and their contexts; what is beyond them means nothing.
ALWAYS void NAME(fold)(const uint8_t *data, const uint8_t *base, int64_t count, Layout layout, WORD *folded,
                       uint16_t *pairs) {
    WORD turned = layout.is_float ? (WORD)-1 >> 1 : 0, words[GROUP], before[GROUP];
    copy_some(words, data, count * (int64_t)sizeof(WORD), sizeof words);
    copy_some(before, base, count * (int64_t)sizeof(WORD), sizeof before);
    for (int i = 0; i < GROUP; i++) {
        WORD change = (WORD)(NAME(ordered)(words[i], turned) - NAME(ordered)(before[i], turned));
        folded[i] = (WORD)(change << 1) ^ (WORD)((SIGNED)change >> (8 * sizeof(WORD) - 1));
        pairs[i] = (uint16_t)((uint32_t)((before[i] >> layout.shift) & (WORD)layout.mask) * TOKENS);
    }
}

// Tokens of a group that changed, each added to its context, and their open bits.
ALWAYS void NAME(tokens)(const WORD *folded, int64_t count, uint16_t *pairs, Low *low) {
    if (sizeof(WORD) > 4) {
        for (int64_t i = 0; i < count; i++) pairs[i] = (uint16_t)(pairs[i] + wide_token((uint64_t)folded[i], FINE, low));
        return;
    }
    uint32_t rest[GROUP], open[GROUP]; // many words at a time, so there is no question at any of them
    for (int i = 0; i < GROUP; i++) {
        uint32_t value = (uint32_t)folded[i], half = value >> 1, large = value >= DIRECT;
        uint32_t order = order_of(half | DIRECT / 2) + 1, fine = value >> (order - FINE) & ((1u << FINE) - 1);
        uint32_t token = DIRECT + (((order - 4) << FINE | fine) << 1 | (value & 1));
        open[i] = large ? order - FINE - 1 : 0;
        rest[i] = half & ((1u << open[i]) - 1);
        pairs[i] = (uint16_t)(pairs[i] + (large ? token : value));
    }
    Low here = *low; // in registers: what is stored might be it otherwise
    int64_t i = 0;
    for (; sizeof(WORD) <= 2 && i + 4 <= count; i += 4) {
        uint32_t one = rest[i] | rest[i + 1] << open[i], other = rest[i + 2] | rest[i + 3] << open[i + 2];
        uint32_t bits = open[i] + open[i + 1];
        put_low(&here, one | (uint64_t)other << bits, (int)(bits + open[i + 2] + open[i + 3]));
    }
    for (; i + 2 <= count; i += 2)
        put_low(&here, rest[i] | (uint64_t)rest[i + 1] << open[i], (int)(open[i] + open[i + 1]));
    if (i < count) put_low(&here, rest[i], (int)open[i]);
    *low = here;
}

// Pairs of context and token of the words in groups that changed, and how many they are; counted, and their open bits.
ALWAYS int64_t NAME(split)(const uint8_t *data, const uint8_t *base, int64_t words, Layout layout, const uint8_t *flags,
                           uint32_t *counts, uint16_t *pairs, Low *low, Range *range) {
    int64_t changed = 0;
    uint16_t least = 0xffff, most = 0;
    for (int64_t first = 0, group = 0; first < words; first += GROUP, group++) {
        if (!(flags[group >> 3] >> (group & 7) & 1)) continue;
        int64_t count = words - first < GROUP ? words - first : GROUP;
        WORD folded[GROUP];
        uint16_t *here = pairs + changed;
        NAME(fold)(data + first * sizeof(WORD), base + first * sizeof(WORD), count, layout, folded, here);
        NAME(tokens)(folded, count, here, low);
        for (int i = 0; i < (int)count; i++) {
            least = here[i] < least ? here[i] : least;
            most = here[i] > most ? here[i] : most;
        }
        for (int64_t i = 0; i < count; i++) counts[BANKS * here[i] + (i & (BANKS - 1))]++;
        changed += count;
    }
    *range = (Range){least / TOKENS, most / TOKENS};
    return changed;
}

// Words of one group from its tokens; the open bits were counted before.
ALWAYS void NAME(restore)(const uint8_t *base, int64_t count, Layout layout, const Meaning *meanings, const uint8_t *tokens,
                          LowBits *shared, uint8_t *out) {
    LowBits here = *shared, *low = &here;
    WORD turned = layout.is_float ? (WORD)-1 >> 1 : 0, words[GROUP], folded[GROUP];
    memcpy(words, base, (size_t)count * sizeof(WORD));
    if (sizeof(WORD) <= 4 && low->end - low->at >= GROUP * LOW_MOST + 64) { // so far from the end nobody needs to ask
        const uint8_t *data = low->data;
        uint64_t at = (uint64_t)low->at;
        for (int64_t i = 0; i < count; i++) {
            Meaning meaning = meanings[tokens[i]];
            uint64_t window;
            memcpy(&window, data + (at >> 3), 8);
            folded[i] = (WORD)(meaning.high | (uint64_t)((uint32_t)(window >> (at & 7)) & meaning.mask) << 1);
            at += meaning.open;
        }
        low->at = (int64_t)at;
    } else {
        for (int64_t i = 0; i < count; i++) {
            Meaning meaning = meanings[tokens[i]];
            uint64_t rest = sizeof(WORD) > 4 ? take_low(low, (int)meaning.open) : take_some_low(low, (int)meaning.open);
            folded[i] = (WORD)(meaning.high | rest << 1);
        }
    }
    *shared = here;
    for (int64_t i = 0; i < count; i++) {
        WORD change = (WORD)(folded[i] >> 1) ^ (WORD)(0 - (folded[i] & 1));
        words[i] = NAME(ordered)((WORD)(NAME(ordered)(words[i], turned) + change), turned);
    }
    memcpy(out, words, (size_t)count * sizeof(WORD));
}

// Tables of words, at most GROUP: how many lowest contexts are above a word's own, compared with many words at a time.
ALWAYS void NAME(contexts)(const uint8_t *base, int64_t count, Layout layout, const uint8_t *lowest, int tables,
                           uint8_t *which) {
    WORD words[GROUP] = {0};
    uint8_t contexts[GROUP], found[GROUP] = {0};
    memcpy(words, base, (size_t)count * sizeof(WORD));
    for (int i = 0; i < GROUP; i++) contexts[i] = (uint8_t)((words[i] >> layout.shift) & (WORD)layout.mask);
    for (int table = 0; table < tables - 1; table++)
        for (int i = 0; i < GROUP; i++) found[i] = (uint8_t)(found[i] + (contexts[i] < lowest[table]));
    memcpy(which, found, (size_t)count);
}

// One byte of every word, or back; the words of floats are turned left by one bit first.
ALWAYS void NAME(take_plane)(const uint8_t *data, int64_t words, Layout layout, int byte, uint8_t *plane) {
    for (int64_t i = 0; i < words; i++) {
        WORD word;
        memcpy(&word, data + i * sizeof(WORD), sizeof(WORD));
        if (layout.is_float) word = (WORD)(word << 1) | (WORD)(word >> (8 * sizeof(WORD) - 1));
        plane[i] = (uint8_t)(word >> (8 * byte));
    }
}

ALWAYS void NAME(join_planes)(const uint8_t *planes, int64_t words, Layout layout, uint8_t *out) {
    for (int64_t i = 0; i < words; i++) {
        WORD word = 0;
        for (int byte = 0; byte < (int)sizeof(WORD); byte++) word |= (WORD)((WORD)planes[byte * words + i] << (8 * byte));
        if (layout.is_float) word = (WORD)(word >> 1) | (WORD)(word << (8 * sizeof(WORD) - 1));
        memcpy(out + i * sizeof(WORD), &word, sizeof(WORD));
    }
}

#undef FINE
#undef WORD
#undef SIGNED
#undef NAME
