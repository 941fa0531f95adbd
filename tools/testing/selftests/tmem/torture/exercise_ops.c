// SPDX-License-Identifier: GPL-2.0
/* The operations, and which is next */
#define _GNU_SOURCE

#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "exercise.h"

/* Volatile: the compiler does not know that memcpy() can look at it */
static __thread volatile bool expect_sigbus;
static __thread sigjmp_buf after_sigbus;

/*
 * A fault that finds no space ends this program, unless copy_to_map() expects
 * it.  A longjmp out of the handler is allowed, since memcpy() holds nothing.
 */
void sigbus(int sig)
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

static bool copy_to_map(unsigned char *to, const unsigned char *from,
			size_t len)
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

/* What needs no buffer can be as long as the file */
static size_t random_span(struct thread *t)
{
	return rnd(t, 8) ? random_len(t) : 1 + rnd(t, max_size);
}

/* Changes */

static void no_space(struct file *f, enum kind kind)
{
	if (errno != ENOSPC)
		fail_op(f, kind);
	set_lost(f);
}

/* @from, which is t->buf or bytes of a file, has been written to the file */
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

/* One of the operations that are in flight at once */
struct aio {
	struct iocb iocb;
	struct range *range;
	uint32_t op;
};

/* Lock what number @nr reads or writes.  False: it does not take place. */
static bool prepare_aio(struct thread *t, struct file *f, struct aio *aio,
			int nr)
{
	off_t unit = random_unit(t);
	size_t len = (1 + rnd(t, AIO_LEN / unit)) * unit;
	off_t off = round_down(rnd(t, size_of(f) + 1), unit);
	bool write = rnd(t, 2);
	unsigned char *buf = t->aio_buf + nr * AIO_LEN;

	len = min(len, max_size - off);
	if (!len)
		return false;
	aio->range = write ? lock_change(f, off, len, 0, !nr) :
		lock(f, page_of(off), page_of(off + len - 1), false, !nr);
	if (!aio->range)
		return false;
	/* A write that changes the size is not asynchronous */
	if (write && in_file(f, off, len) < len) {
		unlock(f, aio->range);
		return false;
	}
	aio->op = log_op(t, f, write ? AIO_WRITE : AIO_READ, off, len);
	if (write)
		fill(buf, len, f, AIO_WRITE, aio->op, off);
	aio->iocb = (struct iocb){
		.aio_data = nr,
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = f->direct,
		.aio_buf = (uintptr_t)buf,
		.aio_nbytes = len,
		.aio_offset = off,
	};
	return true;
}

static void finish_aio(struct thread *t, struct file *f, struct aio *aio,
		       long res)
{
	unsigned char *buf = t->aio_buf + aio->iocb.aio_data * AIO_LEN;
	size_t len = aio->iocb.aio_nbytes;
	off_t off = aio->iocb.aio_offset;

	if (res < 0)
		errno = -res;
	log_ret(f, aio->op, res < 0 ? -1 : res);
	if (aio->iocb.aio_lio_opcode == IOCB_CMD_PREAD) {
		if (verify_len(f, AIO_READ, off, res < 0 ? -1 : res,
			       in_file(f, off, len)))
			verify(t, f, AIO_READ, off, buf, res);
	} else if (res == (long)len) {
		model_write(t, f, off, buf, res);
	} else {
		if (res >= 0)
			errno = ENOSPC;
		no_space(f, AIO_WRITE);
	}
	unlock(f, aio->range);
}

/*
 * Several operations at once, and reads of something else while they are in
 * flight.  The ranges do not overlap, or else their order would not be known.
 */
static void op_aio(struct thread *t, struct file *f, enum kind kind)
{
	struct aio aio[AIOS];
	struct iocb *iocbs[AIOS];
	struct io_event events[AIOS];
	int i, done, nr = 0;

	(void)kind;
	for (i = 1 + rnd(t, AIOS); i; i--)
		if (prepare_aio(t, f, &aio[nr], nr)) {
			iocbs[nr] = &aio[nr].iocb;
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
	for (i = 0; i < nr; i++)
		finish_aio(t, f, &aio[events[i].data], events[i].res);
}

/*
 * Copy from one file, or one part of it, to another.  Direct I/O to and from a
 * mapping has references to page-cache pages while other threads look at them,
 * and changes them without a fault.
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

const int fallocate_modes[NR_KINDS] = {
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

/* Down, and up beyond a page that was cut off in part: zeros are there now */
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
	/* It returns the error itself, and should not fail */
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

/* Operations on the whole file */

static void forget(struct file *f)
{
	memset(f->want, 0, max_size);
	set_size(f, 0);
}

/* Until the file is opened again, its inode may leave memory */
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

/* A new file takes the place of the old one, which is there until closed */
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
	/* After a mismatch the file stays bad: the old one has no name now */
	close_file(f);
	forget(f);
	if (ret > 0)
		model_write(t, f, 0, t->aio_buf, ret);
	unlock(f, r);
}

/* Begin a lost file again */
void recreate(struct thread *t, struct file *f)
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

bool is_lost(struct file *f)
{
	bool lost;

	pthread_mutex_lock(&f->mutex);
	lost = f->lost;
	pthread_mutex_unlock(&f->mutex);
	return lost;
}

/* Each file of the first half is changed by one thread only */
struct file *random_file(struct thread *t)
{
	int private = nr_files / 2;
	int own = (private - t->nr + nr_threads - 1) / nr_threads;

	if (t->nr < private && rnd(t, 2))
		return &files[t->nr + nr_threads * rnd(t, own)];
	return &files[private + rnd(t, nr_files - private)];
}

void operate(struct thread *t)
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
