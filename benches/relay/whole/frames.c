/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
 *
 * The programs of set-up M2: a source of single frames, a sink that counts them, one that lets
 * pass what a driver would hand on, and the least that forwards in the kernel, to compare with.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define copy __builtin_memcpy
#define net16(number) __builtin_bswap16(number)
#define net32(number) __builtin_bswap32(number)

enum { XDP_DROP = 1, XDP_PASS = 2, XDP_TX = 3 };
enum { HASH = 1, ARRAY = 2, ARRAY_PER_CPU = 6 };

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*look_up)(void *map, const void *key) = (void *)1;
static u64 (*now)(void) = (void *)5;
static u32 (*random)(void) = (void *)7;
static long (*redirect)(u32 interface, u64 flags) = (void *)23;

/* Ethernet, IPv4 without options and UDP, as they lie on the wire. */
struct headers {
    u8 to[6], from[6];
    u16 ether_type;
    u8 version_len, service;
    u16 len, id, fragment;
    u8 hops, protocol;
    u16 checksum;
    u32 source, destination;
    u16 source_port, destination_port, udp_len, udp_checksum;
} __attribute__((packed));

/* What the source is told. */
struct plan {
    struct headers headers; /* All but the source's port, which is the first of `ports`. */
    u16 first_port, ports;
    u32 interface;
    u32 names;
    u32 at_once;
    u32 nanoseconds_a_burst; /* 0: as fast as can be. */
    /* The program's own. */
    u32 left, number;
    u64 due;
};

struct {
    int (*type)[ARRAY];
    u32 *key;
    struct plan *value;
    int (*max_entries)[1];
} plans SECTION(".maps");

/* What a relay looks at, by the number of the session; resized. */
struct {
    int (*type)[ARRAY];
    u32 *key;
    u64 *value;
    int (*max_entries)[1];
} names SECTION(".maps");

/* Frames and bytes that have arrived. */
struct sunk {
    u64 frames, bytes;
};
struct {
    int (*type)[ARRAY_PER_CPU];
    u32 *key;
    struct sunk *value;
    int (*max_entries)[1];
} sinks SECTION(".maps");

/* Where a session lives, by the eight bytes that its datagrams begin with; resized. */
struct home {
    u32 address;
    u16 port, none;
};
struct {
    int (*type)[HASH];
    u64 *key;
    struct home *value;
    int (*max_entries)[1];
} homes SECTION(".maps");

enum { BURST = 32, LEN = 64, APART = 618033 };

/* Lays down the whole header: a frame comes round again with whatever was written into it. */
SECTION("xdp")
int source(struct xdp_md *context)
{
    u32 zero = 0;
    struct plan *plan = look_up(&plans, &zero);
    u8 *frame = (u8 *)(long)context->data;
    struct headers *headers = (void *)frame;
    if (!plan || frame + sizeof *headers + LEN > (u8 *)(long)context->data_end)
        return XDP_DROP;
    if (plan->left == 0) {
        if (plan->nanoseconds_a_burst) {
            u64 time = now();
            if (time < plan->due)
                return XDP_DROP;
            /* What could not be sent in time is not made up for. */
            u64 due = plan->due + plan->nanoseconds_a_burst;
            plan->due = due + 1000000 < time ? time : due;
        }
        plan->left = BURST;
    }
    plan->left--;
    u32 number = plan->number++;
    u32 draw = random();
    /* As in load.rs. */
    u64 place = plan->at_once == plan->names
                    ? draw % plan->names
                    : ((u64)number + draw % plan->at_once) * APART % plan->names;
    u32 key = place;
    u64 *name = look_up(&names, &key);
    if (!name)
        return XDP_DROP;
    copy(headers, &plan->headers, sizeof *headers);
    headers->source_port = net16(plan->first_port + number % plan->ports);
    copy(frame + sizeof *headers, name, sizeof *name);
    return redirect(plan->interface, 0);
}

SECTION("xdp")
int sink(struct xdp_md *context)
{
    u32 zero = 0;
    u8 *frame = (u8 *)(long)context->data;
    u8 *end = (u8 *)(long)context->data_end;
    struct headers *headers = (void *)frame;
    if (frame + sizeof *headers + 8 > end)
        return XDP_PASS;
    /* Of what is forwarded, and neither a neighbour's question nor what was sent back. */
    if (headers->ether_type != net16(0x0800) || (headers->destination & net32(0xfffe0000)) != net32(0xc6120000))
        return XDP_PASS;
    struct sunk *sunk = look_up(&sinks, &zero);
    if (sunk) {
        sunk->frames++;
        sunk->bytes += end - frame;
    }
    return XDP_DROP;
}

SECTION("xdp")
int pass(struct xdp_md *context)
{
    (void)context;
    return XDP_PASS;
}

/* One look-up, addresses, a checksum, and out again: no sender, no budget, no counter. */
SECTION("xdp")
int bare(struct xdp_md *context)
{
    u8 *frame = (u8 *)(long)context->data;
    struct headers *headers = (void *)frame;
    if (frame + sizeof *headers + 8 > (u8 *)(long)context->data_end)
        return XDP_PASS;
    if (headers->ether_type != net16(0x0800) || headers->protocol != 17)
        return XDP_PASS;
    u64 name;
    copy(&name, frame + sizeof *headers, sizeof name);
    struct home *home = look_up(&homes, &name);
    if (!home)
        return XDP_DROP;
    u8 own[6];
    copy(own, headers->to, 6);
    copy(headers->to, headers->from, 6);
    copy(headers->from, own, 6);
    headers->source = headers->destination;
    headers->destination = home->address;
    headers->source_port = headers->destination_port;
    headers->destination_port = home->port;
    headers->udp_checksum = 0;
    headers->checksum = 0;
    u16 words[10];
    copy(words, &headers->version_len, sizeof words);
    u32 sum = 0;
#pragma unroll
    for (int n = 0; n < 10; n++)
        sum += words[n];
    sum = (sum & 0xffff) + (sum >> 16);
    headers->checksum = ~((sum & 0xffff) + (sum >> 16));
    return XDP_TX;
}

/* As in forward.c: some of the kernel's functions were for such programs only. */
char terms[] SECTION("license") = "Dual MIT/GPL";
