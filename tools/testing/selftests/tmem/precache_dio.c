// SPDX-License-Identifier: GPL-2.0
/*
 * precache and direct I/O: data that goes to the disk beside the page cache
 * must never be hidden by a page in tmem.
 *
 * What happens during a direct write is made visible by a device whose writes
 * take long and whose reads do not.  A test that was not quick enough tries
 * again with a slower device.
 */

#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "tmem_test.h"

/*
 * A direct write of whatever size flushes the range, also when no page of it
 * is cached.  Hook: kiocb_invalidate_post_direct_write().
 */
static void dio_write_flushes_precache(void)
{
	const size_t size = MIB + 80 * PAGE + 100;
	static const struct { off_t off; size_t len; } writes[] = {
		{ 0, PAGE }, { 8 * PAGE, 64 << 10 }, { 64 * PAGE, MIB },
		{ MIB + 80 * PAGE, PAGE },	/* over the end of the file */
		{ MIB + 79 * PAGE, 4 * PAGE },	/* and extending it by more */
	};
	const char *dir = fs_new(0);
	off_t off, end;
	size_t i, len;
	int fd;

	for (i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
		off = writes[i].off;
		len = writes[i].len;
		end = off + len;
		fd = file_new(dir, "file", OLD, size);
		to_tmem(fd);
		file_write_direct(fd, NEW, off, len);
		CHECK_OP(file_cached(fd), ==, 0);
		file_verify(fd, NEW, off, len);
		file_verify(fd, OLD, 0, off);
		if (end < (off_t)size)
			file_verify(fd, OLD, end, size - end);
		close(fd);
	}
	/* What was not written still came from tmem */
	CHECK_OP(since(PRECACHE_GET), >, 100);
}

/*
 * Nor may the flush be forgotten where neither page nor shadow entry is left.
 * Hook: kiocb_invalidate_post_direct_write().
 */
static void dio_write_to_empty_mapping_flushes_precache(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, 8 * PAGE);

	to_tmem(fd);
	forget_shadows(dir);
	file_write_direct(fd, NEW, 2 * PAGE, PAGE);
	file_verify(fd, NEW, 2 * PAGE, PAGE);
	file_verify(fd, OLD, 0, 2 * PAGE);
	CHECK_OP(since(PRECACHE_GET), >=, 2);
}

/*
 * A direct write to all of a file that reads as @old.  While the device is at
 * it the file is read, and evicted: that puts @puts pages.  Returns false if
 * the device was too fast for that.
 */
static bool evict_during_write(int fd, uint64_t old, size_t len, long *puts)
{
	bool slow;
	long res;

	aio_write(fd, NEW, 0, len);
	slow = file_is(fd, old, 0, len);
	*puts = counter(PRECACHE_PUT);
	evict(fd);
	*puts = counter(PRECACHE_PUT) - *puts;
	slow = !aio_wait(&res) && slow;
	CHECK_OP(res, ==, len);
	return slow;
}

/*
 * A page that is read and evicted during the write is flushed after it, also
 * when by then no page is cached.  Hook: kiocb_invalidate_post_direct_write().
 */
static void dio_write_flushes_again_after_io(void)
{
	const size_t len = 8 * PAGE;
	const char *dir = fs_new(0);
	long puts = 0;
	bool slow = false;
	int fd, ms = 0;

	while (!slow) {
		ms = fs_slower(ms);
		fs_linear(0);
		fd = file_new(dir, "file", OLD, len);
		evict(fd);
		fs_slow_writes(0, ms);
		slow = evict_during_write(fd, OLD, len, &puts);
	}
	fs_linear(0);
	note("put during the write: %ld pages", puts);
	CHECK_OP(puts, >=, len / PAGE);
	file_verify(fd, NEW, 0, len);
}

/*
 * Before the write, a newer page is removed from the page cache, below which
 * there is an older one in tmem.  Until the write is over the page reads as it
 * was, not as it was before that.  Hook: invalidate_complete_folio2().
 */
static void dio_write_uncovers_no_old_page(void)
{
	const size_t len = 8 * PAGE;
	const char *dir = fs_new(0);
	long res, gets;
	bool slow = false;
	int fd, ms = 0;

	while (!slow) {
		ms = fs_slower(ms);
		fs_linear(0);
		fd = file_new(dir, "file", OLD, len);
		to_tmem(fd);
		gets = counter(PRECACHE_GET);
		file_write(fd, NEW, 0, len);
		CHECK_OP(counter(PRECACHE_GET) - gets, ==, 0);
		SYS(fsync(fd));
		fs_slow_writes(0, ms);
		aio_write(fd, 3, 0, len);
		slow = file_is(fd, NEW, 0, len);
		CHECK(slow || aio_done(), "neither old nor new data");
		aio_wait(&res);
		CHECK_OP(res, ==, len);
		file_verify(fd, 3, 0, len);
	}
	fs_linear(0);
}

/*
 * The same for a write into unwritten extents, which until the end of the I/O
 * read as zeros.  Hooks: as above.
 */
static void dio_write_to_unwritten_flushes_zeros(void)
{
	const size_t len = 8 * PAGE;
	const char *dir = fs_new(0);
	long puts = 0;
	bool slow = false;
	int fd, ms = 0;

	while (!slow) {
		ms = fs_slower(ms);
		fs_linear(0);
		fd = file_new(dir, "file", OLD, len);
		to_tmem(fd);
		SYS(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, len));
		SYS(fsync(fd));
		file_verify(fd, 0, 0, len);
		fs_slow_writes(0, ms);
		slow = evict_during_write(fd, 0, len, &puts);
	}
	fs_linear(0);
	note("zeros put during the write: %ld pages", puts);
	CHECK_OP(puts, >=, len / PAGE);
	file_verify(fd, NEW, 0, len);
}

/*
 * A write that fails in the middle has changed what is before.  Hook: the
 * condition in iomap_dio_complete().
 */
static void dio_write_error_flushes_precache(void)
{
	const size_t len = 16 * PAGE, good = 8 * PAGE;
	const long sectors = FS_SIZE / SECTOR;
	const char *dir = fs_new(0);
	long res, puts, at;
	char *disk, *cached;
	bool slow = false;
	int fd, ms = 0, direct;

	while (!slow) {
		ms = fs_slower(ms);
		fs_linear(0);
		fd = file_new(dir, "file", OLD, len);
		evict(fd);
		at = fs_disk_offset(0, fd, 0) / SECTOR;
		CHECK_OP(fs_disk_offset(0, fd, len - PAGE) / SECTOR, ==,
			 at + (long)(len - PAGE) / SECTOR);
		fs_table(0, "0 %ld linear %s 0\n"
			 "%ld %ld delay %s %ld 0 %s %ld %d\n"
			 "%ld %ld error\n"
			 "%ld %ld linear %s %ld",
			 at, disk_name(),
			 at, good / SECTOR, disk_name(), at, disk_name(), at,
			 ms,
			 at + good / SECTOR, (len - good) / SECTOR,
			 at + len / SECTOR, sectors - at - len / SECTOR,
			 disk_name(), at + len / SECTOR);
		aio_write(fd, NEW, 0, len);
		/* Page by page, or else readahead would run into the error */
		SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
		slow = file_is(fd, OLD, 0, good);
		puts = counter(PRECACHE_PUT);
		evict(fd);
		puts = counter(PRECACHE_PUT) - puts;
		slow = !aio_wait(&res) && slow;
		CHECK_OP(res, ==, -EIO);
	}
	note("put during the write that failed: %ld pages", puts);
	CHECK_OP(puts, >=, good / PAGE);
	fs_linear(0);

	disk = buffer(len);
	cached = buffer(len);
	direct = file_direct(fd);
	CHECK_OP(SYS(pread(fd, cached, len, 0)), ==, len);
	CHECK_OP(SYS(pread(direct, disk, len, 0)), ==, len);
	verify(disk, good, NEW, 0, "what the failed write did to the disk");
	verify(cached, good, NEW, 0, "file");
	CHECK(!memcmp(disk, cached, len), "file and disk differ");
}

/*
 * While a direct write invalidates, a get is a miss: between the scan, which
 * does not find the page, and the flush, tmem may hold the old one.  Hook: the
 * gate in kiocb_invalidate_post_direct_write().
 *
 * Page 0 is in tmem and not cached; all others are cached, so the scan takes
 * long.  When it has removed page 1 it is beyond page 0: now read that.
 */
static void dio_write_gates_precache_get(void)
{
	const size_t len = 4 * MIB;
	const char *dir = fs_new(0);
	char *buf = buffer(len);
	unsigned char vec;
	long res, puts;
	bool slow = false;
	char *map;
	int fd, ms = 0;

	use_all_cpus();
	while (!slow) {
		ms = fs_slower(ms ?: 1000);
		fs_linear(0);
		fd = file_new(dir, "file", OLD, len);
		evict(fd);
		SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
		fs_slow_writes(0, ms);
		aio_write(fd, NEW, 0, len);
		slow = file_is(fd, OLD, 0, PAGE);
		puts = counter(PRECACHE_PUT);
		evict(fd);
		puts = counter(PRECACHE_PUT) - puts;
		SYS(pread(fd, buf, len - PAGE, PAGE));
		slow = slow && !aio_done();

		map = (char *)SYS(mmap(NULL, len, PROT_READ, MAP_SHARED, fd,
				       0));
		do {
			SYS(mincore(map + PAGE, PAGE, &vec));
		} while (vec & 1 && !aio_done());
		file_cache(fd);	/* from page 0 on */
		SYS(munmap(map, len));
		aio_wait(&res);
		CHECK_OP(res, ==, len);
	}
	fs_linear(0);
	note("put before the scan: %ld page", puts);
	CHECK_OP(puts, >=, 1);
	file_verify(fd, NEW, 0, len);
}

/*
 * After the completion of an asynchronous write has been seen a read gets what
 * was written, whatever readers and reclaim did during it.  Hooks: all of the
 * above.
 */
static void aio_write_is_seen_after_completion(void)
{
	const size_t pages = 32, len = pages * PAGE;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", 3, len), round;
	uint64_t seeds[32];
	pid_t reader, reclaimer;
	size_t i, first, nr;
	char page[PAGE];
	long res;

	use_all_cpus();
	for (i = 0; i < pages; i++)
		seeds[i] = 3;
	reader = SYS(fork());
	if (!reader)
		for (i = 0; ; i = (i * 5 + 1) % pages)
			SYS(pread(fd, page, PAGE, i * PAGE));
	reclaimer = SYS(fork());
	if (!reclaimer)
		for (;;)
			cgroup_reclaim();

	for (round = 0; round < 150; round++) {
		first = random() % pages;
		nr = 1 + random() % (pages - first);
		aio_write(fd, 4 + round % 100, first * PAGE, nr * PAGE);
		aio_wait(&res);
		CHECK_OP(res, ==, nr * PAGE);
		for (i = first; i < first + nr; i++)
			seeds[i] = 4 + round % 100;
		/* What was not written just now is still there, too */
		if (round % 8 == 7) {
			first = 0;
			nr = pages;
		}
		for (i = first; i < first + nr; i++)
			file_verify(fd, seeds[i], i * PAGE, PAGE);
	}
	kill(reader, SIGKILL);
	kill(reclaimer, SIGKILL);
	CHECK_OP(since(PRECACHE_PUT), >, 100);
	CHECK_OP(since(PRECACHE_GET), >, 10);
}

/*
 * A page that is only in tmem is overwritten, but half of the source cannot be
 * read.  What then leaves the page cache may not be put, and the old page must
 * go.  Hook: the flush in precache_evict() where a put is refused.
 */
static void short_copy_leaves_no_old_page(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, 4 * PAGE);
	char *src = (char *)SYS(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	long held, half = PAGE / 2;

	to_tmem(fd);
	held = ephemeral();
	fill(src + half, half, NEW, PAGE);
	SYS(munmap(src + PAGE, PAGE));
	CHECK_OP(pwrite(fd, src + half, PAGE, PAGE), ==, half);
	CHECK_OP(since(PRECACHE_GET), ==, 0);

	file_verify(fd, NEW, PAGE, half);
	file_verify(fd, OLD, PAGE + half, half);
	SYS(fsync(fd));
	set(SYSFS "precache", "0");
	evict(fd);
	set(SYSFS "precache", "1");
	note("pages in tmem: before %ld, after %ld", held, ephemeral());
	CHECK_OP(ephemeral(), <, held);
	file_verify(fd, NEW, PAGE, half);
	file_verify(fd, OLD, PAGE + half, half);
	file_verify(fd, OLD, 0, PAGE);
}

/* Is the process waiting for a disk? */
static bool in_disk_sleep(pid_t pid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	CHECK(f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1, "%s", path);
	fclose(f);
	return state == 'D';
}

/*
 * A part of a page that is not cached is overwritten.  While its block is read,
 * half of the source goes away and the writer is killed, so that it copies the
 * other half and does not try again.  The trace says that it was so.  The page
 * may not be put with that half.  Without data=journal it is forgotten at once,
 * and the file is put as before; with it, it may be seen until it is evicted,
 * as without precache.  Hooks: block_write_end(), ext4_journalled_write_end().
 */
static void short_copy_in(const char *dir, bool journal)
{
	const char *write_end = journal ? "ext4/ext4_journalled_write_end" :
					  "ext4/ext4_da_write_end";
	const size_t half = 1504, len = 2 * half;
	int fd, ms = 0, source;
	bool done = false;
	char *src;
	pid_t pid;

	while (!done) {
		ms = fs_slower(ms);
		fd = file_new(dir, "file", OLD, 4 * PAGE);
		evict(fd);
		source = SYS(memfd_create("source", 0));
		SYS(ftruncate(source, 2 * PAGE));
		src = (char *)SYS(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
				       MAP_SHARED, source, 0));
		src += PAGE - half;
		fill(src, len, NEW, PAGE);
		fs_table(0, "0 %ld delay %s 0 %d %s 0 0", FS_SIZE / SECTOR,
			 disk_name(), ms, disk_name());
		trace_begin(write_end,
			    "ino == %ld && len == %zu && copied == %zu",
			    file_ino(fd), len, half);
		pid = SYS(fork());
		if (!pid) {
			SYS(pwrite(fd, src, len, PAGE));
			exit(0);
		}
		while (!in_disk_sleep(pid) && !waitpid(pid, NULL, WNOHANG))
			;
		SYS(ftruncate(source, PAGE));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		fs_linear(0);
		/* Otherwise the writer was faster, or has tried again */
		done = trace_end(write_end) && (journal ?
			file_is(fd, NEW, PAGE, half) &&
			file_is(fd, OLD, PAGE + half, PAGE - half) :
			file_is(fd, OLD, PAGE, PAGE));
		CHECK_OP(fsync(fd), ==, 0);
		if (done && !journal)
			to_tmem(fd);
		evict(fd);
		if (done)
			file_verify(fd, OLD, 0, 4 * PAGE);
		SYS(munmap(src + half - PAGE, 2 * PAGE));
		close(source);
		close(fd);
	}
}

static void short_copy_is_not_put(void)
{
	short_copy_in(fs_new(0), false);
	fs_umount(0);
	short_copy_in(fs_mount(0, "data=journal"), true);
}

/*
 * What is written is a mapping of the same file, all of which is in tmem: while
 * the write is going on its source comes into the page cache.  Where source and
 * target overlap that cannot be removed afterwards, and may be outdated, until
 * it is evicted.  Hook: kiocb_invalidate_post_direct_write().
 */
static void dio_write_of_own_mapping_flushes_precache(void)
{
	static const struct { off_t from, to; bool apart; } writes[] = {
		{ 32 * PAGE, 0, true },
		{ 0, 32 * PAGE, true },
		{ PAGE, 0, false },
		{ 0, 0, false },
	};
	const size_t size = 64 * PAGE, len = 16 * PAGE;
	const char *dir = fs_new(0);
	char *buf = buffer(size), *want = buffer(size), *map, name[8];
	int fd, direct;
	long gets;
	size_t i;

	for (i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
		snprintf(name, sizeof(name), "file%ld", (long)i);
		fd = file_new(dir, name, OLD, size);
		to_tmem(fd);
		fill(want, size, OLD, 0);
		memmove(want + writes[i].to, want + writes[i].from, len);

		gets = counter(PRECACHE_GET);
		map = (char *)SYS(mmap(NULL, size, PROT_READ, MAP_SHARED, fd,
				       0));
		direct = file_direct(fd);
		CHECK_OP(SYS(pwrite(direct, map + writes[i].from, len,
				    writes[i].to)), ==, len);
		gets = counter(PRECACHE_GET) - gets;
		note("got from tmem during the write: %ld pages", gets);
		CHECK_OP(gets, >, 0);
		if (writes[i].apart)
			CHECK(!memcmp(map, want, size), "the mapping is wrong");
		SYS(munmap(map, size));

		SYS(fsync(fd));
		CHECK_OP(SYS(pread(direct, buf, size, 0)), ==, size);
		CHECK(!memcmp(buf, want, size), "the disk is wrong");
		evict(fd);
		CHECK_OP(SYS(pread(fd, buf, size, 0)), ==, size);
		CHECK(!memcmp(buf, want, size), "the file is wrong");
		close(direct);
		close(fd);
	}
}

/*
 * Direct I/O reads from one file into a mapping of another.  Writeback makes
 * the pages of the latter clean while the device still writes to them; then
 * they may not be put.  No hook: reclaim lets pinned pages be before it comes
 * to one.
 */
static void pages_under_dma_are_not_put(void)
{
	static const char put[] = "tmem/tmem_put_page";
	const long start = FS_SIZE / SECTOR;
	const size_t len = 16 * PAGE;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, len), source, ms = 0, i;
	long res, puts;
	bool slow = false;
	char *map;

	dir = fs_new(1);
	source = file_new(dir, "source", NEW, len);
	map = (char *)SYS(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED,
			       fd, 0));
	while (!slow) {
		ms = fs_slower(ms);
		fs_linear(1);
		file_write(fd, OLD, 0, len);
		SYS(fsync(fd));
		to_tmem(fd);
		fs_table(1, "0 %ld delay %s %ld %d %s %ld 0", FS_SIZE / SECTOR,
			 disk_name(), start, ms, disk_name(), start);
		aio_read(source, map, 0, len);
		trace_begin(put, "oid0 == %ld", file_ino(fd));
		SYS(fsync(fd));
		for (i = 0; i < 3; i++)
			cgroup_reclaim();
		puts = trace_end(put);
		slow = !aio_wait(&res);
		CHECK_OP(res, ==, len);
	}
	note("put during the read: %ld pages", puts);
	CHECK_OP(puts, ==, 0);
	verify(map, len, NEW, 0, "the mapping");
	SYS(munmap(map, len));
	/* They may become dirty even later */
	do {
		SYS(fsync(fd));
		cgroup_reclaim();
	} while (file_cached(fd));
	puts = counter(PRECACHE_GET);
	file_verify(fd, NEW, 0, len);
	CHECK_OP(counter(PRECACHE_GET) - puts, ==, len / PAGE);
}

/*
 * The same, many times and with no delay, while somebody else makes the pages
 * clean and evicts them all the time.
 */
static void dma_into_mapping_is_never_lost(void)
{
	const size_t len = 16 * PAGE;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, len), direct, round;
	off_t from;
	char *map;
	pid_t pid;

	direct = file_direct(file_new(dir, "source", NEW, 8 * len));
	map = (char *)SYS(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED,
			       fd, 0));
	use_all_cpus();
	pid = SYS(fork());
	if (!pid)
		for (;;) {
			SYS(fsync(fd));
			cgroup_reclaim();
		}
	for (round = 0; round < 300; round++) {
		/* Now and then, see to it that it all comes from tmem */
		while (round % 20 == 0 && file_cached(fd))
			sched_yield();
		from = random() % 8 * len;
		CHECK_OP(SYS(pread(direct, map, len, from)), ==, len);
		verify(map, len, NEW, from, "the mapping");
		sched_yield();
		verify(map, len, NEW, from, "the mapping, later");
	}
	kill(pid, SIGKILL);
	SYS(waitpid(pid, NULL, 0));
	CHECK_OP(since(PRECACHE_PUT), >=, 10 * len / PAGE);
	CHECK_OP(since(PRECACHE_GET), >=, 5 * len / PAGE);
}

static const struct test tests[] = {
	TEST(dio_write_flushes_precache, .also = XEN),
	TEST(dio_write_to_empty_mapping_flushes_precache, .also = XEN),
	TEST(dio_write_flushes_again_after_io, .also = XEN),
	TEST(dio_write_uncovers_no_old_page),
	TEST(dio_write_to_unwritten_flushes_zeros),
	TEST(dio_write_error_flushes_precache),
	TEST(dio_write_gates_precache_get, .also = XEN),
	TEST(aio_write_is_seen_after_completion, .also = XEN),
	TEST(short_copy_leaves_no_old_page),
	TEST(short_copy_is_not_put),
	TEST(dio_write_of_own_mapping_flushes_precache),
	TEST(pages_under_dma_are_not_put),
	TEST(dma_into_mapping_is_never_lost),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "precache", tests, ARRAY_SIZE(tests));
}
