// SPDX-License-Identifier: GPL-2.0
/* What the kernel can be made to suffer: that it does, and that it copes */

#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "tmem_test.h"

#define LEN		(64 * PAGE)
#define NR		(LEN / PAGE)

/* Page by page: no readahead, so that what is read is what was asked for */
static int file_in_tmem(void)
{
	int fd = file_new(fs_new(0), "file", OLD, LEN);

	to_tmem(fd);
	SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	return fd;
}

static char *memory_in_tmem(void)
{
	char *p = anon(LEN);

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	CHECK_OP(preswap_pages(), ==, NR);
	return p;
}

/* A get that misses is a read of the disk.  The page stays where it is. */
static void ephemeral_get_misses(void)
{
	int fd = file_in_tmem();
	long held = ephemeral();

	mark();
	inject(FAIL_GET_EPHEMERAL, 100, NR / 2);
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET_MISS), ==, NR / 2);
	CHECK_OP(since(PRECACHE_GET), ==, NR / 2);
	CHECK_OP(held - ephemeral(), ==, NR / 2);
	/* There is an old copy under what is written: it must not come back */
	file_write(fd, NEW, 0, LEN);
	SYS(fsync(fd));
	inject(FAIL_PUT, 100, -1);
	evict(fd);
	inject(0, 0, 0);
	file_verify(fd, NEW, 0, LEN);
}

/* Nor does it concern what is in a persistent pool */
static void persistent_get_does_not_miss(void)
{
	char *p = memory_in_tmem();

	inject(FAIL_GET_EPHEMERAL | VANISH, 100, -1);
	verify(p, LEN, OLD, 0, "memory");
	CHECK_OP(since(PRESWAP_GET), >=, NR);
	CHECK_OP(since(PRESWAP_GET_FAIL), ==, 0);
}

/* The backend may drop a page at any moment */
static void vanished_page_is_read_from_disk(void)
{
	int fd = file_in_tmem();
	long held = ephemeral();

	mark();
	inject(VANISH, 50, -1);
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(held - ephemeral(), ==, NR);
	CHECK_OP(since(PRECACHE_GET_MISS), >=, NR / 4);
	CHECK_OP(since(PRECACHE_GET), >=, NR / 4);
	CHECK_OP(since(PRECACHE_GET) + since(PRECACHE_GET_MISS), ==, NR);
}

/* Only a put over an older copy fails: the first ones do not */
static void duplicate_put_fails(void)
{
	int i, fd = file_new(fs_new(0), "file", OLD, LEN);
	char *p;

	inject(FAIL_PUT_DUP, 100, -1);
	to_tmem(fd);
	CHECK_OP(since(PRECACHE_PUT_FAIL), ==, 0);
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, NR);

	p = memory_in_tmem();
	CHECK_OP(since(PRESWAP_PUT_FAIL), ==, 0);
	/* Now over the older copies, or where the last round has left none */
	for (i = 0; i < 4; i++) {
		fill(p, LEN, 3 + i, 0);
		swap_out(p, LEN);
		verify(p, LEN, 3 + i, 0, "memory");
	}
	CHECK_OP(since(PRESWAP_GET_FAIL), ==, 0);

	/* And over what is in tmem below the page cache */
	inject(0, 0, 0);
	to_tmem(fd);
	mark();
	file_write(fd, NEW, 0, LEN);
	SYS(fsync(fd));
	inject(FAIL_PUT_DUP, 100, -1);
	evict(fd);
	inject(0, 0, 0);
	CHECK_OP(since(PRECACHE_PUT_FAIL), >=, NR);
	file_verify(fd, NEW, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), ==, 0);
}

static long now_ms(void)
{
	struct timespec ts;

	SYS(clock_gettime(CLOCK_MONOTONIC, &ts));
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void operations_take_long(void)
{
	int fd = file_in_tmem();
	long start;

	set("/sys/kernel/debug/fail_tmem/delay_us", "20000");
	inject(DELAY, 100, NR);
	start = now_ms();
	file_verify(fd, OLD, 0, LEN);
	start = now_ms() - start;
	set("/sys/kernel/debug/fail_tmem/delay_us", "1000");
	note("%ld gets took %ld ms", NR, start);
	CHECK_OP(start, >=, 20 * NR);
	CHECK_OP(since(PRECACHE_GET), >=, NR);
}

/*
 * Wherever the engine asks for memory, it may get none.  Only this task's
 * allocations fail, and of these only those that do not wait, as the engine's.
 */
static void failing_allocations_lose_nothing(void)
{
	static const char *const where[] = { "failslab", "fail_page_alloc" };
	int i, round, fd = file_new(fs_new(0), "file", OLD, LEN);
	char *p = anon(LEN);
	char path[128];

	swap_on(swap_dev(0));
	set("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N");
	set("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	set("/proc/self/make-it-fail", "1");
	for (round = 0; round < 8; round++) {
		file_write(fd, 3 + round, 0, LEN);
		SYS(fsync(fd));
		fill(p, LEN, 3 + round, 0);
		/* Pages are stored raw and compressed in turn */
		try_set(RAM "compress", round % 2 ? "Y" : "N");
		for (i = 0; i < 2; i++) {
			snprintf(path, sizeof(path),
				 "/sys/kernel/debug/%s/task-filter", where[i]);
			set(path, "Y");
			inject_into(where[i], round & 1 << (i + 1) ? 0 : 20,
				    -1);
		}
		evict(fd);
		swap_out(p, LEN);
		for (i = 0; i < 2; i++)
			inject_into(where[i], 0, 0);
		evidence("up to here");
		file_verify(fd, 3 + round, 0, LEN);
		verify(p, LEN, 3 + round, 0, "memory");
	}
	set("/proc/self/make-it-fail", "0");
	try_set(RAM "compress", "Y");
	CHECK_OP(since(PRECACHE_PUT_FAIL) + since(PRESWAP_PUT_FAIL), >=, 20);
	CHECK_OP(since(PRECACHE_GET), >=, NR);
	CHECK_OP(since(PRESWAP_GET), >=, NR);
	CHECK_OP(since(PRESWAP_GET_FAIL), ==, 0);
}

static void check_lost(char *p)
{
	int status;
	pid_t pid = SYS(fork());

	if (!pid)
		exit(*(volatile char *)p == 0);
	SYS(waitpid(pid, &status, 0));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
	      "the reader got status %x instead of SIGBUS", status);
}

/*
 * swapoff ends, though some pages are lost, and says of each of them for good
 * that it is: neither memory nor a file of tmpfs reads as something else.
 * Hook: preswap_load(), which returns true.
 */
static void lost_pages_do_not_stop_swapoff(void)
{
	int fd = SYS(memfd_create("file", 0)), i;
	char *p, *map, page[PAGE];

	/* Not this program's pages, too */
	SYS(mlockall(MCL_CURRENT));
	p = memory_in_tmem();
	file_write(fd, NEW, 0, LEN);
	map = (char *)SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0));
	verify(map, LEN, NEW, 0, "mapping");
	swap_out(map, LEN);
	SYS(munmap(map, LEN));
	CHECK_OP(preswap_pages(), ==, 2 * NR);
	inject(FAIL_GET_PERSISTENT, 100, -1);
	CHECK_OP(swap_off(swap_dev(0)), ==, 0);
	inject(0, 0, 0);
	CHECK_OP(since(PRESWAP_GET_FAIL), >=, 2 * NR);
	CHECK_OP(preswap_pages(), ==, 0);
	CHECK_OP(persistent(), ==, 0);
	for (i = 0; i < NR; i++) {
		CHECK(pread(fd, page, PAGE, i * PAGE) == -1 && errno == EIO,
		      "page %d of the file is not lost", i);
		check_lost(p + i * PAGE);
	}
	CHECK_OP(since(PSWPIN), ==, 0);

	/*
	 * What is written anew is as good as any other.  (Truncation does not
	 * look for lost pages where a file has no others.)
	 */
	SYS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LEN));
	SYS(munmap(p, LEN));
	file_write(fd, OLD, 0, LEN);
	p = memory_in_tmem();
	verify(p, LEN, OLD, 0, "memory");
	file_verify(fd, OLD, 0, LEN);
	SYS(munmap(p, LEN));
}

static const struct test tests[] = {
	TEST(ephemeral_get_misses),
	TEST(persistent_get_does_not_miss),
	TEST(vanished_page_is_read_from_disk),
	TEST(duplicate_put_fails),
	TEST(operations_take_long),
	TEST(failing_allocations_lose_nothing),
	TEST(lost_pages_do_not_stop_swapoff),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "faults", tests, ARRAY_SIZE(tests));
}
