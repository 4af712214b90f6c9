// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Comparisons of a piece of the request with a constant: 0 or 1, without branches, eight bytes at a time.
// Conditions are built from them with & | ^, so that the verifier sees one path however large a condition is. The
// machine has no instruction that turns a comparison into 0 or 1; hence the arithmetic, hidden from a compiler that
// would make branches of it.
#pragma once

#include "m4_types.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "constants are laid out for little-endian machines"
#endif

static __always_inline u64 m4_nonzero(u64 x)
{
    u64 negative = -x;
    M4_OPAQUE(negative);
    x = (x | negative) >> 63;
    M4_OPAQUE(x);
    return x;
}

static __always_inline u64 m4_is(u64 a, u64 b)
{
    return m4_nonzero(a ^ b) ^ 1;
}

static __always_inline u64 m4_at_least(u32 a, u32 b)
{
    u64 below = (u64)a - b;
    M4_OPAQUE(below);
    below >>= 63;
    M4_OPAQUE(below);
    return below ^ 1;
}

// Up to eight bytes of a literal as one number; with `fold`, the mask that maps ASCII capitals to small letters.
static __always_inline u64 m4_word(const char *literal, u32 from, u32 size, int fold)
{
    u64 word = 0;
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
        if (from + i >= size)
            break;
        u8 byte = literal[from + i];
        if (fold)
            byte = byte >= 'a' && byte <= 'z' ? 0x20 : 0;
        word |= (u64)byte << 8 * i;
    }
    return word;
}

// Are the `size` bytes at `at` the literal's? With `fold` (the literal is in lower case) ASCII case does not matter.
static __always_inline u64 m4_same(const struct m4_work *w, u32 at, const char *literal, u32 size, int fold)
{
    u64 offset = at, difference = 0;
    M4_HIDE(offset);
    offset &= M4_TEXT_MASK;
    const u8 *text = w->text + offset;
#pragma unroll
    for (u32 i = 0; i < size; i += 8) {
        u64 word = *(const u64 *)(text + i);
        if (fold)
            word |= m4_word(literal, i, size, 1);
        word ^= m4_word(literal, i, size, 0);
        if (size - i < 8)
            word &= (1ULL << 8 * (size - i)) - 1;
        difference |= word;
    }
    return m4_is(difference, 0);
}

// The value of a request attribute and whether it is there at all; rules name them M4_METHOD(w) and so on.
struct m4_value {
    u64 present;
    u32 at, len;
};

static __always_inline struct m4_value m4_value_of(const struct m4_text *text, u64 present)
{
    return (struct m4_value){present, text->at, text->len};
}

#define M4_TAG(w) ((w)->tag)
#define M4_TAGGED(w, value) m4_is(M4_TAG(w), value)
#define M4_METHOD(w) m4_value_of(&(w)->method, 1)
#define M4_TARGET(w) m4_value_of(&(w)->target, 1)
#define M4_URL_PATH(w) m4_value_of(&(w)->path, 1)
#define M4_HEADER(w, i) m4_value_of(&(w)->field[i].value, m4_nonzero((w)->field[i].count))

static __always_inline u64 m4_equals(const struct m4_work *w, struct m4_value v, const char *literal, u32 size)
{
    return v.present & m4_is(v.len, size) & m4_same(w, v.at, literal, size, 0);
}

static __always_inline u64 m4_starts_with(const struct m4_work *w, struct m4_value v, const char *literal, u32 size)
{
    return v.present & m4_at_least(v.len, size) & m4_same(w, v.at, literal, size, 0);
}

static __always_inline u64 m4_ends_with(const struct m4_work *w, struct m4_value v, const char *literal, u32 size)
{
    return v.present & m4_at_least(v.len, size) & m4_same(w, v.at + v.len - size, literal, size, 0);
}

struct m4_search {
    struct m4_work *w;
    u32 at;
};

// Defines NAME(w, value): does the value contain the literal?
#define M4_CONTAINS(NAME, LITERAL, SIZE)                                               \
    static long NAME##_at(u32 i, struct m4_search *s)                                  \
    {                                                                                  \
        s->w->found = m4_same(s->w, s->at + i, LITERAL, SIZE, 0);                      \
        return s->w->found != 0;                                                       \
    }                                                                                  \
    static __always_inline u64 NAME(struct m4_work *w, struct m4_value v)              \
    {                                                                                  \
        struct m4_search search = {w, v.at};                                           \
        u32 places = (v.len - (SIZE) + 1) & -(v.present & m4_at_least(v.len, SIZE));   \
        w->found = 0;                                                                  \
        bpf_loop(places, NAME##_at, &search, 0);                                       \
        return w->found & 1;                                                           \
    }

// What a rule can do to the request at hand. Of several refusals the one with the smallest status is answered.
static __always_inline void m4_deny(struct m4_work *w, u32 status)
{
    if (!w->status || status < w->status) {
        w->status = status;
        w->rule = w->by;
    }
}
