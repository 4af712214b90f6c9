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

#ifdef M4_BCC
struct m4_tables {
    u8 m4_class[256], m4_step[256];
};

M4_DEFINE(m4_tables, ARRAY, u32, struct m4_tables, 1, 0)

#define M4_OCTET(table, at, n) (u64)table[8 * (at) + (n)] << 8 * (n)
#define M4_OCTETS(table, at)                                                                                   \
    u64 m4_table_##table##_##at(void *unused)                                                                  \
    {                                                                                                          \
        return M4_OCTET(table, at, 0) | M4_OCTET(table, at, 1) | M4_OCTET(table, at, 2) | M4_OCTET(table, at, 3) | \
               M4_OCTET(table, at, 4) | M4_OCTET(table, at, 5) | M4_OCTET(table, at, 6) | M4_OCTET(table, at, 7);  \
    }
#define M4_EIGHT(table, digits)                                                                                  \
    M4_OCTETS(table, digits##0) M4_OCTETS(table, digits##1) M4_OCTETS(table, digits##2) M4_OCTETS(table, digits##3) \
    M4_OCTETS(table, digits##4) M4_OCTETS(table, digits##5) M4_OCTETS(table, digits##6) M4_OCTETS(table, digits##7)
#define M4_TABLE(table) M4_EIGHT(table, 0) M4_EIGHT(table, 01) M4_EIGHT(table, 02) M4_EIGHT(table, 03)

M4_TABLE(m4_class)
M4_TABLE(m4_step)
#define M4_LOOK_UP(tables, table, at) ((tables)->table[at])
#else
struct m4_tables;
#define M4_LOOK_UP(tables, table, at) table[at]
#endif

#define M4_BLOCK 64

struct m4_scan {
    struct m4_work *w;
    const struct m4_tables *tables;
    u32 state, events, solid;
};

M4_CALLED long m4_scan_block(u32 block, struct m4_scan *s)
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
        u32 step = M4_LOOK_UP(s->tables, m4_step, (state << 4 | (M4_LOOK_UP(s->tables, m4_class, w->text[base + i]) & 15)) & 255);
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
M4_FUNCTION int m4_scan(struct m4_work *w, u32 size, u32 state)
{
    if (!w)
        return 0;
    struct m4_scan scan = {.w = w, .state = state & 15};
#ifdef M4_BCC
    u32 zero = 0;
    scan.tables = bpf_map_lookup_elem(M4_MAP(m4_tables), &zero);
    if (!scan.tables)
        return 0;
#endif
    w->size = size;
    M4_LOOP((size + M4_BLOCK - 1) / M4_BLOCK, M4_HEAD / M4_BLOCK, m4_scan_block, &scan);
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
    u32 len = w->walk.colon - w->walk.name;
    struct m4_text value = {w->walk.colon + 1, 0};
    if (solid > w->walk.colon) {
        value.at = w->walk.value;
        value.len = solid - w->walk.value;
    }
    if (M4_NAMED(w, w->walk.name, len, "content-length"))
        m4_note(&w->own[M4_OWN_LENGTH], value);
    else if (M4_NAMED(w, w->walk.name, len, "transfer-encoding"))
        m4_note(&w->own[M4_OWN_ENCODING], value);
    else if (M4_NAMED(w, w->walk.name, len, "host"))
        m4_note(&w->own[M4_OWN_HOST], value);
    else if (M4_NAMED(w, w->walk.name, len, "expect"))
        m4_note(&w->own[M4_OWN_EXPECT], value);
    else if (M4_NAMED(w, w->walk.name, len, M4_CONTEXT))
        m4_note(&w->own[M4_OWN_CONTEXT], value);

    u64 number = m4_part_number(w, k->set, w->walk.name, len);
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

M4_CALLED long m4_on_event(u32 i, struct m4_walk *k)
{
    struct m4_work *w = k->w;
    u32 event = w->event[i & (M4_EVENTS - 1)];
    u32 at = event & 0x3fff, solid = event >> 14 & 0x3fff;
    switch (event >> 28) {
    case S_TARGET0:
        w->part[M4_PART_METHOD] = (struct m4_text){0, at};
        w->walk.start = at + 1;
        break;
    case S_QUERY:
        w->walk.query = at;
        break;
    case S_VERSION:
        w->part[M4_PART_TARGET] = (struct m4_text){w->walk.start, at - w->walk.start};
        w->part[M4_PART_PATH] = (struct m4_text){w->walk.start, (w->walk.query ? w->walk.query : at) - w->walk.start};
        w->walk.start = at + 1;
        break;
    case S_FIRST_CR:
        if (at - w->walk.start == 8 && m4_same(w, w->walk.start, "HTTP/1.", 7, 0))
            w->version = w->text[(w->walk.start + 7) & M4_TEXT_MASK];
        break;
    case S_NAME:
        w->walk.name = at;
        break;
    case S_BLANK:
        w->walk.colon = at;
        break;
    case S_VALUE:
        w->walk.value = at;
        break;
    case S_CR:
        m4_on_field(k, solid);
        break;
    }
    return 0;
}

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

// Reads the head that m4_scan has found to be complete.
M4_FUNCTION int m4_read_head(struct m4_work *w, const struct m4_set *set)
{
    if (!w || !set)
        return 0;
    struct m4_walk walk = {w, set};
    w->walk = (struct m4_places){};
    w->repeats = w->chunked = w->version = w->status = w->length = w->tag = w->answers = w->repeated = 0;
    w->present = (1 << M4_PART_FIELDS) - 1;
    w->next = M4_KEEP;
    w->joined = M4_HEAD;
    __builtin_memset(w->own, 0, sizeof(w->own));
    w->error = 431;
    if (w->events > M4_EVENTS)
        return 0;
    M4_LOOP(w->events, M4_EVENTS, m4_on_event, &walk);
    if (w->repeats > M4_REPEATS)
        return 0;
    if (w->repeated)
        M4_LOOP(M4_PARTS, M4_PARTS, m4_join_part, &w);
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
        struct m4_work *w = bpf_map_lookup_elem(M4_MAP(m4_works), &slot);
        if (w && !__sync_lock_test_and_set(&w->busy, 1))
            return w;
    }
    return 0;
}
