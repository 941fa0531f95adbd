// SPDX-License-Identifier: GPL-2.0
/* precache when the disk or the backend fails */

#include <sys/mman.h>

#include "tmem_test.h"

#define LEN		(8 * PAGE)

/*
 * After a write error the folio is clean, but not what the disk has.  With
 * precache as without, what is read after eviction is what the disk has.
 * Hook: wb_err in precache_refuses().
 */
static void write_error_is_not_hidden_by_precache(void)
{
	const long sectors = FS_SIZE / SECTOR;
	int fd = file_new(fs_new(0), "file", OLD, LEN), i;
	long at;

	to_tmem(fd);
	at = fs_disk_offset(0, fd, 0) / SECTOR;
	fs_table(0, "0 %ld linear %s 0\n%ld %ld error\n%ld %ld linear %s %ld",
		 at, disk_name(), at, LEN / SECTOR, at + LEN / SECTOR,
		 sectors - at - LEN / SECTOR, disk_name(), at + LEN / SECTOR);
	file_write(fd, NEW, 0, LEN);
	CHECK(fsync(fd) == -1 && errno == EIO, "the write did not fail");
	fs_linear(0);

	for (i = 0; i < 2; i++) {
		CHECK_OP(evict_puts(fd), ==, 0);
		file_verify(fd, OLD, 0, LEN);
	}
	CHECK_OP(since(PRECACHE_GET), ==, 0);
}

/*
 * A flush that fails leaves an old page that must never be seen: the file
 * system does without precache from then on.  Others are not concerned.  Hook:
 * precache_kill().
 */
static void failed_flush_disables_precache(void)
{
	long gets;
	int fd, other;

	fs_new(0);
	fs_new(1);
	fd = file_new(FS(0), "file", OLD, LEN);
	other = file_new(FS(1), "file", OLD, LEN);
	to_tmem(fd);
	to_tmem(other);
	gets = counter(PRECACHE_GET);

	kmsg_mark();
	inject(FAIL_FLUSH, 100, -1);
	file_write_direct(fd, NEW, 0, LEN);
	inject(0, 0, 0);
	CHECK(kmsg_has("flush failed"), "nothing in the log");
	file_verify(fd, NEW, 0, LEN);
	CHECK_OP(evict_puts(fd), ==, 0);
	file_verify(fd, NEW, 0, LEN);
	CHECK_OP(counter(PRECACHE_GET) - gets, ==, 0);

	file_verify(other, OLD, 0, LEN);
	CHECK_OP(counter(PRECACHE_GET) - gets, >=, LEN / PAGE);
}

/*
 * A commit fails.  Now inodes can be read in as they were before, with other
 * blocks or with those of another file: nothing is got any more, though ext4
 * may not know yet.  Hook: the look at the journal in ext4_mpage_readpages().
 */
static void nothing_is_got_after_failed_commit(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, LEN), other;

	to_tmem(fd);
	SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	file_verify(fd, OLD, 0, PAGE);
	CHECK_OP(since(PRECACHE_GET), ==, 1);

	other = SYS(open(FS(0) "/other", O_RDWR | O_CREAT, 0600));
	fs_bad_writes(0);
	CHECK(fsync(other) && errno == EIO, "fsync: %s", strerror(errno));
	mark();
	file_verify(fd, OLD, PAGE, LEN - PAGE);
	CHECK_OP(since(PRECACHE_GET), ==, 0);
	CHECK_OP(since(PRECACHE_GET_MISS), ==, 0);
}

/*
 * A page is overwritten while an old copy is in tmem, and then cannot be put.
 * Hook: none; the contract of put.
 */
static void failed_put_leaves_no_old_page(void)
{
	int fd = file_new(fs_new(0), "file", OLD, LEN), i;

	for (i = 0; i < 4; i++) {
		file_write(fd, OLD, 0, LEN);
		SYS(fsync(fd));
		to_tmem(fd);
		file_write(fd, NEW, 0, LEN);
		SYS(fsync(fd));
		inject(FAIL_PUT, i % 2 ? 50 : 100, -1);
		evict(fd);
		inject(0, 0, 0);
		file_verify(fd, NEW, 0, LEN);
	}
	CHECK_OP(since(PRECACHE_PUT_FAIL), >=, 2 * LEN / PAGE);
}

/*
 * A clean page of the page cache is poisoned, with an older one of it in tmem:
 * neither may be seen again.  Hook: generic_error_remove_folio().
 */
static void poisoned_page_uncovers_no_old_page(void)
{
	int fd = file_new(fs_new(0), "file", OLD, LEN);
	long held;
	char *p;

	to_tmem(fd);
	held = ephemeral();
	file_write(fd, NEW, 0, PAGE);
	SYS(fsync(fd));
	CHECK_OP(ephemeral(), ==, held);
	p = (char *)SYS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	verify(p, PAGE, NEW, 0, "mapping");
	SYS(madvise(p, PAGE, MADV_HWPOISON));
	CHECK_OP(ephemeral(), <, held);
	verify(p, PAGE, NEW, 0, "mapping, read again");
	file_verify(fd, OLD, PAGE, LEN - PAGE);
	CHECK_OP(since(PRECACHE_GET), ==, LEN / PAGE - 1);
}

static const struct test tests[] = {
	TEST(write_error_is_not_hidden_by_precache, .also = XEN),
	TEST(failed_flush_disables_precache, .also = XEN),
	TEST(nothing_is_got_after_failed_commit),
	TEST(failed_put_leaves_no_old_page),
	TEST(poisoned_page_uncovers_no_old_page),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "precache", tests, ARRAY_SIZE(tests));
}
