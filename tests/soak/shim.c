/* Stands between a process and the C library's calls on the files below $SOAK_FOLDER (LD_PRELOAD).
 *
 * With $SOAK_RECORD, each change of a file or name is a record in that file, in the order in which it was made:
 *   a letter, an inode, a place, a length, and as many bytes. soak_note() puts a note among them.
 * soak_fail(n, error) makes the n-th call from then on fail, and with a negative n all calls from the n-th on;
 * soak_calls() returns how many there were since. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { FILES = 1 << 16 };

static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static const char *folder;
static size_t folder_length;
static int record_file = -1;
static unsigned char watched[FILES];
static long calls, failing;
static int failure;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    folder = getenv("SOAK_FOLDER");
    folder_length = folder ? strlen(folder) : 0;
    const char *record = getenv("SOAK_RECORD");
    if (record) record_file = REAL(open)(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int below(const char *path) {
    char whole[PATH_MAX];
    if (!folder_length || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, sizeof whole)) return 0;
        strncat(whole, "/", sizeof whole - strlen(whole) - 1);
        strncat(whole, path, sizeof whole - strlen(whole) - 1);
        path = whole;
    }
    return !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || !path[folder_length]);
}

static int is_watched(int file) { return file >= 0 && file < FILES && watched[file]; }

/* Whether this call is to fail; errno says how. */
static int fails(void) {
    int is_due = 0;
    pthread_mutex_lock(&turn);
    calls++;
    if (failing > 0 && calls == failing) is_due = 1;
    if (failing < 0 && calls >= -failing) is_due = 1;
    pthread_mutex_unlock(&turn);
    if (is_due) errno = failure;
    return is_due;
}

static void put(char kind, uint64_t inode, uint64_t place, const void *data, uint64_t length) {
    struct __attribute__((packed)) { char kind; uint64_t inode, place, length; } head = {kind, inode, place, length};
    int before = errno;
    if (record_file < 0) return;
    if (REAL(write)(record_file, &head, sizeof head) != sizeof head) abort();
    if (length && REAL(write)(record_file, data, length) != (ssize_t)length) abort();
    errno = before;
}

static uint64_t inode_of(int file) {
    struct stat found;
    return fstat(file, &found) ? 0 : found.st_ino;
}

static void put_path(char kind, uint64_t inode, uint64_t place, const char *path) { put(kind, inode, place, path, strlen(path)); }

/* For tests. */
void soak_note(const char *text) { pthread_mutex_lock(&turn); put_path('A', 0, 0, text); pthread_mutex_unlock(&turn); }
void soak_fail(long n, int error) { pthread_mutex_lock(&turn); calls = 0; failing = n; failure = error; pthread_mutex_unlock(&turn); }
long soak_calls(void) { return calls; }

static int opened(const char *path, int flags, mode_t mode, int (*open_it)(const char *, int, ...)) {
    struct stat found;
    int file, is_new;
    if (!below(path)) return open_it(path, flags, mode);
    if (fails()) return -1;
    pthread_mutex_lock(&turn);
    is_new = lstat(path, &found) != 0;
    file = open_it(path, flags, mode);
    if (file >= 0 && file < FILES) {
        watched[file] = 1;
        if (!(flags & O_DIRECTORY) && !fstat(file, &found) && S_ISREG(found.st_mode)) {
            put_path('O', found.st_ino, (flags & O_CREAT) && is_new, path);
            if ((flags & O_TRUNC) && !is_new) put('T', found.st_ino, 0, NULL, 0);
        } else {
            put_path('F', inode_of(file), 0, path);
        }
    }
    pthread_mutex_unlock(&turn);
    return file;
}

#define OPEN(name)                                                   \
    int name(const char *path, int flags, ...) {                     \
        mode_t mode = 0;                                             \
        if (flags & (O_CREAT | O_TMPFILE)) {                         \
            va_list more;                                            \
            va_start(more, flags);                                   \
            mode = va_arg(more, mode_t);                             \
            va_end(more);                                            \
        }                                                            \
        return opened(path, flags, mode, REAL(name));                \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name, plain)                                          \
    int name(int at, const char *path, int flags, ...) {             \
        mode_t mode = 0;                                             \
        if (flags & (O_CREAT | O_TMPFILE)) {                         \
            va_list more;                                            \
            va_start(more, flags);                                   \
            mode = va_arg(more, mode_t);                             \
            va_end(more);                                            \
        }                                                            \
        if (at == AT_FDCWD || path[0] == '/') return opened(path, flags, mode, REAL(plain)); \
        return REAL(name)(at, path, flags, mode);                    \
    }
OPENAT(openat, open)
OPENAT(openat64, open64)

int close(int file) {
    if (file >= 0 && file < FILES) watched[file] = 0;
    return REAL(close)(file);
}

static ssize_t written(int file, const void *data, ssize_t length, off_t place) {
    if (length > 0) put('W', inode_of(file), place, data, length);
    return length;
}

ssize_t write(int file, const void *data, size_t length) {
    if (!is_watched(file)) return REAL(write)(file, data, length);
    if (fails()) return -1;
    pthread_mutex_lock(&turn);
    off_t place = fcntl(file, F_GETFL) & O_APPEND ? lseek(file, 0, SEEK_END) : lseek(file, 0, SEEK_CUR);
    ssize_t done = written(file, data, REAL(write)(file, data, length), place);
    pthread_mutex_unlock(&turn);
    return done;
}

#define PWRITE(name)                                                                    \
    ssize_t name(int file, const void *data, size_t length, off_t place) {              \
        if (!is_watched(file)) return REAL(name)(file, data, length, place);            \
        if (fails()) return -1;                                                         \
        pthread_mutex_lock(&turn);                                                      \
        ssize_t done = written(file, data, REAL(name)(file, data, length, place), place); \
        pthread_mutex_unlock(&turn);                                                    \
        return done;                                                                    \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

/* Those that would write unseen are refused: their callers go on by write. */
ssize_t copy_file_range(int from, off_t *from_place, int to, off_t *to_place, size_t length, unsigned flags) {
    if (!is_watched(to) && !is_watched(from)) return REAL(copy_file_range)(from, from_place, to, to_place, length, flags);
    errno = ENOSYS;
    return -1;
}

#define SENDFILE(name)                                              \
    ssize_t name(int to, int from, off_t *place, size_t length) {   \
        ssize_t (*real)(int, int, off_t *, size_t) = dlsym(RTLD_NEXT, #name); \
        if (!is_watched(to)) return real(to, from, place, length);  \
        errno = EINVAL;                                             \
        return -1;                                                  \
    }
SENDFILE(sendfile)
SENDFILE(sendfile64)

#define READ(name, parameters, arguments)                \
    ssize_t name parameters {                            \
        if (is_watched(file) && fails()) return -1;      \
        return REAL(name) arguments;                     \
    }
READ(read, (int file, void *data, size_t length), (file, data, length))
READ(pread, (int file, void *data, size_t length, off_t place), (file, data, length, place))
READ(pread64, (int file, void *data, size_t length, off_t place), (file, data, length, place))

#define TRUNCATE(name)                                              \
    int name(int file, off_t length) {                              \
        if (!is_watched(file)) return REAL(name)(file, length);     \
        if (fails()) return -1;                                     \
        pthread_mutex_lock(&turn);                                  \
        int done = REAL(name)(file, length);                        \
        if (!done) put('T', inode_of(file), length, NULL, 0);       \
        pthread_mutex_unlock(&turn);                                \
        return done;                                                \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

static int synced(int file, int (*sync_it)(int)) {
    struct stat found;
    if (!is_watched(file)) return sync_it(file);
    if (fails()) return -1;
    pthread_mutex_lock(&turn);
    /* Of a record it counts that it was asked for. */
    int done = record_file < 0 ? sync_it(file) : 0;
    if (!done && !fstat(file, &found)) put(S_ISDIR(found.st_mode) ? 'D' : 'S', found.st_ino, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return done;
}
int fsync(int file) { return synced(file, REAL(fsync)); }
int fdatasync(int file) { return synced(file, REAL(fdatasync)); }

int rename(const char *from, const char *to) {
    char both[2 * PATH_MAX + 2];
    if (!below(from) && !below(to)) return REAL(rename)(from, to);
    if (fails()) return -1;
    pthread_mutex_lock(&turn);
    int done = REAL(rename)(from, to);
    if (!done) {
        int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
        put('R', 0, 0, both, length);
    }
    pthread_mutex_unlock(&turn);
    return done;
}

#define NAMED(name, kind, parameters, arguments)            \
    int name parameters {                                   \
        if (!below(path)) return REAL(name) arguments;      \
        if (fails()) return -1;                             \
        pthread_mutex_lock(&turn);                          \
        int done = REAL(name) arguments;                    \
        if (!done) put_path(kind, 0, 0, path);              \
        pthread_mutex_unlock(&turn);                        \
        return done;                                        \
    }
NAMED(unlink, 'U', (const char *path), (path))
NAMED(rmdir, 'U', (const char *path), (path))
NAMED(mkdir, 'M', (const char *path, mode_t mode), (path, mode))

#define MAP(name)                                                                          \
    void *name(void *at, size_t length, int protection, int flags, int file, off_t place) { \
        if (is_watched(file) && fails()) return MAP_FAILED;                                \
        return REAL(name)(at, length, protection, flags, file, place);                     \
    }
MAP(mmap)
MAP(mmap64)
