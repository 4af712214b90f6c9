// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The head of an HTTP/1.1 request (RFC 9112), read strictly. Whatever two readers could understand differently is an
// error: bare CR or LF, folded lines, blanks before a colon, control characters, two lengths, other transfer codings, two
// hosts, targets that are no path.
#pragma once

#include "m4_rules.h"

#define M4_NAMED(w, name, len, literal) \
    ((len) == sizeof(literal) - 1 && m4_same(w, name, literal, sizeof(literal) - 1, 1))

static __always_inline void m4_note(struct m4_field *field, struct m4_text value)
{
    if (!field->count)
        field->value = value;
    field->count++;
}

// A field of the head, with its value.
static __always_inline void m4_on_field(struct m4_work *w, const struct m4_set *set, u32 name, u32 len, struct m4_text value)
{
    if (M4_NAMED(w, name, len, "content-length"))
        m4_note(&w->own[M4_OWN_LENGTH], value);
    else if (M4_NAMED(w, name, len, "transfer-encoding"))
        m4_note(&w->own[M4_OWN_ENCODING], value);
    else if (M4_NAMED(w, name, len, "host"))
        m4_note(&w->own[M4_OWN_HOST], value);
    else if (M4_NAMED(w, name, len, "expect"))
        m4_note(&w->own[M4_OWN_EXPECT], value);
    else if (M4_NAMED(w, name, len, M4_CONTEXT))
        m4_note(&w->own[M4_OWN_CONTEXT], value);

    M4_HIDE(len);  // lest the verifier follow each of these lengths by itself
    if (!set->first[len & (M4_CHAINS - 1)])
        return;
    u64 number = m4_part_number(w, set, name, len);
    if (!number)
        return;
    M4_HIDE(number);
    number &= M4_PARTS - 1;
    u64 bit = 1ULL << number;
    if (w->present & bit)
        w->repeated |= bit;
    else
        w->part[number] = value;
    w->present |= bit;
    u64 n = w->repeats++;
    M4_HIDE(n);
    if (n < M4_REPEATS) {
        w->repeat[n].part = number;
        w->repeat[n].value = value;
    }
}

// Two ways to find what is where. Both come to the same, and define
//   m4_find_fields(w, set)    for a head: tells m4_on_field of each field; the parts of the first line, w->version
//   m4_find_end(w)            for a trailer
// of the w->size bytes of the text, and leave in w->state what that came to; w->end, where all of it is there.
#ifdef M4_BCC
#include "m4_steps.h"
#else
#include "m4_runs.h"
#endif

struct m4_join {
    struct m4_work *w;
    u32 part;
    u64 comma;  // 1 behind the first value
};

M4_CALLED long m4_join_one(u32 i, struct m4_join *j)
{
    struct m4_work *w = j->w;
    u64 n = i, to = w->joined;
    M4_HIDE(n);
    if (n >= M4_REPEATS)
        return 1;
    if (w->repeat[n].part != j->part)
        return 0;
    M4_HIDE(to);
    to &= M4_TEXT_MASK;
    w->text[to] = ',';  // in front of the first one it is overwritten
    to += j->comma;
    j->comma = 1;
    M4_OPAQUE(j->comma);
    u64 from = w->repeat[n].value.at, len = w->repeat[n].value.len;
    M4_HIDE(from);
    from &= M4_TEXT_MASK;
    M4_HIDE(len);
    if (len >= M4_HEAD)
        return 1;
    bpf_probe_read_kernel(w->text + to, len, w->text + from);
    w->joined = to + len;
    return 0;
}

// A repeated field is one value, joined by ",". The joined values lie behind the head and are together shorter than it.
M4_CALLED long m4_join_part(u32 i, struct m4_work **all)
{
    struct m4_work *w = *all;
    u64 part = i;
    M4_HIDE(part);
    part &= M4_PARTS - 1;
    if (!(w->repeated >> part & 1))
        return 0;
    struct m4_join join = {w, part, 0};
    u32 begin = w->joined;
    M4_LOOP(w->repeats, M4_REPEATS, m4_join_one, &join);
    w->part[part].at = begin;
    w->part[part].len = w->joined - begin;
    return 0;
}

// Content-Length: 1 to 18 digits, nothing else. The status of a refusal otherwise.
static __always_inline u32 m4_read_length(struct m4_work *w)
{
    struct m4_text text = w->own[M4_OWN_LENGTH].value;
    u64 length = 0;
    if (text.len < 1 || text.len > 18)
        return 400;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < 18; i++) {
        u32 len = text.len;
        M4_HIDE(len);  // lest a loop be made whose end the verifier does not see
        if (i >= len)
            break;
        u64 at = text.at + i;
        M4_HIDE(at);
        u64 digit = (u64)w->text[at & M4_TEXT_MASK] - '0';
        M4_HIDE(digit);
        if (digit > 9)
            return 400;
        length = length * 10 + digit;
        M4_HIDE(length);
    }
    w->length = length;
    return 0;
}

// The tag: exactly M4_CONTEXT_WIDTH lower-case hexadecimal digits; anything else reads as 0.
static __always_inline u32 m4_read_tag(struct m4_work *w)
{
    struct m4_text text = w->own[M4_OWN_CONTEXT].value;
    u32 tag = 0, bad = w->own[M4_OWN_CONTEXT].count != 1 || text.len != M4_CONTEXT_WIDTH;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_CONTEXT_WIDTH; i++) {
        u64 at = text.at + i;
        M4_HIDE(at);
        u32 byte = w->text[at & M4_TEXT_MASK], digit = byte - '0', letter = byte - 'a';
        M4_HIDE(digit);
        M4_HIDE(letter);
        bad |= digit > 9 && letter > 5;
        tag = tag << 4 | (digit > 9 ? (letter + 10) & 15 : digit);
        M4_HIDE(tag);
    }
    return bad ? 0 : tag;
}

// Is the target a path, or the "*" of OPTIONS? Servers look a target in absolute form up without its scheme and host, so
// what a condition sees of it would not be what they serve.
static __always_inline u64 m4_is_path(const struct m4_work *w)
{
    return m4_same(w, w->part[M4_PART_TARGET].at, "/", 1, 0) | (m4_same(w, w->part[M4_PART_TARGET].at, "*", 1, 0) & m4_is(w->part[M4_PART_TARGET].len, 1));
}

// How the body is delimited, or the status of a refusal where that is not beyond doubt.
static __always_inline u32 m4_framing(struct m4_work *w)
{
    u32 lengths = w->own[M4_OWN_LENGTH].count, encodings = w->own[M4_OWN_ENCODING].count;
    struct m4_text encoding = w->own[M4_OWN_ENCODING].value;
    if (w->version != '0' && w->version != '1')
        return 505;
    if (lengths > 1 || encodings > 1 || (lengths && encodings))
        return 400;
    if (w->own[M4_OWN_CONTEXT].count > 1 || w->own[M4_OWN_HOST].count > 1 || !m4_is_path(w))
        return 400;
    if (w->part[M4_PART_METHOD].len == 7 && m4_same(w, w->part[M4_PART_METHOD].at, "CONNECT", 7, 0))
        return 400;  // what follows is not HTTP
    if (encodings) {
        if (w->version == '0' || encoding.len != 7 || !m4_same(w, encoding.at, "chunked", 7, 1))
            return 400;
        w->chunked = 1;
    }
    return lengths ? m4_read_length(w) : 0;
}

// Reads the head that the first `size` bytes of the text begin with. If it is whole, or has too many fields, w->error is
// the status of the refusal of one that is not in order.
M4_FUNCTION int m4_read_head(struct m4_work *w, const struct m4_set *set, u32 size)
{
    if (!w || !set)
        return 0;
    w->size = size;
    w->repeats = w->chunked = w->version = w->status = w->length = w->tag = w->answers = w->repeated = 0;
    w->present = (1 << M4_PART_FIELDS) - 1;
    w->next = M4_KEEP;
    w->joined = M4_HEAD;
    __builtin_memset(w->own, 0, sizeof(w->own));
    w->error = 431;
    m4_find_fields(w, set);
    if (w->state != M4_DONE || w->repeats > M4_REPEATS)
        return 0;
    if (w->repeated)
        M4_LOOP(M4_PARTS, M4_PARTS, m4_join_part, &w);
    w->error = m4_framing(w);
    w->tag = m4_read_tag(w);
    w->no_body = w->part[M4_PART_METHOD].len == 4 && m4_same(w, w->part[M4_PART_METHOD].at, "HEAD", 4, 0);
    return 0;
}

M4_FUNCTION int m4_read_trailer(struct m4_work *w, u32 size)
{
    if (!w)
        return 0;
    w->size = size;
    m4_find_end(w);
    return 0;
}

// A run's working memory is its own until it ends: with preemption, per-CPU memory would not be.
static __always_inline struct m4_work *m4_take_work(void)
{
    u32 first = bpf_get_smp_processor_id();
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_SLOTS; i++) {
        u32 slot = (first + i) % M4_SLOTS;
        struct m4_work *w = bpf_map_lookup_elem(M4_MAP(m4_works), &slot);
        if (w && !__sync_lock_test_and_set(&w->busy, 1))
            return w;
    }
    return 0;
}
