#include "fs/tree/handle.h"

#include <stdlib.h>
#include <unistd.h>

#include "fs/tree/pagecache.h"

struct handles {
    void (*gone)(struct handle *handle);
    pthread_mutex_t lock;
    struct handle *head; /* open ones */
    _Atomic int alive;   /* open, or still referenced by something under way */
};

struct handles *handles_new(void (*gone)(struct handle *handle))
{
    struct handles *handles = calloc(1, sizeof *handles);
    if (handles == NULL)
        return NULL;
    handles->gone = gone;
    pthread_mutex_init(&handles->lock, NULL);
    return handles;
}

void handles_free(struct handles *handles, struct executor *executor)
{
    while (atomic_load(&handles->alive) > 0)
        executor_pause(executor, 1);
    pthread_mutex_destroy(&handles->lock);
    free(handles);
}

int handles_count(struct handles *handles)
{
    return atomic_load(&handles->alive);
}

void handles_close_all(struct handles *handles, void (*close_one)(struct handle *handle))
{
    for (;;) {
        pthread_mutex_lock(&handles->lock);
        struct handle *handle = handles->head;
        pthread_mutex_unlock(&handles->lock);
        if (handle == NULL)
            return;
        close_one(handle);
    }
}

int handles_of(struct handles *handles, const struct vnode *vnode, struct handle **only)
{
    int count = 0;
    *only = NULL;
    pthread_mutex_lock(&handles->lock);
    for (struct handle *handle = handles->head; handle != NULL; handle = handle->next) {
        if (handle->vnode == vnode && count++ == 0)
            *only = handle;
    }
    if (count == 1)
        handle_ref(*only);
    else
        *only = NULL;
    pthread_mutex_unlock(&handles->lock);
    return count;
}

struct handle *handle_new(struct session *session, struct vnode *vnode)
{
    struct handle *handle = malloc(sizeof *handle); /* calloc() of glibc before 2.41 goes past the thread's cache */
    if (handle == NULL)
        return NULL;
    *handle = (struct handle){.session = session, .vnode = vnode, .fd = -1};
    handle->pfile = vnode->pfile != NULL ? tree_pfile_ref(session->tree, vnode->pfile) : NULL;
    atomic_init(&handle->refs, 1);
    pthread_mutex_init(&handle->lock, NULL);
    rereads_init(&handle->rereads);
    struct handles *handles = session->handles;
    pthread_mutex_lock(&handles->lock);
    handle->next = handles->head;
    if (handle->next != NULL)
        handle->next->prev = handle;
    handles->head = handle;
    pthread_mutex_unlock(&handles->lock);
    atomic_fetch_add(&handles->alive, 1);
    return handle;
}

struct handle *handle_ref(struct handle *handle)
{
    atomic_fetch_add(&handle->refs, 1);
    return handle;
}

/* Of `writing`: it is counted; and what each WRITE that is under way adds. */
enum { WRITTEN = 1, A_WRITE = 2 };

static void count(struct handle *handle, int by)
{
    atomic_fetch_add(&handle->vnode->appending, by);
    atomic_fetch_add(&handle->pfile->appending, by);
}

void handle_write_begun(struct handle *handle)
{
    int before = atomic_fetch_add(&handle->writing, A_WRITE);
    if ((before & WRITTEN) == 0 && (atomic_fetch_or(&handle->writing, WRITTEN) & WRITTEN) == 0)
        count(handle, 1);
}

void handle_write_over(struct handle *handle)
{
    atomic_fetch_sub(&handle->writing, A_WRITE);
}

void handle_written(struct handle *handle, bool last)
{
    int writing = atomic_load_explicit(&handle->writing, memory_order_relaxed);
    do {
        if ((writing & WRITTEN) == 0 || (!last && writing >= A_WRITE))
            return;
    } while (!atomic_compare_exchange_weak(&handle->writing, &writing, writing - WRITTEN));
    count(handle, -1);
}

void handle_close(struct handle *handle)
{
    struct handles *handles = handle->session->handles;
    pthread_mutex_lock(&handles->lock);
    if (handle->prev != NULL)
        handle->prev->next = handle->next;
    else
        handles->head = handle->next;
    if (handle->next != NULL)
        handle->next->prev = handle->prev;
    pthread_mutex_unlock(&handles->lock);
    handle_unref(handle);
}

void handle_unref(struct handle *handle)
{
    if (atomic_fetch_sub(&handle->refs, 1) != 1)
        return;
    struct handles *handles = handle->session->handles;
    handles->gone(handle);
    rereads_free(&handle->rereads);
    free(handle->held.owners);
    if (handle->fd >= 0)
        close(handle->fd);
    if (handle->pfile != NULL)
        tree_pfile_put(handle->session->tree, handle->pfile);
    pthread_mutex_destroy(&handle->lock);
    free(handle);
    atomic_fetch_sub(&handles->alive, 1);
}
