// SPDX-License-Identifier: GPL-2.0
/* The model of each file: its bytes, its size, its locks and its log */
#define _GNU_SOURCE

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exercise.h"
#include "scramble.h"

const char *const kind_names[NR_KINDS] = {
	"write", "mmap_write", "direct_write", "aio_write", "new_file",
	"aio_read", "copy_file_range", "direct_to_map", "direct_from_map",
	"punch", "zero", "collapse", "insert", "allocate", "keep_size",
	"truncate", "sync", "advise", "pageout", "close", "unlink", "rename",
	"lost", "verify",
	"read", "mmap_read", "private_read", "direct_read", "sendfile",
	"splice",
};

/* Random numbers (xorshift64*): not rand(), whose state all threads share */

uint64_t rnd(struct thread *t, uint64_t below)
{
	t->random ^= t->random >> 12;
	t->random ^= t->random << 25;
	t->random ^= t->random >> 27;
	return (t->random * 0x2545f4914f6cdd1dULL >> 11) % below;
}

/* Mostly small; small ones find bugs at edges, large ones in batches */
size_t random_len(struct thread *t)
{
	static const size_t limits[] = { PAGE, 4 * PAGE, 4 * PAGE, MAX_IO };

	return 1 + rnd(t, min(limits[rnd(t, 4)], max_size));
}

/* Where a file may be changed: also beyond its end, but seldom far */
off_t random_off(struct thread *t, struct file *f, size_t len)
{
	off_t size = size_of(f), limit = max_size - len;

	if (rnd(t, 8))
		limit = min(limit, size + PAGE);
	return rnd(t, limit + 1);
}

/* A sector, or as often a page */
off_t random_unit(struct thread *t)
{
	return rnd(t, 2) ? sector : PAGE;
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

void fill(void *buf, size_t len, const struct file *f,
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
const char *describe(char *out, size_t size, const unsigned char *p, size_t len,
		     size_t at, off_t off)
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

/* Locks: see the head comment of exercise.c */

struct range *lock_now(struct file *f, uint32_t first, uint32_t last,
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

void unlock(struct file *f, struct range *r)
{
	SYS(pthread_mutex_lock(&f->mutex));
	r->used = false;
	pthread_cond_broadcast(&f->unlocked);
	pthread_mutex_unlock(&f->mutex);
}

void close_file(struct file *f)
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

/*
 * A file that is not there is created, and is empty.  If one should have been
 * there, its size and its bytes are found to be wrong.
 */
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
struct range *lock(struct file *f, uint32_t first, uint32_t last,
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

off_t size_of(struct file *f)
{
	off_t size;

	pthread_mutex_lock(&f->mutex);
	size = f->size;
	pthread_mutex_unlock(&f->mutex);
	return size;
}

void set_size(struct file *f, off_t size)
{
	pthread_mutex_lock(&f->mutex);
	f->size = size;
	pthread_mutex_unlock(&f->mutex);
}

void set_lost(struct file *f)
{
	pthread_mutex_lock(&f->mutex);
	f->lost = true;
	pthread_mutex_unlock(&f->mutex);
}

/*
 * How much of what is locked is in the file.  Both a sector of direct I/O and a
 * byte beyond the end of file may be asked for.
 */
size_t in_file(struct file *f, off_t off, size_t len)
{
	off_t size = size_of(f);

	return off >= size ? 0 : min(len, size - off);
}

/*
 * Lock what is needed to change @len bytes at @off; also the size, if it will
 * be at least @end.
 */
struct range *lock_change(struct file *f, off_t off, size_t len, off_t end,
			  bool wait)
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

/* The log of a file: the index of an operation is what its words say */

uint32_t log_op(struct thread *t, struct file *f, enum kind kind, off_t off,
		size_t len)
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
long log_ret(struct file *f, uint32_t op, long ret)
{
	int err = errno;

	pthread_mutex_lock(&f->mutex);
	if (f->log[op % LOG].op == op)
		f->log[op % LOG].ret = ret == -1 ? -err : ret;
	pthread_mutex_unlock(&f->mutex);
	errno = err;
	return ret;
}
