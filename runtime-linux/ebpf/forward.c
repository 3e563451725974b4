/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
 *
 * The fast path: forwards data between live sessions before the kernel makes a socket's datagram
 * of it. The rules are those of `core/src/relay/forward.rs`, on the same tables. Whatever is not
 * plainly a datagram of data from one session to another goes on to the worker's socket, where it
 * meets the same rules again: so each doubt here is answered with PASS, and nothing is charged,
 * counted or written before it is certain that the datagram ends here.
 *
 * Two programs do the same in two places: `waylane_xdp` in the driver's memory, `waylane_tc` on the
 * kernel's packets. Next hops are mirrored from the kernel's tables by the loader. They write the
 * tables' budget words, their own counters and the packet's headers, and nothing else.
 */
#include "table.h"

/* What the loader tells; all zero, and so off, until the relay runs. */
struct settings {
    u64 key[2];
    u64 start_ns;
    u32 on;
    u32 buckets;
    u32 last_entry;
    struct price sender, source, destination, total;
    u32 ifindex;
    u8 mac[6];
    /* The relay's ports and addresses in network order, of IPv4 and IPv6; 0 where it has none. */
    u16 port[2];
    u16 unused[3];
    u32 address[2][4];
};

/* What became of what ended here, on one processor. */
struct counters {
    u64 received_bytes;
    u64 forwarded, forwarded_bytes;
    u64 malformed, over_budget, source_over_budget, destination_over_budget, total_over_budget;
    u64 no_destination, to_itself;
};

/* By which next hop a range of addresses is reached. */
struct route {
    u8 mac[6];
    u16 kind;
    u32 mtu;
};
enum { BY_WORKER = 0, BY_GATEWAY = 1, ON_LINK = 2 };

struct host {
    u32 family;
    u32 words[4];
};

struct prefix {
    u32 bits;
    struct host host;
};

struct neighbour {
    u8 mac[6];
    u16 unused;
};

struct {
    MAP_NUMBER(type, MAP_ARRAY);
    MAP_NUMBER(map_flags, MAP_MMAPABLE);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, u32);
    MAP_TYPE(value, struct hot_entry);
} hot SECTION(".maps");

struct {
    MAP_NUMBER(type, MAP_ARRAY);
    MAP_NUMBER(map_flags, MAP_MMAPABLE);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, u32);
    MAP_TYPE(value, struct index_bucket);
} index SECTION(".maps");

struct {
    MAP_NUMBER(type, MAP_ARRAY);
    MAP_NUMBER(map_flags, MAP_READ_ONLY_FROM_PROGRAM);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, u32);
    MAP_TYPE(value, struct settings);
} settings SECTION(".maps");

struct {
    MAP_NUMBER(type, MAP_ARRAY_PER_CPU);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, u32);
    MAP_TYPE(value, struct counters);
} counters SECTION(".maps");

struct {
    MAP_NUMBER(type, MAP_LPM_TRIE);
    MAP_NUMBER(map_flags, MAP_NO_PREALLOC);
    MAP_NUMBER(max_entries, 1024);
    MAP_TYPE(key, struct prefix);
    MAP_TYPE(value, struct route);
} routes SECTION(".maps");

struct {
    MAP_NUMBER(type, MAP_HASH);
    MAP_NUMBER(max_entries, 4096);
    MAP_TYPE(key, struct host);
    MAP_TYPE(value, struct neighbour);
} neighbours SECTION(".maps");

enum action { PASS, DROP, SEND };

/* Of the wire: docs/wire.md, section 1. */
enum { ID_END = 8, FORWARDED_MIN = 28, DATAGRAM_MAX = 1472 };
enum { FIRST_HANDSHAKE = 0x40, LAST_HANDSHAKE = 0x42, FIRST_DATA = 0x80, LAST_DATA = 0x87 };
/* What a socket's datagrams start with (RFC 1700). */
enum { HOPS = 64 };

/* A datagram for the relay in its frame. */
struct datagram {
    struct address from;
    const u8 *payload;
    u32 length;
    u32 packet_length;
};

INLINE u32 sum_words(const u32 *words, int count) {
    u64 sum = 0;
#pragma unroll
    for (int i = 0; i < count; i++)
        sum += words[i];
    sum = (sum & 0xffffffff) + (sum >> 32);
    return (sum & 0xffffffff) + (sum >> 32);
}

INLINE u16 fold(u64 sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

INLINE int same_mac(const u8 *a, const u8 *b) {
    int difference = 0;
#pragma unroll
    for (int i = 0; i < 6; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

INLINE enum action ending(u64 *counter) {
    *counter += 1;
    return DROP;
}

/* Finds a datagram for the relay in a frame of `length` bytes, of which those up to `end` can be
 * read here. */
INLINE int find(const struct settings *own, void *frame, void *end, u32 length,
                struct datagram *found) {
    struct ethernet *ethernet = frame;
    struct udp *udp;
    int v6;
    if (frame + sizeof(*ethernet) > end || !same_mac(ethernet->to, own->mac))
        return 0;
    if (ethernet->type == net16(ETHERNET_IPV4)) {
        struct ipv4 *ip = frame + sizeof(*ethernet);
        udp = (void *)(ip + 1);
        if ((void *)(udp + 1) > end || ip->version_length != 0x45 || ip->protocol != PROTOCOL_UDP)
            return 0;
        /* No part of a datagram, nothing behind it, and as it was sent. */
        if ((ip->fragment & net16(IPV4_PARTS)) || ip->to != own->address[0][0])
            return 0;
        found->packet_length = net16(ip->length);
        if (found->packet_length - sizeof(*ip) != net16(udp->length) ||
            fold(sum_words((u32 *)ip, 5)) != 0xffff)
            return 0;
        found->from.words[0] = ip->from;
        found->from.words[1] = found->from.words[2] = found->from.words[3] = 0;
        v6 = 0;
    } else if (ethernet->type == net16(ETHERNET_IPV6)) {
        struct ipv6 *ip = frame + sizeof(*ethernet);
        udp = (void *)(ip + 1);
        if ((void *)(udp + 1) > end || ip->next != PROTOCOL_UDP || udp->checksum == 0)
            return 0;
        if ((net32(ip->version_class_flow) >> 28) != 6 || ip->length != udp->length)
            return 0;
        u32 difference = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            difference |= ip->to[i] ^ own->address[1][i];
            found->from.words[i] = ip->from[i];
        }
        if (difference)
            return 0;
        found->packet_length = sizeof(*ip) + net16(ip->length);
        v6 = 1;
    } else {
        return 0;
    }
    if (udp->to != own->port[v6] || udp->to == 0)
        return 0;
    /* A neighbour on this machine may leave the checksum to hardware that never comes: then the
     * field holds the sum of the pseudo-header, and only the kernel knows what to do with it. */
    u64 pseudo = (u64)sum_words(found->from.words, 4) + sum_words(own->address[v6], 4) +
                 net16(PROTOCOL_UDP) + udp->length;
    if (fold(pseudo) == udp->checksum)
        return 0;
    if (found->packet_length + sizeof(*ethernet) != length || net16(udp->length) < sizeof(*udp))
        return 0;
    found->from.family_port = (v6 ? FAMILY_6 : FAMILY_4) << 16 | net16(udp->from);
    found->payload = (void *)(udp + 1);
    found->length = net16(udp->length) - sizeof(*udp);
    return 1;
}

/* The live session that sends from `from`, and its slot. */
INLINE struct hot_entry *sender_of(const struct settings *own, const struct address *from,
                                   u32 *slot) {
    struct place place = place_of(hash_address(own->key, from), own->buckets);
    struct index_bucket *bucket = map_lookup(&index, &place.first);
    *slot = bucket ? slot_in(bucket, place.fingerprint) : 0;
    if (!*slot) {
        bucket = map_lookup(&index, &place.second);
        *slot = bucket ? slot_in(bucket, place.fingerprint) : 0;
    }
    if (!*slot)
        return 0;
    *slot -= 1;
    struct hot_entry *entry = map_lookup(&hot, slot);
    u32 tag;
    struct address address;
    if (!entry || read_live(entry, &tag, &address) != 1 || !same_address(&address, from))
        return 0;
    return entry;
}

/* Whether a packet of `length` bytes can be sent to `to` from here, and the next hop's address. */
INLINE int next_hop(const struct address *to, u32 length, u8 mac[6]) {
    struct prefix prefix = {
        .bits = 32 + 128,
        .host = { to->family_port >> 16, { to->words[0], to->words[1], to->words[2],
                                           to->words[3] } },
    };
    struct route *route = map_lookup(&routes, &prefix);
    if (!route || length > LOAD(route->mtu))
        return 0;
    if (route->kind == BY_GATEWAY) {
        copy(mac, route->mac, 6);
        return 1;
    }
    if (route->kind != ON_LINK)
        return 0;
    struct neighbour *neighbour = map_lookup(&neighbours, &prefix.host);
    if (!neighbour)
        return 0;
    copy(mac, neighbour->mac, 6);
    return 1;
}

/* The verdict on a datagram; where it is SEND, `to` is its destination and `mac` the next hop's. */
INLINE enum action decide(const struct settings *own, const struct datagram *datagram, void *end,
                          struct address *to, u8 *mac) {
    u32 zero = 0;
    struct counters *count = map_lookup(&counters, &zero);
    if (!count)
        return PASS;
    u32 length = datagram->length;
    if (length < ID_END || length > DATAGRAM_MAX)
        return ending(&count->malformed);
    const u8 *bytes = datagram->payload;
    if (bytes + ID_END > (u8 *)end)
        return PASS;
    u8 kind = bytes[0];
    /* Handshakes are between peers too, but the worker limits how many there are. */
    if (kind <= LAST_HANDSHAKE)
        return PASS;
    if (kind < FIRST_DATA || kind > LAST_DATA || length < FORWARDED_MIN)
        return ending(&count->malformed);

    u32 sender_slot;
    struct hot_entry *sender = sender_of(own, &datagram->from, &sender_slot);
    if (!sender)
        return PASS;

    u32 slot = bytes[1] | (u32)bytes[2] << 8 | (u32)bytes[3] << 16;
    u32 tag = bytes[4] | (u32)bytes[5] << 8 | (u32)bytes[6] << 16 | (u32)bytes[7] << 24;
    struct hot_entry *entry = map_lookup(&hot, &slot);
    u32 live_tag = 0;
    int live = entry ? read_live(entry, &live_tag, to) : 0;
    if (live < 0)
        return PASS;
    live = live && live_tag == tag;
    if (live && slot != sender_slot) {
        /* The other family has other headers, and what is too long has to be said so: both are
         * the worker's. */
        if (to->family_port >> 16 != datagram->from.family_port >> 16)
            return PASS;
        if (!next_hop(to, datagram->packet_length, mac))
            return PASS;
    }
    u32 now = (monotonic_ns() - own->start_ns) / 1000 * TICKS_PER_MICROSECOND;
    /* Past the table's end where nobody pays instead. */
    u32 payer_slot = LOAD(sender->payer) - 1;
    struct hot_entry *payer = map_lookup(&hot, &payer_slot);
    if (!payer)
        payer = sender;
    if (!charge_sent(payer, now, length, &own->sender, &own->source))
        return ending(&count->over_budget);
    u32 besides = LOAD(payer->payer);
    if (besides & ACCOUNT) {
        u32 account_slot = besides & ~ACCOUNT;
        struct hot_entry *account = map_lookup(&hot, &account_slot);
        if (account && !charge(&account->sent, now, length, &own->source))
            return ending(&count->source_over_budget);
    }
    if (slot == sender_slot)
        return ending(&count->to_itself);
    if (!live)
        return ending(&count->no_destination);
    if (!charge(&entry->received, now, length, &own->destination))
        return ending(&count->destination_over_budget);
    if (own->total.packet) {
        struct hot_entry *all = map_lookup(&hot, &own->last_entry);
        if (all && !charge(&all->sent, now, length, &own->total))
            return ending(&count->total_over_budget);
    }
    count->forwarded += 1;
    count->forwarded_bytes += length;
    return SEND;
}

/* Of what ended here, be it forwarded or dropped. */
INLINE void count_bytes(enum action action, u32 length) {
    u32 zero = 0;
    struct counters *count = action == PASS ? 0 : map_lookup(&counters, &zero);
    if (count)
        count->received_bytes += length;
}

/* The header of a datagram of the relay's own, with nothing of the sender's in it. */
INLINE void write_ipv4(struct ipv4 *ip, u16 length, u32 from, u32 to) {
    struct ipv4 header = {
        .version_length = 0x45,
        .length = length,
        .fragment = net16(IPV4_DONT_FRAGMENT),
        .hops = HOPS,
        .protocol = PROTOCOL_UDP,
        .from = from,
        .to = to,
    };
    header.checksum = ~fold(sum_words((u32 *)&header, 5));
    *ip = header;
}

INLINE void write_ipv6(struct ipv6 *ip, u16 length, const u32 from[4], const u32 to[4]) {
    struct ipv6 header = {
        .version_class_flow = net32(6U << 28),
        .length = length,
        .next = PROTOCOL_UDP,
        .hops = HOPS,
    };
    copy(header.from, from, 16);
    copy(header.to, to, 16);
    *ip = header;
}

/* The checksum after words that summed up to `old` became ones that sum up to `new` (RFC 1624).
 * Zero would mean that there is none. */
INLINE u16 replaced(u16 checksum, u32 old, u32 new) {
    u16 sum = ~fold((u64)(u16)~checksum + (u64)(u32)~old + new);
    return sum ? sum : 0xffff;
}

INLINE u32 both_ports(u16 from, u16 to) {
    u16 ports[2] = { from, to };
    u32 word;
    copy(&word, ports, 4);
    return word;
}

/* Makes a datagram for the relay one of the relay's own, on its way to `to`. */
INLINE void rewrite(const struct settings *own, void *frame, const struct datagram *datagram,
                    const struct address *to, const u8 mac[6]) {
    int v6 = datagram->from.family_port >> 16 == FAMILY_6;
    struct udp *udp = (struct udp *)datagram->payload - 1;
    u16 port = net16((u16)to->family_port);
    if (udp->checksum) {
        u64 old = (u64)sum_words(datagram->from.words, 4) + both_ports(udp->from, udp->to);
        u64 new = (u64)sum_words(to->words, 4) + both_ports(udp->to, port);
        udp->checksum = replaced(udp->checksum, fold(old), fold(new));
    }
    udp->from = udp->to;
    udp->to = port;
    if (v6) {
        struct ipv6 *ip = frame + sizeof(struct ethernet);
        write_ipv6(ip, ip->length, own->address[1], to->words);
    } else {
        struct ipv4 *ip = frame + sizeof(struct ethernet);
        write_ipv4(ip, ip->length, own->address[0][0], to->words[0]);
    }
    struct ethernet *ethernet = frame;
    copy(ethernet->to, mac, 6);
    copy(ethernet->from, own->mac, 6);
}

/* What becomes of a frame of `length` bytes; where that is SEND, it is ready to leave. */
INLINE enum action forward(const struct settings *own, void *frame, void *end, u32 length) {
    struct datagram datagram;
    struct address to;
    u8 mac[6];
    if (!find(own, frame, end, length, &datagram))
        return PASS;
    enum action action = decide(own, &datagram, end, &to, mac);
    count_bytes(action, datagram.length);
    if (action == SEND)
        rewrite(own, frame, &datagram, &to, mac);
    return action;
}

SECTION("xdp") int waylane_xdp(struct xdp_md *context) {
    void *frame = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    u32 zero = 0;
    const struct settings *own = map_lookup(&settings, &zero);
    if (!own || !LOAD(own->on))
        return XDP_PASS;
    enum action action = forward(own, frame, end, end - frame);
    return action == SEND ? XDP_TX : action == DROP ? XDP_DROP : XDP_PASS;
}

SECTION("classifier") int waylane_tc(struct __sk_buff *skb) {
    u32 zero = 0;
    const struct settings *own = map_lookup(&settings, &zero);
    if (!own || !LOAD(own->on))
        return TC_NEXT;
    /* What the kernel has merged may be for several destinations. */
    if (skb->gso_size || skb->vlan_present || skb->pkt_type != SKB_FOR_THIS_HOST)
        return TC_NEXT;
    void *frame = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    u32 headers = sizeof(struct ethernet) + sizeof(struct ipv6) + sizeof(struct udp) + ID_END;
    if (frame + headers > end && skb->len > end - frame) {
        if (skb_pull(skb, skb->len < headers ? skb->len : headers))
            return TC_NEXT;
        frame = (void *)(long)skb->data;
        end = (void *)(long)skb->data_end;
    }
    enum action action = forward(own, frame, end, skb->len);
    if (action == SEND)
        return redirect(own->ifindex, 0);
    return action == DROP ? TC_DROP : TC_NEXT;
}

/* Both, because the kernel lends some of its functions to programs under the GPL only. */
char licence[] SECTION("license") = "Dual MIT/GPL";
