// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where the parts of a head are, run by run: a name goes as far as there are bytes that may be in a name, and what comes
// next must be a colon. Behind the bytes at hand there is a NUL, which no run goes over; where something else is missing
// there, the head is not whole yet, and else it is an error.
//
// m4_steps.h finds the same where there are no functions for loops to call.
#pragma once

// Kinds of bytes, by number.
enum {
    M4_IN_NAME,   // a method, or the name of a field
    M4_IN_PATH,   // a target as far as a question mark, and the version
    M4_IN_QUERY,
    M4_BLANK,
};

#define M4_VISIBLE (1 << M4_IN_PATH | 1 << M4_IN_QUERY)
#define M4_TOKEN (M4_VISIBLE | 1 << M4_IN_NAME)

static const u8 m4_class[256] = {
    ['\t'] = 1 << M4_BLANK, [' '] = 1 << M4_BLANK,
    ['!'] = M4_TOKEN, ['"'] = M4_VISIBLE, ['#'] = 1 << M4_IN_NAME, ['$' ... '\''] = M4_TOKEN, ['(' ... ')'] = M4_VISIBLE,
    ['*' ... '+'] = M4_TOKEN, [','] = M4_VISIBLE, ['-' ... '.'] = M4_TOKEN, ['/'] = M4_VISIBLE, ['0' ... '9'] = M4_TOKEN,
    [':' ... '>'] = M4_VISIBLE, ['?'] = 1 << M4_IN_QUERY, ['@'] = M4_VISIBLE, ['A' ... 'Z'] = M4_TOKEN,
    ['[' ... ']'] = M4_VISIBLE, ['^' ... 'z'] = M4_TOKEN, ['{'] = M4_VISIBLE, ['|'] = M4_TOKEN, ['}'] = M4_VISIBLE,
    ['~'] = M4_TOKEN,
};

#define M4_BLOCK 16  // bytes or, in a value, words
#define M4_BLOCKS (M4_HEAD / M4_BLOCK + 1)

// A run that is followed.
struct m4_run_of {
    const struct m4_work *w;
    u32 at, kind;
};

// Follows a run for a block. Returns 1 if it ends there, at r->at.
static __always_inline long m4_follow(struct m4_run_of *r)
{
    u64 at = r->at;
    u32 kind = r->kind, ends = 0;
    M4_HIDE(at);
    at &= M4_TEXT_MASK;
    const u8 *text = r->w->text + at;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_BLOCK; i++) {
        if (!(m4_class[text[i]] >> kind & 1)) {
            ends = 1;
            break;
        }
        at++;
    }
    M4_HIDE(at);
    r->at = at;
    return ends;
}

M4_CALLED long m4_follow_on(u32 block, struct m4_run_of *r)
{
    return m4_follow(r);
}

// Where the run ends that goes at least as far as `at`.
M4_FUNCTION int m4_end_from(const struct m4_work *w, u32 at, u32 kind)
{
    struct m4_run_of run = {w, at, kind};
    if (w)
        M4_LOOP(M4_BLOCKS, M4_BLOCKS, m4_follow_on, &run);
    return run.at;
}

// Where the run of bytes of this kind ends that begins at `at`. Most are short, so that no function needs to be called.
static __always_inline u32 m4_end(const struct m4_work *w, u32 at, u32 kind)
{
    struct m4_run_of run = {w, at, kind};
    return m4_follow(&run) ? run.at : m4_end_from(w, run.at, kind);
}

#define M4_EACH 0x0101010101010101ULL  // byte

// What must not be in a value (control characters but the tab) among eight bytes: the highest bit of each.
static __always_inline u64 m4_controls(u64 word)
{
    u64 low = word & M4_EACH * 0x7f, tab = low ^ M4_EACH * '\t';
    u64 visible = low + M4_EACH * (0x80 - ' '), deleted = low + M4_EACH;
    return ~word & (deleted | (~visible & (tab + M4_EACH * 0x7f))) & M4_EACH * 0x80;
}

// The same for the value of a field, eight bytes at a time.
static __always_inline long m4_follow_value(struct m4_run_of *r)
{
    u64 at = r->at, controls = 0;
    M4_HIDE(at);
    at &= M4_TEXT_MASK;
    const u8 *text = r->w->text + at;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_BLOCK; i++) {
        controls = m4_controls(*(const u64 *)(text + 8 * i));
        if (controls)
            break;
        at += 8;
    }
    M4_HIDE(at);
    M4_HIDE(controls);
    r->at = at;
    if (!controls)
        return 0;
    r->at += ((controls & -controls) >> 7) * 0x0001020304050607ULL >> 56;  // so many bytes are in front of the first one
    return 1;
}

M4_CALLED long m4_follow_value_on(u32 block, struct m4_run_of *r)
{
    return m4_follow_value(r);
}

M4_FUNCTION int m4_value_end_from(const struct m4_work *w, u32 at)
{
    struct m4_run_of run = {w, at, 0};
    if (w)
        M4_LOOP(M4_BLOCKS, M4_BLOCKS, m4_follow_value_on, &run);
    return run.at;
}

// Where the value that begins at `at` ends, with the blanks behind it.
static __always_inline u32 m4_value_end(const struct m4_work *w, u32 at)
{
    struct m4_run_of run = {w, at, 0};
    return m4_follow_value(&run) ? run.at : m4_value_end_from(w, run.at);
}

static __always_inline u32 m4_byte(const struct m4_work *w, u64 at)
{
    M4_OPAQUE(at);
    return w->text[at & M4_TEXT_MASK];
}

static __always_inline u32 m4_is_blank(u32 byte)
{
    return byte == ' ' || byte == '\t';
}

// What is at `at` is not what must be there. Returns 1, for loops to end.
static __always_inline long m4_stop(struct m4_work *w, u32 at)
{
    w->state = at < w->size ? M4_BAD : M4_MORE;
    return 1;
}

// Is there no CRLF at `at`?
static __always_inline long m4_no_crlf(struct m4_work *w, u32 at)
{
    if (m4_byte(w, at) != '\r')
        return m4_stop(w, at);
    return m4_byte(w, at + 1) != '\n' ? m4_stop(w, at + 1) : 0;
}

struct m4_lines {
    struct m4_work *w;
    const struct m4_set *set;  // 0: nobody looks at the fields
    u32 at, end;               // where the next line begins, and where the value at hand ends
};

M4_CALLED long m4_trim(u32 i, struct m4_lines *l)
{
    if (!m4_is_blank(m4_byte(l->w, l->end - 1)))
        return 1;
    l->end--;
    return 0;
}

// A field, or the empty line behind the last one.
M4_CALLED long m4_on_line(u32 i, struct m4_lines *l)
{
    struct m4_work *w = l->w;
    u32 name = l->at, colon = m4_end(w, name, M4_IN_NAME);
    if (colon == name) {
        if (m4_no_crlf(w, name))
            return 1;
        w->end = name + 2;
        w->state = M4_DONE;
        return 1;
    }
    if (m4_byte(w, colon) != ':')
        return m4_stop(w, colon);
    u32 begin = m4_end(w, colon + 1, M4_BLANK), end = m4_value_end(w, begin);
    if (m4_no_crlf(w, end))
        return 1;
    l->at = end + 2;
    if (!l->set)
        return 0;
    l->end = end;
    if (end > begin && m4_is_blank(m4_byte(w, end - 1)))
        M4_LOOP(end - begin, M4_HEAD, m4_trim, l);
    m4_on_field(w, l->set, name, colon - name, (struct m4_text){begin, l->end - begin});
    return 0;
}

static __always_inline void m4_on_lines(struct m4_lines *lines)
{
    lines->w->state = M4_TOO_MANY;
    M4_LOOP(M4_LINES, M4_LINES, m4_on_line, lines);
}

// METHOD SP target SP version CRLF, then the fields.
static __always_inline void m4_find_fields(struct m4_work *w, const struct m4_set *set)
{
    u32 end = m4_end(w, 0, M4_IN_NAME);
    if (!end || m4_byte(w, end) != ' ') {
        m4_stop(w, end);
        return;
    }
    w->part[M4_PART_METHOD] = (struct m4_text){0, end};
    u32 target = end + 1, query = m4_end(w, target, M4_IN_PATH);
    end = m4_byte(w, query) == '?' ? m4_end(w, query + 1, M4_IN_QUERY) : query;
    if (end == target || m4_byte(w, end) != ' ') {
        m4_stop(w, end);
        return;
    }
    w->part[M4_PART_TARGET] = (struct m4_text){target, end - target};
    w->part[M4_PART_PATH] = (struct m4_text){target, query - target};
    u32 version = end + 1;
    end = m4_end(w, version, M4_IN_PATH);
    if (m4_no_crlf(w, end))
        return;
    if (end - version == 8 && m4_same(w, version, "HTTP/1.", 7, 0))
        w->version = m4_byte(w, version + 7);
    struct m4_lines lines = {w, set, end + 2};
    m4_on_lines(&lines);
}

static __always_inline void m4_find_end(struct m4_work *w)
{
    struct m4_lines lines = {w};
    m4_on_lines(&lines);
}
