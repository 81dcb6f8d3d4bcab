/* fs/base/process.h: what /proc says of the process behind a request. A process that is gone, or of another pid
 * namespace (pid 0), is neither exiting nor dying as far as we can see. Any thread. */
#ifndef LOGMNT_FS_BASE_PROCESS_H
#define LOGMNT_FS_BASE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* It is in exit(2), or has ended: it has let its memory go (no VmSize in /proc/TID/status), which it does before its
 * descriptors (do_exit() in the kernel's exit.c). */
bool process_exiting(pid_t tid);
/* Of a whole process, by its first thread: it is exiting, or a signal has ended it that dumps its core. Before that is
 * dumped, or is not for a limit, the kernel waits until all of its threads are on their way out, and none of them gets
 * any further (coredump_wait(), coredump_task_exit()): what tells of an exit does not come then. */
enum process_life { PROCESS_LIVES, PROCESS_ENDS, PROCESS_UNKNOWN };
enum process_life process_life(pid_t pid);
/* A fatal signal is pending: SIGKILL in SigPnd or ShdPnd of /proc/TID/status (the kernel marks a group exit by pending
 * SIGKILL), or any pending signal that is neither blocked, ignored nor caught and whose default ends the process. */
bool process_dying(pid_t tid);
/* The process that a thread belongs to; what cannot be told is the thread itself. */
pid_t process_of(pid_t tid);

#endif
