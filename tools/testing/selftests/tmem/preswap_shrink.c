// SPDX-License-Identifier: GPL-2.0
/* Getting pages back from preswap */

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>

#include "tmem_test.h"

#define SHRINK		SYSFS "preswap_shrink"

/*
 * A page that came back is the only copy: reclaim must write it, not drop it.
 * Hook: folio_mark_dirty() in preswap_pull().
 */
static void shrink_marks_pages_dirty(void)
{
	const size_t len = MIB;
	char *p = anon(len);

	swap_on(swap_dev(0));
	fill(p, len, OLD, 0);
	swap_out(p, len);
	CHECK_OP(preswap_pages(), ==, len / PAGE);
	CHECK_OP(since(PSWPOUT), ==, 0);

	set(SHRINK, "0");
	CHECK_OP(preswap_pages(), ==, 0);
	CHECK_OP(persistent(), ==, 0);
	CHECK_OP(since(PRESWAP_SHRINK), >=, len / PAGE);
	CHECK_OP(since(PRESWAP_FLUSH), ==, 0);
	/* They are in the swap cache, mapped nowhere: nobody else keeps them */
	set(SYSFS "preswap", "0");
	swap_out(p, len);
	CHECK_OP(since(PSWPOUT), >=, len / PAGE);
	verify(p, len, OLD, 0, "memory");
	CHECK_OP(since(PSWPIN), >=, len / PAGE);
}

/*
 * A cgroup has hardly any memory or swap slots left.  Each of its pages in
 * preswap has a slot already, and goes there without taking any of either.
 */
static void shrink_of_a_full_cgroup_ends(void)
{
	const size_t len = 24 * MIB, slack = MIB, step = 64 * 1024;
	char *p = anon(len), *q = anon(slack / 4);
	long held;
	size_t i;

	swap_on(swap_dev(0));
	cgroup_set("memory.max", "8M");
	fill(p, len, OLD, 0);
	held = preswap_pages();
	cgroup_set("memory.swap.max", "%ld",
		   cgroup_get("memory.swap.current") + slack);
	CHECK_OP(held, >, len / PAGE / 2);

	must_run("echo 0 | timeout 60 tee " SHRINK);
	CHECK_OP(preswap_pages(), ==, 0);
	CHECK_OP(since(PRESWAP_SHRINK), >=, held);
	CHECK_OP(since(PSWPOUT), >, held / 2);
	/* With a device only, so full a cgroup may be out of memory */
	set(SHRINK, "max");
	fill(q, slack / 4, NEW, 0);
	for (i = 0; i < len; i += step)
		verify(p + i, step, OLD, i, "memory");
	verify(q, slack / 4, NEW, 0, "memory");
}

/* It stops at the target, and what is left is served */
static void shrink_stops_at_target(void)
{
	const size_t len = 2 * MIB;
	long pages = len / PAGE, left;
	char *p = anon(len);

	swap_on(swap_dev(0));
	fill(p, len, OLD, 0);
	swap_out(p, len);
	CHECK_OP(preswap_pages(), ==, pages);
	set(SHRINK, "%ld", pages + 1);
	CHECK_OP(preswap_pages(), ==, pages);
	for (left = pages; left; left -= 128) {
		set(SHRINK, "%ld", left);
		CHECK_OP(preswap_pages(), ==, left);
		CHECK_OP(persistent(), ==, left);
		CHECK_OP(get_long(SHRINK), ==, left);
	}
	verify(p, len, OLD, 0, "memory");
	CHECK_OP(since(PRESWAP_SHRINK), >=, pages - 128);
	CHECK_OP(since(PSWPIN), ==, 0);
}

/* It stays there: what is swapped out next goes to the device, but for that */
static void shrink_is_a_limit(void)
{
	const size_t len = 2 * MIB;
	long pages = len / PAGE, limit = pages / 4;
	char *p = anon(len);

	swap_on(swap_dev(0));
	set(SHRINK, "%ld", limit);
	CHECK_OP(get_long(SYSFS "preswap_limit"), ==, limit);
	fill(p, len, OLD, 0);
	swap_out(p, len);
	CHECK_OP(preswap_pages(), <=, limit);
	CHECK_OP(preswap_pages(), >, limit / 2);
	CHECK_OP(since(PSWPOUT), >=, pages - limit);
	verify(p, len, OLD, 0, "memory");
	CHECK_OP(since(PSWPIN), >=, pages - limit);

	mark();
	set(SHRINK, "max");
	fill(p, len, NEW, 0);
	swap_out(p, len);
	check_held(pages);
	CHECK_OP(since(PSWPOUT), ==, 0);
	verify(p, len, NEW, 0, "memory");
}

/*
 * A page that is swapped in is not in tmem any more, although it was only read;
 * it is the only copy then.
 */
static void swap_in_takes_the_page_out(void)
{
	const size_t len = 2 * MIB;
	char *p = anon(len);

	swap_on(swap_dev(0));
	fill(p, len, OLD, 0);
	swap_out(p, len);
	check_held(len / PAGE);
	verify(p, len / 2, OLD, 0, "memory");
	check_held(len / 2 / PAGE);
	CHECK_OP(since(PRESWAP_GET), ==, len / 2 / PAGE);
	CHECK_OP(since(PRESWAP_FLUSH), ==, 0);
	CHECK_OP(since(PRESWAP_SHRINK), ==, 0);

	/* To the device now, and back from there */
	set(SYSFS "preswap", "0");
	swap_out(p, len / 2);
	CHECK_OP(since(PSWPOUT), >=, len / 2 / PAGE);
	verify(p, len, OLD, 0, "memory");
	CHECK_OP(since(PSWPIN), >=, len / 2 / PAGE);
	check_held(0);
}

/* Text, negative and too large numbers, and nonsense are refused */
static void bad_values_are_refused(void)
{
	static const char *const numbers[] = {
		"text", "-1", "1x", "maximum", "99999999999999999999999",
	};
	static const char *const switches[] = { "2", "maybe", "-1" };
	char *p = anon(MIB);
	size_t i;
	int ret;

	swap_on(swap_dev(0));
	fill(p, MIB, OLD, 0);
	swap_out(p, MIB);
	CHECK_OP(preswap_pages(), ==, MIB / PAGE);
	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		ret = try_set(SHRINK, "%s", numbers[i]);
		note("preswap_shrink <- '%s': %s", numbers[i], strerror(-ret));
		CHECK(ret == -EINVAL || ret == -ERANGE, "'%s' was not refused",
		      numbers[i]);
	}
	for (i = 0; i < sizeof(switches) / sizeof(*switches); i++) {
		CHECK_OP(try_set(SYSFS "preswap", "%s", switches[i]), ==,
			 -EINVAL);
		CHECK_OP(try_set(SYSFS "precache", "%s", switches[i]), ==,
			 -EINVAL);
	}
	CHECK_OP(get_long(SYSFS "preswap"), ==, 1);
	CHECK_OP(get_long(SYSFS "precache"), ==, 1);
	CHECK_OP(preswap_pages(), ==, MIB / PAGE);
	verify(p, MIB, OLD, 0, "memory");
	CHECK_OP(since(PRESWAP_SHRINK), ==, 0);
}

/*
 * A writer of preswap_shrink can be interrupted, and loses nothing.
 */
static void shrink_is_interruptible(void)
{
	const size_t len = 8 * MIB;
	char *p = anon(len);
	long held;
	pid_t pid;

	swap_on(swap_dev(0));
	fill(p, len, OLD, 0);
	swap_out(p, len);
	held = preswap_pages();
	use_all_cpus();
	pid = SYS(fork());
	if (!pid) {
		set(SHRINK, "0");
		exit(0);
	}
	while (preswap_pages() > held - 100)
		sched_yield();
	kill(pid, SIGTERM);
	SYS(waitpid(pid, NULL, 0));
	note("pages in preswap: %ld before, %ld after the signal", held,
	     preswap_pages());
	CHECK_OP(preswap_pages(), >, 0);
	verify(p, len, OLD, 0, "memory");
	/* The limit holds all the same, until there is another one */
	mark();
	swap_out(p, len);
	CHECK_OP(since(PRESWAP_PUT), ==, 0);
	set(SHRINK, "max");
	verify(p, len, OLD, 0, "memory");
	/* What has not changed since it was on the device stays there */
	fill(p, len, NEW, 0);
	swap_out(p, len);
	CHECK_OP(preswap_pages(), ==, held);
}

#define WORKERS		3
#define AREA		(2 * MIB)

static bool stopped(int *stop)
{
	return __atomic_load_n(stop, __ATOMIC_RELAXED);
}

static void work(int *stop, int nr)
{
	char *p = anon(AREA);
	uint64_t seed = 3;
	int status;
	pid_t pid;

	fill(p, AREA, seed, nr * AREA);
	while (!stopped(stop)) {
		SYS(madvise(p, AREA, MADV_PAGEOUT));
		pid = SYS(fork());
		if (!pid) {
			verify(p, AREA / 4, seed, nr * AREA, "child of worker");
			exit(0);
		}
		verify(p, AREA, seed, nr * AREA, "worker");
		if (nr == 0)
			SYS(madvise(p, AREA / 2, MADV_DONTNEED));
		seed = 3 + (seed + 1) % 8;
		fill(p, AREA, seed, nr * AREA);
		SYS(waitpid(pid, &status, 0));
		CHECK(!status, "a child of a worker failed");
	}
	verify(p, AREA, seed, nr * AREA, "worker");
	exit(0);
}

static void swap_on_and_off(int *stop)
{
	int ret;

	while (!stopped(stop)) {
		SYS(swapon(swap_dev(1), 0));
		ret = swap_off(swap_dev(1));
		CHECK(!ret, "swapoff: %s", strerror(-ret));
	}
	exit(0);
}

/*
 * With all that uses slots at the same time: faults, forks, exits, madvise, a
 * cgroup at its limit, swapon and swapoff.  It always ends, and no page is
 * wrong.
 */
static void shrink_ends_under_load(void)
{
	int *stop = (int *)SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	int i, ret, status, done = 0;
	long target;

	swap_on(swap_dev(0));
	must_run("mkswap %s >/dev/null", swap_dev(1));
	cgroup_set("memory.high", "8M");
	use_all_cpus();
	for (i = 0; i < WORKERS; i++)
		if (!SYS(fork()))
			work(stop, i);
	if (!SYS(fork()))
		swap_on_and_off(stop);

	for (i = 0; i < 20; i++) {
		/* Let there be something to get back */
		while (preswap_pages() < 200) {
			CHECK(!waitpid(-1, &status, WNOHANG),
			      "somebody has gone: status %x", status);
			sched_yield();
		}
		target = i % 3 * 100;
		ret = try_set(SHRINK, "%ld", target);
		set(SHRINK, "max");
		if (!ret)
			done++;
		else
			CHECK(ret == -EBUSY || ret == -EAGAIN || ret == -ENOMEM,
			      "preswap_shrink: %s", strerror(-ret));
	}
	__atomic_store_n(stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < WORKERS + 1; i++) {
		SYS(wait(&status));
		CHECK(!status, "somebody failed: status %x", status);
	}
	note("%d of 20 got where they should", done);
	CHECK_OP(done, >=, 10);
	CHECK_OP(since(PRESWAP_SHRINK), >, 1000);
	CHECK_OP(since(PRESWAP_GET_FAIL), ==, 0);
}

static const struct test tests[] = {
	TEST(shrink_marks_pages_dirty, .also = XEN),
	TEST(shrink_of_a_full_cgroup_ends, .also = XEN),
	TEST(shrink_stops_at_target, .also = XEN),
	TEST(shrink_is_a_limit, .also = XEN),
	TEST(swap_in_takes_the_page_out, .also = XEN),
	TEST(bad_values_are_refused, .also = XEN),
	TEST(shrink_is_interruptible, .also = XEN),
	TEST(shrink_ends_under_load, .also = XEN),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "preswap", tests, ARRAY_SIZE(tests));
}
