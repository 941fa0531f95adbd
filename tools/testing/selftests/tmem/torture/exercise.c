// SPDX-License-Identifier: GPL-2.0
/*
 * Exercise a file system from many threads, and check every byte read.
 *
 * Like fsx, but with several threads on one file, asynchronous direct I/O and
 * reused inode numbers: whatever changes a disk below the page cache, or takes
 * a page out of the page cache, while somebody else reads next to it.  Some
 * other program (agitate) may evict pages meanwhile; operation "pageout" does
 * it from here.
 *
 *
 *	The model
 *
 * For each file we have, in memory, its size and all its bytes.  What the bytes
 * beyond the size would be is always zero, so that a file grows by changing the
 * size.  There is no tolerance anywhere: each byte that is read, in whatever
 * way, is compared.
 *
 * That takes an order between an operation and its effect on the model, although
 * threads work on one file at the same time.  So each operation locks a range of
 * pages of the file, in this program, as long as it runs: shared to read,
 * exclusive to change.  Operations on ranges that do not overlap run at the
 * same time, even where they share the file system's locks, an extent, a
 * folio's neighbourhood, or a partial page's next page.  Pages, because the
 * file system itself changes the rest of a partial page.
 *
 *
 *	The size
 *
 * An operation that changes the size from S to T also locks all pages from that
 * of min(S, T) to LAST_PAGE.  So who has locked pages a to b can rely on this:
 * if the size ends in or before b it does not change; if it ends after b, it can
 * change, but goes on to end after b.  How much of the range is before the end
 * of file is the same all the time.  Collapsing and inserting a range lock from
 * there to LAST_PAGE, too.
 *
 * Since the size may have changed until the lock is there, it is looked at
 * again.  If the lock is not sufficient any more, the operation does not take
 * place.
 *
 *
 *	The descriptors
 *
 * Descriptors and the mapping that lasts are shared by all threads.  An imaginary
 * page, DESCRIPTORS, stands for them.  Who closes, renames or unlinks the file
 * locks from 0 to there; who wants only the descriptors (fsync) locks that page,
 * shared, and runs beside everything else.  A file is opened when it is
 * used, so it is closed for a while, and its inode can leave memory.
 *
 * There are no deadlocks: a thread that has locked a range only tries to lock
 * another one.
 *
 *
 *	No space
 *
 * A buffered write tells how far it came.  Other operations that fail leave we
 * do not know what, but only in what they locked: then the file is marked as
 * lost before the lock is released, and nobody touches it any more until it
 * has been created again.
 *
 *
 *	Contents
 *
 * Each 64-bit word says which operation of which file wrote it, and for which
 * offset, so a wrong one tells where it came from.  Those of odd operations are
 * scrambled, so that a compressor makes nothing of them.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static __attribute__((noreturn, format(printf, 3, 4)))
void fail_at(const char *file, int line, const char *fmt, ...);

#include "../check.h"
#include "scramble.h"

#define PAGE		4096L
#define MAX_IO		(32 * PAGE)
#define MAX_SIZE	(8L << 20)	/* what a word can say */
#define MAX_FILES	256
#define MAX_THREADS	64
#define LOG		64		/* operations remembered per file */
#define REPORTS		10		/* mismatches until we stop */
#define AIOS		4		/* in flight, per thread */
#define AIO_LEN		(4 * PAGE)
#define SELFTESTS	64

#define LAST_PAGE	(UINT32_MAX - 1)
#define DESCRIPTORS	UINT32_MAX

enum kind {
	WRITE, MMAP_WRITE, DIRECT_WRITE, AIO_WRITE, NEW_FILE,	/* have data */
	AIO_READ, COPY, DIRECT_TO_MAP, DIRECT_FROM_MAP,
	PUNCH, ZERO, COLLAPSE, INSERT, ALLOCATE, KEEP_SIZE,
	TRUNCATE, SYNC, ADVISE, PAGEOUT, CLOSE, UNLINK, RENAME, LOST, VERIFY,
	READ, MMAP_READ, PRIVATE_READ, DIRECT_READ, SENDFILE, SPLICE,
	NR_KINDS
};

static const char *const kind_names[NR_KINDS] = {
	"write", "mmap_write", "direct_write", "aio_write", "new_file",
	"aio_read", "copy_file_range", "direct_to_map", "direct_from_map",
	"punch", "zero", "collapse", "insert", "allocate", "keep_size",
	"truncate", "sync", "advise", "pageout", "close", "unlink", "rename",
	"lost", "verify",
	"read", "mmap_read", "private_read", "direct_read", "sendfile",
	"splice",
};

struct range {
	uint32_t first, last;
	bool exclusive, used;
};

struct entry {
	uint32_t op;
	enum kind kind;
	int thread;
	off_t off;
	size_t len;
	long ret;
};

/**
 * struct file - a file and its model
 * @want: the bytes; under the lock of their range
 * @mutex: protects all below
 * @unlocked: some range was unlocked
 * @ranges: the locked ranges.  A thread has AIOS and one more at most.
 * @size: see the head comment for when it is stable
 * @ops: number of operations so far
 * @log: the last of them
 * @fd: -1 while it is closed, and so are
 * @direct: ... and
 * @map: all pages there can ever be, mapped shared
 * @lost: nobody knows what is in it
 * @bad: had a mismatch: left alone
 */
struct file {
	int nr;
	char name[24];
	unsigned char *want;
	pthread_mutex_t mutex;
	pthread_cond_t unlocked;
	struct range ranges[MAX_THREADS * (AIOS + 1)];
	off_t size;
	uint32_t ops;
	struct entry log[LOG];
	int fd, direct;
	unsigned char *map;
	bool lost, bad;
};

struct thread {
	pthread_t id;
	int nr;
	uint64_t random;
	unsigned char *buf;
	unsigned char *aio_buf;
	aio_context_t aio;
	int pipe[2];
	long ops, reads, written;
};

static struct file *files;
static struct thread threads[MAX_THREADS];
static int nr_files = 8, nr_threads = 4;
static off_t max_size = 1 << 20;
static int dir;
static long max_ops;
static time_t seconds = 60;
static struct timespec started;
static off_t sector;		/* of direct I/O; 0: there is none */
static bool left_out[NR_KINDS];
static bool selftest;
static atomic_long mismatches, lost_files;
static atomic_bool stop;
static pthread_mutex_t print_mutex = PTHREAD_MUTEX_INITIALIZER;
/* Volatile: the compiler does not know that memcpy() can look at it */
static __thread volatile bool expect_sigbus;
static __thread sigjmp_buf after_sigbus;

static void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "exercise: %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	_exit(2);
}

/* Of lengths and offsets: none is negative */
static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Random numbers (xorshift64*): not rand(), whose state all threads share */

static uint64_t rnd(struct thread *t, uint64_t below)
{
	t->random ^= t->random >> 12;
	t->random ^= t->random << 25;
	t->random ^= t->random >> 27;
	return (t->random * 0x2545f4914f6cdd1dULL >> 11) % below;
}

/* Mostly small; small ones find bugs at edges, large ones in batches */
static size_t random_len(struct thread *t)
{
	static const size_t limits[] = { PAGE, 4 * PAGE, 4 * PAGE, MAX_IO };

	return 1 + rnd(t, min(limits[rnd(t, 4)], max_size));
}

/* What needs no buffer can be as long as the file */
static size_t random_span(struct thread *t)
{
	return rnd(t, 8) ? random_len(t) : 1 + rnd(t, max_size);
}

/* Words: check:8 kind:4 file:8 operation:24 offset/8:20 */

static uint64_t word_of(int nr, enum kind kind, uint32_t op, off_t off)
{
	uint64_t w = (uint64_t)kind << 52 | (uint64_t)nr << 44 |
		     (uint64_t)(op & 0xffffff) << 20 | (off / 8 & 0xfffff);

	/* Never zero: a word of zeros is a hole */
	w |= (scramble(w) % 255 + 1) << 56;
	return op & 1 ? scramble(w) : w;
}

static bool word_is_ours(uint64_t w, bool odd, int *nr, enum kind *kind,
			 uint32_t *op, off_t *off)
{
	uint64_t is = odd ? unscramble(w) : w;

	*kind = is >> 52 & 0xf;
	*nr = is >> 44 & 0xff;
	*op = is >> 20 & 0xffffff;
	*off = (is & 0xfffff) * 8;
	return *kind <= NEW_FILE && *nr < nr_files && *off < max_size &&
	       (*op & 1) == odd && word_of(*nr, *kind, *op, *off) == w;
}

static void fill(void *buf, size_t len, const struct file *f,
		 enum kind kind, uint32_t op, off_t off)
{
	unsigned char *p = buf, *end = p + len;

	while (p < end) {
		uint64_t w = word_of(f->nr, kind, op, off);
		size_t skip = off % 8;
		size_t n = min(8 - skip, end - p);

		memcpy(p, (char *)&w + skip, n);
		p += n;
		off += n;
	}
}

/* What is at p[at], which belongs at offset @off + @at? */
static const char *describe(char *out, size_t size, const unsigned char *p,
			    size_t len, size_t at, off_t off)
{
	size_t aligned = (off + at) % 8;
	enum kind kind;
	uint32_t op;
	uint64_t w;
	off_t was;
	int nr, i, odd;

	/* A copy need not be aligned as the original was: try all */
	for (i = 0; i < 8; i++) {
		size_t back = (aligned + i) % 8;

		if (back > at || at - back + 8 > len)
			continue;
		memcpy(&w, p + at - back, 8);
		if (!w) {
			snprintf(out, size, "zeros");
			return out;
		}
		for (odd = 0; odd < 2; odd++)
			if (word_is_ours(w, odd, &nr, &kind, &op, &was)) {
				snprintf(out, size,
					 "file %d op %u (%s) for offset %#lx%s",
					 nr, op, kind_names[kind], was,
					 i ? ", unaligned" : "");
				return out;
			}
	}
	snprintf(out, size, "byte %#x, not of a whole word of ours", p[at]);
	return out;
}

/* Locks: see the head comment */

static uint32_t page_of(off_t off)
{
	return off / PAGE;
}

static struct range *lock_now(struct file *f, uint32_t first, uint32_t last,
			      bool exclusive)
{
	struct range *r, *unused = NULL;

	for (r = f->ranges; r < f->ranges + nr_threads * (AIOS + 1); r++) {
		if (!r->used)
			unused = unused ? : r;
		else if (r->first <= last && r->last >= first &&
			 (r->exclusive || exclusive))
			return NULL;
	}
	*unused = (struct range){ first, last, exclusive, true };
	return unused;
}

static void unlock(struct file *f, struct range *r)
{
	SYS(pthread_mutex_lock(&f->mutex));
	r->used = false;
	pthread_cond_broadcast(&f->unlocked);
	pthread_mutex_unlock(&f->mutex);
}

static void close_file(struct file *f)
{
	if (f->fd < 0)
		return;
	if (f->map)
		SYS(munmap(f->map, max_size));
	SYS(close(f->fd));
	if (f->direct >= 0)
		SYS(close(f->direct));
	f->map = NULL;
	f->fd = -1;
	f->direct = -1;
}

/* The file is empty where a file should not be there: size and bytes tell */
static bool open_file(struct file *f)
{
	if (f->fd >= 0)
		return true;
	f->fd = openat(dir, f->name, O_RDWR | O_CREAT, 0600);
	if (f->fd < 0) {
		CHECK(errno == ENOSPC, "%s: %s", f->name, strerror(errno));
		return false;
	}
	if (sector)
		f->direct = SYS(openat(dir, f->name, O_RDWR | O_DIRECT));
	f->map = mmap(NULL, max_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      f->fd, 0);
	CHECK(f->map != MAP_FAILED, "mmap: %s", strerror(errno));
	return true;
}

/* Lock, and wait for it if @wait; the file is then open, and not lost */
static struct range *lock(struct file *f, uint32_t first, uint32_t last,
			  bool exclusive, bool wait)
{
	struct range *r;

	pthread_mutex_lock(&f->mutex);
	while (!(r = lock_now(f, first, last, exclusive)) && wait)
		pthread_cond_wait(&f->unlocked, &f->mutex);
	if (r && (f->lost || f->bad || !open_file(f))) {
		r->used = false;
		pthread_cond_broadcast(&f->unlocked);
		r = NULL;
	}
	pthread_mutex_unlock(&f->mutex);
	return r;
}

static off_t size_of(struct file *f)
{
	off_t size;

	pthread_mutex_lock(&f->mutex);
	size = f->size;
	pthread_mutex_unlock(&f->mutex);
	return size;
}

static void set_size(struct file *f, off_t size)
{
	pthread_mutex_lock(&f->mutex);
	f->size = size;
	pthread_mutex_unlock(&f->mutex);
}

static void set_lost(struct file *f)
{
	pthread_mutex_lock(&f->mutex);
	f->lost = true;
	pthread_mutex_unlock(&f->mutex);
}

/*
 * How much of what is locked is in the file.  Both a sector of direct I/O and a
 * byte beyond the end of file may be asked for.
 */
static size_t in_file(struct file *f, off_t off, size_t len)
{
	off_t size = size_of(f);

	return off >= size ? 0 : min(len, size - off);
}

/*
 * Lock what is needed to change @len bytes at @off; also the size, if it will be
 * at least @end.
 */
static struct range *lock_change(struct file *f, off_t off, size_t len,
				 off_t end, bool wait)
{
	off_t size = size_of(f);
	uint32_t first = page_of(off), last = page_of(off + len - 1);
	struct range *r;

	if (end > size) {
		first = page_of(min(off, size));
		last = LAST_PAGE;
	}
	r = lock(f, first, last, true, wait);
	size = size_of(f);
	if (r && end > size && (last != LAST_PAGE || page_of(size) < first)) {
		unlock(f, r);
		return NULL;
	}
	return r;
}

/* The log of a file: its index is what the words say */

static uint32_t log_op(struct thread *t, struct file *f, enum kind kind,
		       off_t off, size_t len)
{
	uint32_t op;

	pthread_mutex_lock(&f->mutex);
	op = f->ops++;
	f->log[op % LOG] = (struct entry){ op, kind, t->nr, off, len, 0 };
	pthread_mutex_unlock(&f->mutex);
	t->ops++;
	return op;
}

/* -1: failed with errno */
static long log_ret(struct file *f, uint32_t op, long ret)
{
	int err = errno;

	pthread_mutex_lock(&f->mutex);
	if (f->log[op % LOG].op == op)
		f->log[op % LOG].ret = ret == -1 ? -err : ret;
	pthread_mutex_unlock(&f->mutex);
	errno = err;
	return ret;
}

static void print_log(struct file *f)
{
	uint32_t op;

	printf("  the last operations on file %d:\n", f->nr);
	pthread_mutex_lock(&f->mutex);
	for (op = f->ops > LOG ? f->ops - LOG : 0; op < f->ops; op++) {
		struct entry *e = &f->log[op % LOG];

		printf("  %8u thread %d %-16s offset %#9lx length %#8zx = %ld\n",
		       e->op, e->thread, kind_names[e->kind], e->off, e->len,
		       e->ret);
	}
	pthread_mutex_unlock(&f->mutex);
}

/* An operation that must not fail did so */
static __attribute__((noreturn)) void fail_op(struct file *f, enum kind kind)
{
	int err = errno;

	pthread_mutex_lock(&print_mutex);
	print_log(f);
	fail("%s of %s: %s", kind_names[kind], f->name, strerror(err));
}

/* Mismatches */

static void print_again(struct file *f, int fd, const char *what, off_t off)
{
	unsigned char *buf = aligned_alloc(PAGE, PAGE);
	off_t start = off / PAGE * PAGE;
	char out[128];
	ssize_t ret;

	CHECK(buf, "no memory");
	ret = pread(fd, buf, PAGE, start);
	if (ret <= off - start)
		printf("  %s: nothing there: %s\n", what,
		       ret < 0 ? strerror(errno) : "end of file");
	else
		printf("  %s: %s\n", what, buf[off - start] == f->want[off] ?
		       "as expected" :
		       describe(out, sizeof(out), buf, ret, off - start, start));
	free(buf);
}

static void print_mismatch(struct file *f, enum kind how, off_t off,
			   const unsigned char *got, size_t len, size_t at,
			   size_t wrong)
{
	char expected[128], found[128];
	off_t bad = off + at;
	struct stat st;

	SYS(fstat(f->fd, &st));
	printf("MISMATCH: %s inode %lu size %#lx: offset %#lx (page %#x + %#lx),",
	       f->name, st.st_ino, st.st_size, bad, page_of(bad), bad % PAGE);
	printf(" %zu wrong in this page, by %s of %#zx at %#lx\n", wrong,
	       kind_names[how], len, off);
	printf("  expected: %s\n",
	       describe(expected, sizeof(expected), f->want, max_size, bad, 0));
	printf("  found: %s\n",
	       describe(found, sizeof(found), got, len, at, off));
	print_again(f, f->fd, "read again", bad);
	if (f->direct >= 0)
		print_again(f, f->direct, "read from disk", bad);
}

/* From now on nobody uses the file.  Keep what is there to be looked at. */
static void mismatch(struct file *f)
{
	bool first;

	if (!selftest) {
		pthread_mutex_lock(&f->mutex);
		first = !f->bad;
		f->bad = true;
		pthread_mutex_unlock(&f->mutex);
		if (first)
			print_log(f);
	}
	fflush(stdout);
	pthread_mutex_unlock(&print_mutex);
}

static void verify(struct thread *t, struct file *f, enum kind how, off_t off,
		   const unsigned char *got, size_t len)
{
	size_t at, end, wrong, i;

	t->reads++;
	if (!memcmp(got, f->want + off, len))
		return;
	pthread_mutex_lock(&print_mutex);
	for (at = 0; at < len; at = end) {
		size_t first = len;

		end = min(PAGE - (off + at) % PAGE + at, len);
		for (i = at, wrong = 0; i < end; i++)
			if (got[i] != f->want[off + i]) {
				first = min(first, i);
				wrong++;
			}
		if (!wrong)
			continue;
		if (++mismatches <= REPORTS && !selftest)
			print_mismatch(f, how, off, got, len, first, wrong);
		if (mismatches >= REPORTS && !selftest)
			stop = true;
	}
	mismatch(f);
}

/* A length that is not as expected is as bad as a byte */
static bool verify_len(struct file *f, enum kind how, off_t off, long got,
		       long expected)
{
	if (got == expected)
		return true;
	if (got == -1)
		fail_op(f, how);
	pthread_mutex_lock(&print_mutex);
	if (++mismatches >= REPORTS)
		stop = true;
	printf("MISMATCH: %s: %s at %#lx returned %ld, expected %ld\n", f->name,
	       kind_names[how], off, got, expected);
	mismatch(f);
	return false;
}

/*
 * A fault that finds no space kills who does not expect it: a longjmp out of
 * the handler is allowed, since memcpy() holds nothing.
 */
static void sigbus(int sig)
{
	static const char text[] =
		"exercise: SIGBUS: a page could not be read\n";

	if (expect_sigbus)
		siglongjmp(after_sigbus, 1);
	if (write(STDERR_FILENO, text, sizeof(text) - 1) > 0)
		signal(sig, SIG_DFL);
	else
		abort();
}

static bool copy_to_map(unsigned char *to, const unsigned char *from, size_t len)
{
	if (sigsetjmp(after_sigbus, 1)) {
		expect_sigbus = false;
		return false;
	}
	expect_sigbus = true;
	memcpy(to, from, len);
	expect_sigbus = false;
	return true;
}

/* A mapping of its own has new page tables: each access is a fault */
static unsigned char *map_range(struct file *f, off_t off, size_t len,
				int flags)
{
	off_t start = off / PAGE * PAGE;
	unsigned char *p = mmap(NULL, len + off - start, PROT_READ | PROT_WRITE,
				flags, f->fd, start);

	CHECK(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p + (off - start);
}

static void unmap_range(unsigned char *p, size_t len)
{
	size_t in_page = (uintptr_t)p % PAGE;

	SYS(munmap(p - in_page, len + in_page));
}

/* Ways to read @len bytes at @off, of which @have are in the file */

static void read_buffered(struct thread *t, struct file *f, off_t off,
			  size_t len, size_t have)
{
	ssize_t ret = pread(f->fd, t->buf, len, off);

	if (verify_len(f, READ, off, ret, have))
		verify(t, f, READ, off, t->buf, have);
}

static void read_mmap(struct thread *t, struct file *f, off_t off, size_t len,
		      size_t have)
{
	unsigned char *p;

	(void)len;
	if (!have)
		return;
	if (rnd(t, 4)) {
		verify(t, f, MMAP_READ, off, f->map + off, have);
		return;
	}
	p = map_range(f, off, have, MAP_SHARED |
		      (rnd(t, 2) ? MAP_POPULATE : 0));
	verify(t, f, MMAP_READ, off, p, have);
	unmap_range(p, have);
}

/* What is done to a private copy must not be seen by others */
static void read_private(struct thread *t, struct file *f, off_t off, size_t len,
			 size_t have)
{
	unsigned char *p;
	size_t i;

	(void)len;
	if (!have)
		return;
	p = map_range(f, off, have, MAP_PRIVATE);
	verify(t, f, PRIVATE_READ, off, p, have);
	for (i = rnd(t, 2 * PAGE); i < have; i += PAGE)
		p[i]++;
	unmap_range(p, have);
}

static void read_direct(struct thread *t, struct file *f, off_t off, size_t len,
			size_t have)
{
	ssize_t ret = pread(f->direct, t->buf, len, off);

	if (verify_len(f, DIRECT_READ, off, ret, have))
		verify(t, f, DIRECT_READ, off, t->buf, have);
}

/* So much at a time that a pipe takes it, wherever in a page it begins */
static void read_pipe(struct thread *t, struct file *f, enum kind how,
		      off_t off, size_t len)
{
	size_t done, n;
	ssize_t ret;
	off_t pos;

	for (done = 0; done < len; done += n) {
		pos = off + done;
		n = min(len - done, 8 * PAGE);
		ret = how == SPLICE ?
		      splice(f->fd, &pos, t->pipe[1], NULL, n, 0) :
		      sendfile(t->pipe[1], f->fd, &pos, n);
		if (ret <= 0) {
			verify_len(f, how, off + done, ret, n);
			return;
		}
		n = SYS(read(t->pipe[0], t->buf + done, ret));
	}
	verify(t, f, how, off, t->buf, len);
}

static void read_sendfile(struct thread *t, struct file *f, off_t off,
			  size_t len, size_t have)
{
	(void)len;
	read_pipe(t, f, SENDFILE, off, have);
}

static void read_splice(struct thread *t, struct file *f, off_t off, size_t len,
			size_t have)
{
	(void)len;
	read_pipe(t, f, SPLICE, off, have);
}

typedef void (*read_fn)(struct thread *t, struct file *f, off_t off, size_t len,
			size_t have);

static const struct {
	enum kind kind;
	read_fn read;
} readers[] = {
	{ READ, read_buffered },
	{ MMAP_READ, read_mmap },
	{ PRIVATE_READ, read_private },
	{ SENDFILE, read_sendfile },
	{ SPLICE, read_splice },
	{ DIRECT_READ, read_direct },
};

#define NR_READERS	(sizeof(readers) / sizeof(*readers))

/* Where a file may be changed: also beyond its end, but seldom far */
static off_t random_off(struct thread *t, struct file *f, size_t len)
{
	off_t size = size_of(f), limit = max_size - len;

	if (rnd(t, 8))
		limit = min(limit, size + PAGE);
	return rnd(t, limit + 1);
}

static off_t round_down(off_t off, off_t to)
{
	return off / to * to;
}

static size_t round_up(size_t len, off_t to)
{
	return (len + to - 1) / to * to;
}

/* Sectors, and pages as often */
static off_t random_unit(struct thread *t)
{
	return rnd(t, 2) ? sector : PAGE;
}

/* Read something, in any way; if @wait is not set then only if nobody writes */
static void read_some(struct thread *t, struct file *f, bool wait)
{
	size_t len = random_len(t);
	off_t off = random_off(t, f, len);
	unsigned int how = rnd(t, sector ? NR_READERS : NR_READERS - 1);
	struct range *r;
	uint32_t op;

	if (readers[how].kind == DIRECT_READ) {
		off_t unit = random_unit(t);

		off = round_down(off, unit);
		len = round_up(len, unit);
	}
	r = lock(f, page_of(off), page_of(off + len - 1), false, wait);
	if (!r)
		return;
	op = log_op(t, f, readers[how].kind, off, len);
	readers[how].read(t, f, off, len, in_file(f, off, len));
	log_ret(f, op, in_file(f, off, len));
	unlock(f, r);
}

static void op_read(struct thread *t, struct file *f, enum kind kind)
{
	(void)kind;
	read_some(t, f, true);
}

/* All of it, and that there is no more */
static void verify_file(struct thread *t, struct file *f, read_fn read)
{
	struct range *r = lock(f, 0, LAST_PAGE, false, true);
	struct stat st;
	uint32_t op;
	off_t off;

	if (!r)
		return;
	op = log_op(t, f, VERIFY, 0, f->size);
	SYS(fstat(f->fd, &st));
	if (verify_len(f, VERIFY, 0, st.st_size, f->size))
		for (off = 0; off < f->size; off += MAX_IO)
			read(t, f, off, MAX_IO, in_file(f, off, MAX_IO));
	log_ret(f, op, st.st_size);
	unlock(f, r);
}

static void op_verify(struct thread *t, struct file *f, enum kind kind)
{
	(void)kind;
	verify_file(t, f, sector && !rnd(t, 4) ? read_direct : read_buffered);
}

/* Changes */

static void no_space(struct file *f, enum kind kind)
{
	if (errno != ENOSPC)
		fail_op(f, kind);
	set_lost(f);
}

/* t->buf or others' bytes are now in the file */
static void model_write(struct thread *t, struct file *f, off_t off,
			const unsigned char *from, size_t len)
{
	memmove(f->want + off, from, len);
	if (off + (off_t)len > size_of(f))
		set_size(f, off + len);
	t->written += len;
}

static void op_write(struct thread *t, struct file *f, enum kind kind)
{
	bool direct = kind == DIRECT_WRITE;
	off_t unit = direct ? random_unit(t) : 1;
	size_t len = round_up(random_len(t), unit);
	off_t off = round_down(random_off(t, f, len), unit);
	struct iovec iov = { t->buf, len };
	struct range *r = lock_change(f, off, len, off + len, true);
	uint32_t op;
	ssize_t ret;

	if (!r)
		return;
	op = log_op(t, f, kind, off, len);
	fill(t->buf, len, f, kind, op, off);
	ret = pwritev2(direct ? f->direct : f->fd, &iov, 1, off,
		       rnd(t, 8) ? 0 : RWF_DSYNC);
	log_ret(f, op, ret);
	if (ret > 0)
		model_write(t, f, off, t->buf, ret);
	/* A direct write that fell short may have written more, or less */
	if (ret < (ssize_t)len && (direct || ret < 0)) {
		if (ret >= 0)
			errno = ENOSPC;
		no_space(f, kind);
	}
	unlock(f, r);
}

static void op_mmap_write(struct thread *t, struct file *f, enum kind kind)
{
	size_t len = random_len(t);
	off_t off = random_off(t, f, len);
	struct range *r = lock_change(f, off, len, 0, true);
	unsigned char *p;
	uint32_t op;
	bool own = !rnd(t, 4);
	off_t page;

	if (!r)
		return;
	len = in_file(f, off, len);
	if (!len) {
		unlock(f, r);
		return;
	}
	op = log_op(t, f, kind, off, len);
	fill(t->buf, len, f, kind, op, off);
	p = own ? map_range(f, off, len, MAP_SHARED) : f->map + off;
	if (copy_to_map(p, t->buf, len)) {
		model_write(t, f, off, t->buf, len);
		log_ret(f, op, len);
	} else {
		errno = ENOSPC;
		log_ret(f, op, -1);
		no_space(f, kind);
	}
	page = (uintptr_t)p % PAGE;
	switch (rnd(t, 4)) {
	case 0:
		if (msync(p - page, len + page, MS_SYNC))
			no_space(f, kind);
		break;
	case 1:
		SYS(msync(p - page, len + page, MS_ASYNC));
		break;
	}
	if (own)
		unmap_range(p, len);
	unlock(f, r);
}

/*
 * Several at once, and reads of something else while they are in flight.  The
 * ranges do not overlap, or else their order would not be known.
 */
static void op_aio(struct thread *t, struct file *f, enum kind kind)
{
	struct range *r[AIOS];
	struct iocb iocb[AIOS], *iocbs[AIOS];
	struct io_event events[AIOS];
	uint32_t ops[AIOS];
	int i, done, nr = 0;

	(void)kind;
	for (i = 1 + rnd(t, AIOS); i; i--) {
		off_t unit = random_unit(t);
		size_t len = (1 + rnd(t, AIO_LEN / unit)) * unit;
		off_t off = round_down(rnd(t, size_of(f) + 1), unit);
		bool write = rnd(t, 2);
		unsigned char *buf = t->aio_buf + nr * AIO_LEN;

		len = min(len, max_size - off);
		if (!len)
			continue;
		r[nr] = write ? lock_change(f, off, len, 0, !nr) :
			lock(f, page_of(off), page_of(off + len - 1), false,
			     !nr);
		if (!r[nr])
			continue;
		/* What changes the size is not asynchronous */
		if (write && in_file(f, off, len) < len) {
			unlock(f, r[nr]);
			continue;
		}
		ops[nr] = log_op(t, f, write ? AIO_WRITE : AIO_READ, off, len);
		if (write)
			fill(buf, len, f, AIO_WRITE, ops[nr], off);
		iocb[nr] = (struct iocb){
			.aio_data = nr,
			.aio_lio_opcode = write ? IOCB_CMD_PWRITE :
				IOCB_CMD_PREAD,
			.aio_fildes = f->direct,
			.aio_buf = (uintptr_t)buf,
			.aio_nbytes = len,
			.aio_offset = off,
		};
		iocbs[nr] = &iocb[nr];
		nr++;
	}
	for (done = 0; done < nr; )
		done += SYS(syscall(SYS_io_submit, t->aio, nr - done,
				    iocbs + done));
	if (nr)
		for (i = rnd(t, 4); i; i--)
			read_some(t, f, false);
	for (done = 0; done < nr; )
		done += SYS(syscall(SYS_io_getevents, t->aio, 1, nr - done,
				    events + done, NULL));
	for (done = 0; done < nr; done++) {
		struct iocb *io;
		long res = events[done].res;
		unsigned char *buf;

		i = events[done].data;
		io = &iocb[i];
		buf = t->aio_buf + i * AIO_LEN;
		if (res < 0)
			errno = -res;
		log_ret(f, ops[i], res < 0 ? -1 : res);
		if (io->aio_lio_opcode == IOCB_CMD_PREAD) {
			if (verify_len(f, AIO_READ, io->aio_offset,
				       res < 0 ? -1 : res,
				       in_file(f, io->aio_offset,
					       io->aio_nbytes)))
				verify(t, f, AIO_READ, io->aio_offset, buf,
				       res);
		} else if (res == (long)io->aio_nbytes) {
			model_write(t, f, io->aio_offset, buf, res);
		} else {
			if (res >= 0)
				errno = ENOSPC;
			no_space(f, AIO_WRITE);
		}
		unlock(f, r[i]);
	}
}

/*
 * From one file, or part of it, to another.  Direct I/O to and from a mapping
 * has references to page-cache pages while others look at them, and changes
 * them without a fault.
 */
static void op_copy(struct thread *t, struct file *to, enum kind kind)
{
	struct file *from = &files[rnd(t, nr_files)];
	off_t unit = kind == COPY ? 1 : sector;
	size_t len = round_up(random_len(t), unit);
	off_t off = round_down(random_off(t, from, len), unit);
	off_t dest = round_down(random_off(t, to, len), unit);
	off64_t copy_off = off, copy_dest = dest;
	struct range *r, *w = NULL;
	uint32_t op;
	ssize_t ret;

	r = lock(from, page_of(off), page_of(off + len - 1), false, true);
	if (!r)
		return;
	len = in_file(from, off, len);
	if (len)
		w = lock_change(to, dest, len, kind == COPY ? dest + len : 0,
				false);
	if (w && kind != COPY)
		len = round_down(in_file(to, dest, len), sector);
	if (w && len) {
		op = log_op(t, to, kind, dest, len);
		if (kind == DIRECT_TO_MAP)
			ret = pread(from->direct, to->map + dest, len, off);
		else if (kind == DIRECT_FROM_MAP)
			ret = pwrite(to->direct, from->map + off, len, dest);
		else
			ret = copy_file_range(from->fd, &copy_off, to->fd,
					      &copy_dest, len, 0);
		log_ret(to, op, ret);
		if (ret > 0)
			model_write(t, to, dest, from->want + off, ret);
		/* As with SIGBUS: no space for a page that is mapped */
		if (ret < 0 && errno == EFAULT && kind == DIRECT_TO_MAP)
			errno = ENOSPC;
		if (ret >= 0)
			errno = ENOSPC;
		if (ret < (ssize_t)len && (kind != COPY || ret < 0))
			no_space(to, kind);
	}
	if (w)
		unlock(to, w);
	unlock(from, r);
}

static void model_zero(struct file *f, off_t off, size_t len)
{
	memset(f->want + off, 0, in_file(f, off, len));
}

static const int fallocate_modes[NR_KINDS] = {
	[PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	[ZERO] = FALLOC_FL_ZERO_RANGE,
	[COLLAPSE] = FALLOC_FL_COLLAPSE_RANGE,
	[INSERT] = FALLOC_FL_INSERT_RANGE,
	[KEEP_SIZE] = FALLOC_FL_KEEP_SIZE,
};

static void op_fallocate(struct thread *t, struct file *f, enum kind kind)
{
	bool grows = kind == ZERO || kind == ALLOCATE;
	int mode = fallocate_modes[kind];
	off_t unit = rnd(t, 3) ? 1 : PAGE;
	size_t len = round_up(random_span(t), unit);
	off_t off = round_down(random_off(t, f, len), unit);
	struct range *r;
	uint32_t op;

	if (kind == ZERO && rnd(t, 2)) {
		mode |= FALLOC_FL_KEEP_SIZE;
		grows = false;
	}
	r = lock_change(f, off, len, grows ? off + len : 0, true);
	if (!r)
		return;
	op = log_op(t, f, kind, off, len);
	if (!log_ret(f, op, fallocate(f->fd, mode, off, len))) {
		if (kind == PUNCH || kind == ZERO)
			model_zero(f, off, len);
		if (grows && off + (off_t)len > size_of(f))
			set_size(f, off + len);
	} else {
		no_space(f, kind);
	}
	unlock(f, r);
}

/* Move all that comes after */
static void op_shift(struct thread *t, struct file *f, enum kind kind)
{
	off_t len = round_up(random_span(t), PAGE);
	off_t size = size_of(f), off = round_down(rnd(t, size + 1), PAGE);
	struct range *r = lock(f, page_of(off), LAST_PAGE, true, true);
	unsigned char *at = f->want + off;
	uint32_t op;

	if (!r)
		return;
	size = size_of(f);
	if (kind == COLLAPSE ? off + len >= size :
	    off >= size || size + len > max_size) {
		unlock(f, r);
		return;
	}
	op = log_op(t, f, kind, off, len);
	if (log_ret(f, op, fallocate(f->fd, fallocate_modes[kind], off, len))) {
		no_space(f, kind);
	} else if (kind == COLLAPSE) {
		memmove(at, at + len, size - off - len);
		memset(f->want + size - len, 0, len);
		set_size(f, size - len);
	} else {
		memmove(at + len, at, size - off);
		memset(at, 0, len);
		set_size(f, size + len);
	}
	unlock(f, r);
}

/* Down, and up beyond a page that is in part cut off: there are zeros now */
static void op_truncate(struct thread *t, struct file *f, enum kind kind)
{
	off_t size = size_of(f);
	off_t new = rnd(t, 4) ? rnd(t, max_size + 1) :
		    min(size + rnd(t, 2 * PAGE), max_size);
	struct range *r;
	uint32_t op;
	off_t first;

	if (!rnd(t, 4))
		new = round_down(new, PAGE);
	first = min(size, new);
	r = lock(f, page_of(first), LAST_PAGE, true, true);
	if (!r)
		return;
	size = size_of(f);
	if (page_of(min(size, new)) < page_of(first)) {
		unlock(f, r);
		return;
	}
	op = log_op(t, f, kind, new, 0);
	if (log_ret(f, op, ftruncate(f->fd, new))) {
		no_space(f, kind);
	} else {
		if (new < size)
			memset(f->want + new, 0, size - new);
		set_size(f, new);
		first = round_down(min(size, new), PAGE);
		read_buffered(t, f, first, 2 * PAGE,
			      in_file(f, first, 2 * PAGE));
	}
	unlock(f, r);
}

static void op_sync(struct thread *t, struct file *f, enum kind kind)
{
	struct range *r = lock(f, DESCRIPTORS, DESCRIPTORS, false, true);
	size_t len = random_len(t);
	off_t off = random_off(t, f, len);
	uint32_t op;
	int ret;

	if (!r)
		return;
	op = log_op(t, f, kind, off, len);
	switch (rnd(t, 16)) {
	case 0:
		ret = syncfs(f->fd);
		break;
	case 1 ... 4:
		ret = fsync(f->fd);
		break;
	case 5 ... 8:
		ret = fdatasync(f->fd);
		break;
	default:
		ret = sync_file_range(f->fd, off, len,
				      SYNC_FILE_RANGE_WAIT_BEFORE |
				      SYNC_FILE_RANGE_WRITE |
				      SYNC_FILE_RANGE_WAIT_AFTER);
	}
	if (log_ret(f, op, ret))
		no_space(f, kind);
	unlock(f, r);
}

static void op_advise(struct thread *t, struct file *f, enum kind kind)
{
	static const int advice[] = {
		POSIX_FADV_DONTNEED, POSIX_FADV_WILLNEED, POSIX_FADV_RANDOM,
		POSIX_FADV_NORMAL,
	};
	struct range *r = lock(f, DESCRIPTORS, DESCRIPTORS, false, true);
	size_t len = random_len(t);
	off_t off = random_off(t, f, len);
	uint32_t op;
	int ret;

	if (!r)
		return;
	op = log_op(t, f, kind, off, len);
	/* It returns the error, and has no business to fail */
	ret = posix_fadvise(f->fd, off, rnd(t, 8) ? len : 0,
			    advice[rnd(t, 4)]);
	CHECK(!ret, "posix_fadvise: %s", strerror(ret));
	log_ret(f, op, ret);
	unlock(f, r);
}

/*
 * Reclaim these pages now.  Only what is clean goes, and only what is in the
 * page tables is looked at.
 */
static void op_pageout(struct thread *t, struct file *f, enum kind kind)
{
	size_t len = round_up(random_len(t), PAGE);
	off_t off = round_down(random_off(t, f, len), PAGE);
	struct range *r = lock(f, page_of(off), page_of(off + len - 1), false,
			       true);
	size_t have;
	uint32_t op;

	if (!r)
		return;
	have = in_file(f, off, len);
	if (have) {
		op = log_op(t, f, kind, off, have);
		if (sync_file_range(f->fd, off, have,
				    SYNC_FILE_RANGE_WAIT_BEFORE |
				    SYNC_FILE_RANGE_WRITE |
				    SYNC_FILE_RANGE_WAIT_AFTER))
			no_space(f, kind);
		verify(t, f, MMAP_READ, off, f->map + off, have);
		log_ret(f, op, madvise(f->map + off, have, MADV_PAGEOUT));
		read_buffered(t, f, off, have, have);
	}
	unlock(f, r);
}

/* What needs the whole file */

static void forget(struct file *f)
{
	memset(f->want, 0, max_size);
	set_size(f, 0);
}

/* Until somebody opens it again the inode may leave memory */
static void op_close(struct thread *t, struct file *f, enum kind kind)
{
	struct range *r = lock(f, 0, DESCRIPTORS, true, true);

	if (!r)
		return;
	log_op(t, f, kind, 0, 0);
	close_file(f);
	unlock(f, r);
}

/* The next file that is created, of whatever name, may have the inode number */
static void op_unlink(struct thread *t, struct file *f, enum kind kind)
{
	struct range *r = lock(f, 0, DESCRIPTORS, true, true);

	if (!r)
		return;
	log_op(t, f, kind, 0, 0);
	SYS(unlinkat(dir, f->name, 0));
	/* Sometimes the last link goes first, sometimes the descriptor */
	if (rnd(t, 2))
		read_buffered(t, f, 0, MAX_IO, in_file(f, 0, MAX_IO));
	close_file(f);
	forget(f);
	unlock(f, r);
}

/* A new file takes the place of the old one, which is still there until closed */
static void op_rename(struct thread *t, struct file *f, enum kind kind)
{
	size_t len = min(random_len(t), AIO_LEN);
	struct range *r = lock(f, 0, DESCRIPTORS, true, true);
	char name[32];
	uint32_t op;
	ssize_t ret;
	int fd;

	if (!r)
		return;
	snprintf(name, sizeof(name), "%s.new", f->name);
	fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0) {
		CHECK(errno == ENOSPC, "%s: %s", name, strerror(errno));
		unlock(f, r);
		return;
	}
	op = log_op(t, f, kind, 0, len);
	fill(t->aio_buf, len, f, NEW_FILE, op, 0);
	ret = write(fd, t->aio_buf, len);
	CHECK(ret >= 0 || errno == ENOSPC, "%s: %s", name, strerror(errno));
	log_ret(f, op, ret);
	SYS(renameat(dir, name, dir, f->name));
	SYS(close(fd));
	read_buffered(t, f, 0, MAX_IO, in_file(f, 0, MAX_IO));
	/* A mismatch in the old file: it has no name now, but do not go on */
	close_file(f);
	forget(f);
	if (ret > 0)
		model_write(t, f, 0, t->aio_buf, ret);
	unlock(f, r);
}

/* After no space: begin again */
static void recreate(struct thread *t, struct file *f)
{
	struct range *r;

	pthread_mutex_lock(&f->mutex);
	while (!(r = lock_now(f, 0, DESCRIPTORS, true)))
		pthread_cond_wait(&f->unlocked, &f->mutex);
	pthread_mutex_unlock(&f->mutex);
	if (f->lost) {
		log_op(t, f, LOST, 0, 0);
		close_file(f);
		if (unlinkat(dir, f->name, 0))
			CHECK(errno == ENOENT, "unlink %s: %s", f->name,
			      strerror(errno));
		forget(f);
		lost_files++;
		pthread_mutex_lock(&f->mutex);
		f->lost = false;
		pthread_mutex_unlock(&f->mutex);
	}
	unlock(f, r);
}

/* How often each is done, in 1/1000 */
static const struct {
	enum kind kind;
	int weight;
	void (*run)(struct thread *t, struct file *f, enum kind kind);
} operations[] = {
	{ READ, 300, op_read },
	{ WRITE, 130, op_write },
	{ MMAP_WRITE, 90, op_mmap_write },
	{ DIRECT_WRITE, 90, op_write },
	{ AIO_WRITE, 60, op_aio },
	{ COPY, 20, op_copy },
	{ DIRECT_TO_MAP, 20, op_copy },
	{ DIRECT_FROM_MAP, 20, op_copy },
	{ PUNCH, 30, op_fallocate },
	{ ZERO, 20, op_fallocate },
	{ ALLOCATE, 10, op_fallocate },
	{ KEEP_SIZE, 10, op_fallocate },
	{ COLLAPSE, 15, op_shift },
	{ INSERT, 15, op_shift },
	{ TRUNCATE, 20, op_truncate },
	{ SYNC, 30, op_sync },
	{ ADVISE, 30, op_advise },
	{ PAGEOUT, 60, op_pageout },
	{ CLOSE, 10, op_close },
	{ UNLINK, 5, op_unlink },
	{ RENAME, 5, op_rename },
	{ VERIFY, 10, op_verify },
};

static bool is_lost(struct file *f)
{
	bool lost;

	pthread_mutex_lock(&f->mutex);
	lost = f->lost;
	pthread_mutex_unlock(&f->mutex);
	return lost;
}

/* The first half of the files is each changed by one thread only */
static struct file *random_file(struct thread *t)
{
	int private = nr_files / 2;
	int own = (private - t->nr + nr_threads - 1) / nr_threads;

	if (t->nr < private && rnd(t, 2))
		return &files[t->nr + nr_threads * rnd(t, own)];
	return &files[private + rnd(t, nr_files - private)];
}

static void operate(struct thread *t)
{
	struct file *f = random_file(t);
	int i, dice = rnd(t, 1000);

	if (is_lost(f))
		recreate(t, f);
	for (i = 0; dice >= operations[i].weight; i++)
		dice -= operations[i].weight;
	if (!left_out[operations[i].kind])
		operations[i].run(t, f, operations[i].kind);
}

static bool is_time(void)
{
	struct timespec now;

	SYS(clock_gettime(CLOCK_MONOTONIC, &now));
	return now.tv_sec - started.tv_sec >= seconds;
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	while (!stop && (max_ops ? t->ops < max_ops : !is_time()))
		operate(t);
	return NULL;
}

static void init_thread(struct thread *t, int nr, uint64_t seed)
{
	t->nr = nr;
	t->random = scramble(seed + 1) ^ scramble(nr + 1) ^ 1;
	t->buf = aligned_alloc(PAGE, MAX_IO);
	t->aio_buf = aligned_alloc(PAGE, AIOS * AIO_LEN);
	CHECK(t->buf && t->aio_buf, "no memory");
	SYS(pipe(t->pipe));
	if (!left_out[AIO_WRITE])
		SYS(syscall(SYS_io_setup, AIOS, &t->aio));
}

static void init_file(struct file *f, int nr)
{
	char new[32];

	f->nr = nr;
	f->fd = -1;
	f->direct = -1;
	snprintf(f->name, sizeof(f->name), "exercise.%d", nr);
	snprintf(new, sizeof(new), "%s.new", f->name);
	unlinkat(dir, f->name, 0);
	unlinkat(dir, new, 0);
	f->want = calloc(1, max_size);
	CHECK(f->want, "no memory");
	pthread_mutex_init(&f->mutex, NULL);
	pthread_cond_init(&f->unlocked, NULL);
}

/* What this file system cannot do */

static void leave_out(enum kind kind, int err)
{
	CHECK(err == EOPNOTSUPP || err == EINVAL || err == EXDEV, "%s: %s",
	      kind_names[kind], strerror(err));
	left_out[kind] = true;
	printf(" %s", kind_names[kind]);
}

/* Also finds the size of a sector.  No name: direct I/O is not wanted. */
static void probe_direct(const char *name, unsigned char *buf)
{
	static const enum kind kinds[] = {
		DIRECT_WRITE, AIO_WRITE, DIRECT_TO_MAP, DIRECT_FROM_MAP,
	};
	int fd = name ? openat(dir, name, O_RDWR | O_DIRECT) : -1;
	size_t i;

	if (fd >= 0)
		for (sector = 512; sector <= PAGE; sector *= 8)
			if (pwrite(fd, buf, sector, sector) == sector)
				break;
	if (fd >= 0)
		SYS(close(fd));
	if (fd >= 0 && sector <= PAGE)
		return;
	sector = 0;
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		leave_out(kinds[i], EINVAL);
}

static void look_what_works(bool direct)
{
	static const char name[] = "exercise.probe";
	unsigned char *buf = aligned_alloc(PAGE, 16 * PAGE);
	off64_t from = 0, to = PAGE;
	enum kind kind;
	int fd;

	CHECK(buf, "no memory");
	memset(buf, 1, 16 * PAGE);
	fd = SYS(openat(dir, name, O_RDWR | O_CREAT, 0600));
	CHECK(write(fd, buf, 16 * PAGE) == 16 * PAGE, "%s: %s", name,
	      strerror(errno));
	printf("exercise: left out:");
	probe_direct(direct ? name : NULL, buf);
	for (kind = PUNCH; kind <= KEEP_SIZE; kind++)
		if (fallocate(fd, fallocate_modes[kind], PAGE, PAGE))
			leave_out(kind, errno);
	if (copy_file_range(fd, &from, fd, &to, PAGE, 0) < 0)
		leave_out(COPY, errno);
	printf("\n");
	SYS(close(fd));
	SYS(unlinkat(dir, name, 0));
	free(buf);
}

/* Flip a bit behind the model's back, or flip it back */
static void flip(struct file *f, off_t off, unsigned char with)
{
	unsigned char byte = f->want[off] ^ with;
	int fd = SYS(openat(dir, f->name, O_WRONLY));

	CHECK(pwrite(fd, &byte, 1, off) == 1, "%s: %s", f->name,
	      strerror(errno));
	SYS(close(fd));
}

/* Is a wrong bit found, in each way of reading? */
static bool run_selftest(struct thread *t)
{
	int i, how, tests = 0, found = 0;

	while (tests < SELFTESTS) {
		struct file *f = random_file(t);
		size_t len = round_up(random_len(t), PAGE), have;
		long before = mismatches;
		struct range *r;
		off_t off, bad;

		for (i = 0; i < 16; i++)
			operate(t);
		CHECK_OP(mismatches, ==, before);
		r = lock(f, 0, DESCRIPTORS, true, true);
		if (!r)
			continue;
		off = round_down(rnd(t, f->size + 1), PAGE);
		have = in_file(f, off, len);
		if (have) {
			bad = off + rnd(t, have);
			flip(f, bad, 1 << rnd(t, 8));
			how = tests++ % (sector ? NR_READERS : NR_READERS - 1);
			readers[how].read(t, f, off, len, have);
			found += mismatches == before + 1;
			if (mismatches == before)
				printf("not found: %s of %#zx at %#lx, wrong at %#lx\n",
				       kind_names[readers[how].kind], len, off,
				       bad);
			flip(f, bad, 0);
			mismatches = before;
		}
		unlock(f, r);
	}
	printf("exercise: selftest: %d of %d found\n", found, tests);
	return found == tests;
}

static void run_threads(void)
{
	int i;

	for (i = 0; i < nr_threads; i++)
		CHECK(!pthread_create(&threads[i].id, NULL, thread_main,
				      &threads[i]), "no thread");
	for (i = 0; i < nr_threads; i++)
		pthread_join(threads[i].id, NULL);
}

/* What the page cache has, and what the disk has */
static void verify_all(struct thread *t)
{
	struct file *f;

	for (f = files; f < files + nr_files; f++) {
		if (is_lost(f))
			recreate(t, f);
		verify_file(t, f, read_buffered);
		if (sector)
			verify_file(t, f, read_direct);
	}
}

static void remove_files(void)
{
	int i;

	for (i = 0; i < nr_files; i++) {
		close_file(&files[i]);
		unlinkat(dir, files[i].name, 0);
	}
}

static void on_signal(int sig)
{
	(void)sig;
	stop = true;
}

static void print_usage(void)
{
	fprintf(stderr,
		"usage: exercise DIR [--seconds N | --ops N] [--threads N] [--seed N]\n"
		"		[--files N] [--size BYTES] [--no-direct] [--selftest]\n"
		"--ops is per thread.  One thread does the same each time with the same seed.\n");
	exit(2);
}

static long number(const char *text, long from, long to)
{
	char *end;
	long n = strtol(text, &end, 0);

	if (*end || end == text || n < from || n > to) {
		fprintf(stderr, "exercise: %s is not from %ld to %ld\n", text,
			from, to);
		print_usage();
	}
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'o' },
		{ "threads", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'r' },
		{ "files", required_argument, NULL, 'f' },
		{ "size", required_argument, NULL, 'z' },
		{ "no-direct", no_argument, NULL, 'd' },
		{ "selftest", no_argument, NULL, 'x' },
		{ }
	};
	struct sigaction on_bus = {
		.sa_handler = sigbus,
		.sa_flags = SA_NODEFER,
	};
	long seed = time(NULL), ops = 0, reads = 0, written = 0;
	bool direct = true, ok = true;
	int i, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 's':
			seconds = number(optarg, 1, INT32_MAX);
			break;
		case 'o':
			max_ops = number(optarg, 1, INT32_MAX);
			break;
		case 't':
			nr_threads = number(optarg, 1, MAX_THREADS);
			break;
		case 'r':
			seed = number(optarg, 0, INT64_MAX);
			break;
		case 'f':
			nr_files = number(optarg, 1, MAX_FILES);
			break;
		case 'z':
			max_size = round_down(number(optarg, PAGE, MAX_SIZE),
					      PAGE);
			break;
		case 'd':
			direct = false;
			break;
		case 'x':
			selftest = true;
			nr_threads = 1;
			break;
		default:
			print_usage();
		}
	if (optind != argc - 1)
		print_usage();
	dir = SYS(open(argv[optind], O_RDONLY | O_DIRECTORY));
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("exercise: seed %ld, %d threads, %d files of up to %ld bytes\n",
	       seed, nr_threads, nr_files, max_size);
	SYS(sigaction(SIGBUS, &on_bus, NULL));
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	files = calloc(nr_files, sizeof(*files));
	CHECK(files, "no memory");
	for (i = 0; i < nr_files; i++)
		init_file(&files[i], i);
	look_what_works(direct);
	for (i = 0; i < nr_threads; i++)
		init_thread(&threads[i], i, seed);
	SYS(clock_gettime(CLOCK_MONOTONIC, &started));
	if (selftest)
		ok = run_selftest(&threads[0]);
	else
		run_threads();
	verify_all(&threads[0]);
	for (i = 0; i < nr_threads; i++) {
		ops += threads[i].ops;
		reads += threads[i].reads;
		written += threads[i].written;
	}
	ok &= !mismatches;
	if (ok)
		remove_files();
	if (lost_files)
		printf("exercise: no space: %ld files begun again\n",
		       lost_files);
	printf("exercise: seed %ld\n", seed);
	printf("exercise: ops %ld reads %ld written_bytes %ld mismatches %ld\n",
	       ops, reads, written, mismatches);
	return ok ? 0 : 1;
}
