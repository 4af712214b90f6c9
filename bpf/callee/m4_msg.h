// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The other end of a hop, as far as it was followed: what arrives at the callee's connections, and what it answers. A
// generated program that is compiled with this folder in front judges with the same rules and the same reader of heads.
//
// Only a head that lies in one piece is judged, and of bodies only those with a length are followed. A refused request is
// withheld; nobody answers it.
#pragma once

#include "m4_head.h"

struct m4_flow {
    u64 rest;    // bytes of the body that are still to arrive
    u64 answer;  // bytes of the answer's body that are still to be sent
    u64 due;     // requests whose answers have not been sent
    u32 site;
};

// By socket cookie: a stream verdict cannot look into the storage of a socket.
M4_DEFINE(m4_flows, HASH, u64, struct m4_flow, M4_SOCKETS, BPF_F_NO_PREALLOC)

SEC("sockops")
int m4_accepted(struct bpf_sock_ops *ops)
{
    struct m4_remote local = {};
    if (ops->op == BPF_SOCK_OPS_STATE_CB && ops->args[1] == BPF_TCP_CLOSE) {
        u64 cookie = bpf_get_socket_cookie(ops);
        bpf_map_delete_elem(&m4_flows, &cookie);
    }
    if (ops->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || ops->family != 2 /* AF_INET */)
        return 1;
    local.address[2] = bpf_htonl(0xffff);
    local.address[3] = ops->local_ip4;
    local.port = ops->local_port;
    u32 *site = bpf_map_lookup_elem(&m4_hops, &local);
    struct bpf_sock *sk = ops->sk;
    if (!site || !sk)
        return 1;
    u64 cookie = bpf_get_socket_cookie(ops);
    struct m4_flow flow = {.site = *site};
    struct m4_conn *conn = bpf_sk_storage_get(&m4_conns, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (conn)
        conn->cookie = cookie;
    if (conn && !bpf_map_update_elem(&m4_flows, &cookie, &flow, BPF_ANY))
        bpf_sock_hash_update(ops, &m4_sockets, &cookie, BPF_ANY);
    bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
    return 1;
}

static __always_inline int m4_arrived(struct __sk_buff *skb, struct m4_flow *flow, struct m4_work *w)
{
    u64 size = skb->len;
    if (size > M4_HEAD)
        size = M4_HEAD;
    M4_HIDE(size);
    if (size < 1 || size > M4_HEAD || bpf_skb_load_bytes(skb, 0, w->text, size))
        return SK_DROP;
    w->text[size] = 0;
    const struct m4_set *set = m4_set_in_force();
    if (!set)
        return SK_DROP;
    m4_read_head(w, set, size);
    if (w->state != M4_DONE)
        return SK_DROP;
    if (!w->error)
        m4_judge(w, set, flow->site);
    if (w->error || w->status || w->end + w->length < skb->len)
        return SK_DROP;
    flow->rest = w->end + w->length - skb->len;
    __sync_fetch_and_add(&flow->due, 1);
    return SK_PASS;
}

SEC("sk_skb")
int m4_arrives(struct __sk_buff *skb)
{
    u64 cookie = bpf_get_socket_cookie(skb);
    struct m4_flow *flow = bpf_map_lookup_elem(&m4_flows, &cookie);
    if (!flow)
        return SK_DROP;
    if (flow->rest) {
        if (flow->rest < skb->len)
            return SK_DROP;
        flow->rest -= skb->len;
        return SK_PASS;
    }
    struct m4_work *w = m4_take_work();
    if (!w)
        return SK_DROP;
    int verdict = m4_arrived(skb, flow, w);
    __sync_lock_test_and_set(&w->busy, 0);
    return verdict;
}

__noinline int m4_read_answer(struct m4_work *w, const struct m4_set *set, u32 size)
{
    if (!w || !set)
        return 0;
    w->size = size;
    w->repeats = w->present = w->repeated = 0;
    __builtin_memset(w->own, 0, sizeof(w->own));
    struct m4_lines lines = {w, set, m4_value_end(w, 0) + 2};  // the status line may hold what a value may
    if (!m4_no_crlf(w, lines.at - 2))
        m4_on_lines(&lines);
    return 0;
}

// Reads the length of an answer out of its head, and lets all of it that is there pass.
static __always_inline int m4_answered(struct sk_msg_md *m, struct m4_flow *flow, struct m4_work *w)
{
    u64 size = m->size;
    if (size > M4_HEAD)
        size = M4_HEAD;
    if ((u64)(*(u8 *volatile *)&m->data_end - *(u8 *volatile *)&m->data) < size && bpf_msg_pull_data(m, 0, size, 0))
        return SK_DROP;
    u8 *data = *(u8 *volatile *)&m->data, *end = *(u8 *volatile *)&m->data_end;
    u64 have = end - data;
    if (size > have)
        return SK_DROP;
    M4_HIDE(size);
    if (size < 1 || size > M4_HEAD || bpf_probe_read_kernel(w->text, size, data))
        return SK_DROP;
    w->text[size] = 0;
    const struct m4_set *set = m4_set_in_force();
    if (!set)
        return SK_DROP;
    m4_read_answer(w, set, size);
    if (w->state != M4_DONE)
        return SK_DROP;
    w->length = 0;
    if (w->own[M4_OWN_LENGTH].count && m4_read_length(w))
        return SK_DROP;
    u64 whole = w->end + w->length, now = whole < m->size ? whole : m->size;
    flow->answer = whole - now;
    if (!flow->answer)
        __sync_fetch_and_add(&flow->due, -1);
    bpf_msg_apply_bytes(m, now);
    return SK_PASS;
}

SEC("sk_msg")
int m4_answers(struct sk_msg_md *m)
{
    struct bpf_sock *sk = m->sk;
    if (!sk)
        return SK_DROP;
    bpf_msg_apply_bytes(m, 0);
    struct m4_conn *conn = bpf_sk_storage_get(&m4_conns, sk, 0, 0);
    if (!conn)
        return SK_DROP;
    u64 cookie = conn->cookie;
    struct m4_flow *flow = bpf_map_lookup_elem(&m4_flows, &cookie);
    if (!flow)
        return SK_DROP;
    if (flow->answer) {
        u64 now = flow->answer < m->size ? flow->answer : m->size;
        flow->answer -= now;
        if (!flow->answer)
            __sync_fetch_and_add(&flow->due, -1);
        bpf_msg_apply_bytes(m, now);
        return SK_PASS;
    }
    struct m4_work *w = m4_take_work();
    if (!w)
        return SK_DROP;
    int verdict = m4_answered(m, flow, w);
    __sync_lock_test_and_set(&w->busy, 0);
    return verdict;
}

char m4_license[] SEC("license") = "Dual BSD/GPL";
