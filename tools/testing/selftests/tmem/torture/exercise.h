/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of exercise share; see the head of exercise.c */
#ifndef TMEM_TORTURE_EXERCISE_H
#define TMEM_TORTURE_EXERCISE_H

#include <errno.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

__attribute__((noreturn, format(printf, 3, 4)))
void fail_at(const char *file, int line, const char *fmt, ...);

#include "../check.h"

#define PAGE		4096L
#define MAX_IO		(32 * PAGE)
#define MAX_SIZE	(8L << 20)	/* what a word can say */
#define MAX_FILES	256
#define MAX_THREADS	64
#define LOG		64		/* operations remembered per file */
#define REPORTS		10		/* mismatches until we stop */
#define AIOS		4		/* in flight, per thread */
#define AIO_LEN		(4 * PAGE)

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

extern const char *const kind_names[NR_KINDS];

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
 * @fd: its descriptor; -1 while it is closed
 * @direct: the same for direct I/O
 * @map: all pages there can ever be, mapped shared; NULL while it is closed
 * @lost: an operation has failed, and what is in it is not known any more
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

extern struct file *files;
extern int nr_files, nr_threads;
extern off_t max_size;
extern int dir;
extern off_t sector;		/* of direct I/O; 0: there is none */
extern bool left_out[NR_KINDS];	/* what this file system cannot do */
extern bool selftest;
extern atomic_long mismatches, lost_files;
extern atomic_bool stop;

/* Of lengths and offsets: none is negative */
static inline size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline uint32_t page_of(off_t off)
{
	return off / PAGE;
}

static inline off_t round_down(off_t off, off_t to)
{
	return off / to * to;
}

static inline size_t round_up(size_t len, off_t to)
{
	return (len + to - 1) / to * to;
}

/* exercise_model.c */

uint64_t rnd(struct thread *t, uint64_t below);
size_t random_len(struct thread *t);
off_t random_off(struct thread *t, struct file *f, size_t len);
off_t random_unit(struct thread *t);
void fill(void *buf, size_t len, const struct file *f,
	  enum kind kind, uint32_t op, off_t off);
const char *describe(char *out, size_t size, const unsigned char *p, size_t len,
		     size_t at, off_t off);
struct range *lock_now(struct file *f, uint32_t first, uint32_t last,
		       bool exclusive);
void unlock(struct file *f, struct range *r);
void close_file(struct file *f);
struct range *lock(struct file *f, uint32_t first, uint32_t last,
		   bool exclusive, bool wait);
off_t size_of(struct file *f);
void set_size(struct file *f, off_t size);
void set_lost(struct file *f);
size_t in_file(struct file *f, off_t off, size_t len);
struct range *lock_change(struct file *f, off_t off, size_t len, off_t end,
			  bool wait);
uint32_t log_op(struct thread *t, struct file *f, enum kind kind, off_t off,
		size_t len);
long log_ret(struct file *f, uint32_t op, long ret);

/* exercise_read.c */

typedef void (*read_fn)(struct thread *t, struct file *f, off_t off, size_t len,
			size_t have);

struct reader {
	enum kind kind;
	read_fn read;
};

#define NR_READERS	6	/* the last one needs direct I/O */

extern const struct reader readers[NR_READERS];

__attribute__((noreturn)) void fail_op(struct file *f, enum kind kind);
void verify(struct thread *t, struct file *f, enum kind how, off_t off,
	    const unsigned char *got, size_t len);
bool verify_len(struct file *f, enum kind how, off_t off, long got,
		long expected);
unsigned char *map_range(struct file *f, off_t off, size_t len, int flags);
void unmap_range(unsigned char *p, size_t len);
void read_buffered(struct thread *t, struct file *f, off_t off, size_t len,
		   size_t have);
void read_direct(struct thread *t, struct file *f, off_t off, size_t len,
		 size_t have);
void read_some(struct thread *t, struct file *f, bool wait);
void op_read(struct thread *t, struct file *f, enum kind kind);
void verify_file(struct thread *t, struct file *f, read_fn read);
void op_verify(struct thread *t, struct file *f, enum kind kind);

/* exercise_ops.c */

extern const int fallocate_modes[NR_KINDS];

void sigbus(int sig);
void recreate(struct thread *t, struct file *f);
bool is_lost(struct file *f);
struct file *random_file(struct thread *t);
void operate(struct thread *t);

#endif /* TMEM_TORTURE_EXERCISE_H */
