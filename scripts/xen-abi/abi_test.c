// SPDX-License-Identifier: GPL-2.0
/*
 * abi_test - hypercall 38, and who means no good
 *
 *	abi_test [TEST...]	all tests for this hypervisor, or these; TAP
 *	abi_test --list SET	names of the tests of on, off, none, dma, pv or hvm
 *	abi_test --fill KIND NR SEED	put NR pages into a pool, "ephemeral",
 *				"persistent" or "shared", and then its uuid is
 *				01000000-0000-0000-0200-000000000000; prints its
 *				id, and leaves it
 *	abi_test --verify ID NR SEED	get them: each one as it was put, or not
 *				at all; prints how many of each
 *	abi_test --destroy	all pools of this domain
 *	abi_test --hog SECONDS	put ephemeral pages for so long, or "forever"
 *	abi_test --abuse SECONDS	bad pointers, and pools that go while they are
 *				full (T8)
 *	abi_test --control SECONDS	every control command for every domain, in
 *				dom0, while others come and go (T15)
 *	abi_test --most DOMID SECONDS	the most memory that a domain's pages ever
 *				took, in dom0
 *	abi_test --memory DOMID	what a domain owns, and may, in dom0
 *	abi_test --heap		how many pages are free or dom0's, when that has settled
 *	abi_test --soft-reset DOMID	of a domain that cannot be reset, in dom0
 *				(T31)
 *	abi_test --fuzz SECONDS SEED	operations and controls, in dom0
 *	abi_test --bench FILE	what calls cost, compression with pages of FILE;
 *				prints "name ticks"
 *
 * The tests run as root in a domain whose kernel does not use tmem itself, and
 * nobody else does: they know how many pools there are.  Set "on" wants dom0,
 * two vCPUs, a max_pages somewhat above what dom0 has, and 500 MiB that are
 * free; "off" a hypervisor without "tmem" on its command line; "none" one that
 * has never heard of it; "dma" one that keeps the lowest 128 MiB for devices, and
 * has two NUMA nodes; "guest" is for a domain without privileges.
 *
 * Each test is a process with a time limit, and passes by returning.  It begins
 * with no pools and default settings, and has to leave no page, that is looked
 * at.
 *
 * T and a number is one of the defects of Xen's old tmem:
 *
 *  T1 guests could issue control commands	T17 reclaim ignored zones
 *  T2 pool ids were not checked		T18 old copy after a failed put
 *  T3 control of a domain without tmem		T19 leaving froze a shared pool
 *  T4 control buffers were not checked		T20 weights worked the wrong way
 *  T5 bad frames				T21 no get while migrating
 *  T6 offsets and lengths overflowed		T22-T26 save and restore
 *  T7 lock kept after a bad frame		T27 control overran its buffer
 *  T8 bad pointer to the op			T28 freeable memory told as 0
 *  T9 the log could be flooded			T29 short put leaked old contents
 *  T10 half removed page after a bad frame	T30 counters ran away
 *  T11 metadata in the guest's own pages	T31 kexec leaked pools
 *  T12 pool destroyed while in use		T32 unknown flags, speculation
 *  T13 two clients of one domain
 *  T14 freed pool kept its id
 *  T15 control of a dying domain
 *  T16 flush and allocation deadlocked
 *
 * T20, T21, and what T8, T15 and T31 say of a domain's end need a second domain:
 * the workers above are for that, see domains.  T22-T26 and T29 are about what is
 * not there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/sysctl.h>

#include "check.h"
#include "tmem_raw.h"

#define PAGE		4096UL
#define WORDS		(PAGE / sizeof(uint64_t))
#define MAX_POOLS	16
#define MANY		100000		/* pages, for what must not take long */
#define TEST_SECONDS	240		/* emulation, assertions, and slack */
#define ARRAY_SIZE(a)	((int)(sizeof(a) / sizeof(*(a))))

/* The ABI, from the reference and not from a header */
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

_Static_assert(sizeof(struct tmem_raw_op) == 56, "");
_Static_assert(offsetof(struct tmem_raw_op, pool_id) == 4, "");
_Static_assert(offsetof(struct tmem_raw_op, uuid) == 8, "");
_Static_assert(offsetof(struct tmem_raw_op, flags) == 24, "");
_Static_assert(offsetof(struct tmem_raw_op, arg1) == 28, "");
_Static_assert(offsetof(struct tmem_raw_op, oid) == 8, "");
_Static_assert(offsetof(struct tmem_raw_op, index) == 32, "");
_Static_assert(offsetof(struct tmem_raw_op, tmem_offset) == 36, "");
_Static_assert(offsetof(struct tmem_raw_op, pfn_offset) == 40, "");
_Static_assert(offsetof(struct tmem_raw_op, len) == 44, "");
_Static_assert(offsetof(struct tmem_raw_op, cmfn) == 48, "");

static int raw = -1;
static uint64_t *page[TMEM_RAW_PAGES];	/* mapped here, ... */
static uint64_t frame[TMEM_RAW_PAGES];	/* ... and named so by Xen */

/*
 * Messages
 */

static __attribute__((format(printf, 1, 2))) void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

static __attribute__((format(printf, 3, 4), noreturn))
void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# FAILED %s:%d: ", file, line);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	_exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*
 * Hypercall 38.  A handle is {pool, object, index}, and here an object is one
 * number: what the other two words do is a test of its own.
 */

static struct tmem_raw_op gen(int cmd, int pool, uint64_t obj, uint32_t index)
{
	return (struct tmem_raw_op){ .cmd = cmd, .pool_id = pool,
				     .oid = { obj }, .index = index,
				     .cmfn = frame[0] };
}

static long calls(struct tmem_raw_call *c)
{
	SYS(ioctl(raw, TMEM_RAW_CALL, c));
	return c->ret;
}

static long hyper(struct tmem_raw_op op)
{
	struct tmem_raw_call c = { .op = op, .nr = 1 };

	return calls(&c);
}

static long op_with(int cmd, int pool, uint64_t obj, uint32_t index,
		    uint64_t cmfn)
{
	struct tmem_raw_op op = gen(cmd, pool, obj, index);

	op.cmfn = cmfn;
	return hyper(op);
}

static long hyper_at(const void *at)
{
	struct tmem_raw_call c = { .at = (uintptr_t)at, .use_at = 1, .nr = 1 };

	return calls(&c);
}

/* The same for @nr pages in a row.  Return: how many times it was 1 */
static long hyper_many(struct tmem_raw_op op, uint32_t nr)
{
	struct tmem_raw_call c = { .op = op, .nr = nr, .step = 1 };

	calls(&c);
	return c.ones;
}

static long try_pool(uint32_t flags, uint64_t lo, uint64_t hi)
{
	return hyper((struct tmem_raw_op){ .cmd = NEW_POOL, .pool_id = -1,
					   .uuid = { lo, hi }, .flags = flags });
}

static int new_pool(uint32_t flags)
{
	long id = try_pool(flags, 0, 0);

	CHECK(id >= 0 && id < MAX_POOLS, "no pool: %ld", id);
	return id;
}

static long destroy(int pool)
{
	return hyper(gen(DESTROY_POOL, pool, 0, 0));
}

/* Contents: each word is a function of a seed and of its place.  0: zeros */
static uint64_t word(uint64_t seed, unsigned int i)
{
	return seed ? (seed * 512 + i) * 0x9e3779b97f4a7c15 : 0;
}

static void fill(int p, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		page[p][i] = word(seed, i);
}

static bool holds(int p, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		if (page[p][i] != word(seed, i))
			return false;
	return true;
}

#define JUNK 999	/* the seed of what is in a page before a get */

static long put(int pool, uint64_t obj, uint32_t index, uint64_t seed)
{
	fill(0, seed);
	return hyper(gen(PUT, pool, obj, index));
}

static long get(int pool, uint64_t obj, uint32_t index)
{
	fill(0, JUNK);
	return hyper(gen(GET, pool, obj, index));
}

static long flush_page(int pool, uint64_t obj, uint32_t index)
{
	return hyper(gen(FLUSH_PAGE, pool, obj, index));
}

static long flush_object(int pool, uint64_t obj)
{
	return hyper(gen(FLUSH_OBJECT, pool, obj, 0));
}

#define MUST_PUT(...) CHECK_OP(put(__VA_ARGS__), ==, 1)

/* A hit, and this is what was there */
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

/*
 * Other hypercalls
 */

/* What Xen reads and writes: present at all times */
static void *shared_page;

static long xen_call(uint64_t op, uint64_t arg1, uint64_t arg2)
{
	struct tmem_raw_hypercall h = { .nr = op, .arg = { arg1, arg2 } };

	SYS(ioctl(raw, TMEM_RAW_HYPERCALL, &h));
	return h.ret;
}

static long sysctl_call(uint32_t cmd, void *u, size_t len)
{
	struct xen_sysctl *sysctl = shared_page;
	long ret;

	memset(sysctl, 0, sizeof(*sysctl));
	sysctl->cmd = cmd;
	sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	memcpy(&sysctl->u, u, len);
	ret = xen_call(__HYPERVISOR_sysctl, (uintptr_t)sysctl, 0);
	memcpy(u, &sysctl->u, len);
	return ret;
}

static struct xen_sysctl_tmem_stats *stats_buf(void)
{
	return shared_page + 2048;
}

static long control(struct xen_sysctl_tmem_op *op)
{
	return sysctl_call(XEN_SYSCTL_tmem_op, op, sizeof(*op));
}

static long control_cmd(uint32_t cmd, int domid)
{
	struct xen_sysctl_tmem_op op = { .cmd = cmd, .domid = domid };

	return control(&op);
}

static struct xen_sysctl_tmem_stats stats(void)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_GET };

	set_xen_guest_handle(op.stats, stats_buf());
	CHECK_OP(control(&op), ==, 0);
	CHECK_OP(op.domid, ==, 0);
	return *stats_buf();
}

static void set_client(uint32_t mask, uint64_t value)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_SET,
					 .mask = mask };

	if (mask == XEN_SYSCTL_TMEM_SET_CAP)
		op.cap = value;
	else if (mask == XEN_SYSCTL_TMEM_SET_MIN)
		op.min = value;
	else if (mask == XEN_SYSCTL_TMEM_SET_WEIGHT)
		op.weight = value;
	else if (mask == XEN_SYSCTL_TMEM_SET_COMPRESS)
		op.flags = value ? XEN_SYSCTL_TMEM_COMPRESS : 0;
	CHECK_OP(control(&op), ==, 0);
}

/* May this domain join the shared pool? */
static long authorise(uint64_t lo, uint64_t hi, bool may)
{
	struct xen_sysctl_tmem_op op = {
		.cmd = XEN_SYSCTL_TMEM_OP_SET_AUTH,
		.flags = may ? XEN_SYSCTL_TMEM_AUTH : 0, .uuid = { lo, hi } };

	return control(&op);
}

/* Pages in the only shared pool.  Return: negative when there is none */
static long shared_pages(void)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_GET,
					 .flags = XEN_SYSCTL_TMEM_SHARED };
	long ret;

	set_xen_guest_handle(op.stats, stats_buf());
	ret = control(&op);
	return ret ?: (long)stats_buf()->eph_pages;
}

/* Settings and numbers of the shared pool.  Return: 0, or -ENOENT */
static long get_shared(uint64_t lo, uint64_t hi, struct xen_sysctl_tmem_op *op)
{
	uint32_t nr;
	long ret;

	for (nr = 0;; nr++) {
		*op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_GET,
			.flags = XEN_SYSCTL_TMEM_SHARED, .nr = nr };
		set_xen_guest_handle(op->stats, stats_buf());
		ret = control(op);
		if (ret || (op->uuid[0] == lo && op->uuid[1] == hi))
			return ret;
	}
}

static struct xen_sysctl_tmem_stats shared_stats(uint64_t lo, uint64_t hi)
{
	struct xen_sysctl_tmem_op op;

	CHECK_OP(get_shared(lo, hi, &op), ==, 0);
	return *stats_buf();
}

static long flush_kib(uint64_t kib)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_FLUSH,
					 .kib = kib };

	CHECK_OP(control(&op), ==, 0);
	return op.kib;
}

static long freeable_kib(void)
{
	struct xen_sysctl_tmem_op op = {
		.cmd = XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE };

	CHECK_OP(control(&op), ==, 0);
	return op.kib;
}

static struct xen_sysctl_physinfo physinfo(void)
{
	struct xen_sysctl_physinfo info = { 0 };

	CHECK_OP(sysctl_call(XEN_SYSCTL_physinfo, &info, sizeof(info)), ==, 0);
	return info;
}

/* Of the heap; what tmem would give up is told as free, too */
static long free_pages(void)
{
	return physinfo().free_pages - freeable_kib() / 4;
}

/*
 * What CPUs keep comes back soon, not at once: the number when it does not
 * change any more.
 */
static long settled(long (*pages)(void))
{
	long nr = -1, last, same = 0;

	while (same < 100) {
		last = nr;
		flush_kib(0);
		nr = pages();
		same = nr == last ? same + 1 : 0;
	}
	return nr;
}

static long settled_free_pages(void)
{
	return settled(free_pages);
}

static long max_mfn(void)
{
	return physinfo().max_mfn;
}

/* Bytes that Xen has ever written to its console */
static uint32_t console_bytes(void)
{
	struct xen_sysctl_readconsole rc = { .incremental = 1 };

	set_xen_guest_handle(rc.buffer, (char *)stats_buf());
	do {
		rc.count = 1024;
		CHECK_OP(sysctl_call(XEN_SYSCTL_readconsole, &rc, sizeof(rc)),
			 ==, 0);
	} while (rc.count);
	return rc.index;
}

static long tot_pages(void)
{
	domid_t *self = shared_page;

	*self = DOMID_SELF;
	return xen_call(__HYPERVISOR_memory_op, XENMEM_current_reservation,
			(uintptr_t)self);
}

/* dom0 takes pages from the heap and gives some when it likes */
static long free_or_own_pages(void)
{
	return free_pages() + tot_pages();
}

static long max_pages(void)
{
	domid_t *self = shared_page;

	*self = DOMID_SELF;
	return xen_call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation,
			(uintptr_t)self);
}

/* What it takes and returns is behind *@args; NULL: none */
static long domctl_call(uint32_t cmd, domid_t *domid, void *args, size_t len)
{
	struct xen_domctl *domctl = shared_page;
	long ret;

	*domctl = (struct xen_domctl){
		.cmd = cmd, .domain = *domid,
		.interface_version = XEN_DOMCTL_INTERFACE_VERSION };
	if (args)
		memcpy(&domctl->u, args, len);
	ret = xen_call(__HYPERVISOR_domctl, (uintptr_t)domctl, 0);
	if (args)
		memcpy(args, &domctl->u, len);
	*domid = domctl->domain;
	return ret;
}

static void set_max_pages_of(domid_t domid, long nr)
{
	struct xen_domctl_max_mem mem = { .max_memkb = nr * 4 };

	CHECK_OP(domctl_call(XEN_DOMCTL_max_mem, &domid, &mem, sizeof(mem)), ==, 0);
}

static void set_max_pages(long nr)
{
	set_max_pages_of(0, nr);
}

/*
 * Take memory from the heap that belongs to this domain but is not known to its
 * kernel, or give it back.  Return: how many of @nr.
 */
static long reservation(int cmd, xen_pfn_t *mfns, long nr, uint32_t flags)
{
	struct xen_memory_reservation *res = malloc(sizeof(*res));
	long ret;

	*res = (struct xen_memory_reservation){
		.nr_extents = nr, .mem_flags = flags,
		.domid = DOMID_SELF };
	set_xen_guest_handle(res->extent_start, mfns);
	ret = xen_call(__HYPERVISOR_memory_op, cmd, (uintptr_t)res);
	free(res);
	return ret;
}

/* The same for one piece of 2^@order pages */
static long extent(int cmd, xen_pfn_t *mfn, int order, uint32_t flags)
{
	struct xen_memory_reservation *res = shared_page;

	*res = (struct xen_memory_reservation){
		.nr_extents = 1, .extent_order = order, .mem_flags = flags,
		.domid = DOMID_SELF };
	set_xen_guest_handle(res->extent_start, mfn);
	return xen_call(__HYPERVISOR_memory_op, cmd, (uintptr_t)res);
}

static long take_memory(xen_pfn_t *mfns, long nr)
{
	return reservation(XENMEM_increase_reservation, mfns, nr, 0);
}

static void give_memory(xen_pfn_t *mfns, long nr)
{
	CHECK_OP(reservation(XENMEM_decrease_reservation, mfns, nr, 0), ==, nr);
}

/* Frames that a test takes for itself, more than a machine has */
#define MOST	(1L << 19)
static xen_pfn_t *extra;
static long nr_extra, old_max_pages;

static void begin_taking(void)
{
	extra = mmap(NULL, MOST * sizeof(*extra), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(extra != MAP_FAILED, "mmap: %s", strerror(errno));
	old_max_pages = max_pages();
	set_max_pages(MOST);
}

/* Return: how many, less than @nr when there are no more */
static long take_extra(long nr, uint32_t flags)
{
	long got = 1, sum = 0;

	while (sum < nr && got) {
		got = nr - sum < 256 ? nr - sum : 256;
		CHECK_OP(nr_extra + got, <=, MOST);
		got = reservation(XENMEM_increase_reservation, extra + nr_extra, got,
				  flags);
		CHECK_OP(got, >=, 0);
		nr_extra += got;
		sum += got;
	}
	return sum;
}

static void give_extra(long nr)
{
	nr_extra -= nr;
	give_memory(extra + nr_extra, nr);
}

static void end_taking(void)
{
	give_extra(nr_extra);
	set_max_pages(old_max_pages);
}

/* Promise a domain as much memory; 0: no more.  Return: 0 or an error */
static long claim_for(domid_t domid, unsigned long nr)
{
	struct xen_memory_reservation *res = shared_page;

	*res = (struct xen_memory_reservation){
		.nr_extents = nr, .domid = domid };
	return xen_call(__HYPERVISOR_memory_op, XENMEM_claim_pages,
			(uintptr_t)res);
}

static long claim(unsigned long nr)
{
	return claim_for(0, nr);
}

/* No pools, and default settings */
static void clean(void)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_GET_AUTH };
	int i;

	for (i = 0; i < MAX_POOLS; i++)
		destroy(i);
	if (control_cmd(XEN_SYSCTL_TMEM_OP_THAW, 0))
		return;		/* off, none, or not dom0 */
	for (i = 0; !control(&op); i++) {
		CHECK(i < MAX_POOLS, "an authority does not go");
		CHECK_OP(authorise(op.uuid[0], op.uuid[1], false), ==, 0);
	}
	set_client(XEN_SYSCTL_TMEM_SET_CAP, ~0ULL);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, 0);
	set_client(XEN_SYSCTL_TMEM_SET_WEIGHT, 100);
	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, false);
	CHECK_OP(claim(0), ==, 0);
	CHECK_OP(stats().eph_pages + stats().pers_pages, ==, 0);
	CHECK_OP(shared_pages(), ==, -ENOENT);
	CHECK_OP(freeable_kib(), ==, 0);
}

/*
 * CPUs
 */

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	SYS(sched_setaffinity(0, sizeof(set), &set));
}

struct worker {
	pthread_t thread;
	void (*run)(void *arg);
	void *arg;
	int cpu;
};

static void *worker(void *arg)
{
	struct worker *w = arg;

	on_cpu(w->cpu);
	w->run(w->arg);
	return NULL;
}

static struct worker start(int cpu, void (*run)(void *), void *arg)
{
	struct worker *w = malloc(sizeof(*w));
	pthread_attr_t attr;

	/* A stack is locked in memory, and domains are small */
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * PAGE);
	*w = (struct worker){ .run = run, .arg = arg, .cpu = cpu };
	CHECK(!pthread_create(&w->thread, &attr, worker, w), "no thread");
	return *w;
}

static void finish(struct worker *w)
{
	CHECK(!pthread_join(w->thread, NULL), "no thread to wait for");
}

/* What threads tell each other */
static atomic_bool stop;
static atomic_long ready;

/* Two threads go on at the same moment */
static void meet(void)
{
	long both = (atomic_fetch_add(&ready, 1) | 1) + 1;

	while (ready < both)
		;
}

/*
 * The ABI
 */

/* All of the handle, and nothing but the handle, names a page */
static void handle_is_pool_oid_and_index(void)
{
	const struct tmem_raw_op base = {
		.cmd = PUT, .oid = { ~0ULL, 1, 1ULL << 63 }, .index = ~0u };
	struct tmem_raw_op op[6];
	int i, pool = new_pool(PERSISTENT), other = new_pool(PERSISTENT);

	for (i = 0; i < 6; i++) {
		op[i] = base;
		op[i].pool_id = pool;
		op[i].cmfn = frame[i];
	}
	op[1].pool_id = other;
	op[2].oid[0] ^= 1ULL << 63;
	op[3].oid[1] ^= 1ULL << 32;
	op[4].oid[2] ^= 1;
	op[5].index ^= 1u << 31;
	for (i = 0; i < 6; i++) {
		fill(i, i + 1);
		CHECK_OP(hyper(op[i]), ==, 1);
	}
	CHECK_OP(stats().pers_pages, ==, 6);
	for (i = 0; i < 6; i++) {
		fill(i, JUNK);
		op[i].cmd = GET;
		CHECK_OP(hyper(op[i]), ==, 1);
		CHECK(holds(i, i + 1), "handle %d has another's page", i);
	}
	/* What is not in the handle does not matter (T6) */
	for (i = 0; i < 8; i++) {
		static const uint32_t odd[] = { 0, 1, 4095, 4096, 4097,
						0xfffff000, 0xffffffff, 2048 };

		op[0].cmd = PUT;
		op[0].tmem_offset = odd[i];
		op[0].pfn_offset = odd[(i + 3) % 8];
		op[0].len = odd[(i + 5) % 8];
		fill(0, 50 + i);
		CHECK_OP(hyper(op[0]), ==, 1);
		op[0].cmd = GET;
		op[0].tmem_offset = odd[(i + 1) % 8];
		fill(0, JUNK);
		CHECK_OP(hyper(op[0]), ==, 1);
		CHECK(holds(0, 50 + i), "offset or length has an effect");
	}
}

/* Not a byte less or more is read */
static void op_is_56_bytes(void)
{
	struct tmem_raw_op op = { .cmd = NEW_POOL, .flags = EPHEMERAL };
	char *end = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int i;

	CHECK(end != MAP_FAILED, "no memory");
	end += PAGE;
	SYS(munmap(end, PAGE));
	memcpy(end - 56, &op, 56);
	CHECK_OP(hyper_at(end - 56), ==, 0);
	CHECK(!memcmp(end - 56, &op, 56), "the op was written to");
	for (i = 1; i <= 56; i++) {
		memmove(end - 56 + i, &op, 56 - i);
		CHECK_OP(hyper_at(end - 56 + i), ==, -EFAULT);
	}
	CHECK_OP(destroy(0), ==, 1);
	CHECK_OP(destroy(0), ==, 0);
}

/* T1, T29: commands of old, privileged ones, and none at all */
static void other_commands_do_nothing(void)
{
	static const uint32_t privileged[] = { CONTROL, AUTH, RESTORE_NEW };
	static const uint32_t unknown[] = { NEW_PAGE, READ, WRITE, XCHG, 11, 24,
		100, 103, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff };
	struct xen_sysctl_tmem_stats before, after;
	int i, pool = new_pool(PERSISTENT);

	MUST_PUT(pool, 1, 1, 1);
	before = stats();
	for (i = 0; i < ARRAY_SIZE(privileged); i++) {
		CHECK_OP(hyper(gen(privileged[i], pool, 1, 1)), ==, -EOPNOTSUPP);
		CHECK_OP(hyper(gen(privileged[i], -1, 1, 1)), ==, -EOPNOTSUPP);
	}
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		CHECK_OP(hyper(gen(unknown[i], pool, 1, 1)), ==, -ENOSYS);
		CHECK_OP(hyper(gen(unknown[i], pool, 1, 2)), ==, -ENOSYS);
		/* The pool is looked at first */
		CHECK_OP(hyper(gen(unknown[i], pool + 1, 1, 1)), ==, -ENODEV);
	}
	after = stats();
	CHECK(!memcmp(&before, &after, sizeof(before)), "something has changed");
	MUST_GET(pool, 1, 1, 1);
	MUST_MISS(pool, 1, 2);
}

/* T32, and a slot is not lost by the attempt (T14) */
static void reserved_pool_flags_are_refused(void)
{
	int i;

	for (i = 2; i < 32; i++)	/* reserved, page size, version */
		CHECK(try_pool(EPHEMERAL ^ 1u << i, 0, 0) == -EPERM,
		      "bit %d is accepted", i);
	CHECK_OP(try_pool(PERSISTENT | SHARED, 1, 2), ==, -EPERM);
	CHECK_OP(try_pool(0, 0, 0), ==, -EPERM);
	CHECK_OP(try_pool(~0u, 0, 0), ==, -EPERM);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(new_pool(i & 1 ? PERSISTENT : EPHEMERAL), ==, i);
}

/* T2, T32.  An id too many must not become that of pool 0, which is there */
static void check_pool_ids(void)
{
	static const int ids[] = { 1, 15, 16, 17, 31, 64, 255, 256, 65536,
		0x7fffffff, -1, -2, -16, -65536, -0x7fffffff - 1 };
	static const int cmds[] = { PUT, GET, FLUSH_PAGE, FLUSH_OBJECT };
	int i, j;

	MUST_PUT(0, 1, 1, 1);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		for (j = 0; j < ARRAY_SIZE(cmds); j++) {
			CHECK_OP(hyper(gen(cmds[j], ids[i], 1, 1)), ==, -ENODEV);
			CHECK_OP(op_with(cmds[j], ids[i], 1, 1, ~0ULL >> 12), ==,
				 -ENODEV);
		}
		CHECK_OP(destroy(ids[i]), ==, 0);
	}
	MUST_GET(0, 1, 1, 1);
}

static void pool_ids_are_checked(void)
{
	CHECK_OP(new_pool(PERSISTENT), ==, 0);
	check_pool_ids();
}

/* A shared pool is looked for before the engine sees the id */
static void bad_pool_id_is_no_shared_pool(void)
{
	CHECK_OP(authorise(0x6964, 1, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 0x6964, 1), ==, 0);
	check_pool_ids();
}

/* Ids: the lowest that is free.  The 17th is refused, and nothing comes of it */
static void seventeenth_pool_is_refused(void)
{
	int i;

	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(new_pool(EPHEMERAL), ==, i);
	CHECK_OP(try_pool(EPHEMERAL, 0, 0), ==, -EPERM);
	CHECK_OP(try_pool(PERSISTENT, 0, 0), ==, -EPERM);
	CHECK_OP(destroy(11), ==, 1);
	CHECK_OP(destroy(7), ==, 1);
	CHECK_OP(new_pool(PERSISTENT), ==, 7);
	CHECK_OP(new_pool(PERSISTENT), ==, 11);
	CHECK_OP(try_pool(PERSISTENT, 0, 0), ==, -EPERM);
	CHECK_OP(put(16, 1, 1, 1), ==, -ENODEV);
}

/* T31, what a kernel does that finds pools of an earlier one */
static void pools_of_earlier_kernel_can_be_dropped(void)
{
	int i, round;

	for (round = 0; round < 2 * MAX_POOLS; round++) {
		for (i = 0; i < MAX_POOLS; i++)
			destroy(i);
		for (i = 0; i < 3; i++)
			MUST_PUT(new_pool(i & 1 ? PERSISTENT : EPHEMERAL), 1, 1,
				 round + 1);
	}
	CHECK_OP(stats().eph_pages, ==, 2);
	CHECK_OP(stats().pers_pages, ==, 1);
}

/* T14: who knows an uuid, or guesses one, gets nothing by it */
static void shared_pool_without_authority_is_private(void)
{
	long a = try_pool(SHARED, 0x1234, 0x5678);
	long b = try_pool(SHARED, 0x1234, 0x5678);
	int i;

	CHECK_OP(a, ==, 0);
	CHECK_OP(b, ==, 1);
	MUST_PUT(a, 1, 1, 1);
	MUST_MISS(b, 1, 1);
	MUST_GET(a, 1, 1, 1);
	MUST_MISS(a, 1, 1);	/* exclusive, as in any private pool */
	CHECK_OP(try_pool(SHARED, ~0ULL, ~0ULL), ==, 2);
	for (i = 3; i < MAX_POOLS; i++)
		CHECK_OP(try_pool(SHARED, i, i), ==, i);
	CHECK_OP(try_pool(SHARED, 99, 99), ==, -EPERM);
	CHECK_OP(shared_pages(), ==, -ENOENT);
}

/* T14: what fails in the middle leaves no id that leads to freed memory */
static void seventeenth_shared_pool_is_refused(void)
{
	int i;

	CHECK_OP(authorise(~0ULL, ~0ULL, true), ==, -EINVAL);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(authorise(i, ~i, true), ==, 0);
	CHECK_OP(authorise(3, ~3, true), ==, 0);
	CHECK_OP(authorise(99, 99, true), ==, -ENOSPC);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(try_pool(SHARED, i, ~i), ==, i);
	for (i = 0; i < 100; i++)
		CHECK_OP(try_pool(SHARED, i % MAX_POOLS, ~(i % MAX_POOLS)), ==,
			 -EPERM);
	CHECK_OP(put(MAX_POOLS, 1, 1, 1), ==, -ENODEV);
	for (i = 0; i < MAX_POOLS; i++)
		MUST_PUT(i, 1, 1, i + 1);
	for (i = 0; i < MAX_POOLS; i++) {
		MUST_GET(i, 1, 1, i + 1);
		CHECK_OP(destroy(i), ==, 1);
		CHECK_OP(put(i, 1, 1, 1), ==, -ENODEV);
	}
	CHECK_OP(shared_pages(), ==, -ENOENT);
}

/* T14, T19: several users, all in this domain */
static void shared_pool_is_one_pool_for_all_users(void)
{
	int i;

	CHECK_OP(authorise(1, 2, true), ==, 0);
	for (i = 0; i < 3; i++)
		CHECK_OP(try_pool(SHARED, 1, 2), ==, i);
	CHECK_OP(try_pool(SHARED, 2, 1), ==, 3);	/* another one */
	MUST_PUT(0, 1, 1, 1);
	MUST_GET(1, 1, 1, 1);
	MUST_GET(2, 1, 1, 1);		/* a get leaves it */
	MUST_MISS(3, 1, 1);
	MUST_PUT(1, 1, 1, 2);
	MUST_GET(0, 1, 1, 2);
	CHECK_OP(flush_page(2, 1, 1), ==, 1);
	MUST_MISS(0, 1, 1);
	MUST_PUT(0, 1, 1, 3);
	CHECK_OP(put(1, 1, 1, 4), ==, 1);
	CHECK_OP(op_with(PUT, 2, 1, 1, ~0ULL >> 12), ==, -EFAULT);
	MUST_MISS(0, 1, 1);

	/* Who leaves takes nothing along, and the rest can be evicted */
	for (i = 0; i < 100; i++)
		MUST_PUT(0, i % 10, i, i + 1);
	CHECK_OP(destroy(0), ==, 1);
	CHECK_OP(get(0, 1, 1), ==, -ENODEV);
	CHECK_OP(shared_pages(), ==, 100);
	for (i = 0; i < 100; i++)
		MUST_GET(1, i % 10, i, i + 1);
	while (shared_pages())
		flush_kib(1 << 10);
	MUST_MISS(1, 1, 1);

	/* Who is in stays, but joins no more */
	CHECK_OP(authorise(1, 2, false), ==, 0);
	CHECK_OP(authorise(1, 2, false), ==, -ENOENT);
	MUST_PUT(1, 1, 1, 5);
	MUST_GET(2, 1, 1, 5);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	MUST_MISS(0, 1, 1);

	/* The last one takes it all */
	CHECK_OP(destroy(1), ==, 1);
	MUST_GET(2, 1, 1, 5);
	CHECK_OP(destroy(2), ==, 1);
	CHECK_OP(shared_pages(), ==, -ENOENT);
	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 1);
	CHECK_OP(get(1, 1, 1), ==, -EEMPTY);
}

static void shared_pool_has_settings_of_its_own(void)
{
	struct xen_sysctl_tmem_op op, set = {
		.cmd = XEN_SYSCTL_TMEM_OP_SET,
		.flags = XEN_SYSCTL_TMEM_SHARED | XEN_SYSCTL_TMEM_COMPRESS,
		.mask = XEN_SYSCTL_TMEM_SET_WEIGHT | XEN_SYSCTL_TMEM_SET_CAP |
			XEN_SYSCTL_TMEM_SET_MIN | XEN_SYSCTL_TMEM_SET_COMPRESS,
		.weight = 7, .cap = 4096, .min = 400, .uuid = { 1, 2 } };
	unsigned int i;

	CHECK_OP(control(&set), ==, -ENOENT);
	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	CHECK_OP(control(&set), ==, 0);
	CHECK_OP(get_shared(1, 2, &op), ==, 0);
	CHECK_OP(op.weight, ==, 7);
	CHECK_OP(op.cap, ==, 4096);
	CHECK_OP(op.min, ==, 400);
	CHECK_OP(op.flags, ==, set.flags);
	for (i = 0; i < WORDS; i++)
		page[0][i] = i / 16;
	CHECK_OP(hyper(gen(PUT, 0, 1, 1)), ==, 1);
	CHECK_OP(shared_stats(1, 2).lz4_pages, ==, 1);
	fill(0, JUNK);
	CHECK_OP(hyper(gen(GET, 0, 1, 1)), ==, 1);
	for (i = 0; i < WORDS; i++)
		CHECK(page[0][i] == i / 16, "wrong contents");
	fill(0, 1);
	hyper_many(gen(PUT, 0, 2, 0), 2000);
	CHECK_OP(shared_stats(1, 2).evicted, >, 900);
	CHECK_OP(shared_stats(1, 2).used_bytes, <=, 4096 << 10);

	/* They go with it */
	CHECK_OP(destroy(0), ==, 1);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	CHECK_OP(get_shared(1, 2, &op), ==, 0);
	CHECK_OP(op.weight, ==, 100);
	CHECK(op.cap == ~0ULL && !op.min, "settings of an older pool");
}

/* It is the caller that is frozen, not the pool */
static void frozen_domain_adds_nothing_to_shared_pool(void)
{
	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	MUST_PUT(0, 1, 1, 1);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_FREEZE, 0), ==, 0);
	CHECK_OP(put(0, 1, 2, 1), ==, -EFROZEN);
	MUST_PUT(0, 1, 1, 2);
	MUST_GET(0, 1, 1, 2);
	CHECK_OP(flush_page(0, 1, 1), ==, -EFROZEN);
	MUST_MISS(0, 1, 1);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_THAW, 0), ==, 0);
	MUST_PUT(0, 1, 2, 1);
}

/* T20: a shared pool is one more client, as heavy as any other */
static void shared_pool_has_a_share(void)
{
	long kib;
	int i;

	CHECK_OP(authorise(1, 2, true), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 0);
	CHECK_OP(try_pool(SHARED, 1, 2), ==, 1);
	CHECK_OP(new_pool(EPHEMERAL), ==, 2);
	fill(0, 2);
	CHECK_OP(hyper_many(gen(PUT, 0, 1, 0), 3000), ==, 3000);
	CHECK_OP(hyper_many(gen(PUT, 2, 1, 0), 1000), ==, 1000);
	for (kib = 0; kib < 4000; kib += flush_kib(4000 - kib))
		;
	CHECK_OP(stats().eph_pages, ==, 1000);
	CHECK_OP(shared_stats(1, 2).evicted, >=, 900);
	/* Nobody is its owner, who could leave */
	CHECK_OP(destroy(0), ==, 1);
	for (i = 0; i < 2; i++)
		for (kib = 0; kib < 4000; kib += flush_kib(4000 - kib))
			;
	note("shared %lu, private %lu", shared_stats(1, 2).eph_pages,
	     stats().eph_pages);
	CHECK_OP(shared_stats(1, 2).eph_pages, <, 1050);
}

static void destroyed_pool_is_gone(void)
{
	int kind, i, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		for (i = 0; i < 100; i++)
			MUST_PUT(pool, i % 10, i, i + 1);
		CHECK_OP(destroy(pool), ==, 1);
		CHECK_OP(destroy(pool), ==, 0);
		CHECK_OP(get(pool, 1, 1), ==, -ENODEV);
		CHECK_OP(put(pool, 1, 1, 1), ==, -ENODEV);
		CHECK_OP(flush_page(pool, 1, 1), ==, -ENODEV);
		CHECK_OP(flush_object(pool, 1), ==, -ENODEV);
		CHECK_OP(new_pool(EPHEMERAL | kind), ==, pool);
		for (i = 0; i < 100; i++)
			CHECK_OP(get(pool, i % 10, i), ==, -EEMPTY);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

static void ephemeral_get_is_exclusive(void)
{
	int pool = new_pool(EPHEMERAL);

	CHECK_OP(get(pool, 1, 1), ==, -EEMPTY);
	MUST_PUT(pool, 1, 1, 1);
	MUST_PUT(pool, 1, 2, 2);
	CHECK_OP(get(pool, 1, 3), ==, 0);
	CHECK_OP(get(pool, 2, 1), ==, 0);
	MUST_GET(pool, 1, 1, 1);
	CHECK_OP(get(pool, 1, 1), ==, 0);
	MUST_GET(pool, 1, 2, 2);
	CHECK_OP(get(pool, 1, 2), ==, -EEMPTY);
}

static void persistent_get_leaves_the_page(void)
{
	int i, pool = new_pool(PERSISTENT);

	CHECK_OP(get(pool, 1, 1), ==, -EEMPTY);
	MUST_PUT(pool, 1, 1, 1);
	for (i = 0; i < 3; i++)
		MUST_GET(pool, 1, 1, 1);
	CHECK_OP(get(pool, 1, 2), ==, 0);
	CHECK_OP(flush_page(pool, 1, 1), ==, 1);
	CHECK_OP(get(pool, 1, 1), ==, -EEMPTY);
}

static void second_put_is_the_one_that_is_got(void)
{
	int kind, i, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		/* 0 is a page that repeats one word, which takes no frame */
		for (i = 9; i >= 0; i--)
			MUST_PUT(pool, 1, 1, i % 5);
		MUST_GET(pool, 1, 1, 0);
		MUST_PUT(pool, 1, 1, 0);
		MUST_PUT(pool, 1, 1, 7);
		MUST_GET(pool, 1, 1, 7);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

static void flushes_take_what_they_name(void)
{
	int kind, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		CHECK_OP(flush_page(pool, 1, 1), ==, 1);
		CHECK_OP(flush_object(pool, 1), ==, 1);
		MUST_PUT(pool, 1, 0, 10);
		MUST_PUT(pool, 1, 1, 11);
		MUST_PUT(pool, 1, ~0u, 12);
		MUST_PUT(pool, 2, 1, 21);
		CHECK_OP(flush_page(pool, 1, 1), ==, 1);
		CHECK_OP(flush_page(pool, 1, 1), ==, 1);
		MUST_MISS(pool, 1, 1);
		CHECK_OP(flush_object(pool, 3), ==, 1);
		MUST_PUT(pool, 1, 1, 13);
		MUST_GET(pool, 1, ~0u, 12);
		MUST_PUT(pool, 1, ~0u, 12);
		CHECK_OP(flush_object(pool, 1), ==, 1);
		CHECK_OP(flush_object(pool, 1), ==, 1);
		MUST_MISS(pool, 1, 0);
		MUST_MISS(pool, 1, 1);
		MUST_MISS(pool, 1, ~0u);
		MUST_GET(pool, 2, 1, 21);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* The hypercall within another, also when it has to go on later */
static void works_in_multicall(void)
{
	struct multicall_entry *call = shared_page;
	struct tmem_raw_op *op = shared_page + 1024;
	int i, pool = new_pool(EPHEMERAL);

	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), 20000), ==, 20000);
	fill(1, 5);
	op[0] = gen(FLUSH_OBJECT, pool, 1, 0);
	op[1] = gen(PUT, pool, 2, 0);
	op[1].cmfn = frame[1];
	op[2] = gen(GET, pool, 2, 0);
	op[3] = gen(GET, pool, 1, 0);
	op[4] = gen(DESTROY_POOL, pool, 0, 0);
	for (i = 0; i < 5; i++)
		call[i] = (struct multicall_entry){
			.op = __HYPERVISOR_tmem_op,
			.args = { (uintptr_t)&op[i] } };
	CHECK_OP(xen_call(__HYPERVISOR_multicall, (uintptr_t)call, 5), ==, 0);
	CHECK_OP((int)call[0].result, ==, 1);
	CHECK_OP((int)call[1].result, ==, 1);
	CHECK_OP((int)call[2].result, ==, 1);
	CHECK(holds(0, 5), "wrong contents");
	CHECK_OP((int)call[3].result, ==, -EEMPTY);
	CHECK_OP((int)call[4].result, ==, 1);
}

/*
 * Bad frames and pointers
 */

/* Frames that this domain must not name.  Return: how many */
static int bad_frames(uint64_t *bad)
{
	static xen_pfn_t gone;	/* was ours, and is Xen's */
	uint64_t list[] = {
		0, ~0ULL, ~0ULL >> 12, 1ULL << 63, 1ULL << 40, 1ULL << 52,
		max_mfn() + 1, max_mfn() + 2, 0xb8 /* VGA */, 0xf0 /* BIOS */,
		0xfee00 /* APIC */, 0xfec00 };

	CHECK_OP(take_memory(&gone, 1), ==, 1);
	give_memory(&gone, 1);
	memcpy(bad, list, sizeof(list));
	bad[ARRAY_SIZE(list)] = gone;
	return ARRAY_SIZE(list) + 1;
}

#define MAX_BAD 16

/* T5; a put has dropped what was there, T18 */
static void bad_frames_are_refused(void)
{
	uint64_t bad[MAX_BAD];
	int i, kind, hit, nr = bad_frames(bad);
	long ret;

	for (kind = 0; kind < 2; kind++) {
		int pool = new_pool(EPHEMERAL | kind);

		for (i = 0; i < nr; i++) {
			CHECK(op_with(PUT, pool, 1, i, bad[i]) == -EFAULT,
			      "put: frame %#lx is accepted", bad[i]);
			MUST_MISS(pool, 1, i);
			/* Nobody wants it.  After a hit, one more is expected */
			for (hit = 0; hit < 2; hit++) {
				if (hit) {
					MUST_PUT(pool, 2, i, 1);
					MUST_GET(pool, 2, i, 1);
				}
				ret = op_with(GET, pool, 1, i, bad[i]);
				CHECK(ret == 0 || ret == -EEMPTY,
				      "get of nothing: %ld", ret);
			}
			MUST_PUT(pool, 1, i, 1);
			CHECK(op_with(GET, pool, 1, i, bad[i]) == -EFAULT,
			      "get: frame %#lx is accepted", bad[i]);
			CHECK_OP(op_with(PUT, pool, 1, i, bad[i]), ==, -EFAULT);
			MUST_MISS(pool, 1, i);
			/* Others do not look at it */
			MUST_PUT(pool, 1, i, 1);
			CHECK_OP(op_with(FLUSH_PAGE, pool, 1, i, bad[i]), ==, 1);
			MUST_MISS(pool, 1, i);
		}
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* T10 */
static void bad_frame_on_get_leaves_no_half_removed_page(void)
{
	struct xen_sysctl_tmem_stats s;
	int i, round, kind, pool;

	for (round = 0; round < 4; round++) {
		for (kind = 0; kind < 2; kind++) {
			pool = new_pool(EPHEMERAL | kind);
			for (i = 0; i < 64; i++) {
				MUST_PUT(pool, i / 2, i, i + 1);
				CHECK_OP(op_with(GET, pool, i / 2, i, ~0ULL >> 12),
					 ==, -EFAULT);
			}
			s = stats();
			CHECK_OP(kind ? s.pers_pages : s.eph_pages, ==, 64);
			switch (round) {
			case 0:		/* a clean hit */
				for (i = 0; i < 64; i++)
					MUST_GET(pool, i / 2, i, i + 1);
				break;
			case 1:
				for (i = 0; i < 32; i++)
					CHECK_OP(flush_object(pool, i), ==, 1);
				break;
			case 2:
				while (stats().eph_pages)
					flush_kib(1 << 10);
				break;
			}
			CHECK_OP(destroy(pool), ==, 1);
			s = stats();
			CHECK_OP(s.eph_pages + s.pers_pages, ==, 0);
		}
	}
}

static void use_object(void *arg)
{
	int pool = *(int *)arg;
	struct tmem_raw_op op = gen(PUT, pool, 1, 1);

	op.cmfn = frame[2];
	fill(2, 2);
	CHECK_OP(hyper(op), ==, 1);
	op.cmd = GET;
	CHECK_OP(hyper(op), ==, 1);
	CHECK(holds(2, 2), "wrong contents");
	CHECK_OP(hyper(gen(FLUSH_PAGE, pool, 1, 1)), ==, 1);
	CHECK_OP(hyper(gen(FLUSH_OBJECT, pool, 1, 1)), ==, 1);
}

/* T7: what failed here must not stand in another vCPU's way */
static void bad_frame_does_not_keep_a_lock(void)
{
	int i, pool = new_pool(EPHEMERAL);

	for (i = 0; i < 100; i++) {
		struct worker w;

		MUST_PUT(pool, 1, 1, 1);
		CHECK_OP(op_with(i & 1 ? GET : PUT, pool, 1, 1, ~0ULL >> 12), ==,
			 -EFAULT);
		w = start(1, use_object, &pool);
		finish(&w);
	}
}

/*
 * What Xen has checked once, the guest must not have changed by a get.  (Of an HVM
 * guest's page tables it has checked nothing: there this would be the guest's end.)
 */
static void get_into_page_table_is_refused(void)
{
	int i, kind, pool;
	uint64_t pgd = 0;
	struct worker w;

	SYS(ioctl(raw, TMEM_RAW_PGD, &pgd));
	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		for (i = 0; i < 100; i++) {
			MUST_PUT(pool, 1, i, 0);
			CHECK_OP(op_with(GET, pool, 1, i, pgd), ==, -EFAULT);
			MUST_GET(pool, 1, i, 0);
		}
		/* Nor is a lock kept */
		w = start(1, use_object, &pool);
		finish(&w);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* A frame of the hypervisor, or of another domain, cannot be read by a put */
static void put_reads_only_own_frames(void)
{
	uint64_t mfn, end = max_mfn() + 64;
	long ours = 0, own = tot_pages();
	int pool = new_pool(EPHEMERAL);

	for (mfn = 0; mfn < end; mfn++) {
		long ret = op_with(PUT, pool, 1, 1, mfn);

		CHECK(ret == 1 || ret == -EFAULT, "%ld for frame %#lx", ret,
		      mfn);
		ours += ret == 1;
	}
	note("%ld of %ld frames could be read, the domain has %ld", ours,
	     (long)end, own);
	CHECK_OP(ours, >=, own);
	/* The few that Xen shares with a domain on purpose */
	CHECK_OP(ours, <=, own + 64);
	CHECK_OP(flush_page(pool, 1, 1), ==, 1);
}

/* Whatever becomes of an operation, it does not hold on to the page */
static void frames_are_let_go(void)
{
	enum { NR = 64 };
	static xen_pfn_t mfns[NR];
	int i, kind, pool[2] = { new_pool(EPHEMERAL), new_pool(PERSISTENT) };
	long tot = tot_pages(), nr, ret;

	nr = settled_free_pages();
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	for (i = 0; i < NR; i++) {
		for (kind = 0; kind < 2; kind++) {
			ret = op_with(GET, pool[kind], 1, i + 1, mfns[i]);
			CHECK(ret == 0 || ret == -EEMPTY, "a miss: %ld", ret);
			set_client(XEN_SYSCTL_TMEM_SET_CAP, i % 2 ? 0 : ~0ULL);
			CHECK_OP(op_with(PUT, pool[kind], 1, i + 1, mfns[i]), ==,
				 i % 2 ? -ENOMEM : 1);
			ret = op_with(GET, pool[kind], 1, i + 1, mfns[i]);
			CHECK_OP(ret == 1, ==, i % 2 == 0);
			flush_page(pool[kind], 1, i + 1);
		}
	}
	give_memory(mfns, NR);
	CHECK_OP(tot_pages(), ==, tot);
	CHECK_OP(settled_free_pages(), ==, nr);
}

static void *const bad_pointers[] = {
	NULL, (void *)1, (void *)0xfff, (void *)0x00007ffffffff000,
	(void *)0x0000800000000000,		/* not canonical */
	(void *)0x8000000000000000,
	(void *)0xffff7ffffffffff8,
	(void *)0xffff800000000000,		/* Xen's: machine to phys */
	(void *)0xffff82d040000000,		/* Xen's: its code */
	(void *)0xffff830000000000,		/* Xen's: all memory */
	(void *)0xffff87fffffffff8,
	(void *)0xffffffffffffe000,
	(void *)0xfffffffffffffff8, (void *)-1L,
};

static void call_bad_pointers(void *arg)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(bad_pointers); i++) {
		struct tmem_raw_call c = { .at = (uintptr_t)bad_pointers[i],
					   .use_at = 1, .nr = *(int *)arg };

		CHECK(calls(&c) == -EFAULT, "%ld for an op at %p", (long)c.ret,
		      bad_pointers[i]);
	}
}

/* T8 */
static void bad_op_pointer_is_refused(void)
{
	int i, nr = 10000, pool = new_pool(EPHEMERAL);
	struct worker w[2];

	for (i = 0; i < 2; i++)
		w[i] = start(i, call_bad_pointers, &nr);
	for (i = 0; i < 2; i++)
		finish(&w[i]);
	MUST_PUT(pool, 1, 1, 1);
	MUST_GET(pool, 1, 1, 1);
}

/* T5, T9: neither mappings, nor references, nor the console's log run over */
static void million_failing_calls_are_silent(void)
{
	int pool = new_pool(EPHEMERAL);
	struct tmem_raw_call c[] = {
		{ .op = gen(PUT, pool, 1, 1), .nr = 300000 },
		{ .op = gen(GET, pool, 1, 1), .nr = 300000 },
		{ .op = gen(GET, pool + 1, 1, 1), .nr = 200000 },
		{ .op = gen(XCHG, pool, 1, 1), .nr = 100000 },
		{ .op = { .cmd = NEW_POOL, .flags = ~0u }, .nr = 50000 },
		{ .op = { .cmd = NEW_POOL, .flags = SHARED | PERSISTENT },
		  .nr = 50000 },
	};
	uint32_t before = console_bytes(), after;
	long i, free_before = free_pages();

	c[0].op.cmfn = c[1].op.cmfn = 0xf0;
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		CHECK_OP(calls(&c[i]), <, 0);
		CHECK_OP(c[i].ones, ==, 0);
	}
	/* A shared pool is told about: once in a while */
	for (i = 0; i < 10000; i++)
		CHECK_OP(destroy(try_pool(SHARED, i, i)), ==, 1);
	after = console_bytes();
	note("%u bytes in the log of the hypervisor", after - before);
	CHECK_OP(after - before, <, 8192);
	MUST_PUT(pool, 1, 1, 1);
	MUST_GET(pool, 1, 1, 1);
	CHECK_OP(labs(free_pages() - free_before), <, 64);
}

/*
 * Persistent pages and max_pages
 */

/* Until it is refused.  Return: how many pages were taken */
static long fill_up(int pool, uint64_t obj, long *err)
{
	struct tmem_raw_op op = gen(PUT, pool, obj, 0);
	long nr = 0, n;

	do {
		op.index = nr;
		n = hyper_many(op, 64);
		nr += n;
	} while (n == 64);
	op.index = nr;
	*err = hyper(op);
	return nr;
}

static void persistent_pages_stay_below_max_pages(void)
{
	long nr, err, room = max_pages() - tot_pages();
	int pool = new_pool(PERSISTENT), eph = new_pool(EPHEMERAL);
	struct xen_sysctl_tmem_stats s;
	static xen_pfn_t mfn;

	CHECK(room > 1000 && room < MANY, "no good max_pages: %ld above %ld",
	      room, tot_pages());
	fill(0, 1);
	nr = fill_up(pool, 1, &err);
	CHECK_OP(err, ==, -ENOMEM);
	s = stats();
	note("%ld pages in a room of %ld; %ld bytes with metadata", nr, room,
	     (long)s.pers_bytes);
	CHECK_OP(s.pers_pages, ==, nr);
	CHECK_OP((s.pers_bytes + PAGE - 1) / PAGE, <=, room);
	/* No more than 2 % and a step of the metadata is lost */
	CHECK_OP(nr, >=, room * 98 / 100 - 16);

	/* The sum counts, so memory of the other kind is refused, too (T11) */
	CHECK_OP(take_memory(&mfn, 1), ==, 0);
	CHECK_OP(tot_pages(), ==, max_pages() - room);
	MUST_PUT(eph, 1, 1, 2);
	MUST_GET(eph, 1, 1, 2);
	MUST_GET(pool, 1, nr - 1, 1);
	CHECK_OP(flush_object(pool, 1), ==, 1);
	CHECK_OP(take_memory(&mfn, 1), ==, 1);
	give_memory(&mfn, 1);
	CHECK_OP(stats().pers_bytes, ==, 0);
}

/* Whether a put takes more memory or not */
static void lowered_max_pages_counts_for_every_put(void)
{
	long max = max_pages(), ret[3];
	int i, pool = new_pool(PERSISTENT);

	for (i = 0; i < 100; i++)
		MUST_PUT(pool, 1, i, 1);
	set_max_pages(tot_pages() + 50);
	for (i = 0; i < 3; i++)
		ret[i] = put(pool, 1, i, 2);
	set_max_pages(max);
	for (i = 0; i < 3; i++) {
		CHECK_OP(ret[i], ==, -ENOMEM);
		MUST_MISS(pool, 1, i);
	}
	MUST_GET(pool, 1, 3, 1);
	MUST_PUT(pool, 1, 3, 2);
}

/* T18 */
static void failed_duplicate_put_leaves_nothing(void)
{
	int i, failed = 0, pool = new_pool(PERSISTENT);
	long err;

	/* Pages that take no frame, and cannot be replaced by one that does */
	for (i = 0; i < 3; i++)
		MUST_PUT(pool, 2, i, 0);
	fill(0, 1);
	fill_up(pool, 1, &err);
	for (i = 0; i < 3; i++) {
		if (put(pool, 2, i, 3) == 1)
			continue;	/* there is less than a page of room */
		failed++;
		MUST_MISS(pool, 2, i);
	}
	CHECK_OP(failed, >=, 2);

	/* For the cap */
	CHECK_OP(flush_object(pool, 1), ==, 1);
	MUST_PUT(pool, 2, 1, 3);
	set_client(XEN_SYSCTL_TMEM_SET_CAP, 4);
	CHECK_OP(put(pool, 2, 1, 4), <, 0);
	set_client(XEN_SYSCTL_TMEM_SET_CAP, ~0ULL);
	MUST_MISS(pool, 2, 1);
	MUST_PUT(pool, 2, 1, 5);
	MUST_GET(pool, 2, 1, 5);
}

/* T11: no frame that holds metadata or data is one the domain can name */
static void stored_pages_are_not_the_domains_own(void)
{
	uint64_t mfn, end = max_mfn() + 1;
	int pool = new_pool(PERSISTENT), probe = new_pool(EPHEMERAL);
	long before = 0, after = 0, tot = tot_pages();

	for (mfn = 0; mfn < end; mfn++)
		before += op_with(PUT, probe, 1, 1, mfn) == 1;
	fill(0, 1);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), 5000), ==, 5000);
	for (mfn = 0; mfn < end; mfn++)
		after += op_with(PUT, probe, 1, 1, mfn) == 1;
	CHECK_OP(after, ==, before);
	CHECK_OP(tot_pages(), ==, tot);
}

/*
 * Nothing of tmem goes with a domain that is saved: while it has pages that nobody
 * else has, its suspend is cancelled, as a toolstack could do, and it runs on.
 */
static void suspend_with_persistent_pages_is_cancelled(void)
{
	struct sched_shutdown *shutdown = shared_page;
	int i, pool = new_pool(PERSISTENT);

	for (i = 0; i < 2; i++) {
		MUST_PUT(pool, 1, 1, i);	/* 0: takes no frame */
		*shutdown = (struct sched_shutdown){ .reason = SHUTDOWN_suspend };
		CHECK_OP(xen_call(__HYPERVISOR_sched_op, SCHEDOP_shutdown,
				  (uintptr_t)shutdown), ==, 1);
		MUST_GET(pool, 1, 1, i);
	}
}

/*
 * Two vCPUs
 */

static void make_pools(void *arg)
{
	long *ids = arg;
	int i;

	for (i = 0; i < 8; i++) {
		meet();
		ids[i] = try_pool(i & 1 ? PERSISTENT : EPHEMERAL, 0, 0);
	}
}

/* T13: the first operations of a domain, all at once */
static void pools_made_at_once_are_distinct(void)
{
	unsigned int round, all, i;
	long ids[2][8];

	ready = 0;
	for (round = 0; round < 100; round++) {
		struct worker a = start(0, make_pools, ids[0]);
		struct worker b = start(1, make_pools, ids[1]);

		finish(&a);
		finish(&b);
		for (all = 0, i = 0; i < 16; i++) {
			CHECK_OP(ids[i / 8][i % 8], >=, 0);
			all |= 1u << ids[i / 8][i % 8];
		}
		CHECK(all == 0xffff, "the same id twice: %#x", all);
		for (i = 0; i < 16; i++)
			CHECK_OP(destroy(i), ==, 1);
	}
}

static atomic_long hits, no_pool;

static void put_and_get(void *arg)
{
	int i, pool = *(int *)arg;

	for (i = 0; !stop; i++) {
		struct tmem_raw_op op = gen(PUT, pool, i % 7, i % 100);
		long ret;

		op.cmfn = frame[2];
		ret = hyper(op);
		if (ret == -ENODEV)
			no_pool++;
		else
			CHECK(ret == 1, "put: %ld", ret);
		op.cmd = GET;
		op.cmfn = frame[3];
		ret = hyper(op);
		CHECK(ret == 1 || !ret || ret == -EEMPTY || ret == -ENODEV,
		      "get: %ld", ret);
		if (ret == 1) {
			hits++;
			CHECK(holds(3, 6), "wrong contents");
		}
	}
}

/* T12 */
static void pool_can_go_while_it_is_used(void)
{
	int i, kind, pool = 0;

	fill(2, 6);
	CHECK_OP(authorise(0, 0, true), ==, 0);
	for (kind = 0; kind < 3; kind++) {	/* 2: shared */
		struct xen_sysctl_tmem_stats s;
		struct worker w;

		stop = false;
		hits = no_pool = 0;
		w = start(1, put_and_get, &pool);
		for (i = 0; i < 5000 || hits < 1000 || no_pool < 10; i++) {
			CHECK_OP(new_pool(EPHEMERAL | kind), ==, 0);
			hyper_many(gen(PUT, 0, 100, 0), i % 64);
			CHECK_OP(destroy(0), ==, 1);
			/* No put that was on its way has come after that */
			s = stats();
			CHECK_OP(s.eph_pages + s.pers_pages, ==, 0);
		}
		stop = true;
		finish(&w);
		note("%d pools; meanwhile %ld gets hit, %ld puts found no pool",
		     i, (long)hits, (long)no_pool);
	}
}

static void destroy_slowly(void *arg)
{
	ready = 1;
	CHECK_OP(destroy(*(int *)arg), ==, 1);
	ready = 2;
}

/* T12 for the pool behind an id */
static void who_joins_a_dying_shared_pool_gets_a_new_one(void)
{
	int round, during = 0, nr = MANY / 4;
	struct xen_sysctl_tmem_op op;

	CHECK_OP(authorise(1, 2, true), ==, 0);
	for (round = 0; round < 6; round++) {
		int old = try_pool(SHARED, 1, 2), new;
		struct worker w;

		fill(0, 4);
		CHECK_OP(hyper_many(gen(PUT, old, 1, 0), nr), ==, nr);
		ready = 0;
		w = start(1, destroy_slowly, &old);
		while (!ready || (ready == 1 && !get_shared(1, 2, &op)))
			;
		new = try_pool(SHARED, 1, 2);
		CHECK(new >= 0, "no pool: %d", new);
		during += new != old;	/* the old id is not free yet */
		CHECK_OP(get(new, 1, nr - 1), ==, -EEMPTY);
		MUST_PUT(new, 1, 5, 9);
		finish(&w);
		MUST_GET(new, 1, 5, 9);
		CHECK_OP(shared_stats(1, 2).eph_pages, ==, 1);
		CHECK_OP(destroy(new), ==, 1);
	}
	note("%d of %d times the old one was still going", during, round);
	CHECK(during, "never at the same time");
}

static atomic_long joined;

static void join_and_destroy(void *arg)
{
	uint64_t uuid = (uintptr_t)arg;
	int i;

	for (i = 0; !stop; i++) {
		long id = try_pool(SHARED, uuid, uuid);

		CHECK(id >= 0 || id == -EPERM, "join: %ld", id);
		if (id >= 0) {
			op_with(PUT, id, i, i, frame[2]);
			joined++;
		}
		destroy(i % MAX_POOLS);		/* whoever's it is */
	}
}

/* T12, T19, T30 */
static void two_vcpus_may_destroy_one_anothers_pools(void)
{
	struct worker w[2];
	uintptr_t i;

	stop = false;
	joined = 0;
	fill(2, 6);
	for (i = 0; i < 2; i++) {
		CHECK_OP(authorise(i, i, true), ==, 0);
		w[i] = start(i, join_and_destroy, (void *)i);
	}
	sleep(10);
	stop = true;
	for (i = 0; i < 2; i++)
		finish(&w[i]);
	note("joined %ld times", joined);
	CHECK_OP(joined, >, 100);
	for (i = 0; i < MAX_POOLS; i++)
		destroy(i);
	CHECK_OP(shared_pages(), ==, -ENOENT);
	CHECK_OP(stats().eph_pages, ==, 0);
	CHECK_OP(new_pool(EPHEMERAL), ==, 0);
}

static void put_in_turn(void *arg)
{
	int i, pool = *(int *)arg;

	for (i = 0; !stop; i++) {
		struct tmem_raw_op op = gen(PUT, pool, 1, 1);

		op.cmfn = frame[2 + i % 2];
		CHECK_OP(hyper(op), ==, 1);
		if (i % 8 == 7)
			CHECK_OP(flush_page(pool, 1, 1), ==, 1);
	}
}

/* One handle: a get hits or misses, but never sees half of a put */
static void same_handle_on_two_vcpus_is_never_torn(void)
{
	long i, ret, old[2], max = 60000;
	int kind, pool;

	fill(2, 2);
	fill(3, 3);
	for (kind = 0; kind < 2; kind++) {
		struct worker w;

		pool = new_pool(EPHEMERAL | kind);
		stop = false;
		old[0] = old[1] = 0;
		w = start(1, put_in_turn, &pool);
		for (i = 0; i < max; i++) {
			ret = hyper(gen(GET, pool, 1, 1));
			CHECK(ret == 1 || !ret || ret == -EEMPTY, "%ld", ret);
			if (ret != 1)
				continue;
			if (holds(0, 2))
				old[0]++;
			else if (holds(0, 3))
				old[1]++;
			else
				fail("torn: %#lx ... %#lx", page[0][0],
				     page[0][WORDS - 1]);
		}
		stop = true;
		finish(&w);
		note("%ld gets saw one page, %ld the other", old[0], old[1]);
		CHECK(old[0] && old[1], "only one was seen");
		CHECK_OP(destroy(pool), ==, 1);
	}
}

static double worst;

static void look_at_the_clock(void *arg)
{
	double last = now(), t;
	int pool = *(int *)arg;

	worst = 0;
	while (!stop) {
		long ret = hyper(gen(GET, pool, 1, 1));

		CHECK(ret == 0 || ret == -EEMPTY, "%ld", ret);
		t = now();
		if (t - last > worst)
			worst = t - last;
		last = t;
		atomic_store(&ready, 1);
	}
}

/* Timer interrupts of vCPU 0 */
static long ticks(void)
{
	char line[512];
	FILE *f = fopen("/proc/interrupts", "r");
	long nr = -1;

	CHECK(f, "no /proc/interrupts");
	while (fgets(line, sizeof(line), f))
		if (strstr(line, " timer0"))
			sscanf(line, " %*d: %ld", &nr);
	fclose(f);
	return nr;
}

static void is_dropped_in_steps(uint32_t flags, bool whole_pool)
{
	int pool = new_pool(flags), other = new_pool(EPHEMERAL);
	long irqs, nr = MANY;
	struct worker w;
	double t;

	/* Of persistent ones there is room only for those without a frame */
	fill(0, flags == PERSISTENT ? 0 : 1);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), nr), ==, nr);
	CHECK_OP(flags == SHARED ? shared_pages() :
		 (long)(stats().eph_pages + stats().pers_pages), ==, nr);

	ready = 0;
	stop = false;
	w = start(1, look_at_the_clock, &other);
	while (!ready)
		;
	irqs = ticks();
	t = now();
	CHECK_OP(whole_pool ? destroy(pool) : flush_object(pool, 1), ==, 1);
	t = now() - t;
	irqs = ticks() - irqs;
	stop = true;
	finish(&w);
	note("%ld pages in %.3f s, %ld ticks meanwhile; the other vCPU had to wait for %.3f s at most",
	     nr, t, irqs, worst);
	CHECK(worst < 1, "the other vCPU had to wait");
	/* At 250 Hz */
	CHECK(t < 0.05 || irqs > t * 250 / 10, "this vCPU got no interrupts");
	CHECK_OP(stats().eph_pages + stats().pers_pages, ==, 0);
	destroy(pool);
}

static void object_of_1e5_pages_is_dropped_in_steps(void)
{
	CHECK_OP(authorise(0, 0, true), ==, 0);
	is_dropped_in_steps(EPHEMERAL, false);
	is_dropped_in_steps(PERSISTENT, false);
	is_dropped_in_steps(SHARED, false);
}

static void pool_of_1e5_pages_is_dropped_in_steps(void)
{
	CHECK_OP(authorise(0, 0, true), ==, 0);
	is_dropped_in_steps(EPHEMERAL, true);
	is_dropped_in_steps(PERSISTENT, true);
	is_dropped_in_steps(SHARED, true);
}

/*
 * Memory
 */

static void use_everything(bool compress)
{
	int i, j, pool[4];

	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, compress);
	for (i = 0; i < 4; i++)
		pool[i] = new_pool(EPHEMERAL | (i & 1));
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 3; j++) {
			/* Random, one word, and what LZ4 likes */
			fill(0, j == 1 ? 0 : 1);
			if (j == 2)
				memset(page[0], 'x', PAGE / 2);
			CHECK_OP(hyper_many(gen(PUT, pool[i], j, 0), 1000), ==,
				 1000);
			CHECK_OP(hyper_many(gen(PUT, pool[i], 1000 + j, 0), 100),
				 ==, 100);
		}
		/* An object per page */
		for (j = 0; j < 500; j++)
			CHECK_OP(hyper(gen(PUT, pool[i], 2000 + j, j << 20)),
				 ==, 1);
	}
	CHECK_OP(stats().lz4_pages, ==, compress ? 4 * (1100 + 500) : 0);
	CHECK_OP(hyper_many(gen(GET, pool[0], 0, 0), 500), ==, 500);
	CHECK_OP(hyper_many(gen(FLUSH_PAGE, pool[1], 0, 0), 500), ==, 500);
	for (i = 0; i < 3; i++)
		CHECK_OP(flush_object(pool[2], i), ==, 1);
	for (i = 0; i < 4; i++)
		CHECK_OP(destroy(pool[i]), ==, 1);
	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, false);
}

/* T30, and the heap is exactly as it was */
static void numbers_and_memory_return_to_what_they_were(void)
{
	struct xen_sysctl_tmem_stats s, before;
	long i, nr;

	/* What is kept per pool is there after this */
	use_everything(true);
	before = stats();
	nr = settled_free_pages();
	for (i = 0; i < 4; i++) {
		use_everything(i & 1);
		s = stats();
		CHECK_OP(s.eph_pages, ==, 0);
		CHECK_OP(s.pers_pages, ==, 0);
		CHECK_OP(s.raw_pages, ==, 0);
		CHECK_OP(s.lz4_pages, ==, 0);
		CHECK_OP(s.pers_bytes, ==, 0);
		CHECK_OP(s.meta_bytes, ==, before.meta_bytes);
		CHECK_OP(s.used_bytes, ==, before.used_bytes);
		CHECK_OP(settled_free_pages(), ==, nr);
	}
	CHECK_OP(s.used_bytes, ==, s.meta_bytes);
}

/* Ephemeral pages until the oldest ones go.  Return: how many */
static long fill_memory(int pool)
{
	struct tmem_raw_op op = gen(PUT, pool, 1, 0);
	uint64_t evicted = stats().evicted;

	fill(0, 1);
	do {
		hyper_many(op, 4096);
		op.index += 4096;
	} while (stats().evicted == evicted);
	note("%u pages put, %ld are there, %ld pages of heap free", op.index,
	     (long)stats().eph_pages, free_pages());
	return op.index;
}

/* As above, from @index on, where the memory was full before */
static uint32_t refill_memory(int pool, uint32_t index)
{
	uint64_t evicted = stats().evicted;

	while (stats().evicted == evicted) {
		hyper_many(gen(PUT, pool, 1, index), 4096);
		index += 4096;
	}
	return index;
}

/* A page that is put is stored, whether memory is left or not */
static void put_into_full_memory_evicts(void)
{
	int i, pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);
	uint64_t evicted = stats().evicted;

	CHECK_OP(hyper_many(gen(PUT, pool, 1, index), 10000), ==, 10000);
	for (i = 0; i < 1000; i++)	/* an object per page */
		MUST_PUT(pool, 100 + i, 0, i);
	CHECK_OP(stats().evicted - evicted, >=, 10000);
	/* The 128th part of memory, at least 512 pages, is left to others */
	CHECK_OP(free_pages(), >, physinfo().total_pages / 128 - 64);
	for (i = 0; i < 1000; i++)
		MUST_GET(pool, 100 + i, 0, i);
	MUST_GET(pool, 1, index + 9999, 1);
}

/* What puts leave to others: pages */
static long reserve(void)
{
	long part = physinfo().total_pages / 128;

	return part < 512 ? 512 : part;
}

/*
 * Others may use what puts leave to them up; puts fill it again, with pieces that
 * are good for more than single pages.
 */
static void reserve_comes_back(void)
{
	enum { EXTRA = 16000, ORDER = 2, BITS = 32 };
	static xen_pfn_t mfns[EXTRA], mfn;
	int i, pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);
	long nr = reserve() + 1000, evicted;

	for (i = 0; i < 2; i++) {
		CHECK_OP(nr, <=, EXTRA);
		CHECK_OP(take_memory(mfns, nr), ==, nr);
		CHECK_OP(free_pages(), <, reserve() / 2);
		evicted = stats().evicted;
		CHECK_OP(hyper_many(gen(PUT, pool, 1, index), 2 * nr), ==, 2 * nr);
		index += 2 * nr;
		note("%ld puts evicted %ld; %ld of %ld pages are free", 2 * nr,
		     (long)stats().evicted - evicted, free_pages(), reserve());
		CHECK_OP(free_pages(), >, reserve() - 64);
		/* One more each, and not for ever */
		CHECK_OP((long)stats().evicted - evicted, <=,
			 2 * nr + reserve() + 256);
		evicted = stats().evicted;
		CHECK_OP(extent(XENMEM_increase_reservation, &mfn, ORDER, 0), ==, 1);
		CHECK_OP(extent(XENMEM_decrease_reservation, &mfn, ORDER, 0), ==, 1);
		CHECK_OP(extent(XENMEM_increase_reservation, &mfn, 0,
				XENMEMF_address_bits(BITS)), ==, 1);
		CHECK_OP(extent(XENMEM_decrease_reservation, &mfn, 0, 0), ==, 1);
		CHECK_OP((long)stats().evicted, ==, evicted);
		give_memory(mfns, nr);
		index = refill_memory(pool, index);
	}
}

/* A claim takes what is free, and leaves to others what they had */
static void claim_leaves_the_reserve(void)
{
	long room = max_pages() - tot_pages();
	int pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);

	CHECK_OP(claim(max_pages()), ==, 0);
	note("%ld pages are free, %ld claimed", free_pages(), room);
	CHECK_OP(free_pages(), >=, room + reserve() - 64);
	CHECK_OP(claim(0), ==, 0);
	/* If that is more than there is, the claim comes first */
	refill_memory(pool, index);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, ~0ULL);
	CHECK_OP(freeable_kib(), ==, 0);
	CHECK_OP(free_pages(), <, reserve() + 1024);
	CHECK_OP(claim(tot_pages() + 1024), ==, 0);
}

/*
 * New event channels take memory inside of a lock of the domain's.  When there is
 * none, they evict, and take no other lock for that.
 */
static void event_channels_come_when_the_heap_is_empty(void)
{
	enum { NR = 512 };
	static evtchn_port_t ports[NR];
	struct evtchn_alloc_unbound *alloc = shared_page;
	uint64_t evicted;
	int i, took = 0;

	fill_memory(new_pool(EPHEMERAL));
	begin_taking();
	for (i = 0; i < NR; i++) {
		take_extra(free_pages(), 0);
		evicted = stats().evicted;
		*alloc = (struct evtchn_alloc_unbound){
			.dom = DOMID_SELF, .remote_dom = DOMID_SELF };
		CHECK_OP(xen_call(__HYPERVISOR_event_channel_op,
				  EVTCHNOP_alloc_unbound, (uintptr_t)alloc), ==,
			 0);
		ports[i] = alloc->port;
		took += stats().evicted != evicted;
	}
	end_taking();
	while (i--) {
		struct evtchn_close *close = shared_page;

		close->port = ports[i];
		CHECK_OP(xen_call(__HYPERVISOR_event_channel_op, EVTCHNOP_close,
				  (uintptr_t)close), ==, 0);
	}
	note("%d of %d event channels evicted", took, NR);
	CHECK_OP(took, >, 0);
}

/*
 * A flush that has given nothing back may not be at the end: these pages share the
 * memory of what describes them, and 32 of them are fewer than share one.
 */
static void flush_says_when_it_is_done(void)
{
	enum { TINY = 200000 };
	struct xen_sysctl_tmem_op op;
	int calls = 0, idle = 0, pool = new_pool(EPHEMERAL);

	fill(0, 0);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), TINY), ==, TINY);
	do {
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_FLUSH, .kib = 1ULL << 40 };
		CHECK_OP(control(&op), ==, 0);
		calls++;
		idle += !op.kib;
	} while (!(op.flags & XEN_SYSCTL_TMEM_DONE));
	note("%d calls, %d gave nothing", calls, idle);
	CHECK_OP(stats().eph_pages, ==, 0);
	/* What was wanted is all */
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), 2000), ==, 2000);
	op = (struct xen_sysctl_tmem_op){ .cmd = XEN_SYSCTL_TMEM_OP_FLUSH };
	CHECK_OP(control(&op), ==, 0);
	CHECK_OP(op.kib, ==, 0);
	CHECK_OP(op.flags, ==, XEN_SYSCTL_TMEM_DONE);
	CHECK_OP(stats().eph_pages, ==, 2000);
}

static void keep_frames(void *pool)
{
	struct tmem_raw_call put = { .op = gen(PUT, *(int *)pool, 1, 0),
				     .nr = 32, .step = 1 }, flush = put;

	flush.op.cmd = FLUSH_PAGE;
	CHECK_OP(calls(&put), ==, 1);
	CHECK_OP(calls(&flush), ==, 1);
}

/* What another CPU keeps for its next puts is given up at the last moment */
static void kept_frames_are_given_up(void)
{
	int tries, pool = new_pool(EPHEMERAL);
	long heap = settled_free_pages(), got, more = 0;
	struct worker w;

	fill(0, 1);
	w = start(1, keep_frames, &pool);
	finish(&w);
	CHECK_OP(free_pages(), <=, heap - 16);
	heap = free_pages();
	begin_taking();
	got = take_extra(MOST, 0);
	for (tries = 0; tries < 100000 && more < 16; tries++)
		more += take_extra(32, 0);
	end_taking();
	note("%ld pages of %ld, and %ld more after %d tries", got, heap, more, tries);
	CHECK_OP(got + more, >=, heap + 16);
}

/* T28: what is told to be freeable is what comes when memory is wanted */
static void freeable_memory_is_told_and_comes(void)
{
	long before = freeable_kib(), kib, got;
	int pool = new_pool(EPHEMERAL);

	fill_memory(pool);
	MUST_PUT(pool, 2, 2, 2);
	kib = freeable_kib();
	note("%ld KiB are freeable", kib);
	CHECK_OP(kib - before, >=, stats().eph_pages * 4);
	CHECK_OP(physinfo().free_pages, >=, kib / 4);
	CHECK_OP(kib - before, <=, stats().eph_pages * 4 * 105 / 100 + 1024);
	got = flush_kib(8 << 10);
	CHECK_OP(got, <=, (8 << 10) + 128);
	for (; got < 64 << 10; got += flush_kib((64 << 10) - got))
		;
	CHECK_OP(kib - freeable_kib(), >=, 63 << 10);
	MUST_MISS(pool, 1, 0);		/* the oldest go first */
	MUST_GET(pool, 2, 2, 2);
}

/* T16: nobody waits for anybody, and who wants memory gets it */
static atomic_long flushed;

static void flush_for_ever(void *arg)
{
	/* A page of its own: the other thread makes hypercalls, too */
	struct xen_sysctl *sysctl = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);

	(void)arg;
	CHECK(sysctl != MAP_FAILED, "no memory");
	while (!stop) {
		struct xen_sysctl_tmem_op op = {
			.cmd = XEN_SYSCTL_TMEM_OP_FLUSH, .kib = 1024 };

		memset(sysctl, 0, sizeof(*sysctl));
		sysctl->cmd = XEN_SYSCTL_tmem_op;
		sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
		sysctl->u.tmem_op = op;
		CHECK_OP(xen_call(__HYPERVISOR_sysctl, (uintptr_t)sysctl, 0),
			 ==, 0);
		flushed += sysctl->u.tmem_op.kib;
	}
}

static void flush_and_allocation_do_not_wait_for_each_other(void)
{
	enum { NR = 4096 };	/* more than tmem leaves free */
	static xen_pfn_t mfns[NR];
	int i, pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);
	struct worker w;

	stop = false;
	flushed = 0;
	w = start(1, flush_for_ever, NULL);
	for (i = 0; i < 30 || !flushed; i++) {
		CHECK_OP(take_memory(mfns, NR), ==, NR);
		CHECK_OP(hyper_many(gen(PUT, pool, 1, index), NR), >, 0);
		index += NR;
		give_memory(mfns, NR);
	}
	stop = true;
	finish(&w);
	note("%d times; meanwhile %ld KiB flushed", i, (long)flushed);
}

static void allocation_takes_ephemeral_pages(void)
{
	enum { NR = 8192 };
	static xen_pfn_t mfns[NR];
	int pool = new_pool(EPHEMERAL);
	uint64_t evicted;
	long rest;

	fill_memory(pool);
	/* So that more is wanted than what is kept free for others */
	rest = free_pages();
	CHECK_OP(rest, <, NR);
	evicted = stats().evicted;
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	/* Their descriptors are memory, too */
	CHECK_OP(stats().evicted - evicted, >=, (NR - rest) * 95 / 100);
	give_memory(mfns, NR);
}

/* What was promised to a domain is there, and nobody else has to pay for it */
static void claimed_memory_is_free(void)
{
	long room = max_pages() - tot_pages(), id;
	int pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);
	uint64_t evicted;

	CHECK_OP(free_pages(), <, room);
	CHECK_OP(claim(max_pages()), ==, 0);
	CHECK_OP(free_pages(), >=, room);
	/* Others still get memory, but not this */
	id = try_pool(EPHEMERAL, 0, 0);
	CHECK_OP(id, >=, 0);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, index), 1000), ==, 1000);
	CHECK_OP(free_pages(), >=, room);
	CHECK_OP(claim(0), ==, 0);

	/* What is a domain's minimum is nobody's to promise */
	CHECK_OP(hyper_many(gen(PUT, pool, 1, index + 1000), 20000), ==, 20000);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, ~0ULL);
	evicted = stats().evicted;
	CHECK_OP(freeable_kib(), ==, 0);
	CHECK_OP(claim(max_pages()), ==, -ENOMEM);
	CHECK_OP(stats().evicted, ==, evicted);
	/* Nor is anything evicted when that is not enough */
	set_client(XEN_SYSCTL_TMEM_SET_MIN, (stats().used_bytes >> 10) - 4096);
	CHECK_OP(freeable_kib(), >, 4000);
	CHECK_OP(claim(max_pages()), ==, -ENOMEM);
	CHECK_OP(stats().evicted, ==, evicted);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, 0);
	CHECK_OP(claim(max_pages()), ==, 0);
}

static domid_t new_domain(long max)
{
	struct xen_domctl_createdomain new = {
		.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
		.max_vcpus = 1, .max_evtchn_port = 1023, .max_grant_frames = -1,
		.max_maptrack_frames = -1,
		.grant_opts = XEN_DOMCTL_GRANT_version(1),
		.arch.emulation_flags = XEN_X86_EMU_LAPIC };
	domid_t id = 0;

	CHECK_OP(domctl_call(XEN_DOMCTL_createdomain, &id, &new, sizeof(new)), ==,
		 0);
	set_max_pages_of(id, max);
	return id;
}

static void destroy_domain(domid_t id)
{
	CHECK_OP(domctl_call(XEN_DOMCTL_destroydomain, &id, NULL, 0), ==, 0);
}

/* Who is the first, from this one on?  Return: 0 when there is nobody */
static domid_t next_domain(domid_t id)
{
	struct xen_domctl_getdomaininfo info = { 0 };

	return domctl_call(XEN_DOMCTL_getdomaininfo, &id, &info, sizeof(info)) ?
	       0 : id;
}

/*
 * A domain that is dead stays as long as somebody refers to it, here another one
 * whose target it is.  Nobody would take back what it claims.
 */
static void dying_domain_claims_nothing(void)
{
	domid_t dying = new_domain(1000), other = new_domain(0);
	struct xen_domctl_set_target target = { .target = dying };
	long before = physinfo().outstanding_pages;

	CHECK_OP(claim_for(dying, 1000), ==, 0);
	CHECK_OP(physinfo().outstanding_pages, ==, before + 1000);
	CHECK_OP(claim_for(dying, 0), ==, 0);
	CHECK_OP(physinfo().outstanding_pages, ==, before);
	CHECK_OP(domctl_call(XEN_DOMCTL_set_target, &other, &target,
			     sizeof(target)), ==, 0);
	destroy_domain(dying);
	CHECK_OP(next_domain(dying), ==, dying);
	CHECK_OP(claim_for(dying, 1000), ==, -EINVAL);
	CHECK_OP(physinfo().outstanding_pages, ==, before);
	destroy_domain(other);
	while (next_domain(1))
		sched_yield();
}

/* T17 */
static void reclaim_gives_memory_where_it_was_asked_for(void)
{
	enum { NR = 256 };
	static xen_pfn_t mfns[NR];
	int i, pool = new_pool(EPHEMERAL);
	long bits, nr;

	fill_memory(pool);
	for (bits = 26; bits <= 30; bits++) {
		nr = reservation(XENMEM_increase_reservation, mfns, NR,
				 XENMEMF_address_bits(bits));
		note("below 2^%ld: %ld pages", bits, nr);
		CHECK_OP(nr, >=, 0);
		for (i = 0; i < nr; i++)
			CHECK(mfns[i] < 1ULL << (bits - 12),
			      "frame %#lx is not below 2^%ld", mfns[i], bits);
		if (nr)
			give_memory(mfns, nr);
	}
	CHECK(nr, "the test has tested nothing");
}

/*
 * A client is the one to evict from, but what is oldest there frees nothing: one
 * page of many that share memory.  Then somebody else has to give.
 */
static void reclaim_does_not_stop_at_who_has_nothing(void)
{
	enum { PER_PAGE = 101, TINY = 8000 * PER_PAGE, NR = 4096 };
	static xen_pfn_t mfns[NR];
	int i, shared, pool = new_pool(EPHEMERAL);

	CHECK_OP(authorise(1, 1, true), ==, 0);
	shared = try_pool(SHARED, 1, 1);
	CHECK_OP(shared, ==, 1);
	fill(0, 0);
	CHECK_OP(hyper_many(gen(PUT, shared, 1, 0), TINY), ==, TINY);
	/* Those that are got are not the oldest any more */
	for (i = 0; i < TINY; i += PER_PAGE)
		CHECK_OP(hyper_many(gen(GET, shared, 1, i), PER_PAGE - 1), ==,
			 PER_PAGE - 1);
	fill_memory(pool);
	set_client(XEN_SYSCTL_TMEM_SET_WEIGHT, 1 << 30);
	CHECK_OP(free_pages(), <, NR);
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	give_memory(mfns, NR);
}

/* Nobody's cache goes for an allocation that fails whatever is evicted */
static void hopeless_allocations_evict_nothing(void)
{
	int i, full, pool = new_pool(EPHEMERAL);
	static xen_pfn_t mfn;
	uint64_t evicted;

	fill(0, 1);
	CHECK_OP(hyper_many(gen(PUT, pool, 2, 0), 5000), ==, 5000);
	for (full = 0; full < 2; full++) {
		evicted = stats().evicted;
		for (i = 0; i < 100; i++)	/* below 8 KiB */
			CHECK_OP(reservation(XENMEM_increase_reservation, &mfn,
					     1, XENMEMF_address_bits(13)), ==, 0);
		CHECK_OP(stats().evicted, ==, evicted);
		if (!full)
			fill_memory(pool);
	}
}

/* Of pages whose frames had words of seed 1 */
static void check_scrubbed(int pool, const xen_pfn_t *mfns, int nr)
{
	int i, j;

	for (i = 0; i < nr; i++) {
		CHECK_OP(op_with(PUT, pool, 1, 1, mfns[i]), ==, 1);
		CHECK_OP(get(pool, 1, 1), ==, 1);
		for (j = 0; j < (int)WORDS; j++)
			CHECK(page[0][j] != word(1, j), "frame %#lx, word %d",
			      mfns[i], j);
	}
}

/* Who gets the memory of a page that is gone does not see what was there */
static void memory_of_pages_is_scrubbed(void)
{
	enum { NR = 8192 };
	static xen_pfn_t mfns[NR];
	int pool = new_pool(EPHEMERAL);

	fill_memory(pool);	/* so all that is free then was a page */
	CHECK_OP(destroy(pool), ==, 1);
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	check_scrubbed(new_pool(EPHEMERAL), mfns, NR);
	give_memory(mfns, NR);
}

static void cap_is_never_exceeded(void)
{
	const uint64_t cap = 4096;	/* KiB */
	int i, eph = new_pool(EPHEMERAL), pers = new_pool(PERSISTENT);

	set_client(XEN_SYSCTL_TMEM_SET_CAP, cap);
	fill(0, 1);
	for (i = 0; i < 40; i++) {
		CHECK_OP(hyper_many(gen(PUT, eph, 1, 100 * i), 100), ==, 100);
		CHECK_OP(stats().used_bytes, <=, cap << 10);
	}
	CHECK_OP(stats().evicted, >, 0);
	/* Persistent ones push them out, and then there is an end of it */
	CHECK_OP(hyper_many(gen(PUT, pers, 1, 0), 2000), <, cap / 4);
	CHECK_OP(stats().used_bytes, <=, cap << 10);
	CHECK_OP(stats().pers_pages, >, cap / 4 * 8 / 10);
	CHECK_OP(put(pers, 1, 5000, 1), ==, -ENOMEM);
	set_client(XEN_SYSCTL_TMEM_SET_CAP, ~0ULL);
	MUST_PUT(pers, 1, 5000, 1);
}

/*
 * What a client leaves of its metadata here and there is counted with all that
 * it keeps from being freed: what is taken from the heap, and not only what is
 * told, stays below the cap.
 */
static void cap_holds_for_what_the_heap_has_lost(void)
{
	const long cap = 4096, nr = 48000;
	int pool = new_pool(PERSISTENT);
	long i, err, before = settled_free_pages(), lost, told;

	set_client(XEN_SYSCTL_TMEM_SET_CAP, cap);
	fill(0, 0);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), nr), ==, nr);
	for (i = 0; i < nr; i += 64)
		CHECK_OP(hyper_many(gen(FLUSH_PAGE, pool, 1, i + 1), 63), ==, 63);
	fill(0, 1);
	fill_up(pool, 2, &err);
	CHECK_OP(err, ==, -ENOMEM);
	lost = before - settled_free_pages();
	told = stats().pers_bytes / PAGE;
	note("%ld pages are gone from the heap, %ld are counted", lost, told);
	CHECK_OP(lost, <=, cap / 4);
	CHECK_OP(labs(lost - told), <, 16);
	CHECK_OP(flush_object(pool, 1), ==, 1);
	CHECK_OP(flush_object(pool, 2), ==, 1);
	CHECK_OP(stats().pers_bytes, ==, 0);
}

static void compressed_pages_come_back_whole(void)
{
	int kind, i, j, pool;

	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, true);
	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		/* From all of one byte to random */
		for (i = 0; i < 64; i++) {
			fill(0, 1 + i);
			memset(page[0], i, i * PAGE / 64);
			CHECK_OP(hyper(gen(PUT, pool, 1, i)), ==, 1);
		}
		CHECK_OP(stats().lz4_pages, >, 32);
		CHECK_OP(stats().raw_pages, >, 8);
		set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, !kind);
		for (i = 0; i < 64; i++) {
			CHECK_OP(get(pool, 1, i), ==, 1);
			fill(1, 1 + i);
			memset(page[1], i, i * PAGE / 64);
			for (j = 0; j < (int)WORDS; j++)
				CHECK(page[0][j] == page[1][j],
				      "page %d, word %d", i, j);
		}
		CHECK_OP(destroy(pool), ==, 1);
	}
}

static void compress_and_flush(void *arg)
{
	uint64_t used = stats().used_bytes;
	int i, me = (uintptr_t)arg;

	for (i = 0; i < 4000; i++) {
		meet();
		CHECK_OP(op_with(PUT, 0, me, 1, frame[2]), ==, 1);
		if (i & 1)
			meet();
		CHECK_OP(flush_page(0, me, 1), ==, 1);
		meet();
		if (!me)
			CHECK_OP(stats().used_bytes, ==, used);
	}
}

/*
 * Slots are taken from the heap several frames at a time: by two that find no free
 * one, and by one who finds none while the other is giving one back.
 */
static void slots_of_two_vcpus_leave_nothing(void)
{
	uint64_t used = stats().used_bytes, now;
	uint32_t nr = 0, room;
	struct worker w[2];
	uintptr_t i;

	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, true);
	CHECK_OP(new_pool(EPHEMERAL), ==, 0);
	fill(2, 1);
	memset(page[2], 'x', PAGE / 2);
	for (now = used; nr < 2 || now - used < 4 * PAGE; nr++) {
		used = now;
		CHECK_OP(op_with(PUT, 0, 2, nr, frame[2]), ==, 1);
		now = stats().used_bytes;
	}
	CHECK_OP(stats().lz4_pages, ==, nr);
	for (room = 0; room < 2; room++) {
		CHECK_OP(flush_page(0, 2, --nr), ==, 1);
		note("%u slots are used, %u free", nr, room);
		ready = 0;
		for (i = 0; i < 2; i++)
			w[i] = start(i, compress_and_flush, (void *)i);
		for (i = 0; i < 2; i++)
			finish(&w[i]);
	}
}

/*
 * Control
 */

static void frozen_client_takes_no_new_pages(void)
{
	int kind, pool;

	for (kind = 0; kind < 2; kind++) {
		pool = new_pool(EPHEMERAL | kind);
		MUST_PUT(pool, 1, 1, 1);
		MUST_PUT(pool, 1, 2, 2);
		MUST_PUT(pool, 2, 1, 3);
		CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_FREEZE, kind ? 0 :
				     XEN_SYSCTL_TMEM_ALL), ==, 0);
		CHECK_OP(put(pool, 1, 3, 1), ==, -EFROZEN);
		MUST_MISS(pool, 1, 3);
		MUST_GET(pool, 1, 1, 1);
		/* Flushes work, though they say that they do not */
		CHECK_OP(flush_page(pool, 1, 1), ==, -EFROZEN);
		MUST_MISS(pool, 1, 1);
		CHECK_OP(flush_object(pool, 2), ==, -EFROZEN);
		MUST_MISS(pool, 2, 1);
		/* One that is there is replaced */
		MUST_PUT(pool, 1, 2, 4);
		MUST_GET(pool, 1, 2, 4);
		CHECK_OP(destroy(new_pool(EPHEMERAL)), ==, 1);
		CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_THAW, 0), ==, 0);
		MUST_PUT(pool, 1, 3, 1);
		CHECK_OP(flush_page(pool, 1, 3), ==, 1);
		CHECK_OP(destroy(pool), ==, 1);
	}
}

/* T3 */
static void control_of_no_client_is_refused(void)
{
	static const int domids[] = { 1, 100, 0x7ff0, 0x7ff1, 0x7ff2, 0x7ff3,
				      0x7ff4, 0x7ffe, 0x7fff, 0x8000, 0xfffe };
	struct xen_sysctl_tmem_stats before = stats(), after;
	struct xen_sysctl_tmem_op op;
	uint32_t cmd;
	int i;

	for (i = 0; i < ARRAY_SIZE(domids); i++) {
		for (cmd = 0; cmd < 64; cmd++) {
			long want = -EOPNOTSUPP;

			op = (struct xen_sysctl_tmem_op){ .cmd = cmd,
							  .domid = domids[i] };
			set_xen_guest_handle(op.stats, stats_buf());
			switch (cmd) {
			case XEN_SYSCTL_TMEM_OP_THAW:
			case XEN_SYSCTL_TMEM_OP_FREEZE:
			case XEN_SYSCTL_TMEM_OP_GET:
			case XEN_SYSCTL_TMEM_OP_SET:
			case XEN_SYSCTL_TMEM_OP_SET_AUTH:
			case XEN_SYSCTL_TMEM_OP_GET_AUTH:
				want = -ESRCH;
				break;
			case XEN_SYSCTL_TMEM_OP_FLUSH:	/* of all domains */
			case XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE:
				want = 0;
			}
			CHECK(control(&op) == want, "command %u, domain %#x",
			      cmd, domids[i]);
			op.mask = XEN_SYSCTL_TMEM_SET_CAP;
			if (cmd != XEN_SYSCTL_TMEM_OP_SET)
				CHECK_OP(control(&op), ==, -EINVAL);
		}
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_SET, .domid = domids[i],
			.mask = 0xf, .weight = 7, .cap = 7, .min = 7 };
		CHECK_OP(control(&op), ==, -ESRCH);
	}
	/* SET of what there is not, or of what makes no sense */
	for (i = 4; i < 32; i++) {
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_SET, .mask = 1u << i };
		CHECK_OP(control(&op), ==, -EINVAL);
		op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_SET, .flags = 1u << i };
		CHECK_OP(control(&op), ==, -EINVAL);
	}
	op = (struct xen_sysctl_tmem_op){
		.cmd = XEN_SYSCTL_TMEM_OP_SET,
		.mask = XEN_SYSCTL_TMEM_SET_WEIGHT };
	CHECK_OP(control(&op), ==, -ERANGE);
	after = stats();
	CHECK(!memcmp(&before, &after, sizeof(before)), "something has changed");
}

/* T4, T27 */
static void control_buffers_are_checked(void)
{
	struct xen_sysctl_tmem_op op;
	char *end = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	void *ro = mmap(NULL, PAGE, PROT_READ,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int i;

	CHECK(end != MAP_FAILED && ro != MAP_FAILED, "no memory");
	end += PAGE;
	SYS(munmap(end, PAGE));
	for (i = 0; i < ARRAY_SIZE(bad_pointers) + 2; i++) {
		void *p = i < ARRAY_SIZE(bad_pointers) ? bad_pointers[i] :
			  i == ARRAY_SIZE(bad_pointers) ? ro :
			  end - sizeof(struct xen_sysctl_tmem_stats) + 8;

		op = (struct xen_sysctl_tmem_op){ .cmd = XEN_SYSCTL_TMEM_OP_GET };
		set_xen_guest_handle(op.stats, p);
		CHECK(control(&op) == -EFAULT, "a buffer at %p is accepted", p);
	}
	op = (struct xen_sysctl_tmem_op){ .cmd = XEN_SYSCTL_TMEM_OP_GET };
	set_xen_guest_handle(op.stats, (struct xen_sysctl_tmem_stats *)
		(end - sizeof(struct xen_sysctl_tmem_stats)));
	CHECK_OP(control(&op), ==, 0);
}

/*
 * Fuzzing: arguments that nobody has thought of.  Two vCPUs issue, in random order,
 * and several in one multicall:
 *
 *  own	operations on pools 0 to 5.  Of these each vCPU has an ephemeral and a
 *	persistent one to itself, and knows what is there; and one that is shared
 *	with the other vCPU, whose pages tell what handle they were put under.
 *	Wrong are only frames, and what does not matter.
 *  wild	anything, but not to these pools.  It has to return what the ABI has for
 *	the command.
 *  hot	an op that is changed meanwhile, and so are pages.
 *
 * Or one of them does that, and the other one does the same with controls.  All
 * frames that may be written to are pages that are here for that, or have no other
 * use: what is changed meanwhile may become a get.
 */
enum { EPH, PERS, COMMON, KINDS, OWN_IDS = 2 * KINDS };
enum { OBJECTS = 8, INDEXES = 32, HANDLES = OBJECTS * INDEXES };
enum { BATCH = 4, TAKEN = 16, WILD_PAGE = 2 * BATCH };

struct step {
	struct tmem_raw_op op;
	int kind;		/* of own pool; KINDS: wild */
	int handle, page;
	bool bad;		/* the frame */
	uint64_t seed;		/* of the page */
};

static struct fuzzer {
	char memory[(BATCH + 1) * PAGE];	/* what Xen reads and writes */
	struct multicall_entry call[BATCH];
	uint64_t random;
	double end;
	int cpu;
	atomic_long puts;	/* the last page's number */
	uint64_t has[PERS + 1][HANDLES];	/* the seed, or 0 */
	long ops, hits, controls;
} __attribute__((aligned(PAGE))) fuzzers[2];

static char fuzz_stats[2 * PAGE];
static struct xen_sysctl hot_control;
static struct tmem_raw_op hot;
static uint64_t bad_frame[MAX_BAD], safe_frame[MAX_BAD + TAKEN + TMEM_RAW_PAGES];
static int nr_bad, nr_safe;
static bool controls_are_fuzzed;
static long last_mfn;

static uint64_t rnd(struct fuzzer *f, uint64_t below)
{
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return (f->random * 0x2545f4914f6cdd1d >> 16) % below;
}

#define PICK(f, array) ((array)[rnd(f, ARRAY_SIZE(array))])

/* A number where something may be one off, or overflow; or any */
static uint64_t odd(struct fuzzer *f)
{
	static const uint64_t edges[] = { 0, 1, 15, 16, 17, 63, 255, 4095, 4096,
		0x7fff, 0xffff, 0x7fffffff, 1ULL << 31, ~0u, 1ULL << 32,
		~0ULL >> 12, 1ULL << 52, ~0ULL >> 10, 1ULL << 63 };
	uint64_t edge = PICK(f, edges);

	switch (rnd(f, 4)) {
	case 0:
		return edge;
	case 1:
		return -edge;
	case 2:
		return edge ^ 1ULL << rnd(f, 64);
	default:
		return rnd(f, 1ULL << 32) << 32 | rnd(f, 1ULL << 32);
	}
}

/* Pages that tell what they are: one of three kinds, of which 0 and 9 repeat */
static unsigned int fuzz_shift(uint64_t seed)
{
	static const unsigned int shift[] = { 0, 4, 9 };

	return shift[(seed >> 12) % 3];
}

static uint64_t fuzz_seed(struct fuzzer *f, int kind, int handle)
{
	f->puts++;
	return (uint64_t)f->puts << 12 | f->cpu << 11 | kind << 8 | handle;
}

static void fuzz_fill(int p, uint64_t seed)
{
	unsigned int i, shift = fuzz_shift(seed);

	for (i = 0; i < WORDS; i++)
		page[p][i] = word(seed, i >> shift);
}

static bool fuzz_holds(int p, uint64_t seed)
{
	unsigned int i, shift = fuzz_shift(seed);

	for (i = 0; i < WORDS; i++)
		if (page[p][i] != word(seed, i >> shift))
			return false;
	return true;
}

static struct step own_step(struct fuzzer *f, int nr, uint32_t cmd, int kind,
			    int handle, bool bad)
{
	struct step s = { .kind = kind, .handle = handle, .bad = bad,
			  .page = f->cpu * BATCH + nr };
	int obj = handle / INDEXES, i = handle % INDEXES;

	s.op = (struct tmem_raw_op){
		.cmd = cmd, .pool_id = f->cpu * KINDS + kind,
		.oid = { obj & 1 ? ~0ULL : 0, obj & 2 ? 1ULL << 63 : 0,
			 obj & 4 ? 1 : 0 },
		.index = i & 1 ? ~0u - i : (1u << i) >> 1,
		.tmem_offset = odd(f), .pfn_offset = odd(f), .len = odd(f),
		.cmfn = bad ? bad_frame[rnd(f, nr_bad)] : frame[s.page] };
	if (cmd == PUT) {
		s.seed = fuzz_seed(f, kind, handle);
		fuzz_fill(s.page, s.seed);
	} else {
		fill(s.page, JUNK);
	}
	return s;
}

static struct step any_own_step(struct fuzzer *f, int nr)
{
	static const uint32_t cmds[] = { PUT, PUT, PUT, GET, GET, GET, GET,
					 FLUSH_PAGE };
	uint32_t cmd = rnd(f, 64) ? PICK(f, cmds) :
		       rnd(f, 2) ? FLUSH_OBJECT : XCHG;

	return own_step(f, nr, cmd, rnd(f, KINDS), rnd(f, HANDLES), !rnd(f, 16));
}

/* Nothing that does harm, also when it is mixed with another one */
static struct tmem_raw_op wild_op(struct fuzzer *f)
{
	static const uint32_t cmds[] = { NEW_POOL, NEW_POOL, DESTROY_POOL, PUT,
		PUT, PUT, PUT, PUT, GET, GET, GET, GET, FLUSH_PAGE, FLUSH_PAGE,
		FLUSH_OBJECT };
	static const uint32_t kinds[] = { EPHEMERAL, PERSISTENT, SHARED };
	struct tmem_raw_op op = {
		.cmd = rnd(f, 8) ? PICK(f, cmds) : odd(f),
		.pool_id = rnd(f, 8) ? OWN_IDS + rnd(f, MAX_POOLS - OWN_IDS) :
			   odd(f),
		.oid = { rnd(f, 4) ? rnd(f, 8) : odd(f), rnd(f, 8) ? 5 : odd(f),
			 rnd(f, 8) ? 0 : odd(f) },
		.index = rnd(f, 4) ? rnd(f, 256) : odd(f),
		.tmem_offset = odd(f), .pfn_offset = odd(f), .len = odd(f),
		.cmfn = safe_frame[rnd(f, nr_safe)] };

	if ((uint32_t)op.pool_id < OWN_IDS)
		op.pool_id += OWN_IDS;
	if (op.cmd == NEW_POOL && rnd(f, 4)) {
		op.uuid[0] = 5;		/* authorised */
		op.flags = rnd(f, 8) ? PICK(f, kinds) : odd(f);
	}
	return op;
}

static struct step wild_step(struct fuzzer *f)
{
	struct step s = { .op = wild_op(f), .kind = KINDS };

	if (s.op.cmd == PUT && !rnd(f, 4))
		s.op.cmfn = rnd(f, last_mfn);	/* that may be read */
	return s;
}

static bool is_frozen(long ret)
{
	return ret == -EFROZEN && controls_are_fuzzed;
}

/* Section 1.7 of the reference */
static bool may_return(uint32_t cmd, int32_t pool, long ret)
{
	switch (cmd) {
	case CONTROL:
	case AUTH:
	case RESTORE_NEW:
		return ret == -EOPNOTSUPP;
	case NEW_POOL:
		return (ret >= OWN_IDS && ret < MAX_POOLS) || ret == -EPERM ||
		       ret == -ENOMEM;
	case DESTROY_POOL:
		return ret == 0 || ret == 1;
	}
	if (ret == -ENODEV)
		return true;
	if ((uint32_t)pool >= MAX_POOLS)
		return false;
	switch (cmd) {
	case PUT:
		return ret == 1 || ret == -ENOMEM || ret == -ENOSPC ||
		       ret == -EFAULT || is_frozen(ret);
	case GET:
		return ret == 1 || ret == 0 || ret == -EEMPTY || ret == -EFAULT;
	case FLUSH_PAGE:
	case FLUSH_OBJECT:
		return ret == 1 || is_frozen(ret);
	default:
		return ret == -ENOSYS;
	}
}

/* The page of a shared pool is one that was put under this handle */
static void check_common(const struct step *s)
{
	uint64_t seed = page[s->page][0] * 0xf1de83e19937733d / 512;

	CHECK((int)(seed & 0x7ff) == (COMMON << 8 | s->handle) &&
	      (long)(seed >> 12) <= fuzzers[seed >> 11 & 1].puts &&
	      fuzz_holds(s->page, seed), "shared: wrong contents, seed %#lx",
	      seed);
}

static void check_get(struct fuzzer *f, const struct step *s, long ret)
{
	uint64_t *has = &f->has[s->kind % COMMON][s->handle];
	int i;

	CHECK(s->bad ? ret <= 0 : ret != -EFAULT, "get: %ld", ret);
	if (ret == 1) {
		f->hits++;
		if (s->kind == COMMON)
			return check_common(s);
		CHECK(*has && fuzz_holds(s->page, *has),
		      "get: wrong contents, handle %d", s->handle);
	} else {
		CHECK(holds(s->page, JUNK), "a miss has written to the page");
	}
	if (s->kind == EPH && ret != -EFAULT)
		*has = 0;	/* it was the only copy; or has been evicted */
	if (s->kind != PERS)
		return;
	CHECK(ret == 1 || ret == -EFAULT || !*has, "%ld: page %d is lost", ret,
	      s->handle);
	for (i = 0; ret == -EEMPTY && i < HANDLES; i++)
		CHECK(!f->has[PERS][i], "empty, and page %d?", i);
}

static void check_step(struct fuzzer *f, const struct step *s, long ret)
{
	uint64_t *has = f->has[s->kind % COMMON];

	CHECK(may_return(s->op.cmd, s->op.pool_id, ret),
	      "command %u, pool %d: %ld", s->op.cmd, s->op.pool_id, ret);
	if (s->kind == KINDS)
		return;
	CHECK(ret != -ENODEV, "pool %d is gone", s->op.pool_id);
	switch (s->op.cmd) {
	case PUT:
		CHECK(s->bad == (ret == -EFAULT), "put: %ld", ret);
		if (s->kind != COMMON)
			has[s->handle] = ret == 1 ? s->seed : 0;
		break;
	case GET:
		check_get(f, s, ret);
		break;
	case FLUSH_PAGE:
		if (s->kind != COMMON)
			has[s->handle] = 0;
		break;
	case FLUSH_OBJECT:
		if (s->kind != COMMON)
			memset(&has[s->handle / INDEXES * INDEXES], 0,
			       INDEXES * sizeof(*has));
		break;
	}
}

/* Anywhere in the @nr-th page, or half in the next */
static void *place(struct fuzzer *f, char *memory, size_t size)
{
	return memory +
	       (rnd(f, 4) ? size + rnd(f, PAGE - 3 * size) :
			    PAGE - 1 - rnd(f, size));
}

static void fuzz_batch(struct fuzzer *f)
{
	int i, nr = rnd(f, 2) ? 1 : 1 + rnd(f, BATCH);
	struct step step[BATCH];

	for (i = 0; i < nr; i++) {
		void *at = place(f, f->memory + i * PAGE,
				 sizeof(step[i].op));

		step[i] = rnd(f, 3) ? any_own_step(f, i) : wild_step(f);
		memcpy(at, &step[i].op, sizeof(step[i].op));
		f->call[i] = (struct multicall_entry){
			.op = __HYPERVISOR_tmem_op, .args = { (uintptr_t)at } };
	}
	if (nr == 1)
		f->call[0].result = hyper_at((void *)f->call[0].args[0]);
	else
		CHECK_OP(xen_call(__HYPERVISOR_multicall, (uintptr_t)f->call,
				  nr), ==, 0);
	for (i = 0; i < nr; i++)
		check_step(f, &step[i], (int)f->call[i].result);
	f->ops += nr;
}

/* Many times the same, or the next page each time */
static void fuzz_many(struct fuzzer *f, bool is_hot)
{
	struct tmem_raw_call c = { .op = wild_op(f), .at = (uintptr_t)&hot,
				   .use_at = is_hot, .nr = is_hot ? 64 : 1,
				   .step = 1 };
	uint32_t cmd, i;

	if (!is_hot && c.op.cmd == PUT)
		c.nr += rnd(f, 16) ? rnd(f, 64) : rnd(f, 4096);
	calls(&c);
	f->ops += c.nr;
	for (cmd = i = 0; cmd <= XCHG; cmd++)
		i += may_return(cmd, OWN_IDS, c.ret);
	CHECK(is_hot ? i : may_return(c.op.cmd, c.op.pool_id, c.ret),
	      "command %u, pool %d: %ld", c.op.cmd, c.op.pool_id, (long)c.ret);
}

static struct xen_sysctl_tmem_op wild_control(struct fuzzer *f)
{
	static const uint32_t cmds[] = {
		XEN_SYSCTL_TMEM_OP_THAW, XEN_SYSCTL_TMEM_OP_FREEZE,
		XEN_SYSCTL_TMEM_OP_FLUSH, XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE,
		XEN_SYSCTL_TMEM_OP_SET_AUTH, XEN_SYSCTL_TMEM_OP_GET,
		XEN_SYSCTL_TMEM_OP_SET, XEN_SYSCTL_TMEM_OP_SET,
		XEN_SYSCTL_TMEM_OP_GET_AUTH };
	static const uint16_t domids[] = { 0, 0, 0, 0, 1, 0x7ff0, 0x7fff,
					   XEN_SYSCTL_TMEM_ALL };
	struct xen_sysctl_tmem_op op = {
		.cmd = rnd(f, 8) ? PICK(f, cmds) : odd(f),
		.domid = rnd(f, 8) ? PICK(f, domids) : odd(f),
		.pools = odd(f),
		.flags = rnd(f, 8) ? (1u << rnd(f, 5)) >> 1 : odd(f),
		.weight = odd(f), .nr = rnd(f, 2) ? rnd(f, 20) : odd(f),
		.cap = rnd(f, 2) ? ~0ULL : rnd(f, 2) ? rnd(f, 65536) : odd(f),
		.min = rnd(f, 2) ? 0 : odd(f),
		.kib = rnd(f, 2) ? rnd(f, 1024) : odd(f),
		.uuid = { rnd(f, 2) ? 5 : odd(f), rnd(f, 2) ? 5 : odd(f) } };

	if (op.cmd == XEN_SYSCTL_TMEM_OP_SET)
		op.mask = rnd(f, 8) ? rnd(f, 16) : odd(f);
	else
		op.mask = rnd(f, 8) ? 0 : odd(f);
	set_xen_guest_handle(op.stats, rnd(f, 4) ?
		place(f, fuzz_stats, sizeof(struct xen_sysctl_tmem_stats)) :
		PICK(f, bad_pointers));
	return op;
}

static bool control_may_return(const struct xen_sysctl_tmem_op *op, long ret)
{
	static const struct { uint32_t cmd; int ret[5]; } known[] = {
		/* and 0 */
		{ XEN_SYSCTL_TMEM_OP_THAW, { -ESRCH } },
		{ XEN_SYSCTL_TMEM_OP_FREEZE, { -ESRCH } },
		{ XEN_SYSCTL_TMEM_OP_FLUSH, { 0 } },
		{ XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE, { 0 } },
		{ XEN_SYSCTL_TMEM_OP_GET,
		  { -EINVAL, -ESRCH, -ENOENT, -EFAULT } },
		{ XEN_SYSCTL_TMEM_OP_SET,
		  { -EINVAL, -ERANGE, -ESRCH, -ENOENT } },
		{ XEN_SYSCTL_TMEM_OP_SET_AUTH,
		  { -EINVAL, -ESRCH, -ENOENT, -ENOSPC } },
		{ XEN_SYSCTL_TMEM_OP_GET_AUTH, { -EINVAL, -ESRCH, -ENOENT } },
	};
	int i, j;

	if (op->mask && op->cmd != XEN_SYSCTL_TMEM_OP_SET)
		return ret == -EINVAL;
	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].cmd == op->cmd)
			break;
	if (i == ARRAY_SIZE(known))
		return ret == -EOPNOTSUPP;
	for (j = 0; j < ARRAY_SIZE(known[i].ret); j++)
		if (known[i].ret[j] == ret)
			return true;
	return false;
}

static void fuzz_control(struct fuzzer *f)
{
	uint32_t good = XEN_SYSCTL_INTERFACE_VERSION;
	struct xen_sysctl sysctl = {
		.cmd = XEN_SYSCTL_tmem_op,
		.interface_version = rnd(f, 16) ? good : odd(f),
		.u.tmem_op = wild_control(f) };
	void *at = place(f, f->memory, sizeof(sysctl));
	bool bad = !rnd(f, 16);
	long ret;

	memcpy(at, &sysctl, sizeof(sysctl));
	if (bad)
		at = PICK(f, bad_pointers);
	ret = xen_call(__HYPERVISOR_sysctl, (uintptr_t)at, 0);
	CHECK(bad ? ret == -EFAULT : sysctl.interface_version != good ?
	      ret == -EACCES : control_may_return(&sysctl.u.tmem_op, ret),
	      "control %u: %ld", sysctl.u.tmem_op.cmd, ret);
	ret = xen_call(__HYPERVISOR_sysctl, (uintptr_t)&hot_control, 0);
	CHECK(ret <= 0 && ret > -EEMPTY, "control: %ld", ret);
	f->controls += 2;
}

static void write_one(struct fuzzer *f, void *to, const void *from, size_t size)
{
	size_t at = rnd(f, size / 8) * 8;
	uint64_t val;

	memcpy(&val, from + at, 8);
	*(volatile uint64_t *)(to + at) = val;
}

/* What the other one is using right now */
static void scribble(struct fuzzer *f)
{
	struct xen_sysctl_tmem_op control = wild_control(f);
	struct tmem_raw_op op = wild_op(f);
	uint64_t odds[WORDS];
	int i;

	for (i = 0; i < (int)WORDS; i++)
		odds[i] = odd(f);
	for (i = 0; i < 256; i++) {
		write_one(f, &hot, &op, sizeof(op));
		write_one(f, &hot_control.u, &control, sizeof(control));
		write_one(f, page[WILD_PAGE + rnd(f, TMEM_RAW_PAGES - WILD_PAGE)],
			  odds, sizeof(odds));
	}
}

static void fuzz_operations(void *arg)
{
	struct fuzzer *f = arg;

	while (now() < f->end) {
		switch (rnd(f, 16)) {
		case 0:
			CHECK_OP(hyper_at(PICK(f, bad_pointers)), ==, -EFAULT);
			f->ops++;
			break;
		case 1:
			scribble(f);
			break;
		case 2:
			fuzz_many(f, rnd(f, 2));
			break;
		default:
			fuzz_batch(f);
		}
	}
}

static void fuzz_controls(void *arg)
{
	struct fuzzer *f = arg;

	while (now() < f->end) {
		fuzz_control(f);
		if (!rnd(f, 16))
			scribble(f);
	}
}

/* Everything that is there once is there after this */
static void fuzz_prepare(uint64_t seed)
{
	int i;

	use_everything(true);
	for (i = 0; i < MAX_POOLS; i++)
		MUST_PUT(new_pool(EPHEMERAL | (i & 1)), 1, 1, 1);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(destroy(i), ==, 1);

	hot_control.cmd = XEN_SYSCTL_tmem_op;
	hot_control.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	memset(fuzzers, 0, sizeof(fuzzers));
	for (i = 0; i < 2; i++) {
		fuzzers[i].cpu = i;
		fuzzers[i].random = word(seed + 1, i) | 1;
	}
}

static void fuzz_pools(void)
{
	static const uint64_t uuids[] = { 0x7368617265, 5 };
	int i;

	for (i = 0; i < ARRAY_SIZE(uuids); i++)
		CHECK_OP(authorise(uuids[i], 5, true), ==, 0);
	for (i = 0; i < 2; i++) {
		CHECK_OP(new_pool(EPHEMERAL), ==, i * KINDS + EPH);
		CHECK_OP(new_pool(PERSISTENT), ==, i * KINDS + PERS);
		CHECK_OP(try_pool(SHARED, uuids[0], 5), ==, i * KINDS + COMMON);
	}
}

/* What was put and never flushed is there */
static void fuzz_look(struct fuzzer *f)
{
	int i;

	for (i = 0; i < HANDLES; i++) {
		struct step s = own_step(f, 0, GET, PERS, i, false);

		check_step(f, &s, hyper(s.op));
	}
}

/* Of these any may be written to, or that is refused */
static void fuzz_frames(const xen_pfn_t *taken)
{
	int i;

	nr_bad = bad_frames(bad_frame);
	last_mfn = max_mfn();
	memcpy(safe_frame, bad_frame, sizeof(bad_frame));
	memcpy(&safe_frame[nr_bad], taken, TAKEN * sizeof(*taken));
	nr_safe = nr_bad + TAKEN;
	for (i = WILD_PAGE; i < TMEM_RAW_PAGES; i++) {
		fill(i, i);
		safe_frame[nr_safe++] = frame[i];
	}
	SYS(ioctl(raw, TMEM_RAW_PGD, &safe_frame[nr_safe++]));
}

static void fuzz_both(double seconds, bool controls)
{
	uint32_t before = console_bytes(), bytes;
	struct worker w[2];
	int i;

	controls_are_fuzzed = controls;
	scribble(&fuzzers[0]);
	for (i = 0; i < 2; i++) {
		fuzzers[i].end = now() + seconds;
		w[i] = start(i, controls && !i ? fuzz_controls : fuzz_operations,
			     &fuzzers[i]);
	}
	for (i = 0; i < 2; i++)
		finish(&w[i]);
	for (i = 0; i < 2; i++)
		fuzz_look(&fuzzers[i]);

	bytes = console_bytes() - before;
	note("%ld and %ld operations, %ld and %ld hits, %ld controls, %u bytes in the log",
	     fuzzers[0].ops, fuzzers[1].ops, fuzzers[0].hits, fuzzers[1].hits,
	     fuzzers[0].controls, bytes);
	for (i = controls; i < 2; i++) {
		CHECK_OP(fuzzers[i].ops, >, seconds * 500);
		CHECK_OP(fuzzers[i].hits, >, seconds * 50);
	}
	CHECK(!controls || fuzzers[0].controls > seconds * 500, "too slow");
	CHECK_OP(bytes, <, 8192 + seconds * 100);
}

static void fuzz(double seconds, uint64_t seed, bool controls)
{
	struct xen_sysctl_tmem_stats before, after;
	static xen_pfn_t taken[TAKEN];
	long heap, own = tot_pages();
	struct worker w;
	int pool;

	note("seed %lu", seed);
	fuzz_prepare(seed);
	before = stats();
	heap = settled_free_pages();

	CHECK_OP(take_memory(taken, TAKEN), ==, TAKEN);
	fuzz_frames(taken);
	fuzz_pools();
	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, true);
	fuzz_both(seconds, controls);

	clean();
	give_memory(taken, TAKEN);
	after = stats();
	CHECK_OP(after.meta_bytes, ==, before.meta_bytes);
	CHECK_OP(after.used_bytes, ==, before.used_bytes);
	CHECK_OP(after.pers_bytes, ==, 0);
	CHECK_OP(after.raw_pages + after.lz4_pages, ==, 0);
	CHECK_OP(tot_pages(), ==, own);
	CHECK_OP(settled_free_pages(), ==, heap);
	pool = new_pool(EPHEMERAL);
	w = start(1, use_object, &pool);	/* nothing is in its way */
	finish(&w);
}

static void fuzzed_operations_do_no_harm(void)
{
	fuzz(12, 1, false);
}

static void fuzzed_controls_do_no_harm(void)
{
	fuzz(12, 2, true);
}

/* What sysctl_page_offline, ..._online or ..._query says of the frame */
static uint32_t page_offline(uint32_t cmd, xen_pfn_t mfn)
{
	uint32_t *status = shared_page + 2048;
	struct xen_sysctl_page_offline_op op = {
		.cmd = cmd, .start = mfn, .end = mfn };

	set_xen_guest_handle(op.status, status);
	CHECK_OP(sysctl_call(XEN_SYSCTL_page_offline_op, &op, sizeof(op)), ==, 0);
	return *status;
}

static bool is_offlined(xen_pfn_t mfn)
{
	return page_offline(sysctl_query_page_offline, mfn) &
	       PG_OFFLINE_STATUS_OFFLINED;
}

/*
 * A page that is in use goes offline when it comes to the heap.  One that tmem had
 * must come there, and not to the next put; other pages are kept as before.
 */
static void pages_of_tmem_go_offline(void)
{
	enum { NR = 2048, EXTRA = 16000 };
	static xen_pfn_t mfns[NR], extra[EXTRA];
	int i, used = 0, full = new_pool(EPHEMERAL), pool = new_pool(EPHEMERAL);
	long heap = settled_free_pages(), nr;
	uint64_t evicted;

	CHECK_OP(take_memory(mfns, NR), ==, NR);
	fill_memory(full);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, ~0ULL);
	give_memory(mfns, NR);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, 0), NR), >, NR / 2);
	/* These stay with the CPU */
	CHECK_OP(hyper_many(gen(FLUSH_PAGE, pool, 1, 0), 16), ==, 16);

	for (i = 0; i < NR; i++)
		used += !(page_offline(sysctl_page_offline, mfns[i]) &
			  PG_OFFLINE_OFFLINED);
	note("tmem had %d of %d pages that shall go offline", used, NR);
	CHECK_OP(used, >, NR / 4);
	CHECK_OP(destroy(pool), ==, 1);
	for (i = 0; i < NR; i++)
		CHECK(is_offlined(mfns[i]), "frame %#lx", mfns[i]);

	/* With the reserve gone, a put still lives on what it evicts ... */
	set_client(XEN_SYSCTL_TMEM_SET_MIN, 0);
	nr = free_pages() - 1024;
	CHECK_OP(nr, <=, EXTRA);
	CHECK_OP(take_memory(extra, nr), ==, nr);
	evicted = stats().evicted;
	CHECK_OP(hyper_many(gen(PUT, full, 2, 0), 1000), ==, 1000);
	note("1000 puts have evicted %lu", stats().evicted - evicted);
	/* ... though half of that goes to others */
	CHECK_OP(stats().evicted - evicted, <, 2200);
	give_memory(extra, nr);

	for (i = 0; i < NR; i++)
		CHECK_OP(page_offline(sysctl_page_online, mfns[i]), ==,
			 PG_ONLINE_ONLINED);
	CHECK_OP(take_memory(extra, NR), ==, NR);
	check_scrubbed(full, extra, NR);
	give_memory(extra, NR);
	clean();
	CHECK_OP(settled_free_pages(), ==, heap);
}

/*
 * Elsewhere
 */

static void check_all_are(long want)
{
	int cmd, pool;

	for (cmd = 0; cmd < 128; cmd++)
		for (pool = -1; pool < 17; pool++)
			CHECK(hyper(gen(cmd, pool, 1, 1)) == want,
			      "command %d, pool %d", cmd, pool);
	CHECK_OP(try_pool(EPHEMERAL, 0, 0), ==, want);
	CHECK_OP(try_pool(PERSISTENT, 0, 0), ==, want);
	CHECK_OP(hyper_at(NULL), ==, want);
}

static void without_the_option_all_is_enodev(void)
{
	check_all_are(-ENODEV);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_GET, 0), ==, -ENODEV);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_FLUSH, 0), ==, -ENODEV);
}

static void on_stock_xen_all_is_enosys(void)
{
	check_all_are(-ENOSYS);
	CHECK_OP(control_cmd(XEN_SYSCTL_TMEM_OP_GET, 0), ==, -ENOSYS);
}

/* Puts do not use up low memory, but evict when there is no other left */
static void low_memory_is_kept_for_devices(void)
{
	enum { NR = 8192 };
	static xen_pfn_t mfns[NR];
	int i, pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);

	CHECK_OP(hyper_many(gen(PUT, pool, 1, index), 10000), ==, 10000);
	/* An object per page: slabs grow faster than eviction empties others */
	for (i = 0; i < 1000; i++)
		MUST_PUT(pool, 100 + i, 0, 1);
	CHECK_OP(reservation(XENMEM_increase_reservation, mfns, NR,
			     XENMEMF_address_bits(27)), ==, NR);
	give_memory(mfns, NR);
}

/*
 * Pages that repeat a word take memory for what describes them only.  What tmem
 * leaves to others is less than the low memory: only that it is low protects that.
 */
static void low_memory_is_kept_from_metadata(void)
{
	enum { LEFT = 1024, PUTS = 4 * 101 * LEFT };
	long low, kept, done, pages, evicted = stats().evicted;
	int pool = new_pool(EPHEMERAL);

	begin_taking();
	low = take_extra(MOST, XENMEMF_address_bits(27));
	give_extra(low);
	take_extra(free_pages() - low - LEFT, 0);
	fill(0, 0);
	done = hyper_many(gen(PUT, pool, 1, 0), PUTS);
	pages = stats().eph_pages;
	evicted = stats().evicted - evicted;
	kept = take_extra(MOST, XENMEMF_address_bits(27));
	end_taking();

	note("%ld low pages, %ld of %d pages put, %ld are there, %ld evicted", low,
	     done, PUTS, pages, evicted);
	CHECK_OP(low, >, (long)physinfo().total_pages / 128 + LEFT);
	CHECK_OP(pages, >, 101 * LEFT / 2);
	CHECK_OP(evicted, >, 101 * LEFT);
	CHECK_OP(kept, ==, low);
}

/* Memory that is free, or would be, by the nodes */
static uint64_t node_free_pages(uint64_t *node)
{
	struct xen_sysctl_meminfo *info = shared_page + 2048;
	struct xen_sysctl_numainfo op = { .num_nodes = 2 };
	int i;

	set_xen_guest_handle(op.meminfo, info);
	CHECK_OP(sysctl_call(XEN_SYSCTL_numainfo, &op, sizeof(op)), ==, 0);
	for (i = 0; i < 2; i++)
		node[i] = info[i].memfree / PAGE;
	return node[0] + node[1];
}

static uint64_t available_pages(int node)
{
	struct xen_sysctl_availheap op = { .node = node };

	CHECK_OP(sysctl_call(XEN_SYSCTL_availheap, &op, sizeof(op)), ==, 0);
	return op.avail_bytes / PAGE;
}

/* A toolstack that looks for a node for a domain sees what the host has */
static void nodes_have_what_the_host_has(void)
{
	uint64_t sum, node[2], empty[2];
	int i;

	node_free_pages(empty);
	fill_memory(new_pool(EPHEMERAL));
	sum = node_free_pages(node);
	note("%lu and %lu pages, %lu on the host", node[0], node[1],
	     (long)physinfo().free_pages);
	CHECK_OP(labs((long)(sum - physinfo().free_pages)), <, 64);
	CHECK_OP(labs((long)(available_pages(-1) - sum)), <, 64);
	for (i = 0; i < 2; i++) {
		CHECK_OP(labs((long)(available_pages(i) - node[i])), <, 64);
		/* All that tmem took there */
		CHECK_OP(labs((long)(empty[i] - node[i])), <, 2048);
	}
}

/* It need not be on that node: all would have to go, and perhaps for nothing */
static void allocation_on_one_node_evicts_nothing(void)
{
	uint64_t before, exact, any;
	long nr[2], more;
	uint32_t node;

	CHECK_OP(physinfo().nr_nodes, ==, 2);
	fill_memory(new_pool(EPHEMERAL));
	before = stats().evicted;
	begin_taking();
	for (node = 0; node < 2; node++)
		nr[node] = take_extra(MOST, XENMEMF_exact_node(node));
	exact = stats().evicted;
	more = take_extra(256, 0);
	any = stats().evicted;
	end_taking();

	note("%ld and %ld pages on the nodes", nr[0], nr[1]);
	CHECK_OP(exact, ==, before);
	CHECK_OP(more, ==, 256);
	CHECK_OP(any, >, exact);
}

/* T1 */
static void control_from_guest_is_refused(void)
{
	uint32_t cmd;

	for (cmd = 0; cmd < 64; cmd++) {
		CHECK_OP(control_cmd(cmd, 0), ==, -EPERM);
		CHECK_OP(control_cmd(cmd, XEN_SYSCTL_TMEM_ALL), ==, -EPERM);
	}
}

/*
 * The runner
 */

enum { ON = 1, OFF = 2, NONE = 4, DMA = 8, PV = 16, HVM = 32 };
static const char *const set_names[] = { "on", "off", "none", "dma", "pv", "hvm" };

#define TEST(sets, name) { sets, #name, name }
static const struct test {
	unsigned int sets;	/* those that have it */
	const char *name;
	void (*run)(void);
} tests[] = {
	TEST(ON, handle_is_pool_oid_and_index),
	TEST(ON | PV | HVM, op_is_56_bytes),
	TEST(ON, other_commands_do_nothing),
	TEST(ON | PV | HVM, reserved_pool_flags_are_refused),
	TEST(ON | PV | HVM, pool_ids_are_checked),
	TEST(ON, bad_pool_id_is_no_shared_pool),
	TEST(ON | PV | HVM, seventeenth_pool_is_refused),
	TEST(ON, pools_of_earlier_kernel_can_be_dropped),
	TEST(ON, shared_pool_without_authority_is_private),
	TEST(ON, seventeenth_shared_pool_is_refused),
	TEST(ON, shared_pool_is_one_pool_for_all_users),
	TEST(ON, shared_pool_has_settings_of_its_own),
	TEST(ON, frozen_domain_adds_nothing_to_shared_pool),
	TEST(ON, shared_pool_has_a_share),
	TEST(ON | PV | HVM, destroyed_pool_is_gone),
	TEST(ON | PV | HVM, ephemeral_get_is_exclusive),
	TEST(ON | PV | HVM, persistent_get_leaves_the_page),
	TEST(ON | PV | HVM, second_put_is_the_one_that_is_got),
	TEST(ON | PV | HVM, flushes_take_what_they_name),
	TEST(ON | PV | HVM, works_in_multicall),
	TEST(ON, bad_frames_are_refused),
	TEST(ON, bad_frame_on_get_leaves_no_half_removed_page),
	TEST(ON | PV | HVM, bad_frame_does_not_keep_a_lock),
	TEST(ON | PV, get_into_page_table_is_refused),
	TEST(ON, put_reads_only_own_frames),
	TEST(ON, frames_are_let_go),
	TEST(ON | PV | HVM, bad_op_pointer_is_refused),
	TEST(ON, million_failing_calls_are_silent),
	TEST(ON, persistent_pages_stay_below_max_pages),
	TEST(ON, lowered_max_pages_counts_for_every_put),
	TEST(ON, failed_duplicate_put_leaves_nothing),
	TEST(ON, stored_pages_are_not_the_domains_own),
	TEST(PV | HVM, suspend_with_persistent_pages_is_cancelled),
	TEST(ON | PV, pools_made_at_once_are_distinct),
	TEST(ON, pool_can_go_while_it_is_used),
	TEST(ON, who_joins_a_dying_shared_pool_gets_a_new_one),
	TEST(ON, two_vcpus_may_destroy_one_anothers_pools),
	TEST(ON | PV, same_handle_on_two_vcpus_is_never_torn),
	TEST(ON, object_of_1e5_pages_is_dropped_in_steps),
	TEST(ON, pool_of_1e5_pages_is_dropped_in_steps),
	TEST(ON, numbers_and_memory_return_to_what_they_were),
	TEST(ON, put_into_full_memory_evicts),
	TEST(ON, reserve_comes_back),
	TEST(ON, claim_leaves_the_reserve),
	TEST(ON, event_channels_come_when_the_heap_is_empty),
	TEST(ON, flush_says_when_it_is_done),
	TEST(ON, kept_frames_are_given_up),
	TEST(ON, freeable_memory_is_told_and_comes),
	TEST(ON, flush_and_allocation_do_not_wait_for_each_other),
	TEST(ON, allocation_takes_ephemeral_pages),
	TEST(ON, claimed_memory_is_free),
	TEST(ON, dying_domain_claims_nothing),
	TEST(ON, reclaim_gives_memory_where_it_was_asked_for),
	TEST(ON, reclaim_does_not_stop_at_who_has_nothing),
	TEST(ON, hopeless_allocations_evict_nothing),
	TEST(ON, memory_of_pages_is_scrubbed),
	TEST(ON, cap_is_never_exceeded),
	TEST(ON, cap_holds_for_what_the_heap_has_lost),
	TEST(ON, compressed_pages_come_back_whole),
	TEST(ON, slots_of_two_vcpus_leave_nothing),
	TEST(ON, frozen_client_takes_no_new_pages),
	TEST(ON, control_of_no_client_is_refused),
	TEST(ON, control_buffers_are_checked),
	TEST(ON, fuzzed_operations_do_no_harm),
	TEST(ON, fuzzed_controls_do_no_harm),
	TEST(OFF, without_the_option_all_is_enodev),
	TEST(NONE, on_stock_xen_all_is_enosys),
	TEST(DMA, low_memory_is_kept_for_devices),
	TEST(DMA, low_memory_is_kept_from_metadata),
	TEST(DMA, nodes_have_what_the_host_has),
	TEST(DMA, allocation_on_one_node_evicts_nothing),
	TEST(DMA, pages_of_tmem_go_offline),	/* the slow way to free, after this */
	TEST(PV | HVM, control_from_guest_is_refused),
};

static void open_all(void)
{
	uint64_t i;
	void *all;

	if (access("/dev/tmem_raw", F_OK)) {
		int module = SYS(open("tmem_raw.ko", O_RDONLY | O_CLOEXEC));

		SYS(syscall(SYS_finit_module, module, "", 0));
		close(module);
	}
	raw = SYS(open("/dev/tmem_raw", O_RDWR | O_CLOEXEC));
	all = mmap(NULL, TMEM_RAW_PAGES * PAGE, PROT_READ | PROT_WRITE,
		   MAP_SHARED, raw, 0);
	CHECK(all != MAP_FAILED, "mmap: %s", strerror(errno));
	for (i = 0; i < TMEM_RAW_PAGES; i++) {
		page[i] = all + i * PAGE;
		frame[i] = i;
		SYS(ioctl(raw, TMEM_RAW_FRAME, &frame[i]));
	}
	shared_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED |
			   MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	CHECK(shared_page != MAP_FAILED, "mmap: %s", strerror(errno));
}

static bool run_test(const struct test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = SYS(fork());
	if (!pid) {
		alarm(TEST_SECONDS);
		SYS(mlockall(MCL_CURRENT | MCL_FUTURE));
		on_cpu(0);
		clean();
		test->run();
		clean();
		exit(0);
	}
	SYS(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		note("FAILED: ended by signal %d%s", WTERMSIG(status),
		     WTERMSIG(status) == SIGALRM ? " (took too long)" : "");
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static int run_tests(int argc, char **argv)
{
	int i, j, nr = 0, bad = 0;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		double t = now();
		bool ok;

		for (j = 1; j < argc; j++)
			if (!strcmp(argv[j], tests[i].name))
				break;
		if (argc > 1 ? j == argc : !(tests[i].sets & ON))
			continue;
		ok = run_test(&tests[i]);
		note("%s: %.1f s", tests[i].name, now() - t);
		printf("%sok %d - %s\n", ok ? "" : "not ", ++nr, tests[i].name);
		bad += !ok;
	}
	printf("1..%d\n", nr);
	return bad != 0;
}

/*
 * Workers, for tests of several domains
 */

/* Another domain's page, with another seed, is a wrong one */
static uint64_t seed_of(const char *seed, uint32_t index)
{
	return strtoull(seed, NULL, 0) << 32 | (index + 1);
}

static int fill_pool(const char *kind, long nr, const char *seed)
{
	uint32_t flags = !strcmp(kind, "persistent") ? PERSISTENT :
			 !strcmp(kind, "shared") ? SHARED : EPHEMERAL;
	long i, done = 0, pool = try_pool(flags, 1, 2);

	CHECK(pool >= 0, "no pool: %ld", pool);

	for (i = 0; i < nr; i++)
		done += put(pool, i / 1024, i, seed_of(seed, i)) == 1;
	note("%ld of %ld pages", done, nr);
	printf("%ld\n", pool);
	return done != nr;
}

static int verify_pool(int pool, long nr, const char *seed)
{
	long i, ret, hits = 0, wrong = 0;

	for (i = 0; i < nr; i++) {
		ret = get(pool, i / 1024, i);
		hits += ret == 1;
		if (ret == 1)
			wrong += !holds(0, seed_of(seed, i));
		else
			wrong += ret != 0 && ret != -EEMPTY;
	}
	printf("hits %ld misses %ld wrong %ld\n", hits, nr - hits, wrong);
	return wrong != 0;
}

static int hog(const char *seconds)
{
	double end = strcmp(seconds, "forever") ? now() + atof(seconds) : 1e18;
	struct tmem_raw_op op = gen(PUT, new_pool(EPHEMERAL), 0, 0);
	long done = 0;

	fill(0, 1);
	for (; now() < end; op.oid[0]++)
		done += hyper_many(op, 512);
	printf("puts %ld\n", done);
	destroy(op.pool_id);
	return 0;
}

/* Until the domain goes, which is best in the midst of one of these */
static int abuse(const char *seconds)
{
	double end = strcmp(seconds, "forever") ? now() + atof(seconds) : 1e18;
	long bad = 0, pools = 0;
	int pool, nr = 100;

	for (; now() < end; pools++) {
		pool = new_pool(pools % 2 ? PERSISTENT : EPHEMERAL);
		fill(0, 1);
		hyper_many(gen(PUT, pool, 1, 0), 2000);
		call_bad_pointers(&nr);
		bad += nr * ARRAY_SIZE(bad_pointers);
		CHECK_OP(destroy(pool), ==, 1);
	}
	printf("refused %ld pools %ld\n", bad, pools);
	return 0;
}

static int most(int domid, const char *seconds)
{
	double end = now() + atof(seconds);
	uint64_t used = 0, evicted = 0;
	long samples = 0, ret = 0;

	for (; now() < end; samples++) {
		struct xen_sysctl_tmem_op op = {
			.cmd = XEN_SYSCTL_TMEM_OP_GET, .domid = domid };

		set_xen_guest_handle(op.stats, stats_buf());
		ret = control(&op);
		if (ret || op.domid != domid)
			fail("no domain %d (%ld)", domid, ret);
		if (!samples)
			evicted = stats_buf()->evicted;
		if (used < stats_buf()->used_bytes)
			used = stats_buf()->used_bytes;
	}
	printf("most %lu KiB evicted %lu samples %ld\n", used >> 10,
	       stats_buf()->evicted - evicted, samples);
	return 0;
}

static int memory(int domid)
{
	struct xen_domctl_getdomaininfo info = { 0 };
	domid_t id = domid;

	CHECK_OP(domctl_call(XEN_DOMCTL_getdomaininfo, &id, &info, sizeof(info)),
		 ==, 0);
	printf("own %lu KiB of %lu KiB\n", info.tot_pages * 4,
	       info.max_pages * 4);
	return 0;
}

/*
 * Xen cannot reset a PV domain, finds that out last, and crashes it.  Its pools
 * are gone then, and the domain is still there.
 */
static int soft_reset(int domid)
{
	struct sched_remote_shutdown *down = shared_page;
	domid_t id = domid;
	long ret;

	*down = (struct sched_remote_shutdown){ domid, SHUTDOWN_soft_reset };
	CHECK_OP(xen_call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown,
			  (uintptr_t)down), ==, 0);
	ret = domctl_call(XEN_DOMCTL_soft_reset, &id, NULL, 0);
	printf("soft reset %ld\n", ret);
	return ret != -EINVAL;
}

static int control_all(const char *seconds)
{
	bool known[64] = { 0 };
	static const uint32_t cmds[] = {
		XEN_SYSCTL_TMEM_OP_FREEZE, XEN_SYSCTL_TMEM_OP_THAW,
		XEN_SYSCTL_TMEM_OP_GET, XEN_SYSCTL_TMEM_OP_SET,
		XEN_SYSCTL_TMEM_OP_SET_AUTH, XEN_SYSCTL_TMEM_OP_GET_AUTH };
	double end = now() + atof(seconds);
	long domid, i, done = 0, gone = 0;

	while (now() < end) {
		for (domid = 0; domid < ARRAY_SIZE(known); domid++) {
			long before = done;

			for (i = 0; i < ARRAY_SIZE(cmds); i++) {
				struct xen_sysctl_tmem_op op = {
					.cmd = cmds[i], .domid = domid };

				set_xen_guest_handle(op.stats, stats_buf());
				/* GET finds the next one, if there is none */
				done += control(&op) == 0 && op.domid == domid;
			}
			gone += known[domid] && done == before;
			known[domid] = done != before;
		}
		flush_kib(64);
	}
	printf("controls %ld gone %ld\n", done, gone);
	return 0;
}

/* The same as the tests, again and again, with one seed after the other */
static int fuzz_long(const char *seconds, const char *seed)
{
	double end = now() + atof(seconds);
	uint64_t nr = strtoull(seed, NULL, 0);
	long i, ops = 0, controls = 0, hits = 0;

	on_cpu(0);
	for (; now() < end; nr++) {
		clean();
		fuzz(20, nr, nr & 1);
		for (i = 0; i < 2; i++) {
			ops += fuzzers[i].ops;
			hits += fuzzers[i].hits;
			controls += fuzzers[i].controls;
		}
	}
	note("operations %ld hits %ld controls %ld", ops, hits, controls);
	printf("ok 1 - random_calls_do_no_harm\n");
	return 0;
}

/*
 * What calls cost: the fastest of some rounds, which no interrupt has hit
 */

#define ROUNDS	30
#define FEW	24	/* pages that a CPU keeps to itself when they are freed */

static double ticks_of(struct tmem_raw_op op, uint32_t nr, long ret)
{
	struct tmem_raw_call c = { .op = op, .nr = nr, .step = 1 };

	CHECK_OP(calls(&c), ==, ret);
	CHECK_OP(c.ones, ==, ret == 1 ? nr : 0);
	return (double)c.ticks / nr;
}

static void lower(double *best, double ticks)
{
	if (!*best || ticks < *best)
		*best = ticks;
}

/* Put @nr pages, and take them out again by @cmd */
static void bench_pair(uint32_t flags, uint32_t nr, int cmd,
		       const char *put_name, const char *cmd_name)
{
	double best[2] = { 0 };
	int i, pool = new_pool(flags);

	for (i = 0; i < ROUNDS; i++) {
		fill(0, i + 1);
		lower(&best[0], ticks_of(gen(PUT, pool, 1, 0), nr, 1));
		lower(&best[1], ticks_of(gen(cmd, pool, 1, 0), nr, 1));
		flush_object(pool, 1);
	}
	if (put_name)
		printf("%s %.0f\n", put_name, best[0]);
	if (cmd_name)
		printf("%s %.0f\n", cmd_name, best[1]);
	destroy(pool);
}

static void bench_one(struct tmem_raw_op op, long ret, const char *name)
{
	double best = 0;
	int i;

	op.pool_id = new_pool(EPHEMERAL);
	MUST_PUT(op.pool_id, 9, 9, 1);
	for (i = 0; i < ROUNDS; i++)
		lower(&best, ticks_of(op, 1000, ret));
	printf("%s %.0f\n", name, best);
	destroy(op.pool_id);
}

static void bench_copy(void)
{
	double best = 0;
	int i;

	fill(0, 1);
	for (i = 0; i < ROUNDS; i++) {
		uint64_t nr = 1000;

		SYS(ioctl(raw, TMEM_RAW_COPY, &nr));
		lower(&best, nr / 1000.0);
	}
	printf("copy %.0f\n", best);
}

static void bench_evicting_put(void)
{
	int i, pool = new_pool(EPHEMERAL);
	double best = 0;

	set_client(XEN_SYSCTL_TMEM_SET_CAP, 4096);
	fill(0, 1);
	hyper_many(gen(PUT, pool, 1, 0), 2000);
	for (i = 0; i < ROUNDS; i++)
		lower(&best, ticks_of(gen(PUT, pool, 1, 2000 + 100 * i), 100, 1));
	printf("put-evicting %.0f\n", best);
	set_client(XEN_SYSCTL_TMEM_SET_CAP, ~0ULL);
	destroy(pool);
}

/* The mean over the pages of a file */
static void bench_compression(const char *path)
{
	int i, fd = SYS(open(path, O_RDONLY)), pool = new_pool(EPHEMERAL);
	double put_best, get_best, put_sum = 0, get_sum = 0;
	long nr = 0;

	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, true);
	for (; read(fd, page[1], PAGE) == (long)PAGE; nr++) {
		put_best = get_best = 0;
		for (i = 0; i < ROUNDS; i++) {
			memcpy(page[0], page[1], PAGE);
			lower(&put_best, ticks_of(gen(PUT, pool, 1, 0), FEW, 1));
			CHECK_OP(stats().lz4_pages, ==, FEW);
			lower(&get_best, ticks_of(gen(GET, pool, 1, 0), FEW, 1));
		}
		put_sum += put_best;
		get_sum += get_best;
	}
	printf("put-lz4 %.0f\nget-lz4 %.0f\n", put_sum / nr, get_sum / nr);
	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, false);
	destroy(pool);
	close(fd);
}

/* The hypervisor's own object, when scripts/bench-xen has us linked with it */
int LZ4_compress_fast_extState_fastReset(void *state, const char *src, char *dst,
					 int size, int max, int acceleration)
	__attribute__((weak));
__asm__(".globl __x86_return_thunk\n__x86_return_thunk: ret");	/* Xen has one */

/* What of bench_compression() is LZ4 */
static void bench_lz4(const char *path)
{
	static char state[8192], out[PAGE];
	double best, sum = 0;
	int i, fd;
	long nr = 0;

	if (!LZ4_compress_fast_extState_fastReset)
		return;
	fd = SYS(open(path, O_RDONLY));
	for (; read(fd, page[1], PAGE) == (long)PAGE; nr++) {
		best = 0;
		for (i = 0; i < ROUNDS; i++) {
			uint64_t start = __rdtsc();

			int len = LZ4_compress_fast_extState_fastReset(
				state, (char *)page[1], out, PAGE, PAGE / 4 * 3,
				1);

			lower(&best, __rdtsc() - start);
			CHECK(len > 0, "page %ld does not shrink", nr);
		}
		sum += best;
	}
	printf("lz4 %.0f\n", sum / nr);
	close(fd);
}

static int bench(const char *path)
{
	clean();
	bench_one(gen(XCHG, 0, 1, 0), -ENOSYS, "empty");
	bench_copy();
	bench_pair(EPHEMERAL, FEW, GET, "put", "get");
	bench_pair(EPHEMERAL, 2000, GET, "put-fresh", "get-last");
	bench_evicting_put();
	bench_one(gen(GET, 0, 1, 0), 0, "miss");
	bench_pair(EPHEMERAL, FEW, FLUSH_PAGE, NULL, "flush");
	bench_one(gen(FLUSH_PAGE, 0, 1, 0), 1, "flush-nothing");
	bench_pair(PERSISTENT, FEW, GET, "persistent-put", "persistent-get");
	bench_pair(PERSISTENT, FEW, FLUSH_PAGE, NULL, "persistent-flush");
	bench_compression(path);
	bench_lz4(path);
	return 0;
}

static void list(unsigned int set)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		if (tests[i].sets & set)
			puts(tests[i].name);
}

int main(int argc, char **argv)
{
	int i;

	setlinebuf(stdout);
	if (argc == 3 && !strcmp(argv[1], "--list")) {
		for (i = 0; i < ARRAY_SIZE(set_names); i++)
			if (!strcmp(argv[2], set_names[i]))
				list(1 << i);
		return 0;
	}
	open_all();
	SYS(mlockall(MCL_CURRENT | MCL_FUTURE));
	if (argc == 5 && !strcmp(argv[1], "--fill"))
		return fill_pool(argv[2], atol(argv[3]), argv[4]);
	if (argc == 5 && !strcmp(argv[1], "--verify"))
		return verify_pool(atoi(argv[2]), atol(argv[3]), argv[4]);
	if (argc == 3 && !strcmp(argv[1], "--hog"))
		return hog(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "--destroy")) {
		for (i = 0; i < MAX_POOLS; i++)
			destroy(i);
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "--abuse"))
		return abuse(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "--most"))
		return most(atoi(argv[2]), argv[3]);
	if (argc == 3 && !strcmp(argv[1], "--memory"))
		return memory(atoi(argv[2]));
	if (argc == 2 && !strcmp(argv[1], "--heap")) {
		printf("%ld\n", settled(free_or_own_pages));
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "--soft-reset"))
		return soft_reset(atoi(argv[2]));
	if (argc == 3 && !strcmp(argv[1], "--control"))
		return control_all(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "--fuzz"))
		return fuzz_long(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "--bench"))
		return bench(argv[2]);
	return run_tests(argc, argv);
}
