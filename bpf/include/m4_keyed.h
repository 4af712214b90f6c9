// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Token buckets that are kept for each value of a part of the request. A value is known by a hash of 128 bits under a
// secret key, so that nobody can find two that share a bucket.
//
// A bucket that is full again is as one that was never asked, and goes when room is needed. Where so many are not full
// that there is no room, a new value gets no token: a limit may refuse too much then, and never allows too much.
#pragma once

#include "m4_state.h"

#define M4_BUCKETS 65536

struct m4_value {
    u64 state, low, high;  // of a hash; high: an even number if there is no value
};

// When each is full again, as m4_state.due.
M4_DEFINE(m4_buckets, HASH, struct m4_value, u64, M4_BUCKETS, BPF_F_NO_PREALLOC)

struct m4_keeping {
    u64 secret[2];
    u64 swept;  // when buckets were last searched for such as are full again
};

M4_DEFINE(m4_keeper, ARRAY, u32, struct m4_keeping, 1, 0)

#ifdef M4_BCC

// The loader refuses policies that would need it: there are no functions that a loop over a map could call.
M4_FUNCTION int m4_take_for(const struct m4_work *w, u64 part, u64 key, u64 interval, u64 slack)
{
    return 0;
}

#else

#define M4_GONE ~0ULL            // the moment of a bucket that is being removed
#define M4_SWEEP_EVERY 100000000 // nanoseconds between two searches for buckets that are full again

// SipHash-2-4 with 128 bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; the longer result as in
// their reference implementation).
struct m4_siphash {
    const struct m4_work *w;
    u64 at;
    u64 v0, v1, v2, v3;
};

static __always_inline u64 m4_turned(u64 x, u32 by)
{
    return x << by | x >> (64 - by);
}

static __always_inline void m4_sip(struct m4_siphash *h, u32 rounds)
{
#pragma unroll
    for (u32 i = 0; i < rounds; i++) {
        h->v0 += h->v1;
        h->v2 += h->v3;
        h->v1 = m4_turned(h->v1, 13) ^ h->v0;
        h->v3 = m4_turned(h->v3, 16) ^ h->v2;
        h->v0 = m4_turned(h->v0, 32);
        h->v2 += h->v1;
        h->v0 += h->v3;
        h->v1 = m4_turned(h->v1, 17) ^ h->v2;
        h->v3 = m4_turned(h->v3, 21) ^ h->v0;
        h->v2 = m4_turned(h->v2, 32);
    }
}

static __always_inline u64 m4_sip_word(const struct m4_siphash *h, u32 i)
{
    u64 from = h->at + 8 * i;
    M4_HIDE(from);
    from &= M4_TEXT_MASK;
    return *(const u64 *)(h->w->text + from);
}

static __always_inline void m4_sip_in(struct m4_siphash *h, u64 word)
{
    h->v3 ^= word;
    m4_sip(h, 2);
    h->v0 ^= word;
}

M4_CALLED long m4_sip_next(u32 i, struct m4_siphash *h)
{
    m4_sip_in(h, m4_sip_word(h, i));
    return 0;
}

static __always_inline void m4_hash(const struct m4_work *w, struct m4_text text, const u64 *secret, struct m4_value *out)
{
    struct m4_siphash h = {
        w,
        text.at,
        secret[0] ^ 0x736f6d6570736575ULL,
        secret[1] ^ 0x646f72616e646f6dULL ^ 0xee,
        secret[0] ^ 0x6c7967656e657261ULL,
        secret[1] ^ 0x7465646279746573ULL,
    };
    u32 words = text.len / 8;
    M4_LOOP(words, M4_HEAD / 8, m4_sip_next, &h);
    u64 rest = m4_sip_word(&h, words) & ((1ULL << (text.len & 7) * 8) - 1);
    m4_sip_in(&h, rest | (u64)text.len << 56);
    h.v2 ^= 0xee;
    m4_sip(&h, 4);
    out->low = h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
    h.v1 ^= 0xdd;
    m4_sip(&h, 4);
    out->high = (h.v0 ^ h.v1 ^ h.v2 ^ h.v3) | 1;
}

struct m4_sweep {
    u64 now;
};

// A bucket goes only if nobody takes a token of it at this moment: who does finds that it is gone, and makes another.
static long m4_sweep_one(void *map, struct m4_value *value, u64 *bucket, struct m4_sweep *sweep)
{
    u64 due = *(volatile u64 *)bucket;
    if (due <= sweep->now && __sync_val_compare_and_swap(bucket, due, M4_GONE) == due)
        bpf_map_delete_elem(map, value);
    return 0;
}

static __always_inline u64 *m4_bucket_of(const struct m4_value *value, struct m4_keeping *keeper, u64 now)
{
    u64 fresh = 0, *bucket = bpf_map_lookup_elem(&m4_buckets, value);
    if (bucket)
        return bucket;
    if (bpf_map_update_elem(&m4_buckets, value, &fresh, BPF_NOEXIST) == -7 /* E2BIG: no room */) {
        u64 swept = *(volatile u64 *)&keeper->swept;
        if (now - swept < M4_SWEEP_EVERY || __sync_val_compare_and_swap(&keeper->swept, swept, now) != swept)
            return 0;
        struct m4_sweep sweep = {now};
        bpf_for_each_map_elem(&m4_buckets, m4_sweep_one, &sweep, 0);
        bpf_map_update_elem(&m4_buckets, value, &fresh, BPF_NOEXIST);
    }
    return bpf_map_lookup_elem(&m4_buckets, value);
}

static __always_inline void m4_make_secret(u64 *at)
{
    if (!*(volatile u64 *)at)
        __sync_val_compare_and_swap(at, 0, (u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32() | 1);
}

// As m4_take, of the bucket of a state for the value of a part of the request; no value is one more.
M4_FUNCTION int m4_take_for(const struct m4_work *w, u64 part, u64 key, u64 interval, u64 slack)
{
    u32 zero = 0;
    struct m4_keeping *keeper = bpf_map_lookup_elem(&m4_keeper, &zero);
    if (!w || !keeper)
        return 0;
    m4_make_secret(&keeper->secret[0]);
    m4_make_secret(&keeper->secret[1]);
    struct m4_value value = {key, 0, 0};
    M4_HIDE(part);
    part &= M4_PARTS - 1;
    if (w->present >> part & 1)
        m4_hash(w, w->part[part], keeper->secret, &value);
    u64 now = bpf_ktime_get_ns();
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_TRIES; i++) {
        u64 *bucket = m4_bucket_of(&value, keeper, now);
        if (!bucket)
            return 0;
        u64 due = *(volatile u64 *)bucket;
        u32 taken = due == M4_GONE ? M4_AGAIN : m4_try_to_take(bucket, due, now, interval, slack);
        if (taken != M4_AGAIN)
            return taken;
    }
    return 0;
}

#endif
