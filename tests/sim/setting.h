/* tests/sim/setting.h: one setting: who asked for which value, and what was in force when.
 *
 * Of two who set it at the same time the one that is answered last need not be the one that was decided last: each is
 * answered when its own node has applied it, and a node may be far behind. So nothing here goes by when an answer came.
 * An answer says at which offset of the metadata it was decided; and the newest metadata of any node say what is in
 * force as of which offset. In the end all of that has to be one history: each value was in force since somebody set
 * it, at that offset; or since somebody asked for it of whom nobody heard what came of it, once each. */
#ifndef LOGMNT_TESTS_SIM_SETTING_H
#define LOGMNT_TESTS_SIM_SETTING_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

enum { SETTING_VALUE_BYTES = 32 };

/* A change of it. */
struct setting_change {
    char value[SETTING_VALUE_BYTES];
    int64_t after;                                         /* decided no earlier than at this offset */
    int64_t decided;                                       /* DECIDED: the offset behind it */
    enum { CHANGE_OPEN, CHANGE_DECIDED, CHANGE_NONE } end; /* OPEN: on its way, or may be; NONE: it certainly is not */
    bool taken;                                            /* OPEN: the history needs it */
};

/* It was so wherever anybody looked, between two offsets. */
struct setting_span {
    char value[SETTING_VALUE_BYTES];
    int64_t from, to;
};

struct setting {
    const char *name;
    char value[SETTING_VALUE_BYTES]; /* of those acknowledged the one that was decided last; "": the default */
    int64_t decided;                 /* and when; 0: none was */
    struct setting_change *changes;
    int change_count, change_room;
    struct setting_span *spans; /* ascending */
    int span_count, span_room;
};

void setting_free(struct setting *setting);
/* Somebody asks for it, when so much was decided. Returns the change. */
int setting_asked(struct setting *setting, const char *value, int64_t decided);
/* The change was acknowledged: it is in force as of that offset. */
void setting_set(struct setting *setting, int change, int64_t decided);
/* It was refused, and changes nothing. */
void setting_refused(struct setting *setting, int change);
/* Whoever asked has ended, and nothing of it comes any more. */
void setting_over(struct setting *setting);
/* A change may be on its way: nobody knows what is in force, or will be. */
bool setting_is_open(const struct setting *setting);
/* It is so in the newest metadata. */
void setting_seen(struct setting *setting, int64_t offset, const char *value);
/* Nothing comes any more: was what was in force always what somebody had set? value is what is in force. False with the
 * reason. */
bool setting_settle(struct setting *setting, struct err *e);

#endif
