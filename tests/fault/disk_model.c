/* tests/fault/disk_model.c: files and directories by inode number, what is durable of them, and the list of pending
 * operations, which are records of the recording. */
#include "tests/fault/disk_model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct name {
    char *text;
    uint64_t file;
};

struct names {
    struct name *all;
    uint32_t count, max;
};

struct content {
    uint8_t *bytes;
    int64_t size, max;
};

struct node {
    uint64_t number;
    bool is_dir;
    struct content content; /* durable */
    struct names names;     /* durable */
};

struct disk_model {
    uint64_t root;
    struct node *nodes;
    uint32_t node_count, node_max;
    const struct record **pending;
    uint32_t pending_count, pending_max;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void must_do(int rc, const char *what, const char *path)
{
    if (rc < 0) {
        fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
        abort();
    }
}

/* ---- names ---- */

static void names_put(struct names *names, const char *text, uint64_t file)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->all[i].text, text) == 0) {
            names->all[i].file = file;
            return;
        }
    }
    if (names->count == names->max) {
        names->max = names->max == 0 ? 16 : 2 * names->max;
        names->all = must(realloc(names->all, names->max * sizeof *names->all));
    }
    names->all[names->count++] = (struct name){must(strdup(text)), file};
}

static void names_remove(struct names *names, const char *text)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->all[i].text, text) == 0) {
            free(names->all[i].text);
            names->all[i] = names->all[--names->count];
            return;
        }
    }
}

static void names_free(struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        free(names->all[i].text);
    }
    free(names->all);
    *names = (struct names){0};
}

static struct names names_copy(const struct names *from)
{
    struct names to = {0};

    for (uint32_t i = 0; i < from->count; i++) {
        names_put(&to, from->all[i].text, from->all[i].file);
    }
    return to;
}

/* What the record does to the names of one directory. */
static void names_apply(struct names *names, uint64_t dir, const struct record *record)
{
    if ((record->kind == RECORD_RENAME || record->kind == RECORD_UNLINK) && record->dir == dir) {
        names_remove(names, record->name);
    }
    if (record->kind == RECORD_RENAME && record->to_dir == dir) {
        names_put(names, record->to_name, record->file);
    }
    if ((record->kind == RECORD_CREATE || record->kind == RECORD_MKDIR) && record->dir == dir) {
        names_put(names, record->name, record->file);
    }
}

static bool is_of_names(const struct record *record)
{
    return record->kind == RECORD_CREATE || record->kind == RECORD_MKDIR || record->kind == RECORD_RENAME ||
           record->kind == RECORD_UNLINK;
}

/* ---- content ---- */

static void content_resize(struct content *c, int64_t size)
{
    if (size > c->max) {
        c->max = size + size / 2 + 64;
        c->bytes = must(realloc(c->bytes, (size_t)c->max));
    }
    if (size > c->size) {
        memset(c->bytes + c->size, 0, (size_t)(size - c->size));
    }
    c->size = size;
}

/* Bytes [from, to) of the write, positions in the file. */
static void content_put(struct content *c, const struct record *record, int64_t from, int64_t to)
{
    if (from >= to) {
        return;
    }
    if (to > c->size) {
        content_resize(c, to);
    }
    memcpy(c->bytes + from, record->bytes + (from - record->at), (size_t)(to - from));
}

static void content_apply(struct content *c, const struct record *record, const struct disk_choice *choice)
{
    int64_t end = record->at + (int64_t)record->len;

    if (choice->outcome == DISK_LOST) {
        return;
    }
    if (record->kind == RECORD_TRUNCATE) {
        content_resize(c, record->at);
        return;
    }
    switch (choice->outcome) {
    case DISK_HEAD:
        content_put(c, record, record->at, choice->cut);
        break;
    case DISK_TAIL:
        content_put(c, record, choice->cut, end);
        break;
    case DISK_ZEROS:
        if (end > c->size) {
            content_resize(c, end);
        }
        break;
    default:
        content_put(c, record, record->at, end);
        break;
    }
}

/* ---- nodes ---- */

static struct node *find(const struct disk_model *m, uint64_t number)
{
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (m->nodes[i].number == number) {
            return &m->nodes[i];
        }
    }
    return NULL;
}

static struct node *add(struct disk_model *m, uint64_t number, bool is_dir)
{
    if (m->node_count == m->node_max) {
        m->node_max = m->node_max == 0 ? 64 : 2 * m->node_max;
        m->nodes = must(realloc(m->nodes, m->node_max * sizeof *m->nodes));
    }
    m->nodes[m->node_count] = (struct node){.number = number, .is_dir = is_dir};
    return &m->nodes[m->node_count++];
}

static void load_file(struct node *node, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    must_do(fd, "open", path);
    must_do(fstat(fd, &st), "stat", path);
    content_resize(&node->content, st.st_size);
    if (pread(fd, node->content.bytes, (size_t)st.st_size, 0) != st.st_size) {
        abort();
    }
    close(fd);
}

static uint64_t load(struct disk_model *m, const char *path)
{
    struct stat st;
    struct dirent *entry;
    struct names names = {0};
    char child[PATH_MAX];
    DIR *dir;

    must_do(stat(path, &st), "stat", path);
    if (!S_ISDIR(st.st_mode)) {
        load_file(add(m, st.st_ino, false), path);
        return st.st_ino;
    }
    add(m, st.st_ino, true);
    dir = must(opendir(path));
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
            names_put(&names, entry->d_name, load(m, child));
        }
    }
    closedir(dir);
    find(m, st.st_ino)->names = names;
    return st.st_ino;
}

struct disk_model *disk_model_new(const char *root)
{
    struct disk_model *m = must(calloc(1, sizeof *m));

    m->root = load(m, root);
    return m;
}

void disk_model_free(struct disk_model *m)
{
    for (uint32_t i = 0; i < m->node_count; i++) {
        names_free(&m->nodes[i].names);
        free(m->nodes[i].content.bytes);
    }
    free(m->nodes);
    free(m->pending);
    free(m);
}

/* Everything pending of one file or directory becomes durable. */
static void sync_node(struct disk_model *m, struct node *node)
{
    static const struct disk_choice kept = {.outcome = DISK_KEPT};
    uint32_t left = 0;

    for (uint32_t i = 0; i < m->pending_count; i++) {
        const struct record *record = m->pending[i];
        bool of_names = is_of_names(record);
        bool mine =
            of_names ? record->dir == node->number || (record->kind == RECORD_RENAME && record->to_dir == node->number)
                     : record->file == node->number;

        if (!mine) {
            m->pending[left++] = record;
        } else if (of_names) {
            names_apply(&node->names, node->number, record);
            if (record->kind == RECORD_RENAME && record->dir != record->to_dir) {
                names_apply(&find(m, record->dir == node->number ? record->to_dir : record->dir)->names,
                            record->dir == node->number ? record->to_dir : record->dir, record);
            }
        } else {
            content_apply(&node->content, record, &kept);
        }
    }
    m->pending_count = left;
}

void disk_model_apply(struct disk_model *m, const struct record *record)
{
    if (record->kind == RECORD_SYNC) {
        struct node *node = find(m, record->file);

        /* What lies above the root is none of ours. */
        if (node != NULL) {
            sync_node(m, node);
        }
        return;
    }
    if (record->kind == RECORD_CREATE || record->kind == RECORD_MKDIR) {
        add(m, record->file, record->kind == RECORD_MKDIR);
    }
    if (m->pending_count == m->pending_max) {
        m->pending_max = m->pending_max == 0 ? 64 : 2 * m->pending_max;
        m->pending = must(realloc(m->pending, m->pending_max * sizeof(struct record *)));
    }
    m->pending[m->pending_count++] = record;
}

uint32_t disk_model_pending(const struct disk_model *m)
{
    return m->pending_count;
}

const struct record *disk_model_pending_record(const struct disk_model *m, uint32_t i)
{
    return m->pending[i];
}

bool disk_model_possible(const struct disk_model *m, uint32_t i, enum disk_outcome outcome, uint64_t random,
                         int64_t *cut)
{
    const struct record *record = m->pending[i];
    int64_t first = record->at / DISK_SECTOR_BYTES + 1; /* the first boundary inside */
    int64_t count = (record->at + (int64_t)record->len - 1) / DISK_SECTOR_BYTES + 1 - first;

    if (outcome == DISK_KEPT || outcome == DISK_LOST) {
        return true;
    }
    if (record->kind != RECORD_WRITE) {
        return false;
    }
    if (outcome == DISK_ZEROS) {
        return true;
    }
    if (count <= 0) {
        return false;
    }
    *cut = (first + (int64_t)(random % (uint64_t)count)) * DISK_SECTOR_BYTES;
    return true;
}

/* ---- building ---- */

void disk_empty(const char *path)
{
    struct dirent *entry;
    char child[PATH_MAX];
    DIR *dir = opendir(path);

    if (dir == NULL) {
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR) {
            disk_empty(child);
            must_do(rmdir(child), "rmdir", child);
        } else {
            must_do(unlink(child), "unlink", child);
        }
    }
    closedir(dir);
}

static const struct disk_choice *choice_of(const struct disk_choice *choices, uint32_t i)
{
    static const struct disk_choice kept = {.outcome = DISK_KEPT};

    return choices != NULL ? &choices[i] : &kept;
}

/* A name does not come into being before what happened earlier to it or its file. */
static bool depends_on(const struct record *later, const struct record *earlier)
{
    if (later->file == earlier->file) {
        return true;
    }
    return (later->dir == earlier->dir && strcmp(later->name, earlier->name) == 0) ||
           (later->to_name != NULL && later->to_dir == earlier->dir && strcmp(later->to_name, earlier->name) == 0) ||
           (earlier->to_name != NULL && earlier->to_dir == later->dir && strcmp(earlier->to_name, later->name) == 0) ||
           (later->to_name != NULL && earlier->to_name != NULL && later->to_dir == earlier->to_dir &&
            strcmp(later->to_name, earlier->to_name) == 0);
}

/* Which pending operations on names happen. */
static bool *settle(const struct disk_model *m, const struct disk_choice *choices)
{
    bool *happens = must(calloc(m->pending_count + 1, sizeof *happens));

    for (uint32_t i = 0; i < m->pending_count; i++) {
        happens[i] = choice_of(choices, i)->outcome != DISK_LOST;
        for (uint32_t j = 0; j < i && happens[i] && is_of_names(m->pending[i]); j++) {
            happens[i] = happens[j] || !is_of_names(m->pending[j]) || !depends_on(m->pending[i], m->pending[j]);
        }
    }
    return happens;
}

static void build_file(const struct disk_model *m, const struct disk_choice *choices, const struct node *node,
                       const char *path)
{
    struct content c = {0};
    int fd;

    content_resize(&c, node->content.size);
    if (c.size > 0) {
        memcpy(c.bytes, node->content.bytes, (size_t)c.size);
    }
    for (uint32_t i = 0; i < m->pending_count; i++) {
        if (!is_of_names(m->pending[i]) && m->pending[i]->file == node->number) {
            content_apply(&c, m->pending[i], choice_of(choices, i));
        }
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must_do(fd, "create", path);
    if (c.size > 0 && write(fd, c.bytes, (size_t)c.size) != c.size) {
        abort();
    }
    close(fd);
    free(c.bytes);
}

static void build(const struct disk_model *m, const struct disk_choice *choices, const bool *happens, uint64_t number,
                  const char *path)
{
    const struct node *node = find(m, number);
    struct names names = names_copy(&node->names);
    char child[PATH_MAX];

    for (uint32_t i = 0; i < m->pending_count; i++) {
        if (is_of_names(m->pending[i]) && happens[i]) {
            names_apply(&names, number, m->pending[i]);
        }
    }
    for (uint32_t i = 0; i < names.count; i++) {
        const struct node *other = find(m, names.all[i].file);

        snprintf(child, sizeof child, "%s/%s", path, names.all[i].text);
        if (other->is_dir) {
            must_do(mkdir(child, 0700), "mkdir", child);
            build(m, choices, happens, other->number, child);
        } else {
            build_file(m, choices, other, child);
        }
    }
    names_free(&names);
}

void disk_model_build(const struct disk_model *m, const struct disk_choice *choices, const char *to)
{
    bool *happens = settle(m, choices);

    if (mkdir(to, 0700) < 0 && errno == EEXIST) {
        disk_empty(to);
    }
    build(m, choices, happens, m->root, to);
    free(happens);
}
