// The loops over words of one width; lossless.c includes this with WORD, SIGNED and NAME set.
#define FINE FINE_OF((int)sizeof(WORD))

// Floats to their numbers in order and back: all bits but the sign turn over where it is set.
ALWAYS WORD NAME(ordered)(WORD word, WORD turned) {
    return word ^ ((WORD)((SIGNED)word >> (8 * sizeof(WORD) - 1)) & turned);
}

// Folded differences of `count` words, at most GROUP, and their contexts.
ALWAYS void NAME(fold)(const uint8_t *data, const uint8_t *base, int64_t count, Layout layout, WORD *folded,
                       uint8_t *contexts) {
    WORD turned = layout.is_float ? (WORD)-1 >> 1 : 0, words[GROUP], before[GROUP];
    memcpy(words, data, (size_t)count * sizeof(WORD));
    memcpy(before, base, (size_t)count * sizeof(WORD));
    for (int64_t i = 0; i < count; i++) {
        WORD change = (WORD)(NAME(ordered)(words[i], turned) - NAME(ordered)(before[i], turned));
        folded[i] = (WORD)(change << 1) ^ (WORD)((SIGNED)change >> (8 * sizeof(WORD) - 1));
        contexts[i] = (uint8_t)((before[i] >> layout.shift) & (WORD)layout.mask);
    }
}

// Tokens of words that changed, their counts, and their open bits.
ALWAYS void NAME(tokens)(const WORD *folded, const uint8_t *contexts, int64_t count, uint8_t *tokens, uint32_t *counts,
                         Low *shared) {
    Low here = *shared, *low = &here; // in registers: what is stored below might be it otherwise
    for (int64_t i = 0; i < count; i++) {
        uint32_t token = (uint32_t)folded[i];
        if (folded[i] >= DIRECT) {
            uint64_t value = folded[i];
            int order = 63 - __builtin_clzll((unsigned long long)value), open = order - FINE - 1;
            uint32_t fine = (uint32_t)(value >> (order - FINE)) & ((1u << FINE) - 1);
            token = DIRECT + (((uint32_t)(order - 4) << FINE | fine) << 1 | (token & 1));
            put_low(low, (value >> 1) & ((1ull << open) - 1), open);
        }
        tokens[i] = (uint8_t)token;
        counts[(i & 1) * CONTEXTS * TOKENS + contexts[i] * TOKENS + token]++;
    }
    *shared = here;
}

ALWAYS int64_t NAME(split)(const uint8_t *data, const uint8_t *base, int64_t words, Layout layout, const uint8_t *flags,
                           Change *change, Low *low) {
    int64_t changed = 0;
    for (int64_t first = 0, group = 0; first < words; first += GROUP, group++) {
        if (!(flags[group >> 3] >> (group & 7) & 1)) continue;
        int64_t count = words - first < GROUP ? words - first : GROUP;
        WORD folded[GROUP];
        NAME(fold)(data + first * sizeof(WORD), base + first * sizeof(WORD), count, layout, folded, change->contexts + changed);
        NAME(tokens)(folded, change->contexts + changed, count, change->tokens + changed, change->counts, low);
        changed += count;
    }
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
