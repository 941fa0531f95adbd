// SPDX-License-Identifier: GPL-2.0
/* Ways to read, and reports of bytes that are wrong */
#define _GNU_SOURCE

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exercise.h"

static pthread_mutex_t print_mutex = PTHREAD_MUTEX_INITIALIZER;

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

/* An operation that must not fail has failed */
__attribute__((noreturn)) void fail_op(struct file *f, enum kind kind)
{
	int err = errno;

	pthread_mutex_lock(&print_mutex);
	print_log(f);
	fail("%s of %s: %s", kind_names[kind], f->name, strerror(err));
}

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
		       describe(out, sizeof(out), buf, ret, off - start,
				start));
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

/* From now on no thread uses the file: it is kept to be looked at */
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

void verify(struct thread *t, struct file *f, enum kind how, off_t off,
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
bool verify_len(struct file *f, enum kind how, off_t off, long got,
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

/* A mapping of its own has new page tables: each access is a fault */
unsigned char *map_range(struct file *f, off_t off, size_t len, int flags)
{
	off_t start = off / PAGE * PAGE;
	unsigned char *p = mmap(NULL, len + off - start, PROT_READ | PROT_WRITE,
				flags, f->fd, start);

	CHECK(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p + (off - start);
}

void unmap_range(unsigned char *p, size_t len)
{
	size_t in_page = (uintptr_t)p % PAGE;

	SYS(munmap(p - in_page, len + in_page));
}

/* Ways to read @len bytes at @off, of which @have are in the file */

void read_buffered(struct thread *t, struct file *f, off_t off, size_t len,
		   size_t have)
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
static void read_private(struct thread *t, struct file *f, off_t off,
			 size_t len, size_t have)
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

void read_direct(struct thread *t, struct file *f, off_t off, size_t len,
		 size_t have)
{
	ssize_t ret = pread(f->direct, t->buf, len, off);

	if (verify_len(f, DIRECT_READ, off, ret, have))
		verify(t, f, DIRECT_READ, off, t->buf, have);
}

/* As much at a time as a pipe takes, wherever in a page it begins */
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

const struct reader readers[NR_READERS] = {
	{ READ, read_buffered },
	{ MMAP_READ, read_mmap },
	{ PRIVATE_READ, read_private },
	{ SENDFILE, read_sendfile },
	{ SPLICE, read_splice },
	{ DIRECT_READ, read_direct },
};

/* Read something, in any way; without @wait only if no thread writes there */
void read_some(struct thread *t, struct file *f, bool wait)
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

void op_read(struct thread *t, struct file *f, enum kind kind)
{
	(void)kind;
	read_some(t, f, true);
}

/* Read the whole file, and check that there is no more */
void verify_file(struct thread *t, struct file *f, read_fn read)
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

void op_verify(struct thread *t, struct file *f, enum kind kind)
{
	(void)kind;
	verify_file(t, f, sector && !rnd(t, 4) ? read_direct : read_buffered);
}
