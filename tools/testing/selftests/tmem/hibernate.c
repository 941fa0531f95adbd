// SPDX-License-Identifier: GPL-2.0
/* Suspend to disk */

#include <limits.h>
#include <sys/mount.h>

#include "tmem_test.h"

#define POWER		"/sys/power/"
#define LEN		(4 * MIB)

/* With an image of this size, if that can be: reclaim takes the rest */
static void hibernate(long image)
{
	set(POWER "image_size", "%ld", image);
	set(POWER "pm_debug_messages", "1");
	kmsg_mark();
	mark();
	set(POWER "state", "disk");
	evidence("hibernation");
}

/*
 * The RAM backend's pages are part of the image, and so is all that is known of
 * them: whatever happened while it was written never did.  The image is written
 * to a swap device of which preswap has pages, read, and put in the place of the
 * kernel that has read it; the second time reclaim has put there all that it
 * could.
 */
static void hibernation_keeps_all_pages(void)
{
	static const char dir[] = "/tmp/files";
	char *p = anon(LEN), *q = anon(LEN);
	int fd, i;

	must_run("mke2fs -q -F -t ext4 -b 4096 %s && mkdir %s && mount %s %s",
		 swap_dev(1), dir, swap_dev(1), dir);
	swap_on(disk_name());
	set(POWER "disk", "test_resume");
	fd = file_new(dir, "file", OLD, LEN);
	for (i = 0; i < 2; i++) {
		file_write(fd, 3 + i, 0, LEN);
		SYS(fsync(fd));
		to_tmem(fd);
		fill(p, LEN, 5 + i, 0);
		swap_out(p, LEN);
		CHECK_OP(preswap_pages(), >=, LEN / PAGE);
		fill(q, LEN, 7 + i, 0);

		hibernate(i ? 0 : LONG_MAX);
		CHECK(kmsg_has("Hibernation image restored successfully"),
		      "nothing was restored");
		CHECK_OP(preswap_pages(), >=, LEN / PAGE);
		CHECK_OP(preswap_pages(), ==, persistent());
		verify(p, LEN, 5 + i, 0, "memory");
		verify(q, LEN, 7 + i, 0, "memory");
		CHECK_OP(since(PRESWAP_GET), >=, LEN / PAGE);
		file_verify(fd, 3 + i, 0, LEN);
		if (i == 0)
			CHECK_OP(since(PRECACHE_GET), >=, LEN / PAGE);
		else
			CHECK_OP(since(PRESWAP_PUT), >=, 100);
	}
	close(fd);
	SYS(umount(dir));
	CHECK_OP(swap_off(disk_name()), ==, 0);
}

/*
 * A hypervisor does not keep the pools of who is off: all pages are brought back
 * first, and while there is no room for them in memory, they go to the device.
 * Only as far as all is frozen, then it is given up.  Hooks: the notifiers of the
 * Xen backend.
 */
static void hibernation_drains_preswap(void)
{
	char *p = anon(LEN);

	swap_on(swap_dev(0));
	fill(p, LEN, OLD, 0);
	swap_out(p, LEN);
	CHECK_OP(preswap_pages(), ==, LEN / PAGE);

	set(POWER "disk", "shutdown");
	set(POWER "pm_test", "freezer");
	hibernate(0);
	set(POWER "pm_test", "none");
	CHECK(kmsg_has("hibernation entry"), "no hibernation");
	CHECK_OP(since(PRESWAP_SHRINK), >=, LEN / PAGE);
	CHECK_OP(preswap_pages(), ==, 0);
	/* What reclaim took for the image went to the device, or nowhere */
	CHECK_OP(since(PSWPOUT), >, 0);
	CHECK_OP(since(PRECACHE_PUT_FAIL), >, 0);
	CHECK_OP(since(PRESWAP_PUT), ==, 0);
	CHECK_OP(since(PRECACHE_PUT), ==, 0);
	verify(p, LEN, OLD, 0, "memory");

	/* There is a pool again */
	fill(p, LEN, NEW, 0);
	swap_out(p, LEN);
	CHECK_OP(preswap_pages(), ==, LEN / PAGE);
	verify(p, LEN, NEW, 0, "memory");
	CHECK_OP(since(PRESWAP_GET), >=, LEN / PAGE);
}

static const struct test tests[] = {
	{ "hibernation_keeps_all_pages", hibernation_keeps_all_pages },
	{ "hibernation_drains_preswap", hibernation_drains_preswap },
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
