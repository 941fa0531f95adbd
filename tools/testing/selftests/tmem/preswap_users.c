// SPDX-License-Identifier: GPL-2.0
/*
 * preswap and what uses swap in other ways than a private page does: KSM,
 * userfaultfd, large folios of tmpfs, cgroups with limits.
 */

#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tmem_test.h"

#define LEN		(64 * PAGE)
#define NR		64
#define HUGE		(2 * MIB)

/*
 * Folios of tmpfs that are large when they are swapped out: as a whole, if the
 * device has so many slots in a row.  They come back by pages, are freed in
 * parts, and by swapoff.  Hooks: preswap_store(), the freeing of slots.
 */
static void large_tmpfs_folios_survive_preswap(void)
{
	static const char thp[] = "/sys/kernel/mm/transparent_hugepage/";
	const size_t len = 2 * HUGE;
	const char *stat = "hugepages-2048kB/stats/";
	char path[128], *p = anon_aligned(len, HUGE);
	long allocated, split;
	int fd, i;

	swap_on(swap_dev(0));
	snprintf(path, sizeof(path), "%sshmem_enabled", thp);
	set(path, "advise");
	fd = SYS(memfd_create("file", 0));
	SYS(ftruncate(fd, len));
	SYS(mmap(p, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 0));
	SYS(madvise(p, len, MADV_HUGEPAGE));

	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%sshmem_alloc", thp, stat);
		allocated = get_long(path);
		fill(p, len, OLD, 0);
		CHECK_OP(get_long(path) - allocated, >=, i ? 0 : 2);
		snprintf(path, sizeof(path), "%s%ssplit", thp, stat);
		split = get_long(path);
		evict(fd);
		note("in preswap: %ld pages; folios split before: %ld",
		     preswap_pages(), get_long(path) - split);
		CHECK_OP(preswap_pages(), >=, len / PAGE);
		CHECK_OP(preswap_pages(), ==, persistent());
		if (i == 0) {
			file_verify(fd, OLD, 0, len);
			SYS(ftruncate(fd, 0));
			/* All but pages of this program */
			CHECK_OP(preswap_pages(), <, len / PAGE / 16);
			CHECK_OP(preswap_pages(), ==, persistent());
			SYS(ftruncate(fd, len));
		} else if (i == 1) {
			/* Truncated where it is, in the middle of a folio */
			SYS(ftruncate(fd, MIB + 100));
			SYS(ftruncate(fd, len));
			file_verify(fd, OLD, 0, MIB + 100);
			file_verify(fd, 0, MIB + 100, len - MIB - 100);
			SYS(ftruncate(fd, 0));
			SYS(ftruncate(fd, len));
		}
	}
	CHECK_OP(swap_off(swap_dev(0)), ==, 0);
	check_held(0);
	file_verify(fd, OLD, 0, len);
	CHECK_OP(since(PSWPIN), ==, 0);
	CHECK_OP(since(PSWPOUT), ==, 0);
	snprintf(path, sizeof(path), "%sshmem_enabled", thp);
	set(path, "never");
}

#define KSM		"/sys/kernel/mm/ksm/"

/*
 * Pages that KSM has merged have one slot for all, and are copied when they
 * come back to several.  Hooks: as for other memory.
 */
static void merged_pages_survive_preswap(void)
{
	char *p = anon(LEN), *q = anon(LEN);
	int i;

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	fill(q, LEN, OLD, 0);
	SYS(madvise(p, LEN, MADV_MERGEABLE));
	SYS(madvise(q, LEN, MADV_MERGEABLE));
	set(KSM "sleep_millisecs", "0");
	set(KSM "run", "1");
	while (get_long(KSM "pages_sharing") < NR)
		sched_yield();
	set(KSM "run", "0");
	note("pages merged: %ld into %ld", get_long(KSM "pages_sharing"),
	     get_long(KSM "pages_shared"));

	/* What is mapped twice is left to reclaim */
	swap_out(p, LEN);
	swap_out(q, LEN);
	note("pages in preswap: %ld", preswap_pages());
	CHECK_OP(preswap_pages(), >=, NR);
	CHECK_OP(preswap_pages(), <, 2 * NR);
	CHECK_OP(preswap_pages(), ==, persistent());
	verify(p, LEN, OLD, 0, "memory");
	fill(p, LEN, NEW, 0);
	verify(q, LEN, OLD, 0, "memory that was the same");
	for (i = 0; i < 2; i++) {
		swap_out(p, LEN);
		swap_out(q, LEN);
		verify(p, LEN, NEW, 0, "memory");
		verify(q, LEN, OLD, 0, "memory that was the same");
	}
	CHECK_OP(since(PRESWAP_GET), >=, 4 * NR);
	CHECK_OP(since(PSWPIN), ==, 0);
	set(KSM "run", "2");
	set(KSM "run", "0");
}

/* Documentation/admin-guide/mm/pagemap.rst */
static const uint64_t pm_soft_dirty = 1ULL << 55;
static const uint64_t pm_uffd_wp = 1ULL << 57;
static const uint64_t pm_swap = 1ULL << 62;
static const uint64_t pm_present = 1ULL << 63;

/* These bits are the same in all page table entries */
static void check_pagemap(char *p, size_t len, uint64_t mask, uint64_t want)
{
	int fd = SYS(open("/proc/self/pagemap", O_RDONLY));
	uint64_t entry;
	size_t i;

	for (i = 0; i < len / PAGE; i++) {
		SYS(pread(fd, &entry, 8, ((uintptr_t)p / PAGE + i) * 8));
		CHECK((entry & mask) == want,
		      "page %ld: pagemap is %lx, of which %lx should be %lx",
		      (long)i, (long)entry, (long)mask, (long)want);
	}
	close(fd);
}

static sigjmp_buf protected;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(protected, 1);
}

/*
 * How many of the pages cannot be written to?  What is written is there
 * already.
 */
static int write_faults(char *p, size_t start, size_t end)
{
	volatile int n = 0;
	volatile size_t i;
	char byte;

	for (i = start; i < end; i += PAGE) {
		fill(&byte, 1, OLD, i);
		if (sigsetjmp(protected, 1))
			n++;
		else
			*(volatile char *)(p + i) = byte;
	}
	return n;
}

static void protect(int uffd, char *p, size_t len, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)p, len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	SYS(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
}

/*
 * Write protection by userfaultfd is noted in the swap entry, too.  Hooks: as
 * for other memory.
 */
static void write_protection_survives_preswap(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			    UFFD_FEATURE_SIGBUS,
	};
	struct sigaction sa = { .sa_handler = on_sigbus };
	int uffd = SYS(syscall(SYS_userfaultfd, O_CLOEXEC));
	const size_t half = LEN / 2;
	char *p = anon(LEN);
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, LEN },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	swap_on(swap_dev(0));
	SYS(ioctl(uffd, UFFDIO_API, &api));
	SYS(ioctl(uffd, UFFDIO_REGISTER, &reg));
	SYS(sigaction(SIGBUS, &sa, NULL));
	fill(p, LEN, OLD, 0);
	protect(uffd, p, half, true);
	swap_out(p, LEN);
	check_held(NR);
	check_pagemap(p, half, pm_swap | pm_uffd_wp, pm_swap | pm_uffd_wp);
	check_pagemap(p + half, half, pm_swap | pm_uffd_wp, pm_swap);

	/* It comes back with a read, and with a write */
	verify(p, half / 2, OLD, 0, "memory");
	check_pagemap(p, half / 2, pm_present | pm_uffd_wp,
		      pm_present | pm_uffd_wp);
	CHECK_OP(write_faults(p, 0, half), ==, NR / 2);
	CHECK_OP(write_faults(p, half, LEN), ==, 0);
	verify(p, LEN, OLD, 0, "memory");

	/* Changed while it is in preswap, both ways */
	swap_out(p, LEN);
	protect(uffd, p, half, false);
	protect(uffd, p + half, half, true);
	CHECK_OP(write_faults(p, 0, half), ==, 0);
	CHECK_OP(write_faults(p, half, LEN), ==, NR / 2);
	verify(p, LEN, OLD, 0, "memory");
	CHECK_OP(since(PRESWAP_GET), >=, 2 * NR);
	CHECK_OP(since(PRESWAP_GET_FAIL), ==, 0);
	CHECK_OP(since(PSWPIN), ==, 0);
}

/*
 * A program that dumps a process again and again asks which pages were written
 * since the last time, whether or not they have been in preswap.  Hooks: as for
 * other memory.
 */
static void soft_dirty_survives_preswap(void)
{
	char *p = anon(LEN), *mid = p + LEN / 2;

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	set("/proc/self/clear_refs", "4");
	fill(mid, LEN / 2, NEW, 0);
	swap_out(p, LEN);
	check_held(NR);
	check_pagemap(p, LEN / 2, pm_swap | pm_soft_dirty, pm_swap);
	check_pagemap(mid, LEN / 2, pm_swap | pm_soft_dirty,
		      pm_swap | pm_soft_dirty);
	verify(p, LEN / 2, OLD, 0, "memory");
	verify(mid, LEN / 2, NEW, 0, "memory");
	check_pagemap(p, LEN / 2, pm_present | pm_soft_dirty, pm_present);
	check_pagemap(mid, LEN / 2, pm_present | pm_soft_dirty,
		      pm_present | pm_soft_dirty);

	/* And if it is asked while they are in preswap */
	swap_out(p, LEN);
	set("/proc/self/clear_refs", "4");
	check_pagemap(p, LEN, pm_swap | pm_soft_dirty, pm_swap);
	verify(p, LEN / 2, OLD, 0, "memory");
	check_pagemap(p, LEN, pm_soft_dirty, 0);
	CHECK_OP(since(PRESWAP_GET), >=, NR + NR / 2);
	CHECK_OP(since(PSWPOUT), ==, 0);
}

/*
 * A slot counts against memory.swap.max, wherever its contents are.  Hook:
 * none, which is the point: preswap is not a device with a size of its own.
 */
static void swap_limit_counts_pages_in_preswap(void)
{
	const size_t len = 4 * MIB;
	long pages, limit;
	char *p = anon(len);

	swap_on(swap_dev(0));
	fill(p, len, OLD, 0);
	for (limit = MIB; limit <= 4 * MIB; limit *= 2) {
		cgroup_set("memory.swap.max", "%ld", limit);
		SYS(madvise(p, len, MADV_PAGEOUT));
		SYS(madvise(p, len, MADV_PAGEOUT));
		pages = cgroup_get("memory.swap.current") / PAGE;
		note("limit %ld: slots in use %ld, pages in preswap %ld",
		     limit / PAGE, pages, preswap_pages());
		CHECK_OP(pages, ==, limit / PAGE);
		check_held(pages);
	}
	verify(p, len, OLD, 0, "memory");
	CHECK_OP(since(PRESWAP_GET), ==, len / PAGE);
	SYS(munmap(p, len));
	check_held(0);
	CHECK_OP(swap_off(swap_dev(0)), ==, 0);
	CHECK_OP(cgroup_get("memory.swap.current"), ==, 0);
}

/*
 * memory.zswap.writeback=0 forbids the disk, not preswap.  What comes back from
 * there then stays in memory.  Hook: preswap_store(), in swap_writepage()
 * before that is looked at.
 */
static void no_writeback_means_no_disk(void)
{
	char *p = anon(LEN);
	int i;

	swap_on(swap_dev(0));
	zswap_enable(true);
	cgroup_set("memory.zswap.max", "0");
	cgroup_set("memory.zswap.writeback", "0");
	fill(p, LEN, OLD, 0);
	SYS(madvise(p, LEN, MADV_PAGEOUT));
	check_held(NR);

	set(SYSFS "preswap", "0");
	set(SYSFS "preswap_shrink", "0");
	check_held(0);
	for (i = 0; i < 3; i++) {
		SYS(madvise(p, LEN, MADV_PAGEOUT));
		cgroup_reclaim();
	}
	CHECK_OP(since(PSWPOUT), ==, 0);
	verify(p, LEN, OLD, 0, "memory");
	CHECK_OP(since(PSWPIN), ==, 0);

	/* Others may */
	cgroup_set("memory.zswap.writeback", "1");
	swap_out(p, LEN);
	CHECK_OP(since(PSWPOUT), >=, NR);
	verify(p, LEN, OLD, 0, "memory");
	CHECK_OP(since(PSWPIN), >=, NR);
}

static const struct test tests[] = {
	TEST(large_tmpfs_folios_survive_preswap),
	TEST(merged_pages_survive_preswap),
	TEST(write_protection_survives_preswap),
	TEST(soft_dirty_survives_preswap),
	TEST(swap_limit_counts_pages_in_preswap),
	TEST(no_writeback_means_no_disk),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "preswap", tests, ARRAY_SIZE(tests));
}
