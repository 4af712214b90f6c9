// SPDX-License-Identifier: Apache-2.0
//
// The reader of heads as a program of this machine: reads heads from its standard input, each behind its size (two bytes,
// the lower one first), and prints what it makes of each. With M4_BCC, the one for bcc.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

// What the runtime takes from the kernel.
enum { BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_SOCKHASH, BPF_MAP_TYPE_SK_STORAGE,
       BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_PROG_ARRAY, BPF_F_NO_PREALLOC = 1 };
#define SEC(name)
#define __always_inline inline __attribute__((always_inline))

static long bpf_probe_read_kernel(void *to, u32 size, const void *from)
{
    memcpy(to, from, size);
    return 0;
}

static u32 bpf_get_smp_processor_id(void)
{
    return 0;
}

static void *tables;

static void *bpf_map_lookup_elem(const void *map, const void *key)
{
    return tables;  // nothing else is looked up
}

#ifdef M4_BCC
#define bpf_pseudo_fd(kind, number) (number)
#else
#define __noinline __attribute__((noinline))
#define bpf_loop(count, body, context, flags)                                          \
    do {                                                                               \
        for (u32 i_ = 0, count_ = (count); i_ < count_ && !body(i_, context); i_++) {} \
    } while (0)
#define __uint(name, value) int (*name)[value]
#define __type(name, value) value *name
#endif

#define M4_CONTEXT "m4-ctx"
#define M4_CONTEXT_WIDTH 4
#include "m4_head.h"

static void m4_perform(struct m4_work *w, const struct m4_set *set, u32 number, u64 at)
{
}

static struct m4_work work;
static struct m4_set set;

static void show(const char *name, struct m4_text text)
{
    printf(" %s=", name);
    for (u32 i = 0; i < text.len; i++)
        printf("%02x", work.text[text.at + i]);
}

int main(void)
{
    static const char *const own[M4_OWN] = {"length", "encoding", "expect", "host", "context"};
    u8 size[2];
#ifdef M4_BCC
    static struct m4_tables both;
    memcpy(both.m4_class, m4_class, sizeof(m4_class));
    memcpy(both.m4_step, m4_step, sizeof(m4_step));
    tables = &both;
#endif
    // Conditions look at "x-a".
    set.first[3] = M4_PART_FIELDS;
    set.name[M4_PART_FIELDS].size = 3;
    set.word[0] = 'x' | '-' << 8 | 'a' << 16;
    set.word[1] = 0x200020;
    while (fread(size, 1, 2, stdin) == 2) {
        u32 have = size[0] | size[1] << 8;
        if (have < 1 || have > M4_HEAD || fread(work.text, 1, have, stdin) != have)
            return 1;
        work.text[have] = 0;
        m4_read_head(&work, &set, have);
        printf("%s", work.state == M4_MORE ? "more" : work.state == M4_BAD ? "bad" : work.state == M4_DONE ? "done" : "many");
        if (work.state == M4_DONE) {
            printf(" end=%u error=%u", work.end, work.error);
            if (!work.error)
                printf(" length=%llu chunked=%u", (unsigned long long)work.length, work.chunked);
            printf(" version=%u tag=%u no_body=%u present=%llx repeated=%llx", work.version, work.tag, work.no_body,
                   (unsigned long long)work.present, (unsigned long long)work.repeated);
            show("method", work.part[M4_PART_METHOD]);
            show("target", work.part[M4_PART_TARGET]);
            show("path", work.part[M4_PART_PATH]);
            if (work.present >> M4_PART_FIELDS & 1)
                show("x-a", work.part[M4_PART_FIELDS]);
            for (int i = 0; i < M4_OWN; i++) {
                printf(" %u", work.own[i].count);
                if (work.own[i].count)
                    show(own[i], work.own[i].value);
            }
        }
        printf("\n");
        m4_read_trailer(&work, have);
        printf(" trailer %u %u\n", work.state == M4_DONE, work.state == M4_BAD);
    }
    return 0;
}
