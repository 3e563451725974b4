/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
 *
 * What the fast path needs of the kernel's interface and of the network's headers, so that a
 * compiler is all it takes to build it. Numbers and layouts are the kernel's stable interface
 * (include/uapi/linux/bpf.h) and the protocols'; fields that are not used are only spaced out.
 */
#ifndef WAYLANE_KERNEL_H
#define WAYLANE_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define copy __builtin_memcpy

/* Reads and writes that others see: once, and as one word. */
#define LOAD(word) (*(const volatile __typeof__(word) *)&(word))
#define STORE(word, value) (*(volatile __typeof__(word) *)&(word) = (value))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define net16(number) __builtin_bswap16(number)
#define net32(number) __builtin_bswap32(number)
#define little32(number) (number)
#else
#define net16(number) (number)
#define net32(number) (number)
#define little32(number) __builtin_bswap32(number)
#endif

/* Maps are described by the types of a struct's members: BTF tells the loader. */
#define MAP_NUMBER(name, number) int (*name)[number]
#define MAP_TYPE(name, ...) __VA_ARGS__ *name

enum {
    MAP_HASH = 1,
    MAP_ARRAY = 2,
    MAP_ARRAY_PER_CPU = 6,
    MAP_LPM_TRIE = 11,
};

enum {
    MAP_NO_PREALLOC = 1 << 0,
    MAP_READ_ONLY_FROM_PROGRAM = 1 << 7,
    MAP_MMAPABLE = 1 << 10,
};

/* What an XDP program answers. */
enum { XDP_DROP = 1, XDP_PASS = 2, XDP_TX = 3 };
/* What a tc program answers. */
enum { TC_NEXT = -1, TC_DROP = 2 };

struct xdp_md {
    u32 data, data_end, data_meta;
    u32 ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct __sk_buff {
    u32 len, pkt_type;
    u32 unused_1[3];
    u32 vlan_present;
    u32 unused_2[4];
    u32 ifindex;
    u32 unused_3[8];
    u32 data, data_end;
    u32 unused_4[20];
    u32 gso_segs;
    u64 unused_5;
    u32 gso_size;
};
_Static_assert(__builtin_offsetof(struct __sk_buff, data) == 76, "the kernel's layout");
_Static_assert(__builtin_offsetof(struct __sk_buff, gso_segs) == 164, "the kernel's layout");
_Static_assert(__builtin_offsetof(struct __sk_buff, gso_size) == 176, "the kernel's layout");

enum { SKB_FOR_THIS_HOST = 0 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static u64 (*const monotonic_ns)(void) = (void *)5;
static long (*const redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*const skb_pull)(struct __sk_buff *, u32 length) = (void *)39;

/* The network's headers, in network order. */
struct ethernet {
    u8 to[6], from[6];
    u16 type;
};

struct ipv4 {
    u8 version_length, service;
    u16 length, id, fragment;
    u8 hops, protocol;
    u16 checksum;
    u32 from, to;
};

struct ipv6 {
    u32 version_class_flow;
    u16 length;
    u8 next, hops;
    u32 from[4], to[4];
};

struct udp {
    u16 from, to, length, checksum;
};

enum { ETHERNET_IPV4 = 0x0800, ETHERNET_IPV6 = 0x86dd, PROTOCOL_UDP = 17 };
enum { IPV4_DONT_FRAGMENT = 0x4000, IPV4_PARTS = 0x3fff };

#endif
