// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// m4_connected puts the service's connections to its callees under control of m4_msg; m4_connect4 and m4_connect6 keep
// the service from sending earlier, and from connecting where it may not.
//
// They hold for applications that use sockets as everybody does. One that wants to get around them can: by a send that
// waits in another thread while the connection is made, and by urgent data (MSG_OOB), which its callee does not see.
#pragma once

#include "m4_types.h"

static __always_inline void m4_map_ipv4(struct m4_remote *remote, u32 address)
{
    remote->address[2] = bpf_htonl(0xffff);
    remote->address[3] = address;
}

// TCP Fast Open would send a first request before m4_msg is in place: on hops it is refused with EPERM.
static __always_inline int m4_may_connect(struct bpf_sock_addr *address, struct m4_remote *remote)
{
    struct bpf_sock *sk = address->sk;
    remote->port = bpf_ntohs(address->user_port);
    u32 *rule = bpf_map_lookup_elem(M4_MAP(m4_closed), remote);
    if (rule && address->type == 1 /* SOCK_STREAM */) {
        u64 *refused = bpf_map_lookup_elem(M4_MAP(m4_refused), rule);
        if (refused)
            __sync_fetch_and_add(refused, 1);
        return 0;  // EPERM
    }
    if (!sk || !bpf_map_lookup_elem(M4_MAP(m4_hops), remote))
        return 1;
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    return !tcp || (!M4_TCP(tcp, u64, fastopen_req) && !M4_TCP_BIT(tcp, fastopen_connect));
}

SEC("cgroup/connect4")
int m4_connect4(struct bpf_sock_addr *address)
{
    struct m4_remote remote = {};
    m4_map_ipv4(&remote, address->user_ip4);
    return m4_may_connect(address, &remote);
}

SEC("cgroup/connect6")
int m4_connect6(struct bpf_sock_addr *address)
{
    struct m4_remote remote = {};
    remote.address[0] = address->user_ip6[0];
    remote.address[1] = address->user_ip6[1];
    remote.address[2] = address->user_ip6[2];
    remote.address[3] = address->user_ip6[3];
    return m4_may_connect(address, &remote);
}

SEC("sockops")
int m4_connected(struct bpf_sock_ops *ops)
{
    struct m4_remote remote = {};
    if (ops->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
        return 1;
    u32 ipv4 = ops->remote_ip4;
    M4_HIDE(ipv4);  // before the branch: merged reads of two fields would need a pointer that the verifier refuses
    if (ops->family == 2 /* AF_INET */) {
        m4_map_ipv4(&remote, ipv4);
    } else {
        remote.address[0] = ops->remote_ip6[0];
        remote.address[1] = ops->remote_ip6[1];
        remote.address[2] = ops->remote_ip6[2];
        remote.address[3] = ops->remote_ip6[3];
    }
    remote.port = bpf_ntohl(ops->remote_port);
    u32 *site = bpf_map_lookup_elem(M4_MAP(m4_hops), &remote);
    struct bpf_sock *sk = ops->sk;
    if (!site || !sk)
        return 1;
    u64 cookie = bpf_get_socket_cookie(ops);
    struct m4_conn *conn = bpf_sk_storage_get(M4_MAP(m4_conns), sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (conn) {
        conn->cookie = cookie;
        conn->site = *site;
    }
    if (!conn || bpf_sock_hash_update(ops, M4_MAP(m4_sockets), &cookie, BPF_ANY)) {
        struct m4_counters *counters = bpf_map_lookup_elem(M4_MAP(m4_counts), site);
        if (counters)
            M4_COUNT(counters, errors);
    }
    return 1;
}
