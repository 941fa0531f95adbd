// SPDX-License-Identifier: GPL-2.0
/* Suspend to disk */

#include <limits.h>
#include <sys/mount.h>

#include "tmem_test.h"

#define POWER		"/sys/power/"
#define LEN		(4 * MIB)

/*
 * Once, in this mode and to this level, with an image of this size if that can
 * be: reclaim takes the rest.  Only the mode stays set when it fails or is
 * over.
 */
static void hibernate(const char *mode, const char *level, long image)
{
	long before = get_long(POWER "image_size");
	int ret;

	set(POWER "disk", "%s", mode);
	set(POWER "image_size", "%ld", image);
	set(POWER "pm_debug_messages", "1");
	set(POWER "pm_test", "%s", level);
	kmsg_mark();
	mark();
	ret = try_set(POWER "state", "disk");
	set(POWER "pm_test", "none");
	set(POWER "pm_debug_messages", "0");
	set(POWER "image_size", "%ld", before);
	CHECK(!ret, "hibernation: %s", strerror(-ret));
	evidence("hibernation");
}

/*
 * The RAM backend's pages are part of the image, and so is all that is known of
 * them.  The image is written to a swap device of which preswap has pages,
 * read, and put in the place of the kernel that has read it; the second time
 * reclaim has put more pages there, and evicted what was there, to make the
 * image small.
 */
static void hibernation_keeps_all_pages(void)
{
	static const char dir[] = "/tmp/files";
	char *p = anon(LEN), *q = anon(LEN);
	int fd, i;

	must_run("mkfs.ext4 -q -F -b 4096 -E nodiscard,lazy_itable_init=0 %s",
		 swap_dev(1));
	must_run("mkdir -p %s && mount %s %s", dir, swap_dev(1), dir);
	swap_on(disk_name());
	fd = file_new(dir, "file", OLD, LEN);
	for (i = 0; i < 2; i++) {
		file_write(fd, 3 + i, 0, LEN);
		SYS(fsync(fd));
		to_tmem(fd);
		fill(p, LEN, 5 + i, 0);
		swap_out(p, LEN);
		CHECK_OP(preswap_pages(), >=, LEN / PAGE);
		fill(q, LEN, 7 + i, 0);

		hibernate("test_resume", "none", i ? 0 : LONG_MAX);
		CHECK(kmsg_has("Hibernation image restored successfully"),
		      "nothing was restored");
		CHECK_OP(preswap_pages(), >=, LEN / PAGE);
		if (i == 1)
			CHECK_OP(since(PRESWAP_PUT), >, 0);
		verify(p, LEN, 5 + i, 0, "memory");
		verify(q, LEN, 7 + i, 0, "memory");
		CHECK_OP(since(PRESWAP_GET), >=, LEN / PAGE);
		file_verify(fd, 3 + i, 0, LEN);
		if (i == 0)
			CHECK_OP(since(PRECACHE_GET), >=, LEN / PAGE);
	}
	close(fd);
	SYS(umount(dir));
	CHECK_OP(swap_off(disk_name()), ==, 0);
}

/*
 * A hypervisor does not keep the pools of a domain that is off.  So first all
 * pages are brought back; then there is no pool, not even for the reclaim that
 * makes room for the image; and when hibernation is over there are new pools.
 * It is given up when all is frozen.  Hooks: the notifiers of the Xen backend.
 */
static void hibernation_drains_preswap(void)
{
	char *p = anon(LEN);
	int fd;

	fd = file_new(fs_new(0), "file", OLD, LEN);
	to_tmem(fd);
	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	CHECK_OP(preswap_pages(), ==, LEN / PAGE);

	hibernate("shutdown", "freezer", 0);
	CHECK(kmsg_has("Waiting for 5 seconds"), "it was given up before");
	CHECK_OP(since(PRESWAP_SHRINK), >=, LEN / PAGE);
	CHECK_OP(preswap_pages(), ==, 0);
	/* What reclaim took went to the device, or nowhere */
	CHECK_OP(since(PSWPOUT), >, 0);
	CHECK_OP(since(PRECACHE_PUT_FAIL), >, 0);
	CHECK_OP(since(PRESWAP_PUT), ==, 0);
	CHECK_OP(since(PRECACHE_PUT), ==, 0);
	verify(p, LEN, OLD, 0, "memory");
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), ==, 0);

	mark();
	to_tmem(fd);
	fill(p, LEN, NEW, 0);
	swap_out(p, LEN);
	CHECK_OP(preswap_pages(), >=, LEN / PAGE);
	verify(p, LEN, NEW, 0, "memory");
	CHECK_OP(since(PRESWAP_GET), >=, LEN / PAGE);
	file_verify(fd, OLD, 0, LEN);
	CHECK_OP(since(PRECACHE_GET), >=, LEN / PAGE);
}

static const struct test tests[] = {
	TEST(hibernation_keeps_all_pages),
	TEST(hibernation_drains_preswap, .in = XEN),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "preswap", tests, ARRAY_SIZE(tests));
}
