// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where the parts of a head are, for the verifier that walks through every loop and takes each way out of one for one more
// to walk: a table-driven automaton goes over the bytes and notes where something begins or ends (an event), without a
// branch that depends on the bytes. Then the events, a few per field, are turned into texts and fields. m4_runs.h finds
// the same, faster, where loops call functions.
#pragma once

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
        u32 step = s->tables->m4_step[(state << 4 | (s->tables->m4_class[w->text[base + i]] & 15)) & 255];
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

// Walks over w->size bytes of the text; leaves what that came to, and the events, in `w`.
static __always_inline void m4_scan(struct m4_work *w, u32 state)
{
    u32 zero = 0;
    struct m4_scan scan = {.w = w, .tables = bpf_map_lookup_elem(M4_MAP(m4_tables), &zero), .state = state & 15};
    if (!scan.tables)
        return;
    M4_LOOP((w->size + M4_BLOCK - 1) / M4_BLOCK, M4_HEAD / M4_BLOCK, m4_scan_block, &scan);
    w->state = scan.state == S_BAD ? M4_BAD : M4_MORE;
    w->events = scan.events;
    if (scan.state != S_DONE)
        return;
    w->state = M4_TOO_MANY;
    if (scan.events >= 1 && scan.events <= M4_EVENTS) {
        u64 last = scan.events - 1;
        M4_HIDE(last);
        w->end = (w->event[last & (M4_EVENTS - 1)] & 0x3fff) + 1;
        w->state = M4_DONE;
    }
}

struct m4_walk {
    struct m4_work *w;
    const struct m4_set *set;
};

static __always_inline void m4_on_end(struct m4_walk *k, u32 solid)
{
    struct m4_work *w = k->w;
    struct m4_text value = {w->walk.colon + 1, 0};
    if (solid > w->walk.colon) {
        value.at = w->walk.value;
        value.len = solid - w->walk.value;
    }
    m4_on_field(w, k->set, w->walk.name, w->walk.colon - w->walk.name, value);
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
        m4_on_end(k, solid);
        break;
    }
    return 0;
}

static __always_inline void m4_find_fields(struct m4_work *w, const struct m4_set *set)
{
    struct m4_walk walk = {w, set};
    m4_scan(w, S_START);
    if (w->state != M4_DONE)
        return;
    w->walk = (struct m4_places){};
    M4_LOOP(w->events, M4_EVENTS, m4_on_event, &walk);
}

static __always_inline void m4_find_end(struct m4_work *w)
{
    m4_scan(w, S_LINE);
}
