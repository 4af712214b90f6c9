// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The other hook, as far as it was followed: packets of the caller's cgroup in place of what it hands to send(). A
// generated program that is compiled with this folder in front judges with the same rules and the same reader of heads.
//
// Only a head that lies in one packet is judged, and nothing is remembered of a connection: a body is taken for a head
// that cannot be read, and passes. A refused request is withheld; nobody answers it.
#pragma once

#include "m4_head.h"

#define M4_TCP_OFFSET 12  // where the TCP header says how long it is

static __noinline int m4_packet_status(struct __sk_buff *skb, struct m4_work *w, u32 at, u32 site)
{
    u64 size = skb->len - at;
    if (size > M4_HEAD)
        size = M4_HEAD;
    M4_HIDE(size);
    if (size < 1 || size > M4_HEAD || bpf_skb_load_bytes(skb, at, w->text, size))
        return 0;
    w->text[size] = 0;
    const struct m4_set *set = m4_set_in_force();
    if (!set)
        return 0;
    m4_read_head(w, set, size);
    if (w->state == M4_MORE || w->state == M4_BAD)
        return 0;
    if (!w->error)
        m4_judge(w, set, site);
    return w->error ? w->error : w->status;
}

SEC("cgroup_skb/egress")
int m4_packet(struct __sk_buff *skb)
{
    struct m4_remote remote = {};
    u8 length = 0;
    if (skb->protocol != bpf_htons(0x0800))
        return 1;
    remote.address[2] = bpf_htonl(0xffff);
    remote.address[3] = skb->remote_ip4;
    remote.port = bpf_ntohl(skb->remote_port);
    u32 *site = bpf_map_lookup_elem(&m4_hops, &remote);
    if (!site || bpf_skb_load_bytes(skb, 0, &length, 1))
        return 1;
    u32 at = (length & 15) * 4;
    if (bpf_skb_load_bytes(skb, at + M4_TCP_OFFSET, &length, 1))
        return 1;
    at += (length >> 4) * 4;
    if (skb->len <= at)
        return 1;
    struct m4_work *w = m4_take_work();
    if (!w)
        return 0;
    int status = m4_packet_status(skb, w, at, *site);
    __sync_lock_test_and_set(&w->busy, 0);
    return !status;
}

char m4_license[] SEC("license") = "Dual BSD/GPL";
