/*
 * Batches of frames to and from a Linux TAP or TUN device: one call reads or writes many. Linux only.
 *
 * The device is non-blocking. All state is in a struct of the caller's; nothing here waits, allocates or decides.
 */
#ifndef TRL_TAP_H
#define TRL_TAP_H
#include "trl.h"

/* Flags of trl_tap_open. */
#define TRL_TAP_VNET 1u             /* every frame is preceded by a virtio_net_hdr */
#define TRL_TAP_TUN 2u              /* IP packets instead of Ethernet frames */
#define TRL_TAP_EXCL 4u             /* fail with EBUSY when the device exists */
#define TRL_TAP_NAPI 8u             /* what is written passes through the kernel's GRO: see `napi` below */

/* Bits of TUNSETOFFLOAD: what the kernel may hand us. */
#define TRL_TAP_CSUM 1u
#define TRL_TAP_TSO4 2u
#define TRL_TAP_TSO6 4u
#define TRL_TAP_TSO_ECN 8u

struct trl_tap {
    int32_t  fd;
    uint32_t vnet;                  /* bytes of virtio_net_hdr before each frame: 0, 10 or 12 */
    uint32_t flags;                 /* TRL_PARSE_ETHERNET, or 0 on a TUN; TRL_GRO_ACKS may be added */
    int32_t  error;                 /* errno of the last call that failed otherwise than by EAGAIN; the caller resets it */
    uint64_t rx_frames, rx_bytes;   /* frames as they would be on the wire (a super-segment counts gso_segs); bytes as read */
    uint64_t rx_truncated;          /* frames that filled their buffer and may have been cut: dropped */
    uint64_t tx_frames, tx_bytes;   /* frames as they would be on the wire; bytes as written */
    uint64_t tx_dropped;            /* wire frames that the device refused (ENOBUFS, EIO while it is down, ...) */
    uint64_t tx_malformed;          /* frames of the caller's that could not be split or completed: dropped */
    struct trl_guard *guard;        /* NULL, or who decides about every frame that is read */
    /*
     * Not 0: the kernel coalesces what is written, and may hold a TCP segment back until it has seen the next. It hands up at once
     * what has PSH (or SYN, FIN, RST, URG), no text, or more octets than its IP header says; so a whole segment with text and none of
     * these flags is followed by one octet of padding. In plain frames only.
     */
    uint32_t napi;
};

/*
 * Opens or makes the device called name (empty: the kernel chooses; a %d in it is numbered). vnet_bytes (10 or 12) counts with
 * TRL_TAP_VNET; offload is set on every open, since a persistent device remembers the last. Fills in *tap and actual
 * (16 bytes, the name). Returns 0 or -errno.
 */
int trl_tap_open(struct trl_tap *tap, const char *name, uint32_t flags, uint32_t vnet_bytes, uint32_t offload, char *actual);

/*
 * Reads one frame into each of bufs (cap bytes each) until nothing waits, max are full, or budget wire frames have come.
 * res[i].off is where the frame starts in bufs[i] (behind the virtio header, which is decoded into the slot).
 * With TRL_GRO_ACKS among tap->flags, pure acknowledgements that follow each other are thinned as trl_gro does it (counted
 * in gso_segs; gso_size stays 0), one is dropped whose whole meaning the next frame carries beside text or FIN (trl_ack_carried),
 * and neighbours are coalesced that the kernel hands up one by one (of a bridge, say). A guard is asked about each frame; what it
 * drops or answers is not handed up, but counts against the budget. Returns the number of frames.
 */
int trl_tap_read(struct trl_tap *tap, uint8_t *const *bufs, uint32_t cap, struct trl_slot *res, uint32_t max, uint32_t budget);

/*
 * For plain frames: reads up to n (at most TRL_GRO_MAX) of less than slot bytes each to out and coalesces them there, as trl_gro
 * does, but only neighbours, and none with octets behind its IP packet. res has room for n. Returns the number of slots, or -1
 * when cap is too small for n * slot bytes.
 */
int trl_tap_read_gro(struct trl_tap *tap, uint32_t n, uint32_t slot, uint8_t *out, size_t cap, struct trl_slot *res);

/* A frame to send: head_len bytes at heads + head (0: none), then the next nfrags of the frags. The headers are in the first piece. */
struct trl_tx {
    uint32_t head, head_len, nfrags;
    uint16_t gso_size, csum_start, csum_offset, pad;
};

/*
 * Writes n frames. With vnet, super-segments and partial checksums go to the kernel as they are; without, they are split
 * and completed here, copying and summing in one pass, and every wire frame is written. scratch is scratch_cap bytes of working
 * space (a wire frame, and the whole of a frame of more than 64 pieces). Stops when the device would block. Returns the
 * number of frames done with (written, or dropped and counted).
 */
int trl_tap_write(struct trl_tap *tap, const struct trl_tx *tx, uint32_t n, const uint8_t *heads,
                  const uint8_t *const *frags, const uint32_t *frag_lens, uint8_t *scratch, size_t scratch_cap);

/* One frame in one piece, sent as trl_tap_write would. Returns 1 when it is done with, 0 when the device would block. */
int trl_tap_put(struct trl_tap *tap, const uint8_t *frame, uint32_t len, uint16_t gso_size, uint16_t csum_start,
                uint16_t csum_offset, uint8_t *scratch, size_t scratch_cap);

/* The same in two pieces: the headers (and perhaps more) in the first, the rest in the second. */
int trl_tap_pair(struct trl_tap *tap, const uint8_t *head, uint32_t head_len, const uint8_t *rest, uint32_t rest_len,
                 uint16_t gso_size, uint16_t csum_start, uint16_t csum_offset, uint8_t *scratch, size_t scratch_cap);
#endif
