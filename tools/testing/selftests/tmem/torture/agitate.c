// SPDX-License-Identifier: GPL-2.0
/*
 * Evict what tests are using, all the time, while they run.
 *
 * Precache only ever holds what reclaim has evicted, and preswap what was
 * swapped out.  A test of a file system that fits into memory tests neither.
 * So this program reclaims memory from the cgroup that the tests run in, and
 * does what an administrator may do at the same time: drops caches, shrinks
 * preswap, turns precache off and on, compacts memory.  It runs outside of that
 * cgroup.
 *
 *
 *	Pace
 *
 * The tests have to get on.  Taking pages as fast as they come back does not
 * let them: all they do then is read again what was taken.  Waiting for a time
 * is no better.  How far the tests get in that time depends on the machine,
 * which may be an emulated one, and on what else it does.  So what counts is
 * the progress of the tests:
 *
 * - their memory has grown by half of what was taken: they have been at work,
 *   and there is something to be taken again;
 * - they have used several times as much CPU time as it took to take it.  To
 *   bring a page back costs about as much as to evict it, so most of their
 *   time was for something else.  With much less, fio and stress-ng do not end.
 *
 * When the memory does not grow (a hot set that fits, or no more of it is
 * wanted), much more of the second is sufficient.  Both are quantities of the
 * cgroup, so that idle tests are left alone.
 *
 * There is no event to wait for: a cgroup tells when it exceeds a limit, but
 * not when it grows, and pressure has a window of 500 ms at least.  So we look
 * each TICK_MS, which is two reads of small files and costs a fraction of a
 * percent.
 *
 *
 *	The arena
 *
 * With --swap there is also anonymous memory of our own, with contents that we
 * know.  Each time a page is written it gets a new version, which is what its
 * words say.  Before, and after MADV_DONTNEED, there are zeros.  After
 * MADV_FREE the page is as it was, or zeros, as a whole; and it may still
 * become zeros later, until it is written again.  A child is a snapshot: it
 * verifies all of the arena, breaks COW in it, with versions that its parent
 * does not use, and verifies it once more, while its parent goes on.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static __attribute__((noreturn, format(printf, 3, 4)))
void fail_at(const char *file, int line, const char *fmt, ...);

#include "../check.h"
#include "scramble.h"

#define PAGE		4096L
#define TICK_MS		10
#define MIN_RECLAIM	(64L << 10)
#define MAX_RECLAIM	(8L << 20)
#define SHARE		4	/* of CPU time the tests get when they grow, */
#define SHARE_IDLE	64	/* and when they do not */
#define ARENA		(8L << 20)
#define RUN		32	/* pages of the arena in one operation */
#define REPORTS		10
#define CHILD_VERSION	0x1000000

#define TMEM		"/sys/kernel/mm/tmem/"

/* Shared with the child, which counts as well */
struct counts {
	atomic_long reclaims, reclaimed_kib, drops, compactions, shrinks,
		    toggles, pageouts, verified_pages, mismatches;
};

/* A file that we write to, or would if it were there */
struct knob {
	char path[PATH_MAX];
	bool complained;
};

static struct counts *counts;
static atomic_bool stop;
static const char *dir;

static struct knob reclaim, high, current, cpu_stat;
static struct knob drop_caches = { .path = "/proc/sys/vm/drop_caches" };
static struct knob compact = { .path = "/proc/sys/vm/compact_memory" };
static struct knob shrink = { .path = TMEM "preswap_shrink" };
static struct knob preswap_pages = { .path = TMEM "preswap_pages" };

/* Gates are off for some steps, and then on again */
static struct gate {
	struct knob knob;
	int off;
} gates[] = {
	{ .knob.path = TMEM "precache" },
	{ .knob.path = TMEM "preswap" },
};

#define NR_GATES	(sizeof(gates) / sizeof(*gates))

/* What a page of the arena holds.  A version is never used again. */
struct page {
	uint32_t version;
	enum { ZEROS, WRITTEN, FREED } state;
};

static unsigned char *arena;
static struct page *pages;
static long nr_pages;
static pid_t child;

static void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "agitate: %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(2);
}

static long rnd(long below)
{
	return random() % below;
}

static long between(long from, long to)
{
	return from + rnd(to - from + 1);
}

/* Files of the kernel: one that is missing is named once, and not needed */

static void complain(struct knob *k, int err)
{
	if (!k->complained)
		fprintf(stderr, "agitate: %s: %s\n", k->path, strerror(err));
	k->complained = true;
}

static bool read_knob(struct knob *k, char *buf, size_t size)
{
	int fd = open(k->path, O_RDONLY);
	ssize_t len = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (len < 0)
		complain(k, errno);
	if (fd >= 0)
		close(fd);
	buf[len < 0 ? 0 : len] = '\0';
	return len > 0;
}

/* The number after @key; -1 if there is none */
static long number_in(struct knob *k, const char *key)
{
	char buf[4096], *at;

	if (!read_knob(k, buf, sizeof(buf)))
		return -1;
	at = strstr(buf, key);
	return at ? atol(at + strlen(key)) : -1;
}

/*
 * There may be nothing to reclaim, no memory to bring pages back to, or a
 * signal: an administrator meets these errors, too.
 */
static bool write_knob(struct knob *k, const char *value)
{
	int fd = open(k->path, O_WRONLY);
	bool done = fd >= 0 && write(fd, value, strlen(value)) >= 0;

	if (!done && errno != EAGAIN && errno != EINTR && errno != ENOMEM &&
	    errno != EBUSY)
		complain(k, errno);
	if (fd >= 0)
		close(fd);
	return done;
}

static bool write_number(struct knob *k, long n)
{
	char value[32];

	snprintf(value, sizeof(value), "%ld", n);
	return write_knob(k, value);
}

/* Reclaim, and its pace */

static long now_us(void)
{
	struct timespec ts;

	SYS(clock_gettime(CLOCK_MONOTONIC, &ts));
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static long cpu_us(void)
{
	struct timespec ts;

	SYS(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts));
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* What the last reclaim took, and how things stood after it */
static struct {
	long bytes;
	long cost_us;
	long memory;
	long tests_us;
} last;

static void reclaim_some(void)
{
	long amount = between(MIN_RECLAIM / PAGE,
			      (rnd(4) ? MAX_RECLAIM / 8 : MAX_RECLAIM) / PAGE) *
		      PAGE;
	long start = cpu_us(), before = number_in(&current, "");
	bool done = write_number(&reclaim, amount);

	last.cost_us = cpu_us() - start;
	last.memory = number_in(&current, "");
	last.tests_us = number_in(&cpu_stat, "usage_usec ");
	/* In part only: the tests may have taken memory at the same time */
	last.bytes = done ? amount :
		     before > last.memory ? before - last.memory : 0;
	if (done)
		counts->reclaims++;
	counts->reclaimed_kib += last.bytes >> 10;
}

static bool tests_got_on(void)
{
	long memory = number_in(&current, "");
	long tests_us = number_in(&cpu_stat, "usage_usec ");

	/* Without these numbers, each tick will do */
	if (memory < 0 || tests_us < 0)
		return true;
	tests_us -= last.tests_us;
	/* The tests may have given up memory on their own */
	if (memory < last.memory)
		last.memory = memory;
	return tests_us >= SHARE_IDLE * last.cost_us ||
	       (tests_us >= SHARE * last.cost_us &&
		memory - last.memory >= last.bytes / 2);
}

/*
 * Set memory.high below what is used, and up again at once.  The write itself
 * reclaims down to it; but a task that exceeds it before it is up again is made
 * to sleep.
 */
static void lower_high(void)
{
	long memory = number_in(&current, "");
	char was[64];

	if (memory < 2 * MIN_RECLAIM || !read_knob(&high, was, sizeof(was)))
		return;
	write_number(&high, memory - between(0, memory < 8 * MAX_RECLAIM ?
					     memory / 8 : MAX_RECLAIM));
	write_knob(&high, was);
}

/* What drops precache: seldom, or else there is nothing in it */

static void drop(void)
{
	if (write_knob(&drop_caches, rnd(4) ? "1" : "3"))
		counts->drops++;
}

/* A random file below the directory: some way down, at random */
static void forget_file(void)
{
	int at = open(dir, O_RDONLY | O_DIRECTORY);
	struct stat st = { .st_mode = S_IFDIR };

	while (at >= 0 && S_ISDIR(st.st_mode)) {
		DIR *d = fdopendir(at);
		struct dirent *e;
		char name[256] = "";
		int seen = 0;

		CHECK(d, "fdopendir: %s", strerror(errno));
		while ((e = readdir(d)))
			if (e->d_name[0] != '.' && !rnd(++seen))
				memcpy(name, e->d_name, sizeof(name));
		/* It may be gone, or be something else, by now */
		at = openat(dirfd(d), name,
			    O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
		closedir(d);
		if (at >= 0)
			SYS(fstat(at, &st));
	}
	if (at < 0)
		return;
	if (S_ISREG(st.st_mode))
		posix_fadvise(at, 0, 0, POSIX_FADV_DONTNEED);
	close(at);
}

static void shrink_some(void)
{
	long held = number_in(&preswap_pages, "");

	if (held >= 0 && write_number(&shrink, rnd(held + 1)))
		counts->shrinks++;
	write_knob(&shrink, "max");
}

/* Gates: off for some steps.  One that was off before us stays so. */

static void open_gate(struct gate *g)
{
	g->off = 0;
	CHECK(write_knob(&g->knob, "1"), "%s stays off: %s", g->knob.path,
	      strerror(errno));
}

static void close_gate(struct gate *g)
{
	if (!g->off && number_in(&g->knob, "") == 1 &&
	    write_knob(&g->knob, "0")) {
		g->off = between(1, 32);
		counts->toggles++;
	}
}

static void step_gates(void)
{
	struct gate *g;

	for (g = gates; g < gates + NR_GATES; g++)
		if (g->off && !--g->off)
			open_gate(g);
}

static void open_gates(void)
{
	struct gate *g;

	for (g = gates; g < gates + NR_GATES; g++)
		if (g->off)
			open_gate(g);
}

/* The arena */

/*
 * Of each three versions one is compressible, one is not, and one has the same
 * word everywhere.
 */
static uint64_t word_of(long page, uint32_t version, int i)
{
	uint64_t w = (uint64_t)version << 32 | page << 9;

	switch (version % 3) {
	case 0:
		return w;
	case 1:
		return w | i;
	default:
		return scramble(w | i);
	}
}

static void write_page(long page, uint32_t more)
{
	uint64_t *p = (uint64_t *)(arena + page * PAGE);
	int i;

	pages[page].version += more;
	pages[page].state = WRITTEN;
	for (i = 0; i < PAGE / 8; i++)
		p[i] = word_of(page, pages[page].version, i);
}

/* The first word that is not as it should be; -1 if there is none */
static int wrong_word(long page, bool zeros)
{
	uint64_t *p = (uint64_t *)(arena + page * PAGE);
	int i;

	for (i = 0; i < PAGE / 8; i++)
		if (p[i] != (zeros ? 0 : word_of(page, pages[page].version, i)))
			return i;
	return -1;
}

static void print_word(const char *what, uint64_t w, int i)
{
	uint64_t plain[] = { w, unscramble(w) };
	int try;

	printf(" %s %#lx", what, w);
	for (try = 0; try < 2; try++) {
		uint32_t version = plain[try] >> 32;
		long page = plain[try] >> 9 & 0x7fffff;

		if (version && word_of(page, version, i) == w)
			printf(" (page %ld version %u)", page, version);
	}
}

/*
 * A page that is free may become zeros while we look at it, and that is no
 * mismatch: so it is compared first with what it was, and last with what it may
 * become.
 */
static void verify(long page)
{
	struct page *pg = &pages[page];
	int wrong = wrong_word(page, pg->state == ZEROS);

	counts->verified_pages++;
	if (wrong < 0 || (pg->state == FREED && wrong_word(page, true) < 0))
		return;
	if (++counts->mismatches > REPORTS)
		return;
	printf("MISMATCH: arena page %ld word %d%s%s:", page, wrong,
	       pg->state == FREED ? ", freed" : "", child ? "" :
	       ", in the child");
	print_word("expected", pg->state == ZEROS ? 0 :
		   word_of(page, pg->version, wrong), wrong);
	print_word("found", ((uint64_t *)(arena + page * PAGE))[wrong], wrong);
	printf("\n");
	fflush(stdout);
}

/* The child: only its own writes change what it sees */
static __attribute__((noreturn)) void be_child(void)
{
	long i;

	for (i = 0; i < nr_pages; i++)
		verify(i);
	for (i = rnd(4); i < nr_pages; i += 4)
		write_page(i, CHILD_VERSION);
	for (i = 0; i < nr_pages; i++)
		verify(i);
	_exit(0);
}

static void reap(void)
{
	int status;

	if (child > 0) {
		/* The signal that ends us may come now */
		while (waitpid(child, &status, 0) < 0)
			CHECK_OP(errno, ==, EINTR);
		/* It dies of SIGBUS if a page of its cannot be brought back */
		if (status) {
			printf("MISMATCH: the child ended with status %#x\n",
			       status);
			counts->mismatches++;
		}
	}
	child = -1;
}

static void snapshot(void)
{
	reap();
	fflush(stdout);
	child = SYS(fork());
	if (!child)
		be_child();
}

/* A random run of pages, and something is done with it */
static void step_arena(void)
{
	long first = rnd(nr_pages), i;
	long nr = between(1, nr_pages - first < RUN ? nr_pages - first : RUN);
	unsigned char *p = arena + first * PAGE;
	int dice = rnd(100);

	if (dice < 35) {
		for (i = first; i < first + nr; i++)
			write_page(i, 1);
	} else if (dice < 65) {
		/* It may fail while swap is off: then the pages stay */
		if (!madvise(p, nr * PAGE, MADV_PAGEOUT))
			counts->pageouts++;
	} else if (dice < 90) {
		for (i = first; i < first + nr; i++)
			verify(i);
	} else if (dice < 94) {
		for (i = first; i < first + nr; i++)
			if (pages[i].state == WRITTEN)
				pages[i].state = FREED;
		SYS(madvise(p, nr * PAGE, MADV_FREE));
	} else if (dice < 98) {
		SYS(madvise(p, nr * PAGE, MADV_DONTNEED));
		for (i = first; i < first + nr; i++)
			pages[i].state = ZEROS;
	} else {
		snapshot();
	}
}

static void wait_for_tests(void)
{
	long start = now_us();

	do {
		if (nr_pages)
			step_arena();
		/* The arena, too, leaves most of a CPU to the tests */
		poll(NULL, 0, TICK_MS + SHARE * (now_us() - start) / 1000);
		start = now_us();
	} while (!stop && !tests_got_on());
}

static void agitate(void)
{
	long start = cpu_us();

	reclaim_some();
	switch (rnd(256)) {
	case 0 ... 7:
		lower_high();
		break;
	case 8 ... 11:
		if (write_knob(&compact, "1"))
			counts->compactions++;
		break;
	case 12 ... 13:
		forget_file();
		break;
	case 14 ... 15:
		shrink_some();
		break;
	case 16 ... 17:
		close_gate(&gates[rnd(NR_GATES)]);
		break;
	case 18:
		drop();
		break;
	}
	step_gates();
	last.cost_us = cpu_us() - start;
}

static void make_arena(void)
{
	nr_pages = ARENA / PAGE;
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pages = calloc(nr_pages, sizeof(*pages));
	CHECK(arena != MAP_FAILED && pages, "no memory");
	/* Half of it in large folios, where the kernel has them */
	madvise(arena, ARENA / 2, MADV_HUGEPAGE);
}

static void on_signal(int sig)
{
	(void)sig;
	stop = true;
}

/* Perhaps not for a page of the arena, but nothing can be relied on then */
static void on_sigbus(int sig)
{
	(void)sig;
	if (!child)
		_exit(1);
	printf("MISMATCH: SIGBUS: a page could not be brought back\n");
	counts->mismatches++;
	exit(1);
}

/* However it ends */
static void at_end(void)
{
	open_gates();
	printf("agitate: reclaims %ld reclaimed_kib %ld drops %ld compactions %ld",
	       counts->reclaims, counts->reclaimed_kib, counts->drops,
	       counts->compactions);
	printf(" shrinks %ld toggles %ld pageouts %ld verified_pages %ld mismatches %ld\n",
	       counts->shrinks, counts->toggles, counts->pageouts,
	       counts->verified_pages, counts->mismatches);
}

static __attribute__((noreturn)) void print_usage(void)
{
	fprintf(stderr,
		"usage: agitate DIR --cgroup PATH [--swap]\n"
		"Evict what the tests in this cgroup use, until SIGTERM.\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cgroup", required_argument, NULL, 'c' },
		{ "swap", no_argument, NULL, 'w' },
		{ }
	};
	struct sigaction on_end = { .sa_handler = on_signal };
	const char *cgroup = NULL;
	bool swap = false;
	long i;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'c':
			cgroup = optarg;
			break;
		case 'w':
			swap = true;
			break;
		default:
			print_usage();
		}
	if (optind != argc - 1 || !cgroup)
		print_usage();
	dir = argv[optind];
	snprintf(reclaim.path, PATH_MAX, "%s/memory.reclaim", cgroup);
	snprintf(high.path, PATH_MAX, "%s/memory.high", cgroup);
	snprintf(current.path, PATH_MAX, "%s/memory.current", cgroup);
	snprintf(cpu_stat.path, PATH_MAX, "%s/cpu.stat", cgroup);
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(counts != MAP_FAILED, "no memory");
	if (swap)
		make_arena();
	srandom(time(NULL) ^ getpid());
	/* No SA_RESTART: a long write ends, too */
	SYS(sigaction(SIGTERM, &on_end, NULL));
	SYS(sigaction(SIGINT, &on_end, NULL));
	signal(SIGBUS, on_sigbus);
	child = -1;
	atexit(at_end);
	while (!stop && !counts->mismatches) {
		agitate();
		wait_for_tests();
	}
	for (i = 0; i < nr_pages; i++)
		verify(i);
	reap();
	return counts->mismatches ? 1 : 0;
}
