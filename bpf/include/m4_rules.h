// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Policies as data: a set of them is a graph of small operations that the loader lays out (m4bpf/layout.py has the same
// structures), so that other policies need neither the compiler nor the verifier.
//
// An operation is a question about the request, with the operation that follows each answer; or it does something, and
// one follows. The first ones lead to where each site's policies begin; from there on the numbers only get smaller, so
// that every walk ends.
//
// There are two sets: the one in force, and room for the next one. A run reads once which one is in force, and keeps to
// it. The loader waits until the runs that may still read a set have ended before it writes there again.
#pragma once

#include "m4_text.h"

enum m4_kind {
    M4_NOWHERE,      // what is not set: the request is refused
    M4_END,
    M4_GO,
    M4_EQUALS,       // subject: the part of the request; at, size: the literal
    M4_STARTS_WITH,
    M4_ENDS_WITH,
    M4_CONTAINS,
    M4_EXISTS,
    M4_BELOW,        // is the tag below `value`?
    M4_ANSWERED,     // what a state answered to question `value`
    M4_EFFECT,       // number `subject` of the generated program; at: its arguments; value: the rule, to be counted
    M4_RETAG,        // the tag that the request shall carry: the word `at`
};

struct m4_op {
    u8 kind, subject;
    u16 size, yes, no;
    u32 at, value;
};

// A field that conditions look at. Those whose names have the same length, modulo the number of chains, form a chain.
#define M4_CHAINS 64

struct m4_name {
    u16 size, next;  // next: the number of the next part in the chain; 0: none
    u32 at;
};

struct m4_set {
    u16 first[M4_CHAINS];
    struct m4_name name[M4_PARTS];
    u64 word[M4_WORDS];  // literals: eight bytes, then the mask that maps capitals to small letters, and so on; numbers
    struct m4_op op[M4_OPS];  // each site begins at the one of its number
};

M4_DEFINE(m4_sets, ARRAY, u32, struct m4_set, 2, 0)

// The number of the set in force.
M4_DEFINE(m4_current, ARRAY, u32, u32, 1, 0)

static __always_inline const struct m4_set *m4_set_in_force(void)
{
    u32 zero = 0, *current = bpf_map_lookup_elem(M4_MAP(m4_current), &zero);
    if (!current)
        return 0;
    u32 number = *(volatile u32 *)current;
    return bpf_map_lookup_elem(M4_MAP(m4_sets), &number);
}

// In which bits the eight bytes at `text` are not those of a literal.
static __always_inline u64 m4_differ(const u8 *text, const struct m4_set *set, u64 literal)
{
    M4_HIDE(literal);
    literal &= M4_WORDS - 2;
    return (*(const u64 *)text | set->word[literal + 1]) ^ set->word[literal];
}

// Are the `size` bytes at `at` those of the literal?
M4_FUNCTION int m4_matches(const struct m4_work *w, const struct m4_set *set, u32 at, u32 literal, u32 size)
{
    if (!w || !set || size > M4_LITERAL)
        return 0;
    u64 from = at;
    M4_HIDE(from);
    from &= M4_TEXT_MASK;
    const u8 *text = w->text + from;
    u64 words = size / 8, last = (1ULL << (size & 7) * 8) - 1;
    M4_HIDE(words);
#ifdef M4_BCC
    u64 difference = 0;  // without a branch: the verifier would follow each
#pragma clang loop unroll(disable)
    for (u64 i = 0; i < M4_LITERAL / 8; i++) {
        u64 counts = -((i - words) >> 63) | (last & -m4_is(i, words));
        difference |= m4_differ(text + 8 * i, set, literal + 2 * i) & counts;
    }
    return m4_is(difference, 0);
#endif
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < M4_LITERAL / 8; i++) {
        if (i >= words)
            break;
        if (m4_differ(text + 8 * i, set, literal + 2 * i))
            return 0;
    }
    if (!last)
        return 1;
    words &= M4_LITERAL / 8 - 1;
    M4_HIDE(words);
    words &= M4_LITERAL / 8 - 1;
    return !(m4_differ(text + 8 * words, set, literal + 2 * words) & last);
}

struct m4_naming {
    const struct m4_work *w;
    const struct m4_set *set;
    u32 at, len, part;
};

M4_CALLED long m4_try_name(u32 i, struct m4_naming *n)
{
    u64 part = n->part;
    M4_HIDE(part);
    part &= M4_PARTS - 1;
    const struct m4_name *name = &n->set->name[part];
    if (!part || (name->size == n->len && m4_matches(n->w, n->set, n->at, name->at, n->len)))
        return 1;
    n->part = name->next;
    return 0;
}

// The number of the part that is the field with this name; 0 if no condition looks at it.
M4_FUNCTION int m4_part_number(const struct m4_work *w, const struct m4_set *set, u32 at, u32 len)
{
    if (!w || !set)
        return 0;
    struct m4_naming naming = {w, set, at, len, set->first[len & (M4_CHAINS - 1)]};
    if (naming.part)
        M4_LOOP(M4_PARTS, M4_CHAIN, m4_try_name, &naming);
    return naming.part & (M4_PARTS - 1);
}

struct m4_search {
    const struct m4_work *w;
    const struct m4_set *set;
    u32 at, literal, size, found;
};

M4_CALLED long m4_search_at(u32 i, struct m4_search *s)
{
    s->found = m4_matches(s->w, s->set, s->at + i, s->literal, s->size);
    return s->found != 0;
}

static __always_inline u32 m4_search(const struct m4_work *w, const struct m4_set *set, struct m4_text text,
                                     const struct m4_op *op)
{
    struct m4_search search = {w, set, text.at, op->at, op->size, 0};
    if (text.len >= op->size)
        M4_LOOP(text.len - op->size + 1, 1, m4_search_at, &search);
    return search.found;
}

#define M4_TAG(w) ((w)->tag)
#define M4_ARG(number) (set->word[(at + (number)) & (M4_WORDS - 1)])

// What a rule can do to the request at hand. Of several refusals the one with the smallest status is answered.
static __always_inline void m4_deny(struct m4_work *w, u32 status)
{
    if (!w->status || status < w->status) {
        w->status = status;
        w->rule = w->by;
    }
}

// Performs operation `number` of those that the program knows, with the arguments at `at`. Generated.
static __always_inline void m4_perform(struct m4_work *w, const struct m4_set *set, u32 number, u64 at);

struct m4_pass {
    struct m4_work *w;
    const struct m4_set *set;
};

M4_CALLED long m4_do_op(u32 i, struct m4_pass *p)
{
    struct m4_work *w = p->w;
    const struct m4_set *set = p->set;
    u64 at = w->pass;
    M4_HIDE(at);
    at &= M4_OPS - 1;
    const struct m4_op *op = &set->op[at];
    u64 part = op->subject, holds = 0, word = op->at;
    M4_HIDE(part);
    part &= M4_PARTS - 1;
    M4_HIDE(word);
    word &= M4_WORDS - 1;
    u64 present = w->present >> part & 1;
    struct m4_text text = w->part[part];
    u32 size = op->size;
    u32 begin = text.at;
    switch (op->kind) {
    case M4_END:
        return 1;
    case M4_GO:
        break;
    case M4_EQUALS:
        present &= m4_is(text.len, size);
        holds = present;
        break;
    case M4_ENDS_WITH:
        begin += text.len - size;
    case M4_STARTS_WITH:
        present &= text.len >= size;
        holds = present;
        break;
    case M4_CONTAINS:
        holds = present && m4_search(w, set, text, op);
        break;
    case M4_EXISTS:
        holds = present;
        break;
    case M4_BELOW:
        holds = w->tag < op->value;
        break;
    case M4_ANSWERED:
        holds = w->answers >> (op->value & 63) & 1;
        break;
    case M4_EFFECT:
        w->by = op->value;
        m4_perform(w, set, op->subject, word);
        break;
    case M4_RETAG:
        w->next = set->word[word];
        break;
    default:
        m4_deny(w, 403);  // no such site
        return 1;
    }
    if (holds && op->kind >= M4_EQUALS && op->kind <= M4_ENDS_WITH)
        holds = m4_matches(w, set, begin, op->at, size);
    w->pass = holds ? op->yes : op->no;
    return 0;
}

// Judges the request by the policies of a site.
M4_FUNCTION int m4_judge(struct m4_work *w, const struct m4_set *set, u32 site)
{
    if (!w || !set)
        return 0;
    struct m4_pass pass = {w, set};
    w->pass = site < M4_OPS ? site : M4_OPS - 1;
    M4_LOOP(M4_OPS, M4_STEPS, m4_do_op, &pass);
    return 0;
}
