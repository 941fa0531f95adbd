/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tmem tests share: the runner and all that asks or tells the kernel
 * something (tmem_test.c); disks, files and swap (tmem_disk.c).
 *
 * Each test is a function that runs in a process, a mount namespace and a
 * cgroup of its own, as root, in a guest that nobody else uses: its kernel has
 * what is in ./config, and three disks, whose content is lost, are in
 * $TMEM_DISK (700 MiB), $TMEM_SWAP0 and $TMEM_SWAP1 (128 MiB each).  It ends
 * the process when something is wrong, and passes by returning.  After each
 * test nothing may be left in preswap: that is checked for all of them.
 *
 * A test runs on one CPU, so that no page hides in the other's batch of pages
 * that are not on the LRU yet, and numbers are exact.  What is to run at the
 * same time calls use_all_cpus().
 *
 * File contents are self-describing: each 64-bit word is a function of a seed
 * and of its offset, so a wrong word tells where it came from.  Seed 0 stands
 * for zeros.
 */
#ifndef TMEM_TEST_H
#define TMEM_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "../kselftest.h"
#include "check.h"

/* The kernel under test has both */
#define CONFIG_PRECACHE
#define CONFIG_PRESWAP
#include "../../../../include/linux/tmem_events.h"

#define PAGE		4096L
#define SECTOR		512L
#define MIB		(1024L * 1024)
#define OLD		1	/* the seed of what was there first, ... */
#define NEW		2	/* ... and of what must be read */

#define SYSFS		"/sys/kernel/mm/tmem/"
/* For drop_caches */
#define DROP_PAGES	"1"
#define RAM		"/sys/module/tmem_ram/parameters/"

/*
 * The runner and the tests.  A program names one guest, and each of its tests
 * is for that, unless it says otherwise.  scripts/test-guest knows how a guest
 * of that name is booted; the list of programs is in the Makefile.
 *
 * A test that was asked for by name may not be skipped: then that is a failure.
 */
struct test {
	const char *name;
	void (*run)(void);
	const char *in;		/* the guest that it is for, if another one */
	const char *also;	/* one more */
};

#define TEST(test, ...)	{ .name = #test, .run = test, ##__VA_ARGS__ }
#define XEN		"xen"	/* a domain, whose backend is the hypervisor */

int test_main(int argc, char **argv, const char *guest,
	      const struct test *tests, int nr);
void use_all_cpus(void);
__printf(1, 2) void note(const char *fmt, ...);
__noreturn __printf(1, 2) void skip(const char *fmt, ...);
__noreturn __printf(3, 4)
void fail_at(const char *file, int line, const char *fmt, ...);

/* Counters: what happened since mark() */

enum counter {
	TMEM_EVENTS(TMEM_EVENT_ITEM)
	NR_TMEM_COUNTERS,
	PSWPIN = NR_TMEM_COUNTERS, PSWPOUT, ZSWPIN, ZSWPOUT,
	NR_COUNTERS
};

long counter(enum counter c);
const char *counter_name(enum counter c);
void mark(void);
long since(enum counter c);
void evidence(const char *when);

long get_long(const char *path);
long read_stat(const char *path, const char *name);
long meminfo_bytes(const char *name);
bool backend_is(const char *name);
__printf(2, 3) int try_set(const char *path, const char *fmt, ...);
__printf(2, 3) void set(const char *path, const char *fmt, ...);
__printf(1, 2) void must_run(const char *fmt, ...);

static inline long preswap_pages(void)
{
	return get_long(SYSFS "preswap_pages");
}

/* Pages in the backend; exact at quiesce.  A hypervisor does not tell. */
static inline long ephemeral(void)
{
	return get_long(RAM "ephemeral_pages");
}

/* Of other backends than RAM only preswap knows */
static inline long persistent(void)
{
	return backend_is("ram") ? get_long(RAM "persistent_pages") :
	       preswap_pages();
}

/* The gauge and the backend agree, when nothing is going on */
static inline void check_held(long pages)
{
	CHECK_OP(preswap_pages(), ==, pages);
	CHECK_OP(persistent(), ==, pages);
}

/* A trace event, only where the filter is true, since trace_begin() */
__printf(2, 3) void trace_begin(const char *event, const char *filter, ...);
long trace_end(const char *event);

/* The kernel's log since kmsg_mark() */
void kmsg_mark(void);
void kmsg_mark_boot(void);
bool kmsg_has(const char *text);

/*
 * Fault injection in tmem: this percentage of these faults happens, and of the
 * others none.  See Documentation/mm/tmem.rst for what they are.
 */
#define FAIL_PUT		1
#define FAIL_PUT_DUP		2
#define FAIL_GET_EPHEMERAL	4
#define FAIL_GET_PERSISTENT	8
#define VANISH			16
#define FAIL_FLUSH		(32 | 64)
#define DELAY			128
#define CORRUPT			256
void inject(int faults, int percent, int times);
void inject_into(const char *where, int percent, int times);
/* For the rest of a test: what the disk has need not be what tmem has */
void disk_may_differ(void);

/* The test's own cgroup */
__printf(2, 3) void cgroup_set(const char *file, const char *fmt, ...);
long cgroup_get(const char *file);
long cgroup_stat(const char *name);
void cgroup_reclaim(void);

/* Patterns */
void fill(void *buf, size_t len, uint64_t seed, off_t off);
void verify(const void *buf, size_t len, uint64_t seed, off_t off,
	    const char *what);
void *buffer(size_t len);

/*
 * File systems: number n, of 32 MiB, is a device-mapper device on a slice of
 * the first scratch disk, so that the disk can be changed beneath it, and made
 * slow or bad.
 */
#define FS_SIZE		(32 * MIB)
#define MKFS		"-b 4096 -N 256 -J size=4"
#define FS(n)		"/tmp/tmem/" #n

const char *fs_dev(int n);
__printf(2, 3) void fs_table(int n, const char *fmt, ...);
void fs_linear(int n);
int fs_slower(int ms);
void fs_slow_writes(int n, int ms);
void fs_bad_writes(int n);
void fs_make(int n, const char *mkfs);
const char *fs_mount(int n, const char *options);
void fs_umount(int n);
const char *fs_new(int n);
off_t fs_disk_offset(int n, int fd, off_t off);
int disk(int flags);
const char *disk_name(void);

/* Files */
int file_new(const char *dir, const char *name, uint64_t seed, size_t len);
int file_direct(int fd);
off_t file_size(int fd);
unsigned long file_ino(int fd);
void file_write(int fd, uint64_t seed, off_t off, size_t len);
void file_verify(int fd, uint64_t seed, off_t off, size_t len);
bool file_is(int fd, uint64_t seed, off_t off, size_t len);
void file_write_direct(int fd, uint64_t seed, off_t off, size_t len);
void file_cache(int fd);
long file_cached(int fd);
void evict(int fd);
long evict_puts(int fd);
void to_tmem(int fd);
void forget_shadows(const char *dir);

/* Asynchronous direct I/O: one at a time */
void aio_write(int fd, uint64_t seed, off_t off, size_t len);
void aio_read(int fd, void *buf, off_t off, size_t len);
bool aio_done(void);
bool aio_wait(long *res);

/* Swap */
const char *swap_dev(int n);
void swap_on(const char *dev);
int swap_off(const char *dev);
char *anon(size_t len);
char *anon_aligned(size_t len, size_t align);
void swap_out(char *addr, size_t len);
void zswap_enable(bool on);

#endif
