/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
 *
 * The relay's tables as the kernel reads them: the layout, the hash and the rules of
 * `core/src/relay` (hot.rs, index.rs, hash.rs, budget.rs), word for word. What changes there
 * changes here; the tests send the same packets through both.
 */
#ifndef WAYLANE_TABLE_H
#define WAYLANE_TABLE_H

#include "kernel.h"

/* An address and port: four words in network order and `family << 16 | port`. */
struct address {
    u32 words[4];
    u32 family_port;
};

/* What was taken of a budget of packets and of bytes is paid for until these moments. */
struct buckets {
    u32 packets, bytes;
};

/* One session; words 1 to 6 are the owner's, guarded by word 0, which is odd while it writes.
 * The last entries are accounts and no session's: of sources, and at the end of all together.
 *
 * `payer` is 0 where a session pays for what it sends, 1 + a slot where the session there pays
 * instead, and ACCOUNT with a slot where it pays itself and the account there besides. */
struct hot_entry {
    u32 sequence;
    u32 tag;
    struct address address;
    struct buckets sent, received;
    u32 handshakes_sent, handshakes_received;
    u32 packet_price, byte_price;
    u32 payer;
};
_Static_assert(sizeof(struct hot_entry) == 64, "core/src/relay/hot.rs");
_Static_assert(__builtin_offsetof(struct hot_entry, address.family_port) == 24, "word 6");
_Static_assert(__builtin_offsetof(struct hot_entry, sent) == 28, "word 7");
_Static_assert(__builtin_offsetof(struct hot_entry, received) == 36, "word 9");
_Static_assert(__builtin_offsetof(struct hot_entry, packet_price) == 52, "word 13");
_Static_assert(__builtin_offsetof(struct hot_entry, payer) == 60, "word 15");
enum { ACCOUNT = 1U << 31 };

/* Where addresses that hash here stand: fingerprint, and slot + 1, or 0 where there is none. */
struct index_bucket {
    struct {
        u32 fingerprint, slot;
    } places[8];
};
_Static_assert(sizeof(struct index_bucket) == 64, "core/src/relay/index.rs");

/* What a packet and 1024 bytes cost, and how far ahead may be paid for: core/src/relay/budget.rs.
 * All in ticks of 1/16 microsecond. */
struct price {
    u32 packet, byte, burst;
};

enum { FAMILY_4 = 4, FAMILY_6 = 6 };
enum { TICKS_PER_MICROSECOND = 16, SLACK = 16000000 };

/* On processors that reorder loads a locked operation keeps them apart; x86 does not reorder. */
#ifdef LOADS_STAY_IN_ORDER
#define KEEP_LOADS_APART() __asm__ volatile("" ::: "memory")
#else
#define KEEP_LOADS_APART()                                                                         \
    do {                                                                                           \
        u64 fence = 0;                                                                             \
        __sync_fetch_and_add(&fence, 1);                                                           \
    } while (0)
#endif

/* Reads tag and address of the live session in `entry`: 1 if there is one, 0 if not, -1 if the
 * owner was writing: then it is for the worker, who waits. */
INLINE int read_live(const struct hot_entry *entry, u32 *tag, struct address *address) {
    u32 before = LOAD(entry->sequence);
    KEEP_LOADS_APART();
    *tag = LOAD(entry->tag);
    for (int i = 0; i < 4; i++)
        address->words[i] = LOAD(entry->address.words[i]);
    address->family_port = LOAD(entry->address.family_port);
    KEEP_LOADS_APART();
    if (UNLIKELY((before & 1) || LOAD(entry->sequence) != before))
        return -1;
    u32 family = address->family_port >> 16;
    return family == FAMILY_4 || family == FAMILY_6;
}

INLINE int same_address(const struct address *a, const struct address *b) {
    u32 difference = a->family_port ^ b->family_port;
    for (int i = 0; i < 4; i++)
        difference |= a->words[i] ^ b->words[i];
    return difference == 0;
}

INLINE u64 rotate(u64 word, int bits) {
    return word << bits | word >> (64 - bits);
}

INLINE void sip_round(u64 v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 of the address's 24 bytes. */
INLINE u64 hash_address(const u64 key[2], const struct address *address) {
    const u32 *w = address->words;
    u64 words[4] = {
        little32(w[0]) | (u64)little32(w[1]) << 32,
        little32(w[2]) | (u64)little32(w[3]) << 32,
        address->family_port,
        24ULL << 56,
    };
    u64 v[4] = {
        key[0] ^ 0x736f6d6570736575ULL,
        key[1] ^ 0x646f72616e646f6dULL,
        key[0] ^ 0x6c7967656e657261ULL,
        key[1] ^ 0x7465646279746573ULL,
    };
    for (int i = 0; i < 4; i++) {
        v[3] ^= words[i];
        sip_round(v);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The two buckets in which an address may stand, and its fingerprint there. */
struct place {
    u32 first, second, fingerprint;
};

INLINE struct place place_of(u64 hash, u32 buckets) {
    u32 high = hash >> 32;
    struct place place = {
        .first = ((u64)(u32)hash * buckets) >> 32,
        .second = ((u64)(u32)(high * 0x9e3779b1U) * buckets) >> 32,
        .fingerprint = high,
    };
    return place;
}

/* The slot + 1 that stands in `bucket` under `fingerprint`; 0 if none does. */
INLINE u32 slot_in(const struct index_bucket *bucket, u32 fingerprint) {
    u32 slot = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (LOAD(bucket->places[i].fingerprint) == fingerprint && !slot)
            slot = LOAD(bucket->places[i].slot);
    return slot;
}

/* Moves the bucket `until` on by `price`; 0 if that is too much. */
INLINE int take(u32 now, u32 *until, u64 price, u32 burst) {
    u32 ahead = *until - now;
    if (ahead > (u64)burst + SLACK)
        ahead = 0;
    u64 after = ahead + price;
    *until = now + (u32)after;
    return after <= burst;
}

/* Takes one packet of `length` bytes out of both buckets, or nothing; 0 if that is too much. */
INLINE int charge(struct buckets *buckets, u32 now, u32 length, const struct price *price) {
    u32 packets = LOAD(buckets->packets), bytes = LOAD(buckets->bytes);
    u64 of_bytes = ((u64)length * price->byte + 512) >> 10;
    if (!take(now, &packets, price->packet, price->burst) ||
        !take(now, &bytes, of_bytes, price->burst))
        return 0;
    STORE(buckets->packets, packets);
    STORE(buckets->bytes, bytes);
    return 1;
}

/* The same, at the entry's own price where it has one, and never below its source's. */
INLINE int charge_sent(struct hot_entry *payer, u32 now, u32 length, const struct price *relays,
                       const struct price *source) {
    u32 packet = LOAD(payer->packet_price), byte = LOAD(payer->byte_price);
    packet = packet ? packet : relays->packet;
    byte = byte ? byte : relays->byte;
    struct price price = {
        .packet = packet > source->packet ? packet : source->packet,
        .byte = byte > source->byte ? byte : source->byte,
        .burst = relays->burst,
    };
    return charge(&payer->sent, now, length, &price);
}

#endif
