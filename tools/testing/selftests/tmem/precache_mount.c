// SPDX-License-Identifier: GPL-2.0
/* precache and whole file systems: pools, and who may opt in */

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tmem_test.h"

#define LEN		(8 * PAGE)
#define MANY		20	/* file systems; there are 16 pools */

/* Change the disk beneath the file system */
static void write_beneath(int n, int fd)
{
	int raw = disk(O_RDWR | O_DIRECT);
	char *page = buffer(PAGE);
	off_t off;

	for (off = 0; off < LEN; off += PAGE) {
		fill(page, PAGE, NEW, off);
		CHECK_OP(SYS(pwrite(raw, page, PAGE,
				    fs_disk_offset(n, fd, off))), ==, PAGE);
	}
	free(page);
	close(raw);
}

/* A file in tmem, with other data on the disk by now */
static int outdated_file(const char *dir)
{
	int fd = file_new(dir, "file", OLD, LEN);

	to_tmem(fd);
	disk_may_differ();
	write_beneath(0, fd);
	/* As from the page cache, old data may be seen; it proves a hit */
	SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	file_verify(fd, OLD, 0, PAGE);
	CHECK_OP(since(PRECACHE_GET), >=, 1);
	return fd;
}

/*
 * After drop_caches all is read from the disk.  Hook: drop_pagecache_sb().
 */
static void drop_caches_drops_precache(void)
{
	int fd = outdated_file(fs_new(0));

	set("/proc/sys/vm/drop_caches", DROP_PAGES);
	file_verify(fd, NEW, 0, LEN);
	/* And precache goes on */
	to_tmem(fd);
	file_verify(fd, NEW, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, LEN / PAGE);
}

/*
 * The memory comes back, also that of files that are not in memory any more,
 * and at once.  No page is flushed for that one by one.
 */
static void drop_caches_gives_memory_back(void)
{
	long held = ephemeral(), flushes;
	int fd = file_new(fs_new(0), "file", OLD, MIB);

	to_tmem(fd);
	CHECK_OP(ephemeral(), >=, held + MIB / 2 / PAGE);
	flushes = counter(PRECACHE_FLUSH);
	set("/proc/sys/vm/drop_caches", DROP_PAGES);
	CHECK_OP(ephemeral(), <, held + MIB / 2 / PAGE);
	CHECK_OP(counter(PRECACHE_FLUSH) - flushes, <, MIB / 2 / PAGE);
	file_verify(fd, OLD, 0, MIB);
}

/*
 * POSIX_FADV_DONTNEED drops what is in the page cache, without putting it, and
 * what is not.  Hooks: mapping_try_invalidate(), remove_mapping().
 */
static void fadvise_drops_precache(void)
{
	int fd = outdated_file(fs_new(0));
	long puts = counter(PRECACHE_PUT);

	/* One page is in the page cache, seven are in tmem */
	CHECK_OP(file_cached(fd), ==, 1);
	SYS(posix_fadvise(fd, 0, LEN, POSIX_FADV_DONTNEED));
	CHECK_OP(file_cached(fd), ==, 0);
	CHECK_OP(counter(PRECACHE_PUT) - puts, ==, 0);
	file_verify(fd, NEW, 0, LEN);
}

/*
 * The file system may have been repaired while it was read-only.
 * Hook: reconfigure_super().
 */
static void remount_drops_precache(void)
{
	int fd = outdated_file(fs_new(0)), ro;
	char *page = buffer(PAGE);

	close(fd);
	SYS(mount(NULL, FS(0), NULL, MS_REMOUNT | MS_RDONLY, NULL));
	ro = SYS(open(FS(0) "/file", O_RDONLY));
	SYS(pread(ro, page, PAGE, PAGE));
	verify(page, PAGE, NEW, PAGE, "read-only");
	to_tmem(ro);
	close(ro);
	SYS(mount(NULL, FS(0), NULL, MS_REMOUNT, NULL));
	fd = SYS(open(FS(0) "/file", O_RDWR));
	to_tmem(fd);
	file_verify(fd, NEW, PAGE, LEN - PAGE);
}

/* Does this file system use precache? */
static bool accelerated(int fd)
{
	long puts = counter(PRECACHE_PUT);

	file_cache(fd);
	evict(fd);
	puts = counter(PRECACHE_PUT) - puts;
	CHECK(!puts || puts >= LEN / PAGE, "only %ld pages were put", puts);
	return puts;
}

/*
 * One pool per file system, however often it is remounted, and none for a
 * mount that fails.  Hook: precache_init_fs(), at the end of fill_super.
 */
static void remount_and_failed_mount_leak_no_pool(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, LEN), i;

	close(fd);
	for (i = 0; i < 100; i++) {
		SYS(mount(NULL, FS(0), NULL, MS_REMOUNT | MS_RDONLY, NULL));
		SYS(mount(NULL, FS(0), NULL, MS_REMOUNT, NULL));
	}
	fd = SYS(open(FS(0) "/file", O_RDWR));
	to_tmem(fd);

	fs_make(1, MKFS);
	must_run("debugfs -w -R 'clri <2>' %s 2>/dev/null", fs_dev(1));
	mkdir(FS(1), 0700);	/* another test may have */
	for (i = 0; i < MANY; i++)
		CHECK(mount(fs_dev(1), FS(1), "ext4", 0, "") == -1,
		      "a file system without root directory was mounted");

	to_tmem(file_new(fs_new(2), "file", OLD, LEN));
	/* The first one still has what is its own */
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, LEN / PAGE);
}

/*
 * The last umount destroys the pool and all that is in it; another file
 * system that gets the same pool and has the same inode numbers finds nothing.
 * Hook: deactivate_locked_super().
 */
static void umount_destroys_pool(void)
{
	long held = ephemeral();
	int i, fd;

	for (i = 0; i < MANY; i++) {
		fs_new(i % 2);
		fd = file_new(i % 2 ? FS(1) : FS(0), "file", OLD, 2 * LEN);
		/* so that the next one has old data at the same handles */
		file_write_direct(fd, 3 + i % 3, 0, LEN);
		SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
		file_verify(fd, OLD, LEN, PAGE);
		evict(fd);
		file_verify(fd, 3 + i % 3, 0, LEN);
		to_tmem(fd);
		CHECK_OP(ephemeral(), >=, held + 2 * LEN / PAGE);
		close(fd);
		fs_umount(i % 2);
		CHECK_OP(ephemeral(), ==, held);
	}
}

/*
 * More file systems than pools: the others do without.  The one that has waited
 * longest gets the pool of another that is unmounted, and does not see its
 * pages.  Hooks: as above.
 */
static void mounts_beyond_pool_limit_work(void)
{
	int fd[MANY], i, j, n, with = 0, without = -1;

	kmsg_mark();
	for (i = 0; i < MANY; i++) {
		fd[i] = file_new(fs_new(i), "file", 3 + i, LEN);
		if (accelerated(fd[i]))
			with++;
		else if (without < 0)
			without = i;
	}
	note("%d of %d file systems have a pool", with, MANY);
	CHECK_OP(with, >=, 10);
	CHECK_OP(with, <, 16);
	CHECK(kmsg_has("mounted without precache"), "nothing in the log");
	for (i = 0; i < MANY; i++)
		file_verify(fd[i], 3 + i, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, with * LEN / PAGE);

	/* Unmount in another order than mounted, and give the pool away */
	for (i = 0; i < MANY; i++) {
		n = i * 7 % MANY;
		if (n == without)
			continue;
		evict(fd[n]);
		close(fd[n]);
		fs_umount(n);
		if (i == 0)
			CHECK(accelerated(fd[without]),
			      "a free pool was not used");
		file_verify(fd[without], 3 + without, 0, LEN);
		evict(fd[without]);
		for (j = i + 1; j < MANY; j += 5)
			if (j * 7 % MANY != without) {
				file_write(fd[j * 7 % MANY], 3 + j * 7 % MANY,
					   0, LEN);
				SYS(fsync(fd[j * 7 % MANY]));
			}
	}
}

/*
 * A snapshot is a file system with the same files and inode numbers, in a pool
 * of its own.  Hook: precache_init_fs().
 */
static void snapshot_has_its_own_pool(void)
{
	int fd = file_new(fs_new(0), "file", OLD, LEN), snap, root;
	long held = ephemeral();

	to_tmem(fd);
	root = SYS(open(FS(0), O_RDONLY));
	SYS(ioctl(root, FIFREEZE, 0));
	fs_table(1, "0 %ld snapshot %s %s N 8", FS_SIZE / SECTOR, disk_name(),
		 swap_dev(1));
	fs_table(0, "0 %ld snapshot-origin %s", FS_SIZE / SECTOR, disk_name());
	SYS(ioctl(root, FITHAW, 0));
	close(root);
	fs_mount(1, "");
	snap = SYS(open(FS(1) "/file", O_RDWR));
	CHECK_OP(file_ino(snap), ==, file_ino(fd));

	/*
	 * The same data; both are in tmem, at the same handles but for the pool
	 */
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, LEN / PAGE);
	file_verify(snap, OLD, 0, LEN);
	to_tmem(fd);
	to_tmem(snap);
	CHECK_OP(ephemeral(), >=, held + 2 * LEN / PAGE);

	/* Other data on either side */
	file_write_direct(fd, NEW, 0, LEN);
	file_verify(snap, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, 2 * LEN / PAGE);
	file_write_direct(snap, 3, 0, LEN / 2);
	file_verify(fd, NEW, 0, LEN);
	to_tmem(fd);
	to_tmem(snap);
	CHECK_OP(ephemeral(), >=, held + 2 * LEN / PAGE);
	file_verify(snap, 3, 0, LEN / 2);
	file_verify(snap, OLD, LEN / 2, LEN / 2);
	CHECK_OP(since(PRECACHE_GET), >=, 3 * LEN / PAGE);

	close(snap);
	fs_umount(1);
	CHECK_OP(ephemeral(), ==, held + LEN / PAGE);
	file_verify(fd, NEW, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, 4 * LEN / PAGE);
}

#define EVICT_INODE	"ext4/ext4_evict_inode"
#define DROP_INODES	"2"	/* for drop_caches */
#define FILES		200

static int numbered_file(int i, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), FS(0) "/%d", i);
	return SYS(open(path, flags, 0600));
}

/*
 * All files are in tmem, and hardly an inode is in memory.  By reclaim in the
 * cgroup: drop_caches would empty tmem, too.
 */
static void evict_all_files(dev_t dev)
{
	long puts = counter(PRECACHE_PUT), gone = 0;
	int fd[FILES], i;

	for (i = 0; i < FILES; i++)
		fd[i] = numbered_file(i, O_RDONLY);
	for (i = 0; i < FILES; i++)
		evict(fd[i]);
	puts = counter(PRECACHE_PUT) - puts;
	for (i = 0; i < FILES; i++)
		close(fd[i]);
	for (i = 0; gone < FILES * 9 / 10; i++) {
		/* The kernel's own idea of a device number */
		trace_begin(EVICT_INODE, "dev == %d && nlink > 0",
			    major(dev) << 20 | minor(dev));
		cgroup_reclaim();
		gone += trace_end(EVICT_INODE);
		CHECK(i < 200, "only %ld inodes leave memory", gone);
	}
	note("pages put: %ld, inodes that left memory: %ld", puts, gone);
	CHECK_OP(puts, >=, FILES * LEN / PAGE);
}

static void verify_all_files(void)
{
	char *buf = buffer(LEN);
	int i, fd;

	for (i = 0; i < FILES; i++) {
		fd = numbered_file(i, O_RDONLY);
		CHECK_OP(SYS(pread(fd, buf, LEN, 0)), ==, LEN);
		verify(buf, LEN, 3 + i % 8, 0, "file");
		close(fd);
	}
	free(buf);
}

/*
 * Many inodes leave memory at once and come back.  Whatever is left of their
 * pages goes with the file, or at the latest with the file system.  Hooks:
 * truncate_inode_pages_final(), deactivate_locked_super().
 */
static void inodes_that_come_and_go_leak_nothing(void)
{
	long empty = ephemeral(), held, gets;
	char path[64];
	struct stat st;
	int round, i, fd;

	fs_new(0);
	SYS(stat(FS(0), &st));
	for (i = 0; i < FILES; i++) {
		fd = numbered_file(i, O_RDWR | O_CREAT);
		file_write(fd, 3 + i % 8, 0, LEN);
		close(fd);
	}
	fd = SYS(open(FS(0), O_RDONLY));
	SYS(syncfs(fd));
	close(fd);
	for (round = 0; round < 3; round++) {
		evict_all_files(st.st_dev);
		held = ephemeral();
		CHECK_OP(held, >=, empty + FILES * LEN / PAGE);
		gets = counter(PRECACHE_GET);
		verify_all_files();
		CHECK_OP(counter(PRECACHE_GET) - gets, >=, FILES * LEN / PAGE);
		CHECK_OP(ephemeral(), <=, held - FILES * LEN / PAGE);
	}

	/* With drop_caches, tmem lets go of what it has */
	evict_all_files(st.st_dev);
	set("/proc/sys/vm/drop_caches", DROP_INODES);
	CHECK_OP(ephemeral(), <, empty + FILES * LEN / PAGE);
	verify_all_files();

	/* Deleted without being read, then all that is left */
	evict_all_files(st.st_dev);
	held = ephemeral();
	for (i = 0; i < FILES / 2; i++) {
		snprintf(path, sizeof(path), FS(0) "/%d", i);
		SYS(unlink(path));
	}
	note("pages in tmem: all files %ld, half of them %ld", held,
	     ephemeral());
	CHECK_OP(ephemeral(), <=, held - FILES / 2 * LEN / PAGE);
	fs_umount(0);
	CHECK_OP(ephemeral(), ==, empty);
}

/* The drivers of ext2 and ext3 are gone, their file systems are not */
static void ext2_and_ext3_use_precache(void)
{
	static const char *const types[] = { "ext2", "ext3" };
	int i, fd;

	mkdir("/tmp/tmem", 0700);
	mkdir(FS(0), 0700);
	for (i = 0; i < 2; i++) {
		fs_linear(0);
		must_run("mkfs.%s -q -F -b 4096 -N 256 %s", types[i],
			 fs_dev(0));
		SYS(mount(fs_dev(0), FS(0), types[i], MS_NOATIME, ""));
		fd = file_new(FS(0), "file", OLD, LEN);
		to_tmem(fd);
		file_verify(fd, OLD, 0, LEN);
		CHECK_OP(since(PRECACHE_GET), >=, (i + 1) * LEN / PAGE);
		close(fd);
		fs_umount(0);
	}
}

/*
 * With blocks smaller than a page: no precache, and it says why.  Hook:
 * precache_init_fs().
 */
static void small_blocks_mount_without_precache(void)
{
	int fd;

	kmsg_mark();
	fs_make(0, "-b 1024 -N 256");
	fd = file_new(fs_mount(0, ""), "file", OLD, LEN);
	CHECK(kmsg_has("block size 1024 is not the page size"),
	      "nothing in the log");
	CHECK(!accelerated(fd), "pages of 1 KiB blocks were put");
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), ==, 0);
	/* Others are served */
	to_tmem(file_new(fs_new(1), "file", OLD, LEN));
}

static const struct test tests[] = {
	TEST(drop_caches_drops_precache, .also = XEN),
	TEST(drop_caches_gives_memory_back),
	TEST(fadvise_drops_precache, .also = XEN),
	TEST(remount_drops_precache, .also = XEN),
	TEST(remount_and_failed_mount_leak_no_pool),
	TEST(umount_destroys_pool),
	TEST(mounts_beyond_pool_limit_work, .also = XEN),
	TEST(snapshot_has_its_own_pool),
	TEST(inodes_that_come_and_go_leak_nothing),
	TEST(ext2_and_ext3_use_precache),
	TEST(small_blocks_mount_without_precache),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "precache", tests, ARRAY_SIZE(tests));
}
