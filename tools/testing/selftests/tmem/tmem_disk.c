// SPDX-License-Identifier: GPL-2.0
/* What the tmem tests do with disks, files and swap: see tmem_test.h */

#include <linux/aio_abi.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <time.h>

#include "tmem_test.h"

/* Patterns */

static uint64_t word(uint64_t seed, uint64_t off)
{
	uint64_t x = (seed << 56) + off;

	if (!seed)
		return 0;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

void fill(void *buf, size_t len, uint64_t seed, off_t off)
{
	uint64_t w;
	size_t i, n;

	for (i = 0; i < len; i += n) {
		w = word(seed, (off + i) & ~7L);
		n = 8 - ((off + i) & 7);
		if (n > len - i)
			n = len - i;
		memcpy((char *)buf + i, (char *)&w + ((off + i) & 7), n);
	}
}

void verify(const void *buf, size_t len, uint64_t seed, off_t off,
	    const char *what)
{
	char *expected = malloc(len);
	uint64_t other, w;
	size_t i;

	fill(expected, len, seed, off);
	if (!memcmp(buf, expected, len)) {
		free(expected);
		return;
	}
	for (i = 0; ((char *)buf)[i] == expected[i]; i++)
		;
	i = (i & ~7UL) + 8 <= len ? i & ~7UL : i;
	for (other = 0; other < 16 && i + 8 <= len; other++) {
		w = word(other, off + i);
		if (!memcmp((char *)buf + i, &w, 8))
			fail("%s: offset %ld: pattern %ld, not %ld (0 is zeros)",
			     what, (long)(off + i), (long)other, (long)seed);
	}
	fail("%s: offset %ld: unknown bytes, expected pattern %ld", what,
	     (long)(off + i), (long)seed);
}

/* Fit for O_DIRECT */
void *buffer(size_t len)
{
	void *p = aligned_alloc(PAGE, (len + PAGE - 1) & -PAGE);

	CHECK(p, "no memory");
	return p;
}

/* File systems */

const char *disk_name(void)
{
	return getenv("TMEM_DISK");
}

int disk(int flags)
{
	return SYS(open(disk_name(), flags));
}

const char *fs_dev(int n)
{
	static char dev[64];

	snprintf(dev, sizeof(dev), "/dev/mapper/tmem%d", n);
	return dev;
}

static const char *fs_dir(int n)
{
	static char dir[64];

	snprintf(dir, sizeof(dir), "/tmp/tmem/%d", n);
	return dir;
}

/* Give the device this table; nothing may be in flight */
void fs_table(int n, const char *fmt, ...)
{
	char table[512];
	struct stat st;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(table, sizeof(table), fmt, ap);
	va_end(ap);
	if (stat(fs_dev(n), &st))
		must_run("echo '%s' | dmsetup create tmem%d", table, n);
	else
		must_run("set -e; dmsetup suspend --nolockfs tmem%d\n"
			 "echo '%s' | dmsetup load tmem%d\n"
			 "dmsetup resume tmem%d", n, table, n, n);
}

void fs_linear(int n)
{
	fs_table(n, "0 %ld linear %s %ld", FS_SIZE / SECTOR, disk_name(),
		 n * (FS_SIZE / SECTOR));
}

/*
 * How slow to make a device next, for a test that was not quick enough when it
 * was @ms slow, or has not begun yet: 0.
 */
int fs_slower(int ms)
{
	CHECK(ms < 30000, "the device is never slow enough");
	return ms ? ms * 2 : 1000;
}

void fs_slow_writes(int n, int ms)
{
	long start = n * (FS_SIZE / SECTOR);

	fs_table(n, "0 %ld delay %s %ld 0 %s %ld %d", FS_SIZE / SECTOR,
		 disk_name(), start, disk_name(), start, ms);
}

void fs_bad_writes(int n)
{
	fs_table(n, "0 %ld flakey %s %ld 0 3600 1 error_writes",
		 FS_SIZE / SECTOR, disk_name(), n * (FS_SIZE / SECTOR));
}

void fs_make(int n, const char *mkfs)
{
	fs_linear(n);
	must_run("mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0 %s %s", mkfs,
		 fs_dev(n));
}

const char *fs_mount(int n, const char *options)
{
	mkdir("/tmp/tmem", 0700);
	mkdir(fs_dir(n), 0700);
	SYS(mount(fs_dev(n), fs_dir(n), "ext4", MS_NOATIME, options));
	return fs_dir(n);
}

void fs_umount(int n)
{
	SYS(umount(fs_dir(n)));
}

const char *fs_new(int n)
{
	fs_make(n, MKFS);
	return fs_mount(n, "");
}

/* Where on the scratch disk a file's page is */
off_t fs_disk_offset(int n, int fd, off_t off)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = { .map = { .fm_start = off, .fm_length = PAGE,
			 .fm_extent_count = 1 } };
	struct fiemap_extent *extent = &u.map.fm_extents[0];

	SYS(ioctl(fd, FS_IOC_FIEMAP, &u.map));
	CHECK(u.map.fm_mapped_extents == 1, "page %ld has no block",
	      (long)(off / PAGE));
	return n * FS_SIZE + extent->fe_physical + off - extent->fe_logical;
}

/* Files */

off_t file_size(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st.st_size;
}

unsigned long file_ino(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st.st_ino;
}

void file_write(int fd, uint64_t seed, off_t off, size_t len)
{
	char *buf = buffer(len);

	fill(buf, len, seed, off);
	CHECK_OP(SYS(pwrite(fd, buf, len, off)), ==, len);
	free(buf);
}

int file_new(const char *dir, const char *name, uint64_t seed, size_t len)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = SYS(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
	if (len)
		file_write(fd, seed, 0, len);
	SYS(fsync(fd));
	return fd;
}

/* Another descriptor of the file, for direct I/O */
int file_direct(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return SYS(open(path, O_RDWR | O_DIRECT));
}

void file_write_direct(int fd, uint64_t seed, off_t off, size_t len)
{
	int direct = file_direct(fd);

	file_write(direct, seed, off, len);
	close(direct);
}

void file_verify(int fd, uint64_t seed, off_t off, size_t len)
{
	char *buf = buffer(len);

	CHECK_OP(SYS(pread(fd, buf, len, off)), ==, len);
	verify(buf, len, seed, off, "file");
	free(buf);
}

/* Does it read as this, as of now? */
bool file_is(int fd, uint64_t seed, off_t off, size_t len)
{
	char *buf = buffer(len), *want = buffer(len);
	bool ret;

	CHECK_OP(SYS(pread(fd, buf, len, off)), ==, len);
	fill(want, len, seed, off);
	ret = !memcmp(buf, want, len);
	free(buf);
	free(want);
	return ret;
}

void file_cache(int fd)
{
	size_t len = file_size(fd);
	char *buf = buffer(len);

	CHECK_OP(SYS(pread(fd, buf, len, 0)), ==, len);
	free(buf);
}

/* Pages of the file that are in the page cache, and uptodate */
long file_cached(int fd)
{
	long pages = (file_size(fd) + PAGE - 1) / PAGE, i, n = 0;
	unsigned char *vec = malloc(pages);
	void *map;

	map = (void *)SYS(mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd,
			       0));
	SYS(mincore(map, pages * PAGE, vec));
	SYS(munmap(map, pages * PAGE));
	for (i = 0; i < pages; i++)
		n += vec[i] & 1;
	free(vec);
	return n;
}

/*
 * Make reclaim take the file's pages out of the page cache. Where nothing else
 * is left to take, it looks at statistics to see whether active pages must
 * become inactive, and these may be as old as two seconds: before, it takes
 * none.
 */
void evict(int fd)
{
	time_t end = time(NULL) + 60;

	while (file_cached(fd)) {
		CHECK(time(NULL) < end, "%ld pages do not leave the page cache",
		      file_cached(fd));
		cgroup_reclaim();
	}
}

/*
 * The same.  Return: how many of its pages were put; the counters know what
 * else was, programs for example.
 */
long evict_puts(int fd)
{
	static const char put[] = "tmem/tmem_put_page";

	trace_begin(put, "oid0 == %ld", file_ino(fd));
	evict(fd);
	return trace_end(put);
}

/* The whole file is in tmem, and nothing of it in the page cache */
void to_tmem(int fd)
{
	long pages = (file_size(fd) + PAGE - 1) / PAGE, puts;

	file_cache(fd);
	puts = counter(PRECACHE_PUT);
	evict(fd);
	puts = counter(PRECACHE_PUT) - puts;
	note("a file of %ld pages was evicted: precache_put +%ld", pages, puts);
	CHECK_OP(puts, >=, pages);
}

/*
 * Reclaim leaves shadow entries in a mapping.  Make the shadow nodes of all
 * files that were evicted before go, so that their mappings are quite empty:
 * the oldest nodes are dropped when there are many, so make many.
 */
void forget_shadows(const char *dir)
{
	int fd = file_new(dir, "shadows", 0, 0), i;
	long dropped;

	for (i = 0; i < 256; i++)
		file_write(fd, OLD, i * 64 * PAGE, PAGE);
	SYS(fsync(fd));
	dropped = read_stat("/proc/vmstat", "workingset_nodereclaim");
	evict(fd);
	for (i = 0; i < 10; i++)
		cgroup_reclaim();
	dropped = read_stat("/proc/vmstat", "workingset_nodereclaim") - dropped;
	note("shadow nodes dropped: %ld", dropped);
	CHECK_OP(dropped, >, 128);
	close(fd);
}

/* Asynchronous direct I/O */

static aio_context_t aio;
static int aio_fd = -1;
static char *aio_buf;	/* of a write */
static long aio_result;

static void aio_submit(int op, int fd, void *buf, off_t off, size_t len)
{
	struct iocb cb, *cbs[1] = { &cb };

	if (!aio)
		SYS(syscall(SYS_io_setup, 1, &aio));
	aio_fd = file_direct(fd);
	cb = (struct iocb){
		.aio_lio_opcode = op, .aio_fildes = aio_fd,
		.aio_buf = (uintptr_t)buf, .aio_nbytes = len,
		.aio_offset = off,
	};
	CHECK_OP(SYS(syscall(SYS_io_submit, aio, 1, cbs)), ==, 1);
}

void aio_write(int fd, uint64_t seed, off_t off, size_t len)
{
	aio_buf = buffer(len);
	fill(aio_buf, len, seed, off);
	aio_submit(IOCB_CMD_PWRITE, fd, aio_buf, off, len);
}

void aio_read(int fd, void *buf, off_t off, size_t len)
{
	aio_submit(IOCB_CMD_PREAD, fd, buf, off, len);
}

static bool aio_get(struct timespec *timeout)
{
	struct io_event event;

	if (aio_fd >= 0 &&
	    SYS(syscall(SYS_io_getevents, aio, !timeout, 1, &event, timeout))) {
		aio_result = event.res;
		close(aio_fd);
		free(aio_buf);
		aio_buf = NULL;
		aio_fd = -1;
	}
	return aio_fd < 0;
}

/* Has it ended? */
bool aio_done(void)
{
	return aio_get(&(struct timespec){ 0 });
}

/* Returns whether it had ended before */
bool aio_wait(long *res)
{
	bool done = aio_done();

	aio_get(NULL);
	*res = aio_result;
	return done;
}

/* Swap */

const char *swap_dev(int n)
{
	return getenv(n ? "TMEM_SWAP1" : "TMEM_SWAP0");
}

void swap_on(const char *dev)
{
	must_run("mkswap %s >/dev/null", dev);
	SYS(swapon(dev, 0));
}

int swap_off(const char *dev)
{
	return swapoff(dev) ? -errno : 0;
}

char *anon(size_t len)
{
	char *p = (char *)SYS(mmap(NULL, len, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	SYS(madvise(p, len, MADV_NOHUGEPAGE));
	return p;
}

/* At a multiple of this, to map something large there */
char *anon_aligned(size_t len, size_t align)
{
	char *p = anon(len + align);

	return p + (-(uintptr_t)p & (align - 1));
}

/* Neither mapped nor in the swap cache afterwards */
void swap_out(char *addr, size_t len)
{
	unsigned char *vec = malloc(len / PAGE);
	size_t i, in;
	int tries;

	for (tries = 0; ; tries++) {
		SYS(madvise(addr, len, MADV_PAGEOUT));
		SYS(mincore(addr, len, vec));
		for (i = in = 0; i < len / PAGE; i++)
			in += vec[i] & 1;
		if (!in)
			break;
		CHECK(tries < 1000, "%ld pages are not swapped out", (long)in);
		/* What is being written, or was left in the swap cache */
		if (tries >= 3)
			cgroup_reclaim();
	}
	free(vec);
}

/*
 * Once it has been told anything, even "off", large folios are not swapped in
 */
void zswap_enable(bool on)
{
	static const char path[] = "/sys/module/zswap/parameters/enabled";
	FILE *f = fopen(path, "r");
	char is = '?';

	CHECK(f && fscanf(f, " %c", &is) == 1, "%s: %s", path, strerror(errno));
	fclose(f);
	if (is != (on ? 'Y' : 'N'))
		set(path, "%c", on ? 'Y' : 'N');
}
