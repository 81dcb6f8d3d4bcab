#include "fs/serve/feed.h"

#include "engine/base/container.h"
#include "fs/tree/orphans.h"
#include "fs/tree/tree.h"
#include "fs/tree/waker.h"

/* A topic has one owner, whoever of its files was given another: who looks at its directory next is not to see the old
 * one. */
static void on_topic_changed(struct node_feed *feed, struct topic *topic)
{
    struct session *session = CONTAINER_OF(feed, struct session, feed);
    struct vnode_key key = {.kind = VNODE_TOPIC, .topic = topic};
    fuse_ino_t dir = tree_find(session->tree, &key);
    if (dir != 0)
        fuse_lowlevel_notify_inval_inode(session->fuse, dir, -1, 0);
}

static void on_topic_gone(struct node_feed *feed, struct topic *topic)
{
    orphans_drop(CONTAINER_OF(feed, struct session, feed)->orphans, topic);
}

/* Whose it is, and that it is gone, is to be seen at once, whoever decided it. */
static void on_group_changed(struct node_feed *feed, struct node_group *group)
{
    struct session *session = CONTAINER_OF(feed, struct session, feed);
    struct vnode_key key = {.kind = VNODE_GROUP, .group = group};
    fuse_ino_t dir = tree_find(session->tree, &key);
    if (dir != 0)
        fuse_lowlevel_notify_inval_inode(session->fuse, dir, -1, 0);
}

static void on_partition_changed(struct node_feed *feed, struct partition_news *news)
{
    waker_hear(CONTAINER_OF(feed, struct session, feed)->waker, news);
}

void feed_begin(struct session *session)
{
    session->feed = (struct node_feed){.topic_changed = on_topic_changed,
                                       .topic_gone = on_topic_gone,
                                       .group_changed = on_group_changed,
                                       .group_gone = on_group_changed,
                                       .partition_changed = on_partition_changed};
    node_set_feed(session->node, &session->feed);
}

void feed_end(struct session *session)
{
    node_set_feed(session->node, NULL);
}
