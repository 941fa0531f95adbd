// SPDX-License-Identifier: GPL-2.0
/*
 * What tmem=ram holds and could give back counts as free: a program gets it
 * before anybody is killed, and /proc/meminfo says so.
 */

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tmem_test.h"

#define BIG		"/tmp/tmem/big"
#define CHUNK		(64 * 1024L)
#define MAX_PERCENT	RAM "max_percent"

static const int percents[] = { 20, 50, 90 };

/* Free pages that wait in the CPUs' lists, in bytes */
static long in_cpu_lists(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	long count, pages = 0;
	char line[128];

	CHECK(f, "no /proc/zoneinfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &count) == 1)
			pages += count;
	fclose(f);
	return pages * PAGE;
}

/* How exact all numbers here have to be: 3 % of the memory */
static long tolerance(void)
{
	return meminfo_bytes("MemTotal") / 100 * 3;
}

/* A larger guest takes too long to fill */
static void need_small_guest(void)
{
	if (meminfo_bytes("MemTotal") > 512 * MIB)
		skip("needs a guest of 512 MiB at most");
}

/*
 * Random words, or with the others constant a page that compresses to a third
 */
static void fill_page(char *page, off_t off, bool compressible)
{
	size_t i;

	fill(page, PAGE, OLD, off);
	for (i = 0; compressible && i < PAGE; i += 32)
		memset(page + i + 8, OLD, 24);
}

/* A file of @len bytes on a file system of its own; it is cached nowhere */
static void big_file(long len, bool compressible)
{
	char *buf = buffer(CHUNK);
	off_t off;
	size_t i;
	int fd;

	need_small_guest();
	umount("/tmp/tmem");	/* there may be one */
	must_run("mkfs.ext4 -q -F -b 4096 -E nodiscard,lazy_itable_init=0 %s",
		 disk_name());
	mkdir("/tmp/tmem", 0700);
	SYS(mount(disk_name(), "/tmp/tmem", "ext4", MS_NOATIME, ""));
	cgroup_set("memory.max", "32M");
	fd = SYS(open(BIG, O_WRONLY | O_CREAT | O_TRUNC, 0600));
	for (off = 0; off < len; off += CHUNK) {
		for (i = 0; i < CHUNK; i += PAGE)
			fill_page(buf + i, off + i, compressible);
		CHECK_OP(pwrite(fd, buf, CHUNK, off), ==, CHUNK);
	}
	SYS(fsync(fd));
	close(fd);
	free(buf);
	cgroup_set("memory.max", "max");
	/* A file that was written long ago: its inode knows nothing of that */
	SYS(umount("/tmp/tmem"));
	SYS(mount(disk_name(), "/tmp/tmem", "ext4", MS_NOATIME, ""));
}

static void read_big(void)
{
	char *buf = buffer(CHUNK);
	int fd = SYS(open(BIG, O_RDONLY));

	while (SYS(read(fd, buf, CHUNK)))
		;
	close(fd);
	free(buf);
}

/* Read the file in a small cgroup: all of it goes to precache */
static void big_to_precache(void)
{
	cgroup_set("memory.max", "16M");
	read_big();
	cgroup_set("memory.max", "max");
	cgroup_reclaim();
}

/*
 * How many bytes a process can have until it is killed: it is the first one
 * that the OOM killer looks for.  Pages that are in memory and have a swap slot
 * as well are counted twice: when the last slot goes, reclaim leaves them where
 * they are, and how many are under way just then is chance.
 */
static long hog(bool compressible)
{
	long *got = (long *)SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	long len, twice = 0;
	int status;
	pid_t pid;
	char *p;

	need_small_guest();
	pid = SYS(fork());
	if (!pid) {
		set("/proc/self/oom_score_adj", "1000");
		p = (char *)SYS(mmap(NULL, 1L << 40, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS |
				     MAP_NORESERVE, -1, 0));
		for (len = 0;; len += PAGE) {
			if (len % (MIB / 4) == 0)
				twice = meminfo_bytes("SwapCached");
			__atomic_store_n(got, len + twice, __ATOMIC_RELAXED);
			fill_page(p + len, len, compressible);
		}
	}
	SYS(waitpid(pid, &status, 0));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	      "the process was not killed: status %x", status);
	return *got;
}

/*
 * What a process gets with precache full, at least @enough.  When the last swap
 * slot goes, some MiB are on their way to or from the disk, with and without
 * tmem, and how many is chance.  What tmem keeps for itself is missing each
 * time: so the best of three rounds counts.
 */
static void hog_of(int percent, bool compressible, long enough)
{
	long with = 0, held, round;

	set(MAX_PERCENT, "%d", percent);
	for (round = 0; with < enough && round < 3; round++) {
		big_to_precache();
		held = get_long(RAM "used_bytes");
		with = hog(compressible);
		note("max_percent %d: got %ld MiB, enough are %ld", percent,
		     with / MIB, enough / MIB);
		note("precache had %ld MiB, and then %ld pages in %ld KiB",
		     held / MIB, ephemeral(),
		     get_long(RAM "used_bytes") / 1024);
		CHECK_OP(held, >, meminfo_bytes("MemTotal") / 10);
		CHECK_OP(ephemeral(), <, MIB / PAGE);
	}
	CHECK_OP(with, >=, enough);
}

static void hog_beside_tmem(bool compressible)
{
	long without;
	size_t i;

	/*
	 * Fragmentation raises the watermarks for a while: whether it just has
	 * is chance, and makes more of a difference than all that follows.
	 */
	set("/proc/sys/vm/watermark_boost_factor", "0");
	big_file(meminfo_bytes("MemTotal") / 10 * 6 & -CHUNK, compressible);
	/* What slabs keep is kept in all rounds */
	big_to_precache();
	hog(compressible);
	set(SYSFS "precache", "0");
	set(SYSFS "preswap", "0");
	without = hog(compressible);
	note("without tmem: got %ld MiB", without / MIB);
	set(SYSFS "precache", "1");
	set(SYSFS "preswap", "1");
	for (i = 0; i < sizeof(percents) / sizeof(*percents); i++)
		hog_of(percents[i], compressible, without - tolerance());
	set(MAX_PERCENT, "20");
}

/*
 * Nobody is killed while there are pages that can be dropped.  Compressed pages
 * free memory only when all that share a zspage have gone.
 */
static void precache_yields_before_oom_kill(void)
{
	hog_beside_tmem(true);
}

static void raw_precache_yields_before_oom_kill(void)
{
	hog_beside_tmem(false);
}

/*
 * Nor while there are pages in preswap: when no swap slot is free, reclaim
 * cannot swap out any more, but each of those pages has its slot.
 */
static void preswap_yields_before_oom_kill(void)
{
	swap_on(swap_dev(0));
	hog_beside_tmem(true);
	CHECK_OP(since(PRESWAP_PUT), >, 3 * MIB / PAGE);
	CHECK_OP(since(PRESWAP_SHRINK), >, 3 * MIB / PAGE);
}

static void raw_preswap_yields_before_oom_kill(void)
{
	swap_on(swap_dev(0));
	hog_beside_tmem(false);
	CHECK_OP(since(PRESWAP_SHRINK), >, 3 * MIB / PAGE);
}

/*
 * A swap device that fails is no way out: then a process is killed after all,
 * and what was to be written stays in memory.
 */
static void failing_device_does_not_stop_the_oom_killer(void)
{
	const size_t len = 16 * MIB;
	long held, left;
	char *p;

	fs_linear(0);
	swap_on(fs_dev(0));
	set(MAX_PERCENT, "50");
	p = anon(len);
	fill(p, len, OLD, 0);
	SYS(madvise(p, len, MADV_PAGEOUT));
	held = preswap_pages();
	CHECK_OP(held, >=, len / PAGE);
	fs_bad_writes(0);
	hog(true);
	left = preswap_pages();
	note("preswap had %ld pages before, and then %ld", held, left);
	CHECK_OP(since(PRESWAP_SHRINK), >, 0);
	CHECK_OP(since(PRESWAP_SHRINK), <, held / 2);
	fs_linear(0);
	verify(p, len, OLD, 0, "memory");
	CHECK_OP(swap_off(fs_dev(0)), ==, 0);
	set(MAX_PERCENT, "20");
}

/*
 * Where memory is short, a page that does not compress would take as much as it
 * leaves.  One that does is worth it.
 */
static void streamed_raw_pages_are_refused(void)
{
	long len = meminfo_bytes("MemTotal") / 4 * 5 & -CHUNK, raw;

	set(MAX_PERCENT, "50");
	big_file(len, false);
	read_big();
	raw = get_long(RAM "used_bytes");
	note("incompressible: %ld KiB used after %ld MiB; %ld puts refused",
	     raw / 1024, len / MIB, since(PRECACHE_PUT_FAIL));
	CHECK_OP(since(PRECACHE_PUT_FAIL), >, 256);
	CHECK_OP(raw, <, meminfo_bytes("MemTotal") / 20);
	big_file(len, true);
	read_big();
	note("compressible: %ld KiB used", get_long(RAM "used_bytes") / 1024);
	CHECK_OP(get_long(RAM "used_bytes"), >, 2 * raw);
	CHECK_OP(get_long(RAM "used_bytes"), >, meminfo_bytes("MemTotal") / 10);
	set(MAX_PERCENT, "20");
}

/*
 * MemAvailable, and what it leaves out although it is no page of ours: free
 * pages in the CPUs' lists, some MiB after reclaim, and slabs, which a debug
 * kernel makes ten times as large as the descriptors in them.
 */
static long available(void)
{
	return meminfo_bytes("MemAvailable") + meminfo_bytes("SUnreclaim") +
	       in_cpu_lists();
}

/* MemAvailable counts what precache would give back */
static void memory_in_precache_is_available(void)
{
	long before, used, slab, reclaimable, fell;
	int compressible;

	set(MAX_PERCENT, "50");
	for (compressible = 0; compressible < 2; compressible++) {
		big_file(meminfo_bytes("MemTotal") / 10 * 4 & -CHUNK,
			 compressible);
		set("/proc/sys/vm/drop_caches", DROP_PAGES);
		before = available();
		slab = meminfo_bytes("SUnreclaim");
		reclaimable = meminfo_bytes("KReclaimable");
		used = get_long(RAM "used_bytes");
		big_to_precache();
		used = get_long(RAM "used_bytes") - used;
		fell = before - available();
		note("precache took %ld KiB, available fell by %ld KiB",
		     used / 1024, fell / 1024);
		note("slabs grew by %ld KiB, %ld KiB in the CPUs' lists",
		     (meminfo_bytes("SUnreclaim") - slab) / 1024,
		     in_cpu_lists() / 1024);
		CHECK_OP(used, >, meminfo_bytes("MemTotal") / 10);
		CHECK_OP(labs(fell), <=, tolerance());
		SYS(umount("/tmp/tmem"));
		/* And no longer than it is there */
		CHECK_OP(meminfo_bytes("KReclaimable"), <=,
			 reclaimable + tolerance());
	}
	set(MAX_PERCENT, "20");
}

/* A lower limit holds when the write returns, not some puts later */
static void lowered_limit_gives_memory_back(void)
{
	long used, free;

	set(MAX_PERCENT, "50");
	big_file(meminfo_bytes("MemTotal") / 10 * 4 & -CHUNK, false);
	big_to_precache();
	used = get_long(RAM "used_bytes");
	free = meminfo_bytes("MemFree");
	set(MAX_PERCENT, "5");
	note("used_bytes %ld -> %ld KiB, MemFree %ld -> %ld KiB", used / 1024,
	     get_long(RAM "used_bytes") / 1024, free / 1024,
	     meminfo_bytes("MemFree") / 1024);
	CHECK_OP(used, >, meminfo_bytes("MemTotal") / 5);
	CHECK_OP(get_long(RAM "used_bytes"), <=,
		 meminfo_bytes("MemTotal") / 20);
	CHECK_OP(meminfo_bytes("MemFree") - free, >=,
		 used - meminfo_bytes("MemTotal") / 20 - tolerance());
	set(MAX_PERCENT, "20");
}

static const struct test tests[] = {
	TEST(precache_yields_before_oom_kill),
	TEST(raw_precache_yields_before_oom_kill),
	TEST(preswap_yields_before_oom_kill),
	TEST(raw_preswap_yields_before_oom_kill),
	TEST(failing_device_does_not_stop_the_oom_killer),
	TEST(streamed_raw_pages_are_refused),
	TEST(memory_in_precache_is_available),
	TEST(lowered_limit_gives_memory_back),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "memory", tests, ARRAY_SIZE(tests));
}
