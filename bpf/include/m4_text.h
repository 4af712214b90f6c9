// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Comparisons of a piece of the request with a constant that the compiler knows: 0 or 1, without branches, eight bytes at
// a time, so that the verifier sees one path. The machine has no instruction that turns a comparison into 0 or 1; hence
// the arithmetic, hidden from a compiler that would make branches of it. For constants of policies see m4_rules.h.
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
