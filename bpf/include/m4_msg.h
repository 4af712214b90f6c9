// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The program that judges what the service sends on connections to its callees. Included last.
//
// m4_msg runs on what the application hands to send(). It either lets a known number of bytes pass, or asks to be run
// again with more (a cork), or turns the message into an answer and puts that into the sender's own receive queue.
#pragma once

#include "m4_connect.h"
#include "m4_head.h"

#define M4_APPLY (1u << 30)  // most bytes that one verdict covers
#define M4_DISCARD 16384     // longest body that is waited for before its request is refused

#define M4_REFUSAL_HEAD                                                                             \
    "HTTP/1.1 000 Refused\r\nx-m4-denied-by: " M4_DATAPLANE "\r\n"                                    \
    "content-type: text/plain\r\ncontent-length: 20\r\n"                                             \
    "connection: keep-alive\r\n\r\n"
#define M4_REFUSAL_BODY "refused by the mesh\n"
#define M4_REFUSAL M4_REFUSAL_HEAD M4_REFUSAL_BODY
#define M4_CLOSE "close     "
#define M4_BODY_SIZE (sizeof(M4_REFUSAL_BODY) - 1)
#define M4_REFUSAL_SIZE (sizeof(M4_REFUSAL) - 1)
#define M4_STATUS_AT (sizeof("HTTP/1.1 ") - 1)
#define M4_CLOSE_AT (sizeof(M4_REFUSAL_HEAD) - 1 - sizeof("keep-alive\r\n\r\n") + 1)
_Static_assert(M4_BODY_SIZE == 20, "the answer announces the length of its body");

struct m4_run {
    struct sk_msg_md *m;
    struct m4_conn *conn;
    struct m4_work *w;
    struct m4_counters *counters;
    u64 received;  // bytes that the socket has received
    u32 unread;    // bytes of them that the application has not read
};

// The context fields change under the compiler's feet when a helper changes the message.
static __always_inline u8 *m4_data(struct sk_msg_md *m)
{
    return *(void *volatile *)&m->data;
}

static __always_inline u8 *m4_data_end(struct sk_msg_md *m)
{
    return *(void *volatile *)&m->data_end;
}

static __always_inline int m4_fail(struct m4_run *r)
{
    r->conn->phase = M4_PHASE_DEAD;
    M4_COUNT(r->counters, errors);
    return SK_DROP;
}

// Holds the message back until more arrives. The pull makes the kernel append at the end of the message even where the
// program has changed it (Linux 6.13, and stable series with "bpf, sockmap: Fix sk_msg_reset_curr"). The verdict with a cork is "drop": it only counts if the kernel cannot hold the message, and
// then what has not been judged must not pass.
static __always_inline int m4_hold(struct m4_run *r)
{
    u32 size = r->m->size;
    if (bpf_msg_pull_data(r->m, 0, size, 0))
        return m4_fail(r);
    bpf_msg_cork_bytes(r->m, size + 1);
    return SK_DROP;
}

// Lets the next bytes pass. What one verdict cannot cover is remembered as the connection's rest.
static __always_inline int m4_pass(struct m4_run *r, u64 bytes)
{
    u32 now = bytes > M4_APPLY ? M4_APPLY : bytes;
    r->conn->rest = bytes - now;
    bpf_msg_apply_bytes(r->m, now);
    return SK_PASS;
}

// Cuts the message down to one byte; an empty one cannot be corked or redirected.
static __always_inline int m4_cut(struct sk_msg_md *m)
{
    u32 size = m->size;
    return size > 1 ? bpf_msg_pop_data(m, 1, size - 1, 0) : 0;
}

// Puts the message into the sender's own receive queue.
static __always_inline int m4_return(struct m4_run *r)
{
    u64 key = r->conn->cookie;
    return bpf_msg_redirect_hash(r->m, M4_MAP(m4_sockets), &key, BPF_F_INGRESS);
}

// Is every earlier request of this connection answered, and the answer read? Only then may an answer of ours follow.
// A sender that waits for each response before its next request always satisfies this.
static __always_inline int m4_in_order(const struct m4_run *r)
{
    return !r->conn->passed || (!r->conn->pipelined && r->received != r->conn->received && !r->unread);
}

// Turns the message into an answer. With `close`, nothing that follows on this connection is looked at any more.
static __always_inline int m4_answer(struct m4_run *r, u32 status, u32 close, u32 no_body)
{
    struct sk_msg_md *m = r->m;
    u32 size = no_body ? M4_REFUSAL_SIZE - M4_BODY_SIZE : M4_REFUSAL_SIZE;
    if (m4_cut(m) || bpf_msg_push_data(m, 0, size - 1, 0) || bpf_msg_pull_data(m, 0, size, 0))
        return m4_fail(r);
    u8 *data = m4_data(m), *end = m4_data_end(m);
    if (data + M4_REFUSAL_SIZE - M4_BODY_SIZE > end)
        return m4_fail(r);
    __builtin_memcpy(data, M4_REFUSAL_HEAD, M4_REFUSAL_SIZE - M4_BODY_SIZE);
    data[M4_STATUS_AT] = '0' + status / 100 % 10;
    data[M4_STATUS_AT + 1] = '0' + status / 10 % 10;
    data[M4_STATUS_AT + 2] = '0' + status % 10;
    if (close)
        __builtin_memcpy(data + M4_CLOSE_AT, M4_CLOSE, sizeof(M4_CLOSE) - 1);
    if (!no_body) {
        if (data + M4_REFUSAL_SIZE > end)
            return m4_fail(r);
        __builtin_memcpy(data + M4_REFUSAL_SIZE - M4_BODY_SIZE, M4_REFUSAL_BODY, M4_BODY_SIZE);
    }
    r->conn->phase = close ? M4_PHASE_CLOSED : M4_PHASE_HEAD;
    r->conn->rest = 0;
    return m4_return(r);
}

// Copies the first bytes of the message, at most `limit`, to the text. Returns how many, 0 on failure.
static __always_inline u32 m4_load(struct sk_msg_md *m, struct m4_work *w, u32 limit)
{
    u64 size = m->size < limit ? m->size : limit;
    u8 *data = m4_data(m), *end = m4_data_end(m);
    if ((u64)(end - data) < size) {
        if (bpf_msg_pull_data(m, 0, size, 0))
            return 0;
        data = m4_data(m);
        end = m4_data_end(m);
    }
    u64 have = end - data;
    if (size > have)
        return 0;
    M4_HIDE(size);
    if (size < 1 || size > M4_HEAD)
        return 0;
    if (bpf_probe_read_kernel(w->text, size, data))
        return 0;
    w->text[size] = 0;
    return size;
}

#define M4_TAG_LINE (sizeof(M4_CONTEXT ": ") - 1 + M4_CONTEXT_WIDTH + 2)

static __always_inline void m4_write_tag(u8 *to, u32 tag)
{
#pragma unroll
    for (u32 i = 0; i < M4_CONTEXT_WIDTH; i++) {
        u32 digit = tag >> 4 * (M4_CONTEXT_WIDTH - 1 - i) & 15;
        to[i] = digit < 10 ? '0' + digit : 'a' + digit - 10;
    }
}

// Gives the request the tag w->next: a new field at the end of the head, or a new value in the one that is there.
// Returns 0 and adjusts w->end, or 1 on failure.
static __always_inline int m4_retag(struct m4_run *r)
{
    struct sk_msg_md *m = r->m;
    struct m4_work *w = r->w;
    if (w->next == M4_KEEP)
        return 0;
    if (!w->own[M4_OWN_CONTEXT].count) {
        if (!w->next)
            return 0;  // no tag reads as 0
        u32 at = w->end - 2;
        if (bpf_msg_push_data(m, at, M4_TAG_LINE, 0) || bpf_msg_pull_data(m, at, at + M4_TAG_LINE, 0))
            return 1;
        u8 *data = m4_data(m);
        if (data + M4_TAG_LINE > m4_data_end(m))
            return 1;
        __builtin_memcpy(data, M4_CONTEXT ": ", sizeof(M4_CONTEXT ": ") - 1);
        m4_write_tag(data + sizeof(M4_CONTEXT ": ") - 1, w->next);
        data[M4_TAG_LINE - 2] = '\r';
        data[M4_TAG_LINE - 1] = '\n';
        w->end += M4_TAG_LINE;
    } else {
        u32 at = w->own[M4_OWN_CONTEXT].value.at, len = w->own[M4_OWN_CONTEXT].value.len;
        if (len > M4_CONTEXT_WIDTH && bpf_msg_pop_data(m, at, len - M4_CONTEXT_WIDTH, 0))
            return 1;
        if (len < M4_CONTEXT_WIDTH && bpf_msg_push_data(m, at, M4_CONTEXT_WIDTH - len, 0))
            return 1;
        if (bpf_msg_pull_data(m, at, at + M4_CONTEXT_WIDTH, 0))
            return 1;
        u8 *data = m4_data(m);
        if (data + M4_CONTEXT_WIDTH > m4_data_end(m))
            return 1;
        m4_write_tag(data, w->next);
        w->end += M4_CONTEXT_WIDTH - len;
    }
    M4_COUNT(r->counters, tagged);
    return 0;
}

static __always_inline void m4_tell(struct m4_run *r)
{
    struct m4_work *w = r->w;
    u32 rule = w->rule;
    u64 *refused = bpf_map_lookup_elem(M4_MAP(m4_refused), &rule);
    if (refused)
        __sync_fetch_and_add(refused, 1);
    struct m4_refusal *told = bpf_ringbuf_reserve(M4_MAP(m4_refusals), sizeof(*told), 0);
    if (!told)
        return;
    told->at = bpf_ktime_get_ns();
    told->site = r->conn->site;
    told->rule = rule;
    told->status = w->status;
    told->size = w->end;
    if (bpf_probe_read_kernel(told->head, sizeof(told->head), w->text))
        told->size = 0;
    bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP);
}

static __always_inline int m4_refuse(struct m4_run *r)
{
    struct m4_conn *conn = r->conn;
    struct m4_work *w = r->w;
    u64 have = r->m->size - w->end;
    M4_COUNT(r->counters, denied);
    m4_tell(r);
    if (!m4_in_order(r)) {
        conn->phase = M4_PHASE_DEAD;
        return SK_DROP;
    }
    if (w->chunked || w->length > M4_DISCARD || (w->length > have && w->own[M4_OWN_EXPECT].count))
        return m4_answer(r, w->status, 1, w->no_body);
    if (w->length > have) {
        conn->rest = w->length - have;
        conn->phase = M4_PHASE_DISCARD;
        conn->status = w->status;
        conn->no_body = w->no_body;
        return m4_cut(r->m) ? m4_fail(r) : m4_hold(r);
    }
    return m4_answer(r, w->status, have > w->length, w->no_body);
}

static __always_inline int m4_allow(struct m4_run *r)
{
    struct m4_conn *conn = r->conn;
    struct m4_work *w = r->w;
    M4_COUNT(r->counters, allowed);
    if (!m4_in_order(r))
        conn->pipelined = 1;
    conn->passed = 1;
    conn->received = r->received;
    if (m4_retag(r))
        return m4_fail(r);
    conn->expects = w->own[M4_OWN_EXPECT].count != 0;
    conn->phase = w->chunked ? M4_PHASE_CHUNK : M4_PHASE_HEAD;
    if (!conn->expects || w->chunked)
        return m4_pass(r, w->end + w->length);
    m4_pass(r, w->end);
    conn->rest = w->length;
    return SK_PASS;
}

static __always_inline int m4_on_head(struct m4_run *r)
{
    struct m4_work *w = r->w;
    const struct m4_set *set = m4_set_in_force();
    u32 size = m4_load(r->m, w, M4_SOON);
    if (!size || !set)
        return m4_fail(r);
    m4_read_head(w, set, size);
    if (M4_SOON < M4_HEAD && w->state == M4_MORE && size < r->m->size) {
        size = m4_load(r->m, w, M4_HEAD);
        if (!size)
            return m4_fail(r);
        m4_read_head(w, set, size);
    }
    if (w->state == M4_MORE && size < M4_HEAD)
        return m4_hold(r);
    u32 error = w->state == M4_BAD ? 400 : w->error;
    M4_COUNT(r->counters, seen);
    if (error) {
        if (!m4_in_order(r))
            return m4_fail(r);
        M4_COUNT(r->counters, errors);
        return m4_answer(r, error, 1, 0);
    }
    m4_judge(w, set, r->conn->site);
    return w->status ? m4_refuse(r) : m4_allow(r);
}

// The body of a request that is under way turns out to be malformed. The callee never sees it complete, so the answer
// is ours as long as the callee has not begun one.
static __always_inline int m4_broken_body(struct m4_run *r)
{
    if (r->conn->pipelined || r->received != r->conn->received)
        return m4_fail(r);
    M4_COUNT(r->counters, errors);
    return m4_answer(r, 400, 1, 0);
}

#define M4_SIZE_LINE 20  // CRLF of the chunk before, 15 digits, CRLF, and one byte that must not be there

M4_CALLED long m4_size_byte(u32 i, struct m4_run *r)
{
    struct m4_work *w = r->w;
    struct m4_size_line *line = &w->line;
    u64 at = line->at + i;
    M4_HIDE(at);
    u32 byte = w->text[at & 31], digit = byte - '0', letter = (byte | 0x20) - 'a';
    M4_HIDE(digit);
    M4_HIDE(letter);
    if (line->cr) {
        line->end = at + 1;
        line->bad |= byte != '\n';
        return 1;
    }
    if (byte == '\r') {
        line->cr = 1;
        line->bad |= !line->digits;
        return 0;
    }
    line->digits++;
    line->bad |= (digit > 9 && letter > 5) || line->digits > 15;
    line->size = line->size << 4 | (digit > 9 ? letter + 10 : digit);
    return 0;
}

// [CRLF] size CRLF, then the data: no extensions, which readers have disagreed about.
static __always_inline int m4_on_chunk(struct m4_run *r, u32 at)
{
    struct m4_work *w = r->w;
    u32 have = m4_load(r->m, w, M4_SIZE_LINE);
    if (!have)
        return m4_fail(r);
    if (at && (w->text[0] != '\r' || (have > 1 && w->text[1] != '\n')))
        return m4_broken_body(r);
    w->line = (struct m4_size_line){.at = at};
    if (have > at)
        M4_LOOP(have - at, M4_SIZE_LINE, m4_size_byte, r);
    if (w->line.bad || (!w->line.end && have == M4_SIZE_LINE))
        return m4_broken_body(r);
    if (!w->line.end)
        return m4_hold(r);
    if (r->conn->expects)
        r->conn->received = r->received;
    r->conn->phase = w->line.size ? M4_PHASE_NEXT : M4_PHASE_TRAILER;
    return m4_pass(r, w->line.end + w->line.size);
}

static __always_inline int m4_on_trailer(struct m4_run *r)
{
    struct m4_work *w = r->w;
    u32 size = m4_load(r->m, w, M4_HEAD);
    if (!size)
        return m4_fail(r);
    m4_read_trailer(w, size);
    if (w->state == M4_DONE) {
        r->conn->phase = M4_PHASE_HEAD;
        return m4_pass(r, w->end);
    }
    if (w->state == M4_MORE && size < M4_HEAD)
        return m4_hold(r);
    return m4_broken_body(r);
}

static __always_inline int m4_on_discard(struct m4_run *r)
{
    u64 have = r->m->size - 1;  // without the placeholder
    if (have < r->conn->rest) {
        r->conn->rest -= have;
        return m4_cut(r->m) ? m4_fail(r) : m4_hold(r);
    }
    return m4_answer(r, r->conn->status, have > r->conn->rest, r->conn->no_body);
}

// The answer said "close". An error from send() could keep the sender from reading it, so its bytes are swallowed: one
// a message goes back to it, behind the answer, where nobody reads any more.
static __always_inline int m4_swallow(struct m4_run *r)
{
    return m4_cut(r->m) ? m4_fail(r) : m4_return(r);
}

M4_APART int m4_run(struct m4_run *r)
{
    struct m4_conn *conn = r->conn;
    if (conn->rest && conn->phase != M4_PHASE_DISCARD) {
        if (conn->expects)
            conn->received = r->received;
        return m4_pass(r, conn->rest);
    }
    switch (conn->phase) {
    case M4_PHASE_HEAD:
        return m4_on_head(r);
    case M4_PHASE_CHUNK:
        return m4_on_chunk(r, 0);
    case M4_PHASE_NEXT:
        return m4_on_chunk(r, 2);
    case M4_PHASE_TRAILER:
        return m4_on_trailer(r);
    case M4_PHASE_DISCARD:
        return m4_on_discard(r);
    case M4_PHASE_CLOSED:
        return m4_swallow(r);
    }
    return SK_DROP;
}

SEC("sk_msg")
int m4_msg(struct sk_msg_md *m)
{
    struct m4_run run = {.m = m};
    struct bpf_sock *sk = m->sk;
    if (!sk)
        return SK_DROP;
    bpf_msg_cork_bytes(m, 0);  // both stay from one run to the next
    bpf_msg_apply_bytes(m, 0);
    if (!m->size)
        return SK_PASS;
    run.conn = bpf_sk_storage_get(M4_MAP(m4_conns), sk, 0, 0);
    if (!run.conn)
        return SK_DROP;
    u32 site = run.conn->site;
    run.counters = bpf_map_lookup_elem(M4_MAP(m4_counts), &site);
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    if (!run.counters || !tcp)
        return SK_DROP;
    run.received = M4_TCP(tcp, u64, bytes_received);
    run.unread = M4_TCP(tcp, u32, rcv_nxt) - M4_TCP(tcp, u32, copied_seq);
    if (run.unread && sk->state == BPF_TCP_CLOSE_WAIT)
        run.unread--;  // the callee's FIN counts as a byte
    run.w = m4_take_work();
    if (!run.w)
        return m4_fail(&run);
    int verdict = m4_run(&run);
    __sync_lock_test_and_set(&run.w->busy, 0);
    return verdict;
}

// What sockets are given to. They keep it for good, so it only leads to the program that judges.
SEC("sk_msg")
int m4_entry(struct sk_msg_md *m)
{
    m4_tail_call(m, m4_judges, 0);
    return SK_DROP;
}

#ifndef M4_BCC
char m4_license[] SEC("license") = "Dual BSD/GPL";
#endif
