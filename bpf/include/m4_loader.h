// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What differs between the two ways to make a program of this source.
//
// clang and libbpf: maps are found by their names, loops call a function, fields of the kernel are found by its type
// information.
//
// bcc (M4_BCC) has neither functions of its own, nor constants in memory, nor a helper for loops. It only compiles: all is
// inlined, loops have a bound that the verifier walks through (so that less fits, see the limits in m4_types.h), maps are
// numbers that the loader replaces, and what the loader has to know is what functions return: m4_about_… of each map,
// m4_table_… of the constants. Where the kernel's fields are, the loader says (M4_TCP_…).
#pragma once

#ifdef M4_BCC

#define SEC(name)
#define M4_FUNCTION static __attribute__((always_inline)) inline
#define M4_APART static __attribute__((always_inline)) inline
#define M4_CALLED static __attribute__((always_inline)) inline
#ifndef __always_inline
#define __always_inline __attribute__((always_inline)) inline
#endif

// Numbers of the maps, in place of their addresses.
enum {
    M4_MAP_m4_hops = 1, M4_MAP_m4_sockets, M4_MAP_m4_conns, M4_MAP_m4_counts, M4_MAP_m4_works, M4_MAP_m4_refused,
    M4_MAP_m4_refusals, M4_MAP_m4_judges, M4_MAP_m4_sets, M4_MAP_m4_current, M4_MAP_m4_states, M4_MAP_m4_tables,
    M4_MAP_m4_buckets, M4_MAP_m4_keeper, M4_MAP_m4_closed,
};

#define M4_MAP(name) ((void *)bpf_pseudo_fd(1, M4_MAP_##name))
#define M4_ABOUT(name, kind, key, value, entries, flags)                                                   \
    u64 m4_about_##name(void *unused)                                                                      \
    {                                                                                                      \
        return (u64)BPF_MAP_TYPE_##kind << 58 | (u64)M4_MAP_##name << 53 | (u64)(key) << 47 |              \
               (u64)(entries) << 30 | (u64)(flags) << 29 | (u64)(value);                                   \
    }
#define M4_DEFINE(name, kind, key, value, entries, flags) \
    M4_ABOUT(name, kind, sizeof(key), sizeof(value), entries, flags)
#define M4_DEFINE_RING(name, size) M4_ABOUT(name, RINGBUF, 0, 0, size, 0)
#define M4_LOOP(count, most, body, context)          \
    do {                                             \
        u32 m4_count_ = (count);                     \
        _Pragma("clang loop unroll(disable)")        \
        for (u32 m4_i = 0; m4_i < (most); m4_i++) {  \
            M4_HIDE(m4_count_);                      \
            if (m4_i >= m4_count_ || body(m4_i, context)) \
                break;                               \
        }                                            \
    } while (0)
#define M4_TCP(tcp, type, field)                                                                     \
    ({                                                                                               \
        type m4_read = 0;                                                                            \
        bpf_probe_read_kernel(&m4_read, sizeof(m4_read), (void *)((u64)(tcp) + M4_TCP_##field));     \
        m4_read;                                                                                     \
    })
#define M4_TCP_BIT(tcp, field) (M4_TCP(tcp, u8, field) >> M4_TCP_BIT_##field & 1)
#define m4_tail_call(ctx, map, index) bpf_tail_call_((u64)M4_MAP(map), ctx, index)
#define bpf_htonl(x) __builtin_bswap32(x)
#define bpf_ntohl(x) __builtin_bswap32(x)
#define bpf_htons(x) __builtin_bswap16(x)
#define bpf_ntohs(x) __builtin_bswap16(x)

#else

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;

#define M4_FUNCTION __noinline
#define M4_APART static __noinline
#define M4_CALLED static
#define M4_MAP(name) (&name)
#define M4_DEFINE(name, kind, key_, value_, entries, flags) \
    struct {                                                \
        __uint(type, BPF_MAP_TYPE_##kind);                  \
        __uint(max_entries, entries);                       \
        __type(key, key_);                                  \
        __type(value, value_);                              \
        __uint(map_flags, flags);                           \
    } name SEC(".maps");
#define M4_DEFINE_RING(name, size)           \
    struct {                                 \
        __uint(type, BPF_MAP_TYPE_RINGBUF);  \
        __uint(max_entries, size);           \
    } name SEC(".maps");
#define M4_LOOP(count, most, body, context) bpf_loop(count, body, context, 0)
#define M4_TCP(tcp, type, field) ((tcp)->field)
#define M4_TCP_BIT(tcp, field) BPF_CORE_READ_BITFIELD(tcp, field)
#define m4_tail_call(ctx, map, index) bpf_tail_call(ctx, &map, index)

// Fields of the kernel's TCP socket; the loader finds their real places (CO-RE).
struct tcp_sock {
    u64 bytes_received;
    u32 copied_seq;
    u32 rcv_nxt;
    void *fastopen_req;
    u8 fastopen_connect : 1;
} __attribute__((preserve_access_index));

#endif
