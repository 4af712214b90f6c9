// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What every generated kernel program shares: limits, the state of a connection, the working memory of a run, the maps.
//
// A generated program defines, before it includes this file:
//   M4_CONTEXT, M4_CONTEXT_WIDTH    name of the context header (lower case) and its number of hexadecimal digits
#pragma once

#include "m4_loader.h"

// The compiler must not know this value: it would drop the bounds check that the verifier wants to see.
#define M4_HIDE(x) asm volatile("" : "+r"(x)::"memory")

// The same for a number that is only computed with: keeps arithmetic from being turned into branches.
#define M4_OPAQUE(x) asm("" : "+r"(x))

#ifdef M4_BCC
#define M4_HEAD 1024           // longest head (request line and fields) that is judged; beyond it: 431
#define M4_SOON M4_HEAD
#define M4_EVENTS 64           // about four per field; more is refused with 431
#define M4_REPEATS 16          // fields that conditions look at, repetitions counted
#define M4_LITERAL 32          // longest constant in a condition
#define M4_STEPS 32            // of a walk over a set of policies
#define M4_PARTS 16            // parts of a request that conditions look at
#define M4_CHAIN 4             // fields whose names have the same length
#else
#define M4_HEAD 8192
#define M4_SOON 512            // most heads are no longer: no more is copied at first, for what follows is mostly a body
#define M4_LINES 128           // fields and the empty line; more is refused with 431
#define M4_REPEATS 128
#define M4_LITERAL 1024
#define M4_STEPS M4_OPS
#define M4_PARTS 64
#define M4_CHAIN M4_PARTS
#endif
#define M4_TEXT (3 * M4_HEAD)  // the head, the joined values of repeated fields, and slack for fixed-size reads
#define M4_TEXT_MASK (2 * M4_HEAD - 1)
#define M4_RULES 8192          // of a set of policies and of the next one: refusals of each are counted
#define M4_SLOTS 32            // working memories: one per run in progress
#define M4_SOCKETS 65536       // connections under control at a time
#define M4_KEEP (1ULL << 32)   // no tag is this large: "leave the tag as it is"

// What a set of policies may hold. The loader knows these numbers too, and refuses what does not fit.
#define M4_OPS 8192
#define M4_WORDS 16384

// Where a connection stands between two messages of its sender.
enum m4_phase {
    M4_PHASE_HEAD,     // at the first byte of a request
    M4_PHASE_CHUNK,    // at the size line of the first chunk
    M4_PHASE_NEXT,     // at the CRLF that ends a chunk
    M4_PHASE_TRAILER,  // after the last chunk
    M4_PHASE_DISCARD,  // in the body of a refused request, one placeholder byte is held back
    M4_PHASE_CLOSED,   // answered "connection: close"; whatever the sender still sends is swallowed
    M4_PHASE_DEAD,     // no answer could be given in order; sending fails with EACCES
};

struct m4_conn {
    u64 cookie;     // key of this socket in m4_sockets
    u64 rest;       // bytes of the body that pass before the phase begins; DISCARD: bytes that are still to vanish
    u64 received;   // bytes the socket had received when the last request, or piece of one, went out
    u32 site;
    u32 status;     // DISCARD: the answer to give
    u8 phase;
    u8 passed;      // a request went out on this connection
    u8 pipelined;   // a request went out while a response was due: order of answers is unknown from then on
    u8 expects;     // the request in flight waits for "100 Continue" before its body
    u8 no_body;     // DISCARD: the answer has no body (HEAD)
};

struct m4_text {
    u32 at, len;    // bytes [at, at + len) of m4_work.text
};

struct m4_field {
    u32 count;      // 0: the request does not have this field
    struct m4_text value;
};

// The parts of a request that conditions look at, by number: these three, then fields by the numbers that the loader gave
// to their names.
enum m4_part { M4_PART_METHOD, M4_PART_TARGET, M4_PART_PATH, M4_PART_FIELDS };

// Fields that the runtime itself looks at.
enum m4_own { M4_OWN_LENGTH, M4_OWN_ENCODING, M4_OWN_EXPECT, M4_OWN_HOST, M4_OWN_CONTEXT, M4_OWN };

// The size line of a chunk as far as it has been read; in memory, where the verifier does not follow its values.
struct m4_size_line {
    u64 size;
    u32 at, digits, cr, end, bad;
};

#ifdef M4_BCC
// What the events of a head have told so far; in memory for the same reason.
struct m4_places {
    u32 start, query, name, colon, value;
};
#endif

// What reading a head, or a trailer, has come to.
enum m4_progress { M4_MORE, M4_BAD, M4_TOO_MANY, M4_DONE };

struct m4_work {
    u64 busy;
    u32 state;                             // enum m4_progress
    u32 size;                              // bytes of text to read; a NUL follows
    u32 repeats;
    u32 end;                               // length of the head
    u32 joined;                            // end of the joined values in text
    u32 found;                             // the answer of a search
    u32 error;                             // status of the refusal, 0 if the head is in order
    u32 chunked, version, no_body;
    u64 length;                            // of the body, if not chunked
    u64 answers;                           // of states, by the number of the question
    u64 next;                              // the tag that the request shall carry, or M4_KEEP
    u64 present, repeated;                 // parts that the request has, and has more than once, a bit each
    u32 tag;                               // the context tag that it carries
    u32 status;                            // set by a rule that refuses the request; 0: allowed
    u32 by, rule;                          // the rule at hand, and the one that refuses the request
    struct m4_text part[M4_PARTS];         // those that are present
    struct m4_field own[M4_OWN];
    struct { u32 part; struct m4_text value; } repeat[M4_REPEATS];
    struct m4_size_line line;
    u32 pass;                              // the operation at hand
#ifdef M4_BCC
    struct m4_places walk;
    u32 events, event[M4_EVENTS];
#endif
    u8 text[M4_TEXT];
};

struct m4_counters {
    u64 seen, allowed, denied, tagged, errors;
};

struct m4_remote {
    u32 address[4];  // IPv6, or IPv4 as ::ffff:a.b.c.d, in network order
    u32 port;        // in host order
};

M4_DEFINE(m4_hops, HASH, struct m4_remote, u32, 4096, 0)

// Where no connection may lead, with the rule that says so. The addresses of m4_hops, and those at which the service's own
// proxy takes what is for them.
M4_DEFINE(m4_closed, HASH, struct m4_remote, u32, 8192, 0)

M4_DEFINE(m4_sockets, SOCKHASH, u64, u64, M4_SOCKETS, 0)

M4_DEFINE(m4_conns, SK_STORAGE, int, struct m4_conn, 0, BPF_F_NO_PREALLOC)

// By site. The loader knows how many there are.
M4_DEFINE(m4_counts, PERCPU_ARRAY, u32, struct m4_counters, 1, 0)

M4_DEFINE(m4_works, ARRAY, u32, struct m4_work, M4_SLOTS, 0)

// Requests that each rule refused.
M4_DEFINE(m4_refused, PERCPU_ARRAY, u32, u64, M4_RULES, 0)

#define M4_TOLD 128  // bytes of a refused request that are told: the beginning of its head

struct m4_refusal {
    u64 at;      // nanoseconds since the start of the machine
    u32 site, rule, status, size;
    u8 head[M4_TOLD];
};

// The latest refused requests, for whoever looks; what finds no room is not told.
M4_DEFINE_RING(m4_refusals, 65536)

// The program that judges, in its only element: it is replaced in one step, for all connections.
M4_DEFINE(m4_judges, PROG_ARRAY, u32, u32, 1, 0)

#define M4_COUNT(counters, what) __sync_fetch_and_add(&(counters)->what, 1)
