/* replication/wire/transport.h: the seam between a node and the network: frames to peers and from them.
 *
 * In production it is peers.c over TCP; the simulator has its own. A peer is *up* while both of its channels stand
 * between the same two processes; losing either one takes it down. Frames of one channel arrive in the order in which
 * they were sent and at most once; those of a channel that ended may be lost, and nothing says which.
 *
 * Events come on one thread (the loop's), one at a time, with no lock held, and none from within a call of the table.
 */
#ifndef LOGMNT_REPLICATION_WIRE_TRANSPORT_H
#define LOGMNT_REPLICATION_WIRE_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/wire/frame.h"
#include "replication/wire/hello.h"

struct transport {
    /* 0: it is on its way, or will be lost with the channel. -ENOTCONN: the peer is not up; -ENOBUFS: too much is
     * waiting for the channel; -ENOMEM. Any thread. */
    int (*send)(struct transport *transport, int32_t node, enum channel channel, const struct frame_out *out);
    /* This is where a peer is to be found; again with another address when it has moved. It is connected to, and
     * connected to again for as long as it is a peer. Any thread. -ENOMEM, -ENOSPC (LIMIT_NODES). */
    int (*meet)(struct transport *transport, int32_t node, const char *host, int port);
    /* The cluster has none of that id any more: it is connected to no more, but where it comes by itself, or is to be
     * met again. What stands goes on. Any thread. */
    void (*forget)(struct transport *transport, int32_t node);
    /* Ends its connections, as if they had been lost, and connects anew: for a peer that says what is no message, or
     * that could not be told something. Any thread. */
    void (*drop)(struct transport *transport, int32_t node);
    /* The node's full() may be false again. Any thread, with locks held. NULL: full() is asked without it. */
    void (*look)(struct transport *transport, int32_t node, enum channel channel);
};

struct transport_events {
    void *arg;
    /* Its hello tells process, incarnation, cluster and address. */
    void (*up)(void *arg, int32_t node, const struct hello *hello);
    /* goodbye: it said that it stops. */
    void (*down)(void *arg, int32_t node, bool goodbye);
    /* After down() without a goodbye: that process no longer exists (both channels ended, and connecting anew is
     * refused by its host). As seen from here: others judge for themselves. */
    void (*dead)(void *arg, int32_t node, uint64_t process);
    /* The peer is up; the frame is the callee's to free. */
    void (*frame)(void *arg, int32_t node, enum channel channel, struct frame *frame);
    /* Is there no room for more of that channel? Then it is not read until look(); what was read already is told all
     * the same. */
    bool (*full)(void *arg, int32_t node, enum channel channel);
    /* Before it becomes a peer, by its hello or by meet(): is there room for it here? 0: from here on there is.
     * -ENOSPC: too many others have been met since this node's start; -ENOMEM. NULL: there always is. */
    int (*takes)(void *arg, int32_t node);
};

/* Who makes a node's transport: the seam beside io, clock and executor. One node, one start and one stop of it. */
struct transport_source {
    /* ours: this node's hello; to and channel are filled in. Events come from here on, perhaps before this returns.
     * One clear line in e. */
    int (*start)(struct transport_source *source, const struct hello *ours, const struct transport_events *events,
                 struct transport **out, struct err *e);
    /* Says goodbye. No event comes once it has returned, and the transport is gone. Not from an event. */
    void (*stop)(struct transport_source *source);
    /* The node is of a cluster now: in the hellos to come. Any thread. */
    void (*set_cluster)(struct transport_source *source, const char *cluster_id);
};

#endif
