/* replication/wire/links.c: the peers' start and stop on the loop's thread, for whoever waits. */
#include "replication/wire/links.h"

#include <unistd.h>

#include "engine/base/container.h"
#include "replication/executor/executor_uv.h"
#include "replication/wire/peers.h"

static struct links *of(struct transport_source *source)
{
    return CONTAINER_OF(source, struct links, source);
}

struct links_call {
    struct loop_call call;
    struct links *links;
    struct peers_options options; /* of a start */
    struct err *e;
    int rc;
};

static void start_now(struct loop_call *base, struct uv_loop_s *loop)
{
    struct links_call *call = CONTAINER_OF(base, struct links_call, call);
    call->options.loop = loop;
    call->rc = peers_start(&call->options, &call->links->peers, call->e);
    executor_uv_called(call->links->executor, base);
}

static int start(struct transport_source *source, const struct hello *ours, const struct transport_events *events,
                 struct transport **out, struct err *e)
{
    struct links *links = of(source);
    struct links_call call = {.call.run = start_now, .links = links, .e = e};
    int rc = links->bound_fd < 0 ? links_bind(links, e) : 0;
    if (rc != 0)
        return rc;
    call.options = (struct peers_options){.host = links->host,
                                          .port = links->port,
                                          .bound_fd = links->bound_fd,
                                          .tls = links->tls,
                                          .hello = *ours,
                                          .seed = ours->process,
                                          .events = *events};
    executor_uv_call(links->executor, &call.call);
    if (call.rc == 0) {
        *out = peers_transport(links->peers);
        links->bound_fd = -1;
    }
    return call.rc;
}

static void on_stopped(void *arg)
{
    struct links_call *call = arg;
    executor_uv_called(call->links->executor, &call->call);
}

static void stop_now(struct loop_call *base, struct uv_loop_s *loop)
{
    struct links_call *call = CONTAINER_OF(base, struct links_call, call);
    (void)loop;
    peers_stop(call->links->peers, on_stopped, call);
}

static void stop(struct transport_source *source)
{
    struct links_call call = {.call.run = stop_now, .links = of(source)};
    executor_uv_call(call.links->executor, &call.call);
    call.links->peers = NULL;
}

static void set_cluster(struct transport_source *source, const char *cluster_id)
{
    peers_set_cluster(of(source)->peers, cluster_id);
}

void links_init(struct links *links, struct executor *executor, const char *host, int port, struct tls_context *tls)
{
    *links = (struct links){.source = {.start = start, .stop = stop, .set_cluster = set_cluster},
                            .executor = executor,
                            .host = host,
                            .port = port,
                            .bound_fd = -1,
                            .tls = tls != NULL ? tls_context_ref(tls) : NULL};
}

int links_bind(struct links *links, struct err *e)
{
    return peers_bind(links->host, links->port, &links->bound_fd, e);
}

void links_set_tls(struct links *links, struct tls_context *tls)
{
    peers_set_tls(links->peers, tls);
}

void links_free(struct links *links)
{
    if (links->bound_fd >= 0)
        close(links->bound_fd);
    tls_context_unref(links->tls);
}
