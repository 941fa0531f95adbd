// SPDX-License-Identifier: GPL-2.0
/*
 * preswap: whatever happens on the way, memory reads as it was written, and
 * at the end nothing is left (the latter is checked for every test).
 */

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>

#include "tmem_test.h"

#define LEN		(64 * PAGE)
#define NR		64
#define ZRAM		"/dev/zram0"

/* A page of one of four kinds: random, compressible, one word, zeros */
static void fill_kind(char *page, int kind, uint64_t seed, off_t off)
{
	size_t i;

	fill(page, PAGE, kind == 3 ? 0 : seed, off);
	if (kind == 1)
		memset(page + 1024, seed, PAGE - 1024);
	if (kind == 2)
		for (i = 8; i < PAGE; i++)
			page[i] = page[i - 8];
}

static char *volatile wanted;	/* read it all the time; NULL: end */

static void *read_wanted(void *unused)
{
	char *p;

	(void)unused;
	while ((p = wanted))
		(void)*(volatile char *)p;
	return NULL;
}

/*
 * Memory whose pages are mapped, and in preswap as well: a task has asked for
 * each page while it was being put, and so it did not leave the swap cache.
 * The next swap-out uses the same slot.  That task runs on the same CPU, when
 * the put is over and before the page would leave: a page that it swaps in is
 * in no other CPU's batch then, and can be swapped out again.
 */
static char *mapped_and_in_preswap(void)
{
	long held = preswap_pages();
	char *p = anon(LEN);
	pthread_t reader;
	int i, tries;

	fill(p, LEN, OLD, 0);
	inject(DELAY, 100, -1);
	wanted = p;
	CHECK(!pthread_create(&reader, NULL, read_wanted, NULL), "no thread");
	for (i = 0; i < NR; i++) {
		wanted = p + i * PAGE;
		for (tries = 0; preswap_pages() == held + i; tries++) {
			CHECK(tries < 1000, "page %d is never in both", i);
			SYS(madvise(p + i * PAGE, PAGE, MADV_PAGEOUT));
			(void)*(volatile char *)(p + i * PAGE);
		}
	}
	wanted = NULL;
	pthread_join(reader, NULL);
	inject(0, 0, 0);
	verify(p, LEN, OLD, 0, "memory");
	check_held(held + NR);
	mark();
	return p;
}

/*
 * Nor does swap readahead fetch what is as near as it can be.  Hooks:
 * swap_writepage(), swap_read_folio(), the freeing of slots,
 * swap_cluster_readahead(), swap_vma_readahead().
 */
static void swapped_pages_stay_off_the_disk(void)
{
	char *p = anon(LEN);

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	CHECK_OP(since(PRESWAP_PUT), ==, NR);
	verify(p, LEN, OLD, 0, "memory");
	CHECK_OP(since(PRESWAP_GET), ==, NR);
	check_held(0);
	swap_out(p, LEN);
	check_held(NR);
	SYS(munmap(p, LEN));
	check_held(0);
	CHECK_OP(since(PRESWAP_FLUSH), ==, NR);
	CHECK_OP(since(PSWPOUT), ==, 0);
	CHECK_OP(since(PSWPIN), ==, 0);

	p = anon(LEN);
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	set("/proc/sys/vm/page-cluster", "3");
	verify(p + 32 * PAGE, PAGE, OLD, 32 * PAGE, "memory");
	CHECK_OP(since(PRESWAP_GET), ==, NR + 1);
}

/*
 * When the new contents of a slot are refused they go to the disk, and the old
 * ones must go away.  Hook: the invalidation in preswap_store().
 */
static void failed_duplicate_put_drops_old_copy(void)
{
	char *p;

	swap_on(swap_dev(0));
	p = mapped_and_in_preswap();
	fill(p, LEN, NEW, 0);
	inject(FAIL_PUT, 100, -1);
	swap_out(p, LEN);
	inject(0, 0, 0);
	check_held(0);
	CHECK_OP(since(PRESWAP_PUT_FAIL), >=, NR);
	CHECK_OP(since(PSWPOUT), >=, NR);
	verify(p, LEN, NEW, 0, "memory");
	CHECK_OP(since(PSWPIN), >=, NR);
}

/*
 * The same when the page has become zeros, which are kept in a bit, and later
 * something else.  Hook: the zero-filled branch of swap_writepage().
 */
static void zeroed_page_drops_old_copy(void)
{
	char *p;

	swap_on(swap_dev(0));
	p = mapped_and_in_preswap();
	memset(p, 0, LEN);
	swap_out(p, LEN);
	check_held(0);
	CHECK_OP(since(PRESWAP_FLUSH), ==, NR);
	CHECK_OP(since(PRESWAP_PUT), ==, 0);
	verify(p, LEN, 0, 0, "memory");

	fill(p, LEN, NEW, 0);
	inject(FAIL_PUT, 100, -1);
	swap_out(p, LEN);
	inject(0, 0, 0);
	verify(p, LEN, NEW, 0, "memory");
	CHECK_OP(since(PSWPIN), >=, NR);
}

/*
 * With new puts switched off what is there is served, and dropped when it is
 * overwritten.  Hook: the invalidation in preswap_store().
 */
static void switched_off_serves_and_drops(void)
{
	char *p, *q = anon(LEN);

	swap_on(swap_dev(0));
	fill(q, LEN, 3, 0);
	swap_out(q, LEN);
	p = mapped_and_in_preswap();
	set(SYSFS "preswap", "0");
	fill(p, LEN, NEW, 0);
	swap_out(p, LEN);
	check_held(NR);
	CHECK_OP(since(PRESWAP_PUT), ==, 0);
	CHECK_OP(since(PSWPOUT), >=, NR);
	verify(p, LEN, NEW, 0, "memory");
	CHECK_OP(since(PSWPIN), >=, NR);
	verify(q, LEN, 3, 0, "memory that was in preswap before");
	CHECK_OP(since(PRESWAP_GET), ==, NR);
}

/*
 * From zswap to preswap and back, each time with new contents: nobody serves
 * what the other one had, nor writes it to the disk.  Hooks: preswap_store()
 * before zswap_store(), and its invalidations, both ways.
 */
static void zswap_and_preswap_replace_each_other(void)
{
	char *p = anon(LEN), want[PAGE];
	uint64_t seed;
	off_t off;

	swap_on(swap_dev(0));
	zswap_enable(true);
	for (seed = 3; seed < 9; seed++) {
		set(SYSFS "preswap", seed % 2 ? "0" : "1");
		for (off = 0; off < LEN; off += PAGE)
			fill_kind(p + off, 1, seed, off);
		swap_out(p, LEN);
		check_held(seed % 2 ? 0 : NR);
		if (seed % 2)
			CHECK_OP(since(ZSWPOUT), >=, (long)(seed - 1) / 2 * NR);
		/* zswap writes out what it has */
		set(SYSFS "preswap", "0");
		cgroup_set("memory.zswap.max", "0");
		cgroup_reclaim();
		cgroup_set("memory.zswap.max", "max");
		for (off = 0; off < LEN; off += PAGE) {
			fill_kind(want, 1, seed, off);
			CHECK(!memcmp(p + off, want, PAGE),
			      "page %ld is wrong, round %ld",
			      (long)(off / PAGE), (long)seed - 3);
		}
	}
	CHECK_OP(since(PRESWAP_PUT), ==, 3 * NR);
	CHECK_OP(since(PRESWAP_GET), >=, 3 * NR);
}

/*
 * A page that the backend has lost is an error, and is never read from the
 * disk.  Hook: preswap_load(), which returns true.
 */
static void lost_page_is_an_error(void)
{
	char *p = anon(LEN);
	int status;
	pid_t pid;

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	inject(FAIL_GET_PERSISTENT, 100, -1);
	pid = SYS(fork());
	if (!pid)
		exit(p[0] == 0);
	SYS(waitpid(pid, &status, 0));
	inject(0, 0, 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
	      "the reader got status %x instead of SIGBUS", status);
	CHECK_OP(since(PRESWAP_GET_FAIL), >=, 1);
	CHECK_OP(since(PSWPIN), ==, 0);
	/* Nobody had asked for the others */
	verify(p + PAGE, LEN - PAGE, OLD, PAGE, "memory");
}

/*
 * However a slot becomes free, nothing is left of it.  Hooks: free_swap_slot(),
 * __swap_entries_free(), swap_range_free().
 */
static void freed_slots_are_flushed(void)
{
	const size_t len = 2 * MIB;
	char *p = anon(len);
	int round, i, status;

	swap_on(swap_dev(0));
	for (round = 0; round < 4; round++) {
		fill(p, len, OLD, 0);
		swap_out(p, len);
		check_held(len / PAGE);

		/* Shared with children, which read, write and die */
		for (i = 0; i < 8; i++) {
			if (SYS(fork()))
				continue;
			verify(p + i * len / 8, len / 8, OLD, i * len / 8,
			       "child");
			fill(p + i * len / 8, len / 8, NEW, 0);
			SYS(madvise(p + i * len / 8, len / 8, MADV_PAGEOUT));
			exit(0);
		}
		for (i = 0; i < 8; i++) {
			SYS(wait(&status));
			CHECK(!status, "a child failed");
		}
		verify(p, len, OLD, 0, "parent");
		swap_out(p, len);
		check_held(len / PAGE);

		/* Freed without being read; dropped while in the swap cache */
		SYS(madvise(p, len / 4, MADV_DONTNEED));
		check_held(len / PAGE * 3 / 4);
		SYS(madvise(p + len / 4, len / 4, MADV_FREE));
		check_held(len / PAGE / 2);
		verify(p + len / 2, len / 4, OLD, len / 2, "parent");
		SYS(munmap(p + len / 2, len / 2));
		check_held(0);
		SYS(munmap(p, len / 2));
		p = anon(len);
	}
}

/*
 * The pages of tmpfs files, which swapoff and truncation reach otherwise than
 * those of processes.  Hooks: as for anonymous memory.
 */
static void tmpfs_survives_preswap(void)
{
	const size_t len = 2 * MIB;
	char *p;
	int fd;

	swap_on(swap_dev(0));
	fd = SYS(memfd_create("file", 0));
	file_write(fd, OLD, 0, len);
	evict(fd);
	CHECK_OP(preswap_pages(), >=, len / PAGE);
	file_verify(fd, OLD, 0, len);

	/* Truncated while it is swapped out, to the middle of a page */
	evict(fd);
	SYS(ftruncate(fd, len / 2 + 100));
	SYS(ftruncate(fd, len));
	file_verify(fd, OLD, 0, len / 2 + 100);
	file_verify(fd, 0, len / 2 + 100, len / 2 - 100);

	/* Mapped, dirtied, and brought back by swapoff */
	p = (char *)SYS(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			     0));
	fill(p, len, NEW, 0);
	SYS(munmap(p, len));
	evict(fd);
	CHECK_OP(preswap_pages(), >=, len / PAGE);
	CHECK_OP(swap_off(swap_dev(0)), ==, 0);
	check_held(0);
	file_verify(fd, NEW, 0, len);
	CHECK_OP(since(PSWPIN), ==, 0);
	CHECK_OP(since(PRESWAP_GET), >=, 2 * len / PAGE);
}

static void on_signal(int sig)
{
	(void)sig;	/* it interrupts, that is all */
}

#define HOLDERS		8

/* A process with memory in preswap; it looks at it when the pipe is closed */
static void hold(int nr, int ready, int pipe)
{
	char *p = anon(MIB), byte = 0;

	fill(p, MIB, 3 + nr, 0);
	swap_out(p, MIB);
	SYS(write(ready, &byte, 1));
	SYS(read(pipe, &byte, 1));
	verify(p, MIB, 3 + nr, 0, "memory of another process");
	exit(0);
}

/*
 * swapoff that a signal interrupts (it looks between two processes) puts the
 * device back, with its bits.  Then it is taken away for good, and another
 * device gets its number.  Hooks: swapon(), swapoff().
 */
static void interrupted_swapoff_keeps_bits(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	char *p = anon(MIB), byte;
	int i, status, ready[2], go[2];
	long held;
	pid_t pid;

	swap_on(swap_dev(0));
	fill(p, MIB, OLD, 0);
	swap_out(p, MIB);
	SYS(pipe(ready));
	SYS(pipe(go));
	for (i = 0; i < HOLDERS; i++) {
		if (!SYS(fork())) {
			close(go[1]);
			hold(i, ready[1], go[0]);
		}
		SYS(read(ready[0], &byte, 1));
	}
	held = preswap_pages();
	CHECK_OP(held, >=, (HOLDERS + 1) * MIB / PAGE);

	use_all_cpus();
	pid = SYS(fork());
	if (!pid) {
		SYS(sigaction(SIGUSR1, &sa, NULL));
		exit(-swap_off(swap_dev(0)));
	}
	while (preswap_pages() > held - 10)
		sched_yield();
	kill(pid, SIGUSR1);
	SYS(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EINTR,
	      "swapoff was not interrupted: status %x", status);
	note("pages in preswap: %ld before, %ld after the signal", held,
	     preswap_pages());
	CHECK_OP(preswap_pages(), >, 0);
	CHECK_OP(preswap_pages(), <, held);

	verify(p, MIB, OLD, 0, "memory after EINTR");
	swap_out(p, MIB);
	CHECK_OP(swap_off(swap_dev(0)), ==, 0);
	check_held(0);
	verify(p, MIB, OLD, 0, "memory after swapoff");
	close(go[1]);
	for (i = 0; i < HOLDERS; i++) {
		SYS(wait(&status));
		CHECK(!status, "somebody's memory is wrong");
	}

	swap_on(swap_dev(1));
	fill(p, MIB, NEW, 0);
	swap_out(p, MIB);
	verify(p, MIB, NEW, 0, "memory, with another device");
	SYS(munmap(p, MIB));
	CHECK_OP(since(PSWPIN), ==, 0);
	CHECK_OP(since(PRESWAP_GET), >=, (HOLDERS + 2) * MIB / PAGE);
}

/*
 * Four times the memory that the cgroup may have, read and written at random,
 * while a part of the puts fails and zswap comes and goes.  Hooks: all.
 */
static void random_access(const char *dev, int mib)
{
	static const int percent[] = { 0, 1, 50, 100 };
	const size_t len = 4 * mib * MIB, pages = len / PAGE;
	unsigned char *seeds = calloc(1, pages);
	char *p = anon(len), want[PAGE];
	size_t i, n, round;

	swap_on(dev);
	cgroup_set("memory.max", "%dM", mib);
	for (i = 0; i < pages; i++)
		fill_kind(p + i * PAGE, i % 4, seeds[i] = 3, i * PAGE);

	for (round = 0; round < 4; round++) {
		inject(FAIL_PUT, percent[round], -1);
		for (n = 0; n < pages * 3 / 2; n++) {
			i = random() % pages;
			fill_kind(want, (i + seeds[i] + 1) % 4, seeds[i],
				  i * PAGE);
			CHECK(!memcmp(p + i * PAGE, want, PAGE),
			      "page %ld is wrong, %d %% of the puts fail",
			      (long)i, percent[round]);
			if (n % 2) {
				seeds[i]++;
				fill_kind(p + i * PAGE, (i + seeds[i] + 1) % 4,
					  seeds[i], i * PAGE);
			}
			if (n % 1000)
				continue;
			zswap_enable(random() % 2);
			/* So that reclaim knows what there is */
			cgroup_stat("anon");
		}
		evidence("up to here");
	}
	inject(0, 0, 0);
	for (i = 0; i < pages; i++) {
		fill_kind(want, (i + seeds[i] + 1) % 4, seeds[i], i * PAGE);
		CHECK(!memcmp(p + i * PAGE, want, PAGE), "page %ld is wrong",
		      (long)i);
	}
	CHECK_OP(since(PRESWAP_PUT), >, (long)pages);
	CHECK_OP(since(PRESWAP_GET), >, (long)pages);
	CHECK_OP(since(PRESWAP_PUT_FAIL), >, (long)pages / 4);
	CHECK_OP(since(PRESWAP_GET_FAIL), ==, 0);
}

static void random_access_on_disk(void)
{
	random_access(swap_dev(0), 4);
	CHECK_OP(since(PSWPIN), >, 0);
}

static void zram(const char *size)
{
	set("/sys/block/zram0/reset", "1");
	set("/sys/block/zram0/disksize", "%s", size);
}

static void random_access_on_zram(void)
{
	zram("64M");
	random_access(ZRAM, 3);
}

#define MTHP	"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/"

#define LARGE		(16 * PAGE)

/* Out and in again, while so many percent of puts fail */
static void swap_large_folios(char *p, size_t len, uint64_t seed, int percent)
{
	long allocated = get_long(MTHP "stats/anon_fault_alloc");
	long split, put, refused, flush;
	unsigned char vec[16] = { 0 };

	fill(p, len, seed, 0);
	CHECK_OP(get_long(MTHP "stats/anon_fault_alloc") - allocated, >=,
		 len / LARGE);
	split = get_long(MTHP "stats/swpout_fallback");
	put = counter(PRESWAP_PUT);
	refused = counter(PRESWAP_PUT_FAIL);
	flush = counter(PRESWAP_FLUSH);
	inject(FAIL_PUT, percent, -1);
	swap_out(p, len);
	inject(0, 0, 0);
	/* What stays, and what does not, and no slot is free */
	CHECK_OP(counter(PRESWAP_PUT) - put, ==, preswap_pages());
	CHECK_OP(counter(PRESWAP_PUT_FAIL) - refused, >=,
		 (long)len / PAGE - preswap_pages());
	CHECK_OP(counter(PRESWAP_FLUSH), ==, flush);
	split = get_long(MTHP "stats/swpout_fallback") - split;
	note("%d %% fail: %ld pages in preswap, %ld folios split", percent,
	     preswap_pages(), split);
	CHECK(preswap_pages() % 16 == 0 || split,
	      "a large folio was put in part");
	CHECK_OP(preswap_pages(), ==, persistent());
	if (!preswap_pages()) {
		/* All of it is on zram: one fault reads 16 pages */
		verify(p, PAGE, seed, 0, "memory");
		SYS(mincore(p, LARGE, vec));
		CHECK(!memchr(vec, 0, sizeof(vec)),
		      "a large folio was not swapped in as such");
	}
	verify(p, len, seed, 0, "memory");
	SYS(madvise(p, len, MADV_DONTNEED));
}

/*
 * Large folios: all pages of one are put, or none; and none is read as a large
 * folio while preswap has a part of it, whatever preswap_shrink is doing.
 * Hooks: preswap_store(), can_swapin_thp(), do_swap_page().
 *
 * Before any test that uses zswap, which ends swap-in of large folios.
 */
static void large_folios_are_whole(void)
{
	static const int percent[] = { 0, 10, 100, 0, 10 };
	const size_t len = MIB;
	size_t i, n;
	pid_t pid;
	char *p;

	zram("64M");
	swap_on(ZRAM);
	set(MTHP "enabled", "madvise");
	p = anon_aligned(len, LARGE);
	SYS(madvise(p, len, MADV_HUGEPAGE));

	for (i = 0; i < 5; i++)
		swap_large_folios(p, len, 3 + i, percent[i]);

	/* Now with a child that changes the bits all the time */
	use_all_cpus();
	pid = SYS(fork());
	if (!pid)
		for (;;) {
			try_set(SYSFS "preswap_shrink", "0");
			try_set(SYSFS "preswap_shrink", "max");
		}
	for (i = 0; i < 20; i++) {
		fill(p, len, 3 + i % 8, 0);
		inject(FAIL_PUT, i % 3 * 10, -1);
		for (n = 0; n < 3; n++) {
			SYS(madvise(p, len, MADV_PAGEOUT));
			verify(p, len, 3 + i % 8, 0, "memory");
		}
		SYS(madvise(p, len, MADV_DONTNEED));
	}
	inject(0, 0, 0);
	kill(pid, SIGKILL);
	SYS(waitpid(pid, NULL, 0));
	SYS(munmap(p, len));
	set(MTHP "enabled", "never");
	check_held(0);
}

static const struct test tests[] = {
	TEST(large_folios_are_whole),
	TEST(swapped_pages_stay_off_the_disk, .also = XEN),
	TEST(failed_duplicate_put_drops_old_copy, .also = XEN),
	TEST(zeroed_page_drops_old_copy, .also = XEN),
	TEST(switched_off_serves_and_drops, .also = XEN),
	TEST(zswap_and_preswap_replace_each_other, .also = XEN),
	TEST(lost_page_is_an_error, .also = XEN),
	TEST(freed_slots_are_flushed, .also = XEN),
	TEST(tmpfs_survives_preswap, .also = XEN),
	TEST(interrupted_swapoff_keeps_bits, .also = XEN),
	TEST(random_access_on_disk, .also = XEN),
	TEST(random_access_on_zram),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "preswap", tests, ARRAY_SIZE(tests));
}
