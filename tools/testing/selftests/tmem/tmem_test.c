// SPDX-License-Identifier: GPL-2.0
/* What the tmem tests share: see tmem_test.h */

#include <dirent.h>
#include <linux/aio_abi.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "tmem_test.h"

#define CGROUP		"/sys/fs/cgroup"
#define TEST_SECONDS	240	/* emulation, all debug checks, and slack */

static const char *const counter_names[NR_COUNTERS] = {
	TMEM_EVENTS(TMEM_EVENT_NAME)
	"pswpin", "pswpout", "zswpin", "zswpout",
};

static long marked[NR_COUNTERS];
static char cgroup[64];
static int kmsg = -1;
static char kmsg_log[1 << 19];
static size_t kmsg_len;
static int failed;

/* Messages */

void note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("# FAILED %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!failed++)	/* evidence() can fail, too */
		evidence("at failure");
	exit(KSFT_FAIL);
}

void skip(const char *why)
{
	note("SKIP: %s", why);
	exit(KSFT_SKIP);
}

/* Files of one value */

int try_set(const char *path, const char *fmt, ...)
{
	char value[256];
	int fd, len, ret;
	va_list ap;

	va_start(ap, fmt);
	len = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return -errno;
	ret = write(fd, value, len) == len ? 0 : -errno;
	close(fd);
	return ret;
}

void set(const char *path, const char *fmt, ...)
{
	char value[256];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	ret = try_set(path, "%s", value);
	CHECK(!ret, "%s <- '%s': %s", path, value, strerror(-ret));
}

bool backend_is(const char *name)
{
	char is[32] = "";
	FILE *f = fopen(SYSFS "backend", "r");

	CHECK(f && fscanf(f, "%31s", is) == 1, "no backend file");
	fclose(f);
	return !strcmp(is, name);
}

long get_long(const char *path)
{
	FILE *f = fopen(path, "r");
	long value;

	CHECK(f, "%s: %s", path, strerror(errno));
	CHECK(fscanf(f, "%ld", &value) == 1, "%s holds no number", path);
	fclose(f);
	return value;
}

long meminfo_bytes(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	size_t len = strlen(name);
	long kib;

	CHECK(f, "no /proc/meminfo");
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) &&
		    sscanf(line + len, ": %ld", &kib) == 1) {
			fclose(f);
			return kib * 1024;
		}
	fail("no %s in /proc/meminfo", name);
}

/* Counters */

static long read_stat(const char *path, const char *name)
{
	FILE *f = fopen(path, "r");
	char line[64];
	long value;

	CHECK(f, "%s: %s", path, strerror(errno));
	while (fscanf(f, "%63s %ld", line, &value) == 2)
		if (!strcmp(name, line)) {
			fclose(f);
			return value;
		}
	fail("no %s in %s", name, path);
}

const char *counter_name(enum counter c)
{
	return counter_names[c];
}

long counter(enum counter c)
{
	return read_stat("/proc/vmstat", counter_names[c]);
}

void mark(void)
{
	int i;

	for (i = 0; i < NR_COUNTERS; i++)
		marked[i] = counter(i);
}

long since(enum counter c)
{
	return counter(c) - marked[c];
}

void evidence(const char *when)
{
	int i;

	printf("# %s:", when);
	for (i = 0; i < NR_COUNTERS; i++)
		if (since(i))
			printf(" %s +%ld", counter_names[i], since(i));
	printf("\n");
	fflush(stdout);
}

/* Programs: their own memory is not the test's business */

void must_run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;
	int status;
	pid_t pid;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	fflush(stdout);
	pid = SYS(fork());
	if (!pid) {
		set(CGROUP "/cgroup.procs", "0");
		dup2(1, 2);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	SYS(waitpid(pid, &status, 0));
	CHECK(!status, "status %x of: %s", status, command);
}

/* Tracing */

#define TRACE		"/sys/kernel/tracing/"

void trace_begin(const char *event, const char *filter, ...)
{
	char path[128], value[128];
	va_list ap;

	va_start(ap, filter);
	vsnprintf(value, sizeof(value), filter, ap);
	va_end(ap);
	/* Or else the scheduler's code is patched, too, each time */
	set(TRACE "options/record-cmd", "0");
	snprintf(path, sizeof(path), TRACE "events/%s/filter", event);
	set(path, "%s", value);
	set(TRACE "trace", " ");
	snprintf(path, sizeof(path), TRACE "events/%s/enable", event);
	set(path, "1");
}

/* How often did it happen?  Only one at a time is traced. */
long trace_end(const char *event)
{
	char path[128], line[512];
	long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), TRACE "events/%s/enable", event);
	set(path, "0");
	f = fopen(TRACE "trace", "r");
	CHECK(f, "no " TRACE "trace");
	while (fgets(line, sizeof(line), f))
		n += *line != '#' && strstr(line, strchr(event, '/') + 1);
	fclose(f);
	return n;
}

/* The kernel's log */

void kmsg_mark_boot(void)
{
	if (kmsg >= 0)
		close(kmsg);
	kmsg = SYS(open("/dev/kmsg", O_RDONLY | O_NONBLOCK));
	kmsg_len = 0;
}

void kmsg_mark(void)
{
	kmsg_mark_boot();
	SYS(lseek(kmsg, 0, SEEK_END));
}

bool kmsg_has(const char *text)
{
	char *found, *end;
	ssize_t len;

	/* One message at a time: "priority,number,time,flags;text\n" */
	while (kmsg_len < sizeof(kmsg_log) - 1) {
		len = read(kmsg, kmsg_log + kmsg_len,
			   sizeof(kmsg_log) - 1 - kmsg_len);
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			break;
		kmsg_len += len;
	}
	kmsg_log[kmsg_len] = '\0';
	found = strstr(kmsg_log, text);
	if (!found)
		return false;
	end = strchrnul(found, '\n');
	while (found > kmsg_log && found[-1] != ';')
		found--;
	note("the log: %.*s", (int)(end - found), found);
	return true;
}

/* Fault injection */

/* A directory of the kernel's fault injection, below debug */
void inject_into(const char *where, int percent, int times)
{
	const struct {
		const char *file;
		int value;
	} files[] = {
		{ "probability", 0 }, { "verbose", 0 }, { "interval", 1 },
		{ "times", times }, { "probability", percent },
	};
	char path[128];
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", where,
			 files[i].file);
		set(path, "%d", files[i].value);
	}
}

void inject(int faults, int percent, int times)
{
	static const char *const names[] = {
		"put", "put_dup", "get_ephemeral", "get_persistent", "vanish",
		"flush_page", "flush_object", "delay",
		"corrupt",
	};
	char where[64];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(where, sizeof(where), "fail_tmem/%s", names[i]);
		inject_into(where, faults & 1 << i ? percent : 0, times);
	}
}

/* CONFIG_TMEM_PARANOID, if it is there */

#define PARANOID_DISK	"/sys/kernel/debug/tmem_paranoid/disk"

void disk_may_differ(void)
{
	try_set(PARANOID_DISK, "N");
}

/* Cgroup */

void cgroup_set(const char *file, const char *fmt, ...)
{
	char path[160], value[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	set(path, "%s", value);
}

long cgroup_get(const char *file)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	return get_long(path);
}

/*
 * A line of memory.stat.  To ask brings all of them up to date, which happens by
 * itself every two seconds.  Reclaim believes them: with no page left on the inactive
 * list, it does not look at the active one, and the OOM killer is called, as long as
 * they say that both are empty.
 */
long cgroup_stat(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/memory.stat", cgroup);
	return read_stat(path, name);
}

/* All that can be reclaimed; that it is less than asked for is no error */
void cgroup_reclaim(void)
{
	char path[160];
	int ret;

	snprintf(path, sizeof(path), "%s/memory.reclaim", cgroup);
	ret = try_set(path, "256M");
	CHECK(!ret || ret == -EAGAIN, "memory.reclaim: %s", strerror(-ret));
}

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
			fail("%s: offset %ld: pattern %ld, expected %ld (0 is zeros)",
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
	return getenv("TMEM_DISK") ?: "/dev/vdc";
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
 * Make reclaim take the file's pages out of the page cache. Where nothing else is
 * left to take, it looks at statistics to see whether active pages must become
 * inactive, and these may be as old as two seconds: before, it takes none.
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
 * The same.  Return: how many of its pages were put; the counters know what else
 * was, programs for example.
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
	return n ? getenv("TMEM_SWAP1") ?: "/dev/vde" :
		   getenv("TMEM_SWAP0") ?: "/dev/vdd";
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

/* Once it has been told anything, even "off", large folios are not swapped in */
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

/* The runner */

static void prepare(void)
{
	static int nr;

	snprintf(cgroup, sizeof(cgroup), CGROUP "/tmem%d", nr++);
	SYS(mkdir(cgroup, 0700));
}

/* What the last test left behind, if it failed */
static void clean(void)
{
	const char *const swaps[] = {
		swap_dev(0), swap_dev(1), disk_name(), "/dev/zram0",
	};
	struct dirent *d;
	size_t i;
	DIR *dir;

	/* Its processes are dead, but perhaps not all buried */
	while (rmdir(cgroup) && errno == EBUSY)
		sched_yield();
	if (!access("/sys/kernel/debug/fail_tmem", F_OK)) {
		inject(0, 0, 0);
		inject_into("failslab", 0, 0);
		inject_into("fail_page_alloc", 0, 0);
	}
	try_set(PARANOID_DISK, "Y");
	try_set(SYSFS "precache", "1");
	try_set(SYSFS "preswap", "1");
	try_set(TRACE "events/enable", "0");
	zswap_enable(false);
	set("/proc/sys/vm/page-cluster", "0");

	for (i = 0; i < sizeof(swaps) / sizeof(*swaps); i++)
		if (swapoff(swaps[i]) && errno != EINVAL && errno != ENOENT)
			note("swapoff %s: %s", swaps[i], strerror(errno));

	dir = opendir("/dev/mapper");
	while (dir && (d = readdir(dir)))
		if (!strncmp(d->d_name, "tmem", 4))
			must_run("dmsetup remove --force --retry %s",
				 d->d_name);
	if (dir)
		closedir(dir);
}

static void use_cpus(int nr)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	while (nr--)
		CPU_SET(nr, &set);
	SYS(sched_setaffinity(0, sizeof(set), &set));
}

void use_all_cpus(void)
{
	use_cpus(sysconf(_SC_NPROCESSORS_ONLN));
}

static void child(const struct test *test)
{
	char path[160];

	SYS(setpgid(0, 0));
	alarm(TEST_SECONDS);
	SYS(unshare(CLONE_NEWNS));
	SYS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	set(path, "0");
	use_cpus(1);
	mark();
	test->run();
	evidence("all of it");
	exit(0);
}

static int run_test(const struct test *test)
{
	int status;
	pid_t pid;

	prepare();
	fflush(stdout);
	pid = SYS(fork());
	if (!pid)
		child(test);
	SYS(waitpid(pid, &status, 0));
	kill(-pid, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	clean();

	if (WIFSIGNALED(status)) {
		note("FAILED: ended by signal %d%s", WTERMSIG(status),
		     WTERMSIG(status) == SIGALRM ? " (took too long)" : "");
		return 1;
	}
	if (WEXITSTATUS(status))
		return WEXITSTATUS(status);
	/* The rule P3, always: nothing stays behind */
	if (preswap_pages() || persistent()) {
		note("FAILED: left behind: preswap_pages %ld, persistent_pages %ld",
		     preswap_pages(), persistent());
		return 1;
	}
	return 0;
}

static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return true;
	return argc < 2;
}

/*
 * Runs all tests, or those that are named; --list prints their names.  Returns
 * main()'s value.
 */
int test_main(int argc, char **argv, const struct test *tests, int nr)
{
	int i, ret, n = 0, bad = 0;
	time_t start;

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (i = 0; i < nr; i++)
			puts(tests[i].name);
		return 0;
	}
	for (i = 0; i < nr; i++)
		n += wanted(tests[i].name, argc, argv);
	if (!n)
		return 0;

	setlinebuf(stdout);
	setenv("DM_DISABLE_UDEV", "1", 1);
	/* So that a test's processes are ended and waited for with it */
	SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
	/* So that no page of this program belongs to a test's cgroup */
	SYS(mlockall(MCL_CURRENT));
	set(CGROUP "/cgroup.subtree_control", "+memory");
	mark();
	clean();

	printf("KTAP version 1\n1..%d\n", n);
	for (i = n = 0; i < nr; i++) {
		if (!wanted(tests[i].name, argc, argv))
			continue;
		start = time(NULL);
		ret = run_test(&tests[i]);
		note("%s: %ld s", tests[i].name, (long)(time(NULL) - start));
		printf("%sok %d - %s%s\n", ret && ret != KSFT_SKIP ? "not " : "",
		       ++n, tests[i].name, ret == KSFT_SKIP ? " # SKIP" : "");
		bad += ret && ret != KSFT_SKIP;
	}
	return bad != 0;
}
