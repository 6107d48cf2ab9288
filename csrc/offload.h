/*
 * Parts of GSO and GRO for those who have each frame somewhere else (not part of the contract): GSO one frame at a time, GRO of
 * frames that are yet to be read, and whether one acknowledgement makes another superfluous.
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
/*
 * The same where the later one has text, or FIN, or both: it starts where the acknowledgement stood, and acknowledges as much, or
 * more. Both have timestamps (who has them has SACK mostly, so a bare acknowledgement that repeats another says nothing of loss).
 */
int trl_ack_carried(const uint8_t *old, const struct trl_pkt *o, const uint8_t *f, const struct trl_pkt *k);

/* A slot of the result while it grows: the frames that will go into it, as a list. */
struct trl_gro_group {
    uint16_t first, last;               /* indices of frames */
    uint16_t count;
    uint16_t chain;                     /* next group of the same hash bucket */
    uint16_t l3, l4, header;
    uint8_t  version, key_len;
    uint8_t  open, fixed_id, csum_ok;
    uint8_t  pure;                      /* acknowledgements without text: the newest stands for all */
    uint16_t add_flags;                 /* FIN and PSH of later frames */
    uint32_t next_seq, mss, payload;
};

/*
 * GRO that copies nothing: the next frame is read to where its payload continues that of the frame before, its headers lying over
 * the end of that payload, which is kept beside meanwhile. So only neighbours are coalesced; else trl_gro's rules, and
 * that octets behind the IP packet keep a frame alone. A frame that turns out not to follow is moved up by the length of a header.
 *
 *   begin; then while place gives one: read a frame to there, and add it, or skip it; end gives the number of slots in res.
 */
struct trl_gro_line {
    uint8_t *out;
    size_t cap, start, end, kept;       /* of the newest slot; how much of it the place lies over */
    struct trl_slot *res;
    uint32_t count, max, flags;
    uint8_t head[128];                  /* what was there */
    struct trl_gro_group newest;
};

void trl_gro_line_begin(struct trl_gro_line *g, uint8_t *out, size_t cap, struct trl_slot *res, uint32_t max, uint32_t flags);
/* Where room bytes for a frame are, or NULL. */
uint8_t *trl_gro_line_place(struct trl_gro_line *g, size_t room);
void trl_gro_line_add(struct trl_gro_line *g, size_t len);
void trl_gro_line_skip(struct trl_gro_line *g);
uint32_t trl_gro_line_end(struct trl_gro_line *g);

/*
 * GRO of neighbours that were read to places of their own: whether the frame at f, with slot s, continues the group *a, whose first
 * frame is at first, with cap bytes there. Then its payload has been copied behind that of the group. If it does not,
 * the group has been settled in its slot, and *a is a new one of f alone (count 0: it is nothing that could be continued). The checksum
 * of f has been verified, and s says so. Begin with a count of 0; settle the last one.
 */
int trl_gro_behind(struct trl_gro_group *a, uint8_t *first, size_t cap, struct trl_slot *of_first, const uint8_t *f, struct trl_slot *s,
                   uint32_t flags);
void trl_gro_settle(struct trl_gro_group *a, uint8_t *first, struct trl_slot *of_first);
#endif
