// SPDX-License-Identifier: GPL-2.0
/*
 * Files that precache must not touch.  Each test has a file beside it, in the
 * same file system, that precache does serve.
 */

#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>

#include "tmem_test.h"

#define LEN		(8 * PAGE)

#define GET	"tmem/tmem_get_page"
#define BAD_INO	1	/* of ext4, where the buddy cache is */

/* Evict, and read back: how many pages were put, and asked for? */
static void evict_and_read(int fd, uint64_t seed, size_t len, long *puts,
			   long *gets)
{
	file_cache(fd);
	CHECK_OP(file_cached(fd), >, 0);
	*puts = evict_puts(fd);
	trace_begin(GET, "oid0 == %ld", file_ino(fd));
	file_verify(fd, seed, 0, len);
	*gets = trace_end(GET);
	note("inode %ld: pages put %ld, asked for %ld", file_ino(fd), *puts,
	     *gets);
}

static void check_excluded(int fd, uint64_t seed, size_t len)
{
	long puts, gets;
	int i;

	for (i = 0; i < 2; i++) {
		evict_and_read(fd, seed, len, &puts, &gets);
		CHECK_OP(puts, ==, 0);
		CHECK_OP(gets, ==, 0);
	}
}

static void check_included(const char *dir)
{
	int fd = file_new(dir, "normal", OLD, LEN);
	long puts, gets;

	evict_and_read(fd, OLD, LEN, &puts, &gets);
	CHECK_OP(puts, ==, LEN / PAGE);
	CHECK_OP(gets, ==, LEN / PAGE);
	close(fd);
}

/* Hook: ext4_read_inline_folio() */
static void inline_data_is_never_put(void)
{
	const char *dir;
	int fd;

	fs_make(0, MKFS " -O inline_data");
	dir = fs_mount(0, "");
	check_included(dir);
	fd = file_new(dir, "inline", OLD, 40);
	set("/proc/sys/vm/drop_caches", DROP_PAGES);
	check_excluded(fd, OLD, 40);
	/* With a block of its own it is a file like others */
	file_write(fd, OLD, 0, LEN);
	SYS(fsync(fd));
	evict(fd);
	file_verify(fd, OLD, 0, LEN);
}

/*
 * What is read in a verity file is verified, and that includes pages that were
 * put before.  Hook: IS_VERITY in precache_refuses().
 */
static void verity_file_is_never_served(void)
{
	struct fsverity_enable_arg arg = {
		.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = PAGE,
	};
	const char *dir;
	int fd;

	fs_make(0, MKFS " -O verity");
	dir = fs_mount(0, "");
	check_included(dir);
	fd = file_new(dir, "verity", OLD, LEN);
	to_tmem(fd);
	close(fd);
	fd = SYS(open(FS(0) "/verity", O_RDONLY));
	SYS(ioctl(fd, FS_IOC_ENABLE_VERITY, &arg));
	file_verify(fd, OLD, 0, LEN);
	check_excluded(fd, OLD, LEN);
}

/*
 * The plain text of an encrypted file stays in this kernel.  Hook:
 * IS_ENCRYPTED in precache_refuses().
 */
static void encrypted_file_is_never_put(void)
{
	struct {
		struct fscrypt_add_key_arg arg;
		uint8_t raw[64];
	} key = {
		.arg.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER,
		.arg.raw_size = sizeof(key.raw),
	};
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	const char *dir;
	int fd, secret;

	fs_make(0, MKFS " -O encrypt");
	dir = fs_mount(0, "");
	check_included(dir);
	SYS(mkdir(FS(0) "/secret", 0700));
	secret = SYS(open(FS(0) "/secret", O_RDONLY));
	fill(key.raw, sizeof(key.raw), 3, 0);
	SYS(ioctl(secret, FS_IOC_ADD_ENCRYPTION_KEY, &key));
	memcpy(policy.master_key_identifier, key.arg.key_spec.u.identifier,
	       sizeof(policy.master_key_identifier));
	SYS(ioctl(secret, FS_IOC_SET_ENCRYPTION_POLICY, &policy));
	fd = file_new(FS(0) "/secret", "file", OLD, LEN);
	check_excluded(fd, OLD, LEN);
}

/*
 * A swap file is written beneath the page cache.  After swapoff it reads as
 * what the disk has, though its pages were in tmem before.  Hooks: IS_SWAPFILE
 * in precache_refuses(), the flush in swapoff().
 */
static void swap_file_reads_as_on_disk(void)
{
	const size_t len = 4 * MIB;
	const char *dir = fs_new(0);
	int fd = file_new(dir, "swap", OLD, len), direct;
	char *mem, *disk = buffer(len), *cached = buffer(len);

	check_included(dir);
	must_run("mkswap " FS(0) "/swap >/dev/null");
	SYS(fsync(fd));
	/* What mkswap has read is not this cgroup's to reclaim */
	SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	to_tmem(fd);

	/* To the swap file, not to preswap */
	set(SYSFS "preswap", "0");
	SYS(swapon(FS(0) "/swap", 0));
	mem = anon(2 * MIB);
	fill(mem, 2 * MIB, NEW, 0);
	swap_out(mem, 2 * MIB);
	CHECK_OP(since(PSWPOUT), >=, 2 * MIB / PAGE);

	/* What is read during this time is neither got nor put */
	trace_begin(GET, "oid0 == %ld", file_ino(fd));
	SYS(pread(fd, cached, PAGE, len - PAGE));
	CHECK_OP(trace_end(GET), ==, 0);
	CHECK_OP(file_cached(fd), >, 0);
	CHECK_OP(evict_puts(fd), ==, 0);

	verify(mem, 2 * MIB, NEW, 0, "memory");
	SYS(munmap(mem, 2 * MIB));
	CHECK_OP(swap_off(FS(0) "/swap"), ==, 0);

	direct = file_direct(fd);
	CHECK_OP(SYS(pread(direct, disk, len, 0)), ==, len);
	CHECK_OP(SYS(pread(fd, cached, len, 0)), ==, len);
	CHECK(!memcmp(disk, cached, len), "file and disk differ");
	fill(cached, len, OLD, 0);
	CHECK(memcmp(disk, cached, len), "nothing was swapped to the file");
}

/*
 * A caller that asks where a file is on the disk may write there: md does, with
 * a bitmap in a file.  Hook: ext4_bmap().
 */
static void file_written_by_block_is_never_served(void)
{
	const char *dir = fs_new(0);
	int fd = file_new(dir, "file", OLD, LEN), raw = disk(O_RDWR | O_DIRECT);
	off_t at = fs_disk_offset(0, fd, 0);
	char *page = buffer(PAGE);
	int block = 0;

	check_included(dir);
	to_tmem(fd);
	SYS(ioctl(fd, FIBMAP, &block));
	CHECK_OP(block, ==, at / PAGE);
	fill(page, PAGE, NEW, 0);
	CHECK_OP(SYS(pwrite(raw, page, PAGE, at)), ==, PAGE);
	file_verify(fd, NEW, 0, PAGE);
	file_verify(fd, OLD, PAGE, LEN - PAGE);
	check_excluded(fd, NEW, PAGE);
}

/*
 * The mapping of ext4's buddy cache has no ->read_folio: no get would ask for
 * what was put.  Its inode is not made for a file, so that i_mode is left from
 * the inode that had the memory, a file here.  Hook: read_folio in
 * precache_refuses().
 */
static void buddy_cache_is_never_put(void)
{
	static const char gone[] = "filemap/mm_filemap_delete_from_page_cache";
	static const char put[] = "tmem/tmem_put_page";
	long evicted = 0;
	char name[16];
	int round, i, fd;

	fs_new(0);
	for (round = 0; round < 6; round++) {
		for (i = 0; i < 100; i++) {
			snprintf(name, sizeof(name), "%d", i);
			close(file_new(FS(0), name, OLD, PAGE));
		}
		fs_umount(0);
		fs_mount(0, "");
		fd = file_new(FS(0), "file", OLD, LEN);
		trace_begin(round % 2 ? gone : put,
			    round % 2 ? "i_ino == %d" : "oid0 == %d", BAD_INO);
		evict(fd);
		if (round % 2)
			evicted += trace_end(gone);
		else
			CHECK_OP(trace_end(put), ==, 0);
		close(fd);
	}
	note("pages of the buddy cache evicted: %ld", evicted);
	CHECK_OP(evicted, >=, 3);
}

static const struct test tests[] = {
	TEST(inline_data_is_never_put, .also = XEN),
	TEST(verity_file_is_never_served, .also = XEN),
	TEST(encrypted_file_is_never_put, .also = XEN),
	TEST(buddy_cache_is_never_put, .also = XEN),
	TEST(swap_file_reads_as_on_disk, .also = XEN),
	TEST(file_written_by_block_is_never_served, .also = XEN),
};

int main(int argc, char **argv)
{
	return test_main(argc, argv, "precache", tests, ARRAY_SIZE(tests));
}
