/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of abi_test share.  main.c says how the program is used.
 *
 * A test is a function without arguments that passes by returning; CHECK() and
 * its relatives end it.  A file names its tests in TESTS, and what else the
 * program can do in COMMANDS: nothing else needs to know of them.  Tests run
 * in the order in which the Makefile names the files.  In comments, T and a
 * number is a defect of the old tmem: main.c lists them.
 */
#ifndef ABI_TEST_H
#define ABI_TEST_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/sysctl.h>

#include "tmem_raw.h"

#define PAGE		4096UL
#define WORDS		(PAGE / sizeof(uint64_t))
#define MAX_POOLS	16
#define MANY		100000	/* pages, for what must not take long */
#define ARRAY_SIZE(a)	((int)(sizeof(a) / sizeof(*(a))))

/* The ABI of Xen 4.1 to 4.12, written down again: a header may be wrong */
enum {
	CONTROL = 0, NEW_POOL = 1, DESTROY_POOL = 2, NEW_PAGE = 3, PUT = 4,
	GET = 5, FLUSH_PAGE = 6, FLUSH_OBJECT = 7, READ = 8, WRITE = 9,
	XCHG = 10, AUTH = 101, RESTORE_NEW = 102
};
#define EPHEMERAL	0x01000000u
#define PERSISTENT	0x01000001u
#define SHARED		0x01000002u
#define EFROZEN		1000
#define EEMPTY		1001

/*
 * Tests and commands
 */

/*
 * The sets, which say where a test runs: in dom0 of our hypervisor with
 * "tmem", without it, and of one that has no tmem; in dom0 with memory kept
 * for devices and two NUMA nodes; in a PV guest, and in a PVH or HVM one.
 */
enum { ON = 1, OFF = 2, NONE = 4, DMA = 8, PV = 16, HVM = 32 };

struct test {
	unsigned int sets;
	const char *name;
	void (*run)(void);
};

/* The linker puts those of all files into one array */
#define TESTS static const struct test tests[] \
	__attribute__((used, section("abi_tests"), aligned(8)))
#define TEST(sets, name) { sets, #name, name }

struct command {
	const char *name;
	int nr_args;
	int (*run)(char **args);	/* returns the exit status */
};

#define COMMANDS static const struct command commands[] \
	__attribute__((used, section("abi_commands"), aligned(8)))

/*
 * What must be true.  When it is not, the test ends, and says where.
 */

__attribute__((format(printf, 1, 2)))
void note(const char *fmt, ...);
__attribute__((format(printf, 3, 4), noreturn))
void fail_at(const char *file, int line, const char *fmt, ...);

#define fail(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

/* CHECK(condition, format, ...) */
#define CHECK(cond, ...) do { if (!(cond)) fail(__VA_ARGS__); } while (0)

#define CHECK_OP(a, op, b) do {						\
	long a_ = (a), b_ = (b);					\
									\
	if (!(a_ op b_))						\
		fail("%s is %ld, expected %s %ld (%s)", #a, a_, #op,	\
		     b_, #b);						\
} while (0)

/* The value of a system call that must work */
#define SYS(call) ({							\
	long ret_ = (long)(call);					\
									\
	if (ret_ == -1)							\
		fail("%s: %s", #call, strerror(errno));			\
	ret_;								\
})

/*
 * raw.c: hypercall 38.  A handle is {pool, object, index}, and here an object
 * is one number: what the other two words of its id do is a test of its own.
 */

extern int raw;					/* /dev/tmem_raw */
extern uint64_t *page[TMEM_RAW_PAGES];		/* its pages, mapped here */
extern uint64_t frame[TMEM_RAW_PAGES];		/* and Xen's names for them */

void open_all(void);

struct tmem_raw_op gen(int cmd, int pool, uint64_t obj, uint32_t index);
long calls(struct tmem_raw_call *c);
long hyper(struct tmem_raw_op op);
long hyper_at(const void *at);
long hyper_many(struct tmem_raw_op op, uint32_t nr);
long op_with(int cmd, int pool, uint64_t obj, uint32_t index, uint64_t cmfn);

long try_pool(uint32_t flags, uint64_t lo, uint64_t hi);
int new_pool(uint32_t flags);
long destroy(int pool);

uint64_t word(uint64_t seed, unsigned int i);
void fill(int p, uint64_t seed);
bool holds(int p, uint64_t seed);

#define JUNK 999	/* the seed of what is in a page before a get */

long put(int pool, uint64_t obj, uint32_t index, uint64_t seed);
long get(int pool, uint64_t obj, uint32_t index);
long flush_page(int pool, uint64_t obj, uint32_t index);
long flush_object(int pool, uint64_t obj);

#define MUST_PUT(...) CHECK_OP(put(__VA_ARGS__), ==, 1)

/* A hit, with the contents that were put */
#define MUST_GET(pool, obj, index, seed) do {				\
	CHECK_OP(get(pool, obj, index), ==, 1);				\
	CHECK(holds(0, seed), "a hit with wrong contents");		\
} while (0)

/* A miss, and nothing has been written */
#define MUST_MISS(pool, obj, index) do {				\
	long miss_ = get(pool, obj, index);				\
									\
	CHECK(miss_ == 0 || miss_ == -EEMPTY, "not a miss: %ld", miss_); \
	CHECK(holds(0, JUNK), "a miss has written to the page");	\
} while (0)

/* Threads, each on one vCPU */
struct worker {
	pthread_t thread;
	void (*run)(void *arg);
	void *arg;
	int cpu;
};

extern atomic_bool stop;	/* what threads tell each other */
extern atomic_long ready;

double now(void);
void on_cpu(int cpu);
struct worker start(int cpu, void (*run)(void *), void *arg);
void finish(struct worker *w);
void meet(void);

/*
 * xen.c: other hypercalls
 */

#define MOST	(1L << 19)	/* pages, more than a machine has */

extern void *shared_page;	/* what Xen reads and writes */

long xen_call(uint64_t op, uint64_t arg1, uint64_t arg2);
long sysctl_call(uint32_t cmd, void *u, size_t len);
long domctl_call(uint32_t cmd, domid_t *domid, void *args, size_t len);

struct xen_sysctl_tmem_stats *stats_buf(void);
long control(struct xen_sysctl_tmem_op *op);
long control_cmd(uint32_t cmd, int domid);
struct xen_sysctl_tmem_stats stats(void);
void set_client(uint32_t mask, uint64_t value);
long authorise(uint64_t lo, uint64_t hi, bool may);
long shared_pages(void);
long get_shared(uint64_t lo, uint64_t hi, struct xen_sysctl_tmem_op *op);
struct xen_sysctl_tmem_stats shared_stats(uint64_t lo, uint64_t hi);
long flush_kib(uint64_t kib);
long freeable_kib(void);
void clean(void);

struct xen_sysctl_physinfo physinfo(void);
long free_pages(void);
long settled(long (*pages)(void));
long settled_free_pages(void);
long max_mfn(void);
uint32_t console_bytes(void);
long tot_pages(void);
long max_pages(void);
void set_max_pages_of(domid_t domid, long nr);
void set_max_pages(long nr);
long reservation(int cmd, xen_pfn_t *mfns, long nr, uint32_t flags);
long take_memory(xen_pfn_t *mfns, long nr);
void give_memory(xen_pfn_t *mfns, long nr);
void begin_taking(void);
long take_extra(long nr, uint32_t flags);
void give_extra(long nr);
void end_taking(void);
long claim_for(domid_t domid, unsigned long nr);
long claim(unsigned long nr);

/*
 * What tests of one file lend to others
 */

#define MAX_BAD		16
#define BAD_POINTERS	14

extern void *const bad_pointers[BAD_POINTERS];		/* hostile.c */
void call_bad_pointers(void *arg);
int bad_frames(uint64_t *bad);
void use_object(void *arg);
long fill_up(int pool, uint64_t obj, long *err);	/* persistent.c */
void use_everything(bool compress);			/* memory.c */
long fill_memory(int pool);
uint32_t refill_memory(int pool, uint32_t index);
long reserve(void);
void check_scrubbed(int pool, const xen_pfn_t *mfns, int nr); /* reclaim.c */

#endif /* ABI_TEST_H */
