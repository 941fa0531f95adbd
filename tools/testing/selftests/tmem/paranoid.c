// SPDX-License-Identifier: GPL-2.0
/*
 * Whether CONFIG_TMEM_PARANOID looks, and sees.  It does in all tests; here it
 * has something to see, and warns: what else warns in this guest is a bug.
 */

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tmem_test.h"

#define LEN		(64 * PAGE)
#define NR		(LEN / PAGE)
#define PARANOID	"/sys/kernel/debug/tmem_paranoid/"

static long known(const char *what)
{
	char path[64];

	if (access(PARANOID, F_OK))
		skip("the kernel is not paranoid");
	snprintf(path, sizeof(path), PARANOID "%s", what);
	return get_long(path);
}

/*
 * Gets of a file: by the checksum, and by the disk, whatever the journal does
 */
static void hits_of_precache_are_compared(void)
{
	static const char *const modes[] = {
		"data=ordered", "data=journal", "data=writeback",
	};
	long hits, disk, mistakes = known("mistakes");
	int i, round, fd;

	for (i = 0; i < 3; i++) {
		fs_make(i, MKFS);
		fd = file_new(fs_mount(i, modes[i]), "file", OLD, LEN);
		hits = known("compared");
		disk = known("disk_compared");
		for (round = 0; round < 4; round++) {
			file_write(fd, 3 + round, 0, LEN);
			/* With data=journal, fsync() writes to the journal */
			SYS(syncfs(fd));
			evict(fd);
			file_verify(fd, 3 + round, 0, LEN);
		}
		hits = known("compared") - hits;
		disk = known("disk_compared") - disk;
		note("%s: %ld hits compared, %ld with the disk", modes[i], hits,
		     disk);
		CHECK_OP(hits, >=, 2 * NR);
		CHECK_OP(disk, ==, hits);
		close(fd);
		fs_umount(i);
	}
	CHECK_OP(known("mistakes"), ==, mistakes);
}

static void hits_of_preswap_are_compared(void)
{
	long hits = known("compared"), mistakes = known("mistakes");
	char *p = anon(LEN);

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	verify(p, LEN, OLD, 0, "memory");
	CHECK_OP(known("compared") - hits, >=, NR);
	CHECK_OP(known("mistakes"), ==, mistakes);
}

/* A wrong byte is found and named, with its history, and goes no further */
static void corrupt_page_of_precache_is_found(void)
{
	int fd = file_new(fs_new(0), "file", OLD, LEN);
	long mistakes = known("mistakes");
	char handle[64];

	to_tmem(fd);
	SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	kmsg_mark();
	inject(CORRUPT, 100, 1);
	file_verify(fd, OLD, 7 * PAGE, PAGE);
	inject(0, 0, 0);
	CHECK_OP(known("mistakes") - mistakes, ==, 1);
	CHECK(kmsg_has("is not what was put"), "nothing in the log");
	CHECK(kmsg_has("(dm-0)"), "the file system is not named");
	snprintf(handle, sizeof(handle), "object %ld/0/", file_ino(fd));
	CHECK(kmsg_has(handle), "the file is not named");
	CHECK(kmsg_has("index 7:"), "the page is not named");
	CHECK(kmsg_has("us: put = 0, cpu"), "there is no history");
	CHECK_OP(since(PRECACHE_GET_MISS), >=, 1);
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(known("mistakes") - mistakes, ==, 1);
}

static void corrupt_page_of_preswap_is_found(void)
{
	long mistakes = known("mistakes");
	char *p = anon(LEN);
	int status;
	pid_t pid;

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	kmsg_mark();
	inject(CORRUPT, 100, 1);
	pid = SYS(fork());
	if (!pid)
		exit(p[0] == 0);
	SYS(waitpid(pid, &status, 0));
	inject(0, 0, 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
	      "the reader got status %x instead of SIGBUS", status);
	CHECK_OP(known("mistakes") - mistakes, ==, 1);
	CHECK(kmsg_has("(swap), object"), "nothing in the log");
	verify(p + PAGE, LEN - PAGE, OLD, PAGE, "memory");
}

/* The disk was written to, and nobody was told */
static void page_that_disk_has_not_is_found(void)
{
	int fd = file_new(fs_new(0), "file", OLD, LEN);
	int raw = disk(O_RDWR | O_DIRECT);
	long mistakes = known("mistakes");
	char *page = buffer(PAGE);

	to_tmem(fd);
	SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	fill(page, PAGE, NEW, 0);
	CHECK_OP(SYS(pwrite(raw, page, PAGE, fs_disk_offset(0, fd, 0))), ==,
		 PAGE);
	kmsg_mark();
	file_verify(fd, NEW, 0, PAGE);
	CHECK(kmsg_has("is not what the disk has"), "nothing in the log");
	CHECK_OP(known("mistakes") - mistakes, ==, 1);
	file_verify(fd, OLD, PAGE, LEN - PAGE);
	CHECK_OP(known("mistakes") - mistakes, ==, 1);
}

static const struct test tests[] = {
	TEST(hits_of_precache_are_compared, .also = XEN),
	TEST(hits_of_preswap_are_compared, .also = XEN),
	TEST(corrupt_page_of_precache_is_found),
	TEST(corrupt_page_of_preswap_is_found),
	TEST(page_that_disk_has_not_is_found),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "paranoid", tests, ARRAY_SIZE(tests));
}
