// SPDX-License-Identifier: GPL-2.0
/*
 * Hypercall 38, its arguments, and the pages that go with it; threads
 */
#include "abi_test.h"
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

int raw = -1;
uint64_t *page[TMEM_RAW_PAGES];
uint64_t frame[TMEM_RAW_PAGES];

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

/*
 * Messages
 */

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

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

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*
 * Operations
 */

struct tmem_raw_op gen(int cmd, int pool, uint64_t obj, uint32_t index)
{
	return (struct tmem_raw_op){ .cmd = cmd, .pool_id = pool,
				     .oid = { obj }, .index = index,
				     .cmfn = frame[0] };
}

long calls(struct tmem_raw_call *c)
{
	SYS(ioctl(raw, TMEM_RAW_CALL, c));
	return c->ret;
}

long hyper(struct tmem_raw_op op)
{
	struct tmem_raw_call c = { .op = op, .nr = 1 };

	return calls(&c);
}

long op_with(int cmd, int pool, uint64_t obj, uint32_t index,
		    uint64_t cmfn)
{
	struct tmem_raw_op op = gen(cmd, pool, obj, index);

	op.cmfn = cmfn;
	return hyper(op);
}

long hyper_at(const void *at)
{
	struct tmem_raw_call c = { .at = (uintptr_t)at, .use_at = 1, .nr = 1 };

	return calls(&c);
}

/* The same for @nr pages in a row.  Return: how many calls returned 1 */
long hyper_many(struct tmem_raw_op op, uint32_t nr)
{
	struct tmem_raw_call c = { .op = op, .nr = nr, .step = 1 };

	calls(&c);
	return c.ones;
}

long try_pool(uint32_t flags, uint64_t lo, uint64_t hi)
{
	return hyper((struct tmem_raw_op){
			.cmd = NEW_POOL, .pool_id = -1,
			.uuid = { lo, hi }, .flags = flags });
}

int new_pool(uint32_t flags)
{
	long id = try_pool(flags, 0, 0);

	CHECK(id >= 0 && id < MAX_POOLS, "no pool: %ld", id);
	return id;
}

long destroy(int pool)
{
	return hyper(gen(DESTROY_POOL, pool, 0, 0));
}

/* Contents: each word depends on a seed and on its place; seed 0: zeros */
uint64_t word(uint64_t seed, unsigned int i)
{
	return seed ? (seed * 512 + i) * 0x9e3779b97f4a7c15 : 0;
}

void fill(int p, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		page[p][i] = word(seed, i);
}

bool holds(int p, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		if (page[p][i] != word(seed, i))
			return false;
	return true;
}

long put(int pool, uint64_t obj, uint32_t index, uint64_t seed)
{
	fill(0, seed);
	return hyper(gen(PUT, pool, obj, index));
}

long get(int pool, uint64_t obj, uint32_t index)
{
	fill(0, JUNK);
	return hyper(gen(GET, pool, obj, index));
}

long flush_page(int pool, uint64_t obj, uint32_t index)
{
	return hyper(gen(FLUSH_PAGE, pool, obj, index));
}

long flush_object(int pool, uint64_t obj)
{
	return hyper(gen(FLUSH_OBJECT, pool, obj, 0));
}

/*
 * Threads
 */

void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	SYS(sched_setaffinity(0, sizeof(set), &set));
}

static void *worker(void *arg)
{
	struct worker *w = arg;

	on_cpu(w->cpu);
	w->run(w->arg);
	return NULL;
}

struct worker start(int cpu, void (*run)(void *), void *arg)
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

void finish(struct worker *w)
{
	CHECK(!pthread_join(w->thread, NULL), "no thread to wait for");
}

atomic_bool stop;
atomic_long ready;

/* Two threads wait here for each other, and go on at the same moment */
void meet(void)
{
	long both = (atomic_fetch_add(&ready, 1) | 1) + 1;

	while (ready < both)
		;
}

/*
 * The module
 */

void open_all(void)
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
