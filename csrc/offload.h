/*
 * Parts of GSO and GRO for those who have each frame somewhere else (not part of the contract): GSO one frame at a time, and
 * whether one acknowledgement makes another superfluous.
 */
#ifndef TRL_OFFLOAD_H
#define TRL_OFFLOAD_H
#include "trl.h"

struct trl_gso_state {
    const struct trl_iov *iov;
    uint32_t niov, at;                  /* the piece being read, */
    size_t used;                        /* and how much of it has been */
    size_t l3, l4, header;              /* offsets; header is where the payload starts */
    uint8_t version;
    uint32_t left, size;                /* payload still to send, payload per frame */
    uint32_t seq;
    uint16_t ip_id, flags_word;         /* data offset and flags of the whole */
    uint64_t ip_base, tcp_base;         /* sums of what stays the same */
    int first;
};

/* Reads the headers in iov[0]. 0, or -1 when this is not TCP over IP that can be split. */
int trl_gso_begin(struct trl_gso_state *g, const struct trl_iov *iov, uint32_t niov, uint32_t flags, uint32_t gso_size);
/* Writes the next frame. Its length, 0 when none is left, -1 when cap is too small. A payload of 0 gives one frame. */
int trl_gso_next(struct trl_gso_state *g, uint8_t *out, size_t cap);
/*
 * Whether the segment at f, parsed into k, says all that the one at old (parsed into o), which came just before it in its flow,
 * says: both are nothing but an acknowledgement, and the later one acknowledges more (see trl_gro, TRL_GRO_ACKS).
 */
int trl_ack_supersedes(const uint8_t *old, const struct trl_pkt *o, const uint8_t *f, const struct trl_pkt *k);
#endif
