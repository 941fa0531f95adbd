// SPDX-License-Identifier: GPL-2.0
/*
 * precache and changes of the block map: truncation, holes, shifted extents,
 * reused inodes, with the data only in tmem.
 */

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tmem_test.h"

/* From linux/ext4.h, which is newer than others */
#define EXT4_IOC_MOVE_EXT	_IOWR('f', 15, struct move_extent)
#define EXT4_IOC_SWAP_BOOT	_IO('f', 17)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

struct move_extent {
	uint32_t reserved;
	uint32_t donor_fd;
	uint64_t orig_start, donor_start, len, moved_len;
};

/* At least this many pages of tmem were given up */
static void check_flushed(long before, long pages)
{
	note("pages in tmem: before %ld, after %ld", before, ephemeral());
	CHECK_OP(ephemeral(), <=, before - pages);
}

/* [start, end) is zeros now, the rest as it was; twice, evicted in between */
static void check_hole(int fd, off_t start, off_t end)
{
	off_t size = file_size(fd);
	int i;

	for (i = 0; i < 2; i++) {
		file_verify(fd, OLD, 0, start);
		file_verify(fd, 0, start, end - start);
		file_verify(fd, OLD, end, size - end);
		SYS(fsync(fd));
		evict(fd);
	}
}

/*
 * A hole within a page, or with a partial page at each end: the flush covers
 * these, though truncation of the page cache does nothing about pages that are
 * not cached.  Hook: truncate_inode_pages_range().  (That it rounds outward is
 * for KUnit to see: ext4 flushes the pages at the ends once more when it zeroes
 * a part of them.)
 */
static void hole_flushes_partial_pages(int mode)
{
	static const struct { off_t start, len; long pages; } holes[] = {
		{ 3 * PAGE + 100, 200, 1 },
		{ 3 * PAGE, 512, 1 },
		{ PAGE + 100, 2 * PAGE, 3 },
		{ 4 * PAGE, 2 * PAGE, 2 },
	};
	const char *dir = fs_new(0);
	long held;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(holes) / sizeof(*holes); i++) {
		fd = file_new(dir, "file", OLD, 8 * PAGE);
		to_tmem(fd);
		held = ephemeral();
		SYS(fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, holes[i].start,
			      holes[i].len));
		check_flushed(held, holes[i].pages);
		check_hole(fd, holes[i].start, holes[i].start + holes[i].len);
		close(fd);
	}
	CHECK_OP(since(PRECACHE_GET), >, 8);
}

static void punch_hole_flushes_partial_pages(void)
{
	hole_flushes_partial_pages(FALLOC_FL_PUNCH_HOLE);
}

static void zero_range_flushes_partial_pages(void)
{
	hole_flushes_partial_pages(FALLOC_FL_ZERO_RANGE);
}

/* Writes nothing, but leaves no block free that a file can have */
static void fill_up(const char *dir)
{
	int fd = file_new(dir, "filler", OLD, 0);
	off_t len = 64 << 20, end = 0;

	while (len >= PAGE) {
		if (!fallocate(fd, 0, end, len)) {
			end += len;
			continue;
		}
		CHECK_OP(errno, ==, ENOSPC);
		len /= 2;
	}
	close(fd);
}

/*
 * The range begins and ends within a page.  Both pages have been zeroed in the
 * page cache, but not on the disk, when there is no block for the extents into
 * which the range has to be split: four fit into an inode.  Hook:
 * ext4_fallocate().
 */
static void failed_zero_range_is_not_put(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, 8 * PAGE), i;

	for (i = 0; i < 3; i++)
		file_write(fd, OLD, (9 + 2 * i) * PAGE, PAGE);
	SYS(fsync(fd));
	fill_up(dir);
	file_cache(fd);

	CHECK_OP(fallocate(fd, FALLOC_FL_ZERO_RANGE, PAGE + 100, 2 * PAGE),
		 ==, -1);
	CHECK_OP(errno, ==, ENOSPC);
	file_verify(fd, 0, PAGE + 100, PAGE - 100);
	file_verify(fd, 0, 3 * PAGE, 100);
	SYS(fsync(fd));
	CHECK_OP(evict_puts(fd), ==, 0);
	file_verify(fd, OLD, 0, 8 * PAGE);
}

/*
 * Zeroing the rest of the last block changes the disk and leaves a cached folio
 * that is not uptodate.  If its buffers are dropped, but not the folio, then
 * the next read asks precache, which must not have the old page any more.
 *
 * Reclaim does that when the folio has another user, like a reader that waits
 * for its lock.  So have a reader arrive in the middle of reclaim.  There must
 * be something to be zeroed: plant it on the disk.  Hooks: the flush where a
 * put is refused, or else the one in __ext4_block_zero_page_range(), which is
 * also for code that drops buffers and does not try to remove the folio.
 */
static void zeroed_end_of_file_is_not_hidden(void)
{
	const char *dir = fs_new(0);
	const off_t end = PAGE + 100;
	int fd = file_new(dir, "file", OLD, end), raw = disk(O_RDWR | O_DIRECT);
	int *go = (int *)SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	char *page = buffer(PAGE), *read = buffer(PAGE);
	int round, i;
	off_t at;
	pid_t pid;

	use_all_cpus();
	fill(page, 100, OLD, PAGE);
	fill(page + 100, PAGE - 100, 3, end);
	SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));

	for (round = 0; round < 60; round++) {
		at = fs_disk_offset(0, fd, PAGE);
		SYS(fsync(fd));
		CHECK_OP(SYS(pwrite(raw, page, PAGE, at)), ==, PAGE);
		set("/proc/sys/vm/drop_caches", DROP_PAGES);
		CHECK_OP(SYS(pread(fd, read, PAGE, PAGE)), ==, 100);
		evict(fd);

		SYS(pwrite(fd, "", 1, 3 * PAGE));
		SYS(fsync(fd));
		__atomic_store_n(go, 0, __ATOMIC_RELAXED);
		pid = SYS(fork());
		if (!pid) {
			while (!__atomic_load_n(go, __ATOMIC_RELAXED))
				;
			for (i = 0; i < round * 200; i++)
				asm volatile("pause");
			SYS(pread(fd, read, PAGE, PAGE));
			exit(0);
		}
		__atomic_store_n(go, 1, __ATOMIC_RELAXED);
		cgroup_reclaim();
		SYS(waitpid(pid, NULL, 0));
		CHECK_OP(SYS(pread(fd, read, PAGE, PAGE)), ==, PAGE);
		verify(read, 100, OLD, PAGE, "file");
		verify(read + 100, PAGE - 100, 0, end, "the end of the block");
		SYS(ftruncate(fd, end));
		SYS(fsync(fd));
	}
	CHECK_OP(since(PRECACHE_PUT), >=, 60);
}

/*
 * Down to the middle of a block and up again: zeros beyond the cut.  Hook:
 * truncate_inode_pages_range().
 */
static void truncate_flushes_precache(void)
{
	const off_t size = 8 * PAGE, cut = 5 * PAGE + 100;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, size);
	long held;

	to_tmem(fd);
	held = ephemeral();
	SYS(ftruncate(fd, cut));
	check_flushed(held, 3);
	SYS(fsync(fd));
	to_tmem(fd);
	SYS(ftruncate(fd, size));
	SYS(fsync(fd));
	evict(fd);
	check_hole(fd, cut, size);

	/* What is allocated anew, and written beside the page cache */
	to_tmem(fd);
	SYS(ftruncate(fd, 0));
	SYS(fallocate(fd, 0, 0, size));
	file_write_direct(fd, NEW, 0, size);
	file_verify(fd, NEW, 0, size);
}

/*
 * The same with neither page nor shadow entry left.  Hook: the early exit of
 * truncate_inode_pages_range().
 */
static void truncate_of_empty_mapping_flushes_precache(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, 8 * PAGE);
	long held;

	to_tmem(fd);
	forget_shadows(dir);
	held = ephemeral();
	SYS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE,
		      4 * PAGE));
	check_flushed(held, 4);
	check_hole(fd, PAGE, 5 * PAGE);
}

/*
 * Extents move to other offsets, beneath pages that are only in tmem.  Hook:
 * truncate_inode_pages_range(), called for all that moves.
 */
static void collapse_and_insert_flush_precache(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, 32 * PAGE);
	long held;
	char *buf = buffer(32 * PAGE), *want = buffer(32 * PAGE);
	int i;

	fill(want, 32 * PAGE, OLD, 0);
	to_tmem(fd);
	held = ephemeral();
	SYS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4 * PAGE, 4 * PAGE));
	check_flushed(held, 28);
	memmove(want + 4 * PAGE, want + 8 * PAGE, 24 * PAGE);
	for (i = 0; i < 2; i++) {
		CHECK_OP(SYS(pread(fd, buf, 32 * PAGE, 0)), ==, 28 * PAGE);
		CHECK(!memcmp(buf, want, 28 * PAGE), "collapsed: wrong data");
		to_tmem(fd);
	}

	held = ephemeral();
	SYS(fallocate(fd, FALLOC_FL_INSERT_RANGE, 2 * PAGE, 4 * PAGE));
	check_flushed(held, 26);
	memmove(want + 6 * PAGE, want + 2 * PAGE, 26 * PAGE);
	memset(want + 2 * PAGE, 0, 4 * PAGE);
	for (i = 0; i < 2; i++) {
		CHECK_OP(SYS(pread(fd, buf, 32 * PAGE, 0)), ==, 32 * PAGE);
		CHECK(!memcmp(buf, want, 32 * PAGE), "inserted: wrong data");
		to_tmem(fd);
	}
	CHECK_OP(since(PRECACHE_GET), >, 28);
}

/*
 * Two files swap their blocks, as in defragmentation: the file keeps its data,
 * the donor gets the file's old blocks, as unwritten ones.  One page of the
 * donor is in the page cache, where ext4 leaves it, the others are in tmem
 * only; all are outdated.  Hook: the exclusion in move_extent_per_page().
 */
static void donor_of_moved_extents_is_not_hidden(void)
{
	const size_t len = 8 * PAGE;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", NEW, len);
	int donor = file_new(dir, "donor", OLD, len);
	struct move_extent move = { .donor_fd = donor, .len = len / PAGE };

	to_tmem(fd);
	to_tmem(donor);
	SYS(posix_fadvise(donor, 0, 0, POSIX_FADV_RANDOM));
	file_verify(donor, OLD, 0, PAGE);
	CHECK_OP(file_cached(donor), ==, 1);
	CHECK_OP(since(PRECACHE_GET), >=, 1);

	SYS(ioctl(fd, EXT4_IOC_MOVE_EXT, &move));
	CHECK_OP(move.moved_len, ==, len / PAGE);
	SYS(fsync(fd));
	file_verify(donor, 0, PAGE, len - PAGE);
	CHECK_OP(file_cached(donor), ==, len / PAGE);
	CHECK_OP(evict_puts(donor), ==, 0);
	file_verify(donor, 0, 0, len);

	file_verify(fd, NEW, 0, len);
	to_tmem(fd);
	file_verify(fd, NEW, 0, len);
	CHECK_OP(since(PRECACHE_GET), >=, 1 + len / PAGE);
}

/*
 * A file gets other blocks as a whole, and then its own ones again.  Hook:
 * truncate_inode_pages_range().
 */
static void swap_with_boot_loader_flushes_precache(void)
{
	const size_t len = 8 * PAGE;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, len), i;
	long held;

	to_tmem(fd);
	held = ephemeral();
	SYS(ioctl(fd, EXT4_IOC_SWAP_BOOT));
	check_flushed(held, len / PAGE);
	CHECK_OP(file_size(fd), ==, 0);
	file_write(fd, NEW, 0, len);
	SYS(fsync(fd));
	for (i = 0; i < 4; i++) {
		file_verify(fd, i % 2 ? OLD : NEW, 0, len);
		to_tmem(fd);
		file_verify(fd, i % 2 ? OLD : NEW, 0, len);
		CHECK_OP(since(PRECACHE_GET), >=, (i + 1) * len / PAGE);
		to_tmem(fd);
		held = ephemeral();
		SYS(ioctl(fd, EXT4_IOC_SWAP_BOOT));
		check_flushed(held, len / PAGE);
	}
}

#define EVICT_INODE	"ext4/ext4_evict_inode"

/*
 * Make an inode leave memory; nobody may have it open.  By reclaim in the
 * cgroup: drop_caches would empty tmem, too.
 */
static void drop_inode(unsigned long ino)
{
	long held = ephemeral();
	int tries = 0;

	do {
		CHECK(tries++ < 100, "inode %ld stays in memory", ino);
		trace_begin(EVICT_INODE, "ino == %ld", ino);
		cgroup_reclaim();
	} while (!trace_end(EVICT_INODE));
	note("pages in tmem: before %ld, without the inode %ld", held,
	     ephemeral());
}

/*
 * The pages of an inode that leaves memory stay, and are found when it is back.
 * Hook: truncate_inode_pages_final().
 */
static void pages_outlive_the_inode_in_memory(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, PAGE);
	unsigned long ino = file_ino(fd);

	to_tmem(fd);
	close(fd);
	drop_inode(ino);
	fd = SYS(open(FS(0) "/file", O_RDWR));
	file_verify(fd, OLD, 0, PAGE);
	CHECK_OP(since(PRECACHE_GET), ==, 1);
}

/*
 * When it is back, what changes the file must find these pages, though nothing
 * has been put since.  Hook: the filter in precache_has_old().
 */
static void inode_back_in_memory_is_flushed(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, PAGE);
	unsigned long ino = file_ino(fd);

	to_tmem(fd);
	close(fd);
	drop_inode(ino);
	fd = SYS(open(FS(0) "/file", O_RDWR));
	file_write_direct(fd, NEW, 0, PAGE);
	file_verify(fd, NEW, 0, PAGE);
	CHECK_OP(since(PRECACHE_GET), ==, 0);
}

/*
 * That takes no more than what was changed, though nobody knows which pages are
 * from earlier.
 */
static void small_write_to_inode_back_in_memory_keeps_the_rest(void)
{
	const size_t pages = 1000, len = pages * PAGE;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, len);
	unsigned long ino = file_ino(fd);

	to_tmem(fd);
	forget_shadows(dir);	/* they keep the inode in memory */
	close(fd);
	drop_inode(ino);
	fd = SYS(open(FS(0) "/file", O_RDWR));
	file_write_direct(fd, NEW, 5 * PAGE, PAGE);
	file_verify(fd, OLD, 0, 5 * PAGE);
	file_verify(fd, NEW, 5 * PAGE, PAGE);
	file_verify(fd, OLD, 6 * PAGE, len - 6 * PAGE);
	CHECK_OP(since(PRECACHE_GET), ==, (long)pages - 1);
}

/*
 * A page of the inode is in the page cache when it leaves memory, and there is
 * an older one in tmem: that must go.  Reclaim does not do that, but a change
 * of the attribute for DAX does: then the inode leaves when the file is closed.
 * Hook: truncate_inode_pages_final().
 */
static void inode_leaves_nothing_outdated(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, PAGE);
	unsigned long ino = file_ino(fd);
	struct fsxattr attr;

	to_tmem(fd);
	file_write(fd, NEW, 0, PAGE);
	SYS(fsync(fd));
	CHECK_OP(since(PRECACHE_GET), ==, 0);
	SYS(ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	attr.fsx_xflags |= FS_XFLAG_DAX;
	SYS(ioctl(fd, FS_IOC_FSSETXATTR, &attr));
	CHECK_OP(file_cached(fd), ==, 1);
	trace_begin(EVICT_INODE, "ino == %ld", ino);
	close(fd);
	CHECK(trace_end(EVICT_INODE), "the inode stays in memory");
	fd = SYS(open(FS(0) "/file", O_RDWR));
	file_verify(fd, NEW, 0, PAGE);
}

/*
 * A new file with the inode number of a deleted one.  It is written beside the
 * page cache while it is not known to have pages in tmem; then one page of it
 * is put, and others are asked for.  Hook: truncate_inode_pages_final().
 */
static void reused_inode_shows_no_old_data(void)
{
	const char *dir = fs_new(0);
	const size_t len = 8 * PAGE;
	unsigned long ino;
	int round, fd;
	size_t size;
	long held;

	for (round = 0; round < 4; round++) {
		/* In every other round it is not in memory when deleted */
		size = round % 2 ? PAGE : len;
		fd = file_new(dir, "old", OLD, size);
		to_tmem(fd);
		ino = file_ino(fd);
		held = ephemeral();
		close(fd);
		if (round % 2)
			drop_inode(ino);
		SYS(unlink(FS(0) "/old"));
		check_flushed(held, size / PAGE);

		fd = file_new(dir, "new", 0, 0);
		CHECK_OP(file_ino(fd), ==, ino);
		file_write_direct(fd, NEW, 0, len);
		SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
		file_verify(fd, NEW, len - PAGE, PAGE);
		evict(fd);
		file_verify(fd, NEW, 0, len);
		close(fd);
		SYS(unlink(FS(0) "/new"));
	}
	CHECK_OP(since(PRECACHE_GET), >=, 4);
}

/* Make one large folio of a part of it, and of what is in tmem */
static void collapse(int fd, char *p, size_t len)
{
	long before = cgroup_stat("file_thp"), cached = file_cached(fd);

	SYS(madvise(p, len, MADV_COLLAPSE));
	note("pages cached before: %ld; file_thp: %ld KiB more", cached,
	     (cgroup_stat("file_thp") - before) / 1024);
	CHECK_OP(cgroup_stat("file_thp") - before, >=, (long)len);
}

/*
 * What nobody writes may be collapsed into a huge page, which gets pages out of
 * tmem, goes there by pages, and is dropped as soon as somebody opens the file
 * for writing.  Hooks: collapse_file() by way of read_folio, remove_mapping(),
 * truncate_inode_pages().
 */
static void read_only_file_in_huge_page_is_whole(void)
{
	const size_t huge = 2 * MIB;
	int fd = file_new(fs_new(0), "file", OLD, huge), i;
	char *p = anon_aligned(huge, huge);

	to_tmem(fd);
	close(fd);
	for (i = 0; i < 2; i++) {
		fd = SYS(open(FS(0) "/file", O_RDONLY));
		SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
		/* A quarter is in the page cache, the rest is in tmem */
		file_verify(fd, OLD, 0, huge / 4);
		SYS(mmap(p, huge, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0));
		collapse(fd, p, huge);
		CHECK_OP(since(PRECACHE_GET), >=, (i + 1) * huge / PAGE);
		verify(p, huge, OLD, 0, "mapping");
		SYS(munmap(p, huge));
		CHECK_OP(evict_puts(fd), ==, huge / PAGE);
		close(fd);
	}

	/* Written to, with an outdated copy in tmem and in the huge page */
	fd = SYS(open(FS(0) "/file", O_RDONLY));
	SYS(mmap(p, huge, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0));
	collapse(fd, p, huge);
	SYS(munmap(p, huge));
	close(fd);
	fd = SYS(open(FS(0) "/file", O_RDWR));
	CHECK_OP(file_cached(fd), ==, 0);
	file_write(fd, NEW, huge / 2, huge / 2);
	SYS(fsync(fd));
	evict(fd);
	file_verify(fd, OLD, 0, huge / 2);
	file_verify(fd, NEW, huge / 2, huge / 2);
	SYS(ftruncate(fd, huge / 2 + 100));
	SYS(ftruncate(fd, huge));
	evict(fd);
	file_verify(fd, OLD, 0, huge / 2);
	file_verify(fd, NEW, huge / 2, 100);
	file_verify(fd, 0, huge / 2 + 100, huge / 2 - 100);
}

static const struct test tests[] = {
	TEST(punch_hole_flushes_partial_pages),
	TEST(zero_range_flushes_partial_pages),
	TEST(failed_zero_range_is_not_put),
	TEST(zeroed_end_of_file_is_not_hidden),
	TEST(truncate_flushes_precache),
	TEST(truncate_of_empty_mapping_flushes_precache),
	TEST(collapse_and_insert_flush_precache),
	TEST(donor_of_moved_extents_is_not_hidden),
	TEST(swap_with_boot_loader_flushes_precache),
	TEST(pages_outlive_the_inode_in_memory),
	TEST(inode_back_in_memory_is_flushed),
	TEST(small_write_to_inode_back_in_memory_keeps_the_rest),
	TEST(inode_leaves_nothing_outdated),
	TEST(reused_inode_shows_no_old_data),
	TEST(read_only_file_in_huge_page_is_whole),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "precache", tests, ARRAY_SIZE(tests));
}
