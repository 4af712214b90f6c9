// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The head of an HTTP/1.1 request (RFC 9112), read strictly. Whatever two readers could understand differently is an
// error: bare CR or LF, folded lines, blanks before a colon, control characters, two lengths, other transfer codings, two
// hosts, targets that are no path.
//
// First a table-driven automaton walks over the bytes and notes where something begins or ends (an event), without a
// branch that depends on the bytes. Then the events, a few per field, are turned into texts and fields.
#pragma once

#include "m4_rules.h"

enum { C_BAD, C_SP, C_HT, C_CR, C_LF, C_COLON, C_QUERY, C_HASH, C_TOKEN, C_VISIBLE, C_HIGH };

static const u8 m4_class[256] = {
    ['\t'] = C_HT, ['\n'] = C_LF, ['\r'] = C_CR, [' '] = C_SP,
    ['!'] = C_TOKEN, ['"'] = C_VISIBLE, ['#'] = C_HASH, ['$' ... '\''] = C_TOKEN, ['(' ... ')'] = C_VISIBLE, ['*' ... '+'] = C_TOKEN,
    [','] = C_VISIBLE, ['-' ... '.'] = C_TOKEN, ['/'] = C_VISIBLE, ['0' ... '9'] = C_TOKEN, [':'] = C_COLON,
    [';' ... '>'] = C_VISIBLE, ['?'] = C_QUERY, ['@'] = C_VISIBLE, ['A' ... 'Z'] = C_TOKEN, ['[' ... ']'] = C_VISIBLE,
    ['^' ... 'z'] = C_TOKEN, ['{'] = C_VISIBLE, ['|'] = C_TOKEN, ['}'] = C_VISIBLE, ['~'] = C_TOKEN,
    [0x80 ... 0xff] = C_HIGH,
};

enum {
    S_BAD, S_START, S_METHOD, S_TARGET0, S_TARGET, S_QUERY, S_VERSION, S_FIRST_CR,
    S_LINE, S_NAME, S_BLANK, S_VALUE, S_TRAIL, S_CR, S_LAST_CR, S_DONE,
};

#define EVENT 0x80  // note this position
#define SOLID 0x40  // this byte belongs to a value (blanks at its end do not)
#define ON(state, class) [(state) << 4 | (class)]
#define ON_VISIBLE(state, to) \
    ON(state, C_COLON) = (to), ON(state, C_TOKEN) = (to), ON(state, C_VISIBLE) = (to)
#define ON_NAME(state, to) ON(state, C_TOKEN) = (to), ON(state, C_HASH) = (to)
#define ON_CONTENT(state, to) \
    ON_VISIBLE(state, to), ON(state, C_QUERY) = (to), ON(state, C_HASH) = (to), ON(state, C_HIGH) = (to)

static const u8 m4_step[256] = {  // everything else leads to S_BAD
    ON_NAME(S_START, S_METHOD),
    ON_NAME(S_METHOD, S_METHOD), ON(S_METHOD, C_SP) = S_TARGET0 | EVENT,
    ON_VISIBLE(S_TARGET0, S_TARGET), ON(S_TARGET0, C_QUERY) = S_QUERY | EVENT,
    ON_VISIBLE(S_TARGET, S_TARGET), ON(S_TARGET, C_QUERY) = S_QUERY | EVENT, ON(S_TARGET, C_SP) = S_VERSION | EVENT,
    ON_VISIBLE(S_QUERY, S_QUERY), ON(S_QUERY, C_QUERY) = S_QUERY, ON(S_QUERY, C_SP) = S_VERSION | EVENT,
    ON_VISIBLE(S_VERSION, S_VERSION), ON(S_VERSION, C_CR) = S_FIRST_CR | EVENT,
    ON(S_FIRST_CR, C_LF) = S_LINE,
    ON_NAME(S_LINE, S_NAME | EVENT), ON(S_LINE, C_CR) = S_LAST_CR,
    ON_NAME(S_NAME, S_NAME), ON(S_NAME, C_COLON) = S_BLANK | EVENT,
    ON(S_BLANK, C_SP) = S_BLANK, ON(S_BLANK, C_HT) = S_BLANK, ON(S_BLANK, C_CR) = S_CR | EVENT,
    ON_CONTENT(S_BLANK, S_VALUE | EVENT | SOLID),
    ON_CONTENT(S_VALUE, S_VALUE | SOLID), ON(S_VALUE, C_CR) = S_CR | EVENT,
    ON(S_VALUE, C_SP) = S_TRAIL, ON(S_VALUE, C_HT) = S_TRAIL,
    ON_CONTENT(S_TRAIL, S_VALUE | SOLID), ON(S_TRAIL, C_CR) = S_CR | EVENT,
    ON(S_TRAIL, C_SP) = S_TRAIL, ON(S_TRAIL, C_HT) = S_TRAIL,
    ON(S_CR, C_LF) = S_LINE,
    ON(S_LAST_CR, C_LF) = S_DONE | EVENT,
    [S_DONE << 4 ... S_DONE << 4 | 15] = S_DONE,
};

#define M4_BLOCK 64

struct m4_scan {
    struct m4_work *w;
    u32 state, events, solid;
};

static long m4_scan_block(u32 block, struct m4_scan *s)
{
    struct m4_work *w = s->w;
    u32 state = s->state, events = s->events, solid = s->solid, size = w->size;
    u64 base = (u64)block * M4_BLOCK;
    M4_HIDE(base);
    base &= M4_HEAD - 1;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_BLOCK; i++) {
        u32 at = base + i, slot = events;
        if (at >= size)
            break;
        u32 step = m4_step[(state << 4 | (m4_class[w->text[base + i]] & 15)) & 255];
        M4_HIDE(slot);
        w->event[slot & (M4_EVENTS - 1)] = (step & 15) << 28 | solid << 14 | at;
        events += step >> 7;
        solid ^= (solid ^ (at + 1)) & -(step >> 6 & 1);
        state = step & 15;
    }
    s->state = state;
    s->events = events;
    s->solid = solid;
    return state == S_DONE || state == S_BAD;
}

// Walks over the first `size` bytes of the text; leaves the automaton's state and the events in `w`.
__noinline int m4_scan(struct m4_work *w, u32 size, u32 state)
{
    if (!w)
        return 0;
    struct m4_scan scan = {.w = w, .state = state & 15};
    w->size = size;
    bpf_loop((size + M4_BLOCK - 1) / M4_BLOCK, m4_scan_block, &scan, 0);
    w->state = scan.state;
    w->events = scan.events;
    w->end = 0;
    if (scan.state == S_DONE && scan.events >= 1 && scan.events <= M4_EVENTS) {
        u64 last = scan.events - 1;
        M4_HIDE(last);
        w->end = (w->event[last & (M4_EVENTS - 1)] & 0x3fff) + 1;
    }
    return 0;
}

#define M4_NAMED(w, name, len, literal) \
    (((len) == sizeof(literal) - 1) & m4_same(w, name, literal, sizeof(literal) - 1, 1))

struct m4_walk {
    struct m4_work *w;
    const struct m4_set *set;
    u32 start, query, name, colon, value;
};

static __always_inline void m4_note(struct m4_field *field, struct m4_text value)
{
    if (!field->count)
        field->value = value;
    field->count++;
}

static __always_inline void m4_on_field(struct m4_walk *k, u32 solid)
{
    struct m4_work *w = k->w;
    u32 len = k->colon - k->name;
    struct m4_text value = {k->colon + 1, 0};
    if (solid > k->colon) {
        value.at = k->value;
        value.len = solid - k->value;
    }
    if (M4_NAMED(w, k->name, len, "content-length"))
        m4_note(&w->own[M4_OWN_LENGTH], value);
    else if (M4_NAMED(w, k->name, len, "transfer-encoding"))
        m4_note(&w->own[M4_OWN_ENCODING], value);
    else if (M4_NAMED(w, k->name, len, "host"))
        m4_note(&w->own[M4_OWN_HOST], value);
    else if (M4_NAMED(w, k->name, len, "expect"))
        m4_note(&w->own[M4_OWN_EXPECT], value);
    else if (M4_NAMED(w, k->name, len, M4_CONTEXT))
        m4_note(&w->own[M4_OWN_CONTEXT], value);

    u64 number = m4_part_number(w, k->set, k->name, len);
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

static long m4_on_event(u32 i, struct m4_walk *k)
{
    struct m4_work *w = k->w;
    u32 event = w->event[i & (M4_EVENTS - 1)];
    u32 at = event & 0x3fff, solid = event >> 14 & 0x3fff;
    switch (event >> 28) {
    case S_TARGET0:
        w->part[M4_PART_METHOD] = (struct m4_text){0, at};
        k->start = at + 1;
        break;
    case S_QUERY:
        k->query = at;
        break;
    case S_VERSION:
        w->part[M4_PART_TARGET] = (struct m4_text){k->start, at - k->start};
        w->part[M4_PART_PATH] = (struct m4_text){k->start, (k->query ? k->query : at) - k->start};
        k->start = at + 1;
        break;
    case S_FIRST_CR:
        if (at - k->start == 8 && m4_same(w, k->start, "HTTP/1.", 7, 0))
            w->version = w->text[(k->start + 7) & M4_TEXT_MASK];
        break;
    case S_NAME:
        k->name = at;
        break;
    case S_BLANK:
        k->colon = at;
        break;
    case S_VALUE:
        k->value = at;
        break;
    case S_CR:
        m4_on_field(k, solid);
        break;
    }
    return 0;
}

struct m4_join {
    struct m4_work *w;
    u32 part, end, any;
};

static long m4_join_one(u32 i, struct m4_join *j)
{
    struct m4_work *w = j->w;
    u64 n = i, to = j->end;
    M4_HIDE(n);
    if (n >= M4_REPEATS)
        return 1;
    if (w->repeat[n].part != j->part)
        return 0;
    M4_HIDE(to);
    to &= M4_TEXT_MASK;
    if (j->any)
        w->text[to++] = ',';
    j->any = 1;
    u64 from = w->repeat[n].value.at, len = w->repeat[n].value.len;
    M4_HIDE(from);
    from &= M4_TEXT_MASK;
    M4_HIDE(len);
    if (len >= M4_HEAD)
        return 1;
    bpf_probe_read_kernel(w->text + to, len, w->text + from);
    j->end = to + len;
    return 0;
}

// A repeated field is one value, joined by ",". The joined values lie behind the head and are together shorter than it.
static long m4_join_part(u32 i, struct m4_work **all)
{
    struct m4_work *w = *all;
    u64 part = i;
    M4_HIDE(part);
    part &= M4_PARTS - 1;
    if (!(w->repeated >> part & 1))
        return 0;
    struct m4_join join = {.w = w, .part = part, .end = w->joined};
    bpf_loop(w->repeats, m4_join_one, &join, 0);
    w->part[part].at = w->joined;
    w->part[part].len = join.end - w->joined;
    w->joined = join.end;
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
        if (i >= text.len)
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

// Reads the head that m4_scan has found to be complete.
__noinline int m4_read_head(struct m4_work *w, const struct m4_set *set)
{
    if (!w || !set)
        return 0;
    struct m4_walk walk = {.w = w, .set = set};
    w->repeats = w->chunked = w->version = w->status = w->length = w->tag = w->answers = w->repeated = 0;
    w->present = (1 << M4_PART_FIELDS) - 1;
    w->next = M4_KEEP;
    w->joined = M4_HEAD;
    __builtin_memset(w->own, 0, sizeof(w->own));
    w->error = 431;
    if (w->events > M4_EVENTS)
        return 0;
    bpf_loop(w->events, m4_on_event, &walk, 0);
    if (w->repeats > M4_REPEATS)
        return 0;
    if (w->repeated)
        bpf_loop(M4_PARTS, m4_join_part, &w, 0);
    w->error = m4_framing(w);
    w->tag = m4_read_tag(w);
    w->no_body = w->part[M4_PART_METHOD].len == 4 && m4_same(w, w->part[M4_PART_METHOD].at, "HEAD", 4, 0);
    return 0;
}

// A run's working memory is its own until it ends: with preemption, per-CPU memory would not be.
static __always_inline struct m4_work *m4_take_work(void)
{
    u32 first = bpf_get_smp_processor_id();
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_SLOTS; i++) {
        u32 slot = (first + i) % M4_SLOTS;
        struct m4_work *w = bpf_map_lookup_elem(&m4_works, &slot);
        if (w && !__sync_lock_test_and_set(&w->busy, 1))
            return w;
    }
    return 0;
}
