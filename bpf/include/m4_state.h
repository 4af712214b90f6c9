// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// States that policies keep: counters and token buckets. They have names, so that the next program of the service finds
// what the one before has kept.
#pragma once

#include "m4_types.h"

#define M4_STATES 1024
#define M4_TRIES 64  // of a token that others take at the same moment; then there was none

struct m4_state {
    u64 due;    // a token bucket: when it is full again (nanoseconds of the monotonic clock)
    s64 tally;  // a counter
};

// By the number that the loader makes of a state's name.
M4_DEFINE(m4_states, HASH, u64, struct m4_state, M4_STATES, BPF_F_NO_PREALLOC)

static __always_inline struct m4_state *m4_state_of(u64 key)
{
    struct m4_state fresh = {}, *state = bpf_map_lookup_elem(M4_MAP(m4_states), &key);
    if (state)
        return state;
    bpf_map_update_elem(M4_MAP(m4_states), &key, &fresh, BPF_NOEXIST);
    return bpf_map_lookup_elem(M4_MAP(m4_states), &key);
}

M4_FUNCTION int m4_count(u64 key, s64 by)
{
    struct m4_state *state = m4_state_of(key);
    if (state)
        __sync_fetch_and_add(&state->tally, by);
    return 0;
}

// One try to take a token, at the moment `due`: yes, no, or that somebody else was faster.
enum m4_taken { M4_NONE_LEFT, M4_TAKEN, M4_AGAIN };

static __always_inline u32 m4_try_to_take(u64 *at, u64 due, u64 now, u64 interval, u64 slack)
{
    u64 from = due > now ? due : now;
    if (from - now > slack)
        return M4_NONE_LEFT;
    return __sync_val_compare_and_swap(at, due, from + interval) == due ? M4_TAKEN : M4_AGAIN;
}

// Takes a token of a bucket that fills by one each `interval`, and is `slack` from full when it holds one more than
// none; both in nanoseconds. The bucket is one number, the moment at which it is full again, so that a token is taken by
// one exchange (the generic cell rate algorithm, ITU-T I.371).
M4_FUNCTION int m4_take(u64 key, u64 interval, u64 slack)
{
    struct m4_state *state = m4_state_of(key);
    u64 now = bpf_ktime_get_ns();
    if (!state)
        return 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_TRIES; i++) {
        u32 taken = m4_try_to_take(&state->due, *(volatile u64 *)&state->due, now, interval, slack);
        if (taken != M4_AGAIN)
            return taken;
    }
    return 0;
}

// The answers that states gave to this request, by the number of the question.
#define M4_QUESTIONS 64
#define M4_ANSWER(w, number, answer) ((w)->answers |= (u64)((answer) & 1) << ((number) & (M4_QUESTIONS - 1)))
