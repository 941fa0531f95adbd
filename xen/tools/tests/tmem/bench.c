// SPDX-License-Identifier: GPL-2.0
/*
 * What calls cost: the fastest of some rounds, which no interrupt has hit
 *
 *	abi_test --bench FILE	prints "NAME TICKS" for each kind of call;
 *				compression with pages of FILE
 */
#include "abi_test.h"
#include <x86intrin.h>

#define ROUNDS	30
#define FEW	24	/* pages that a CPU keeps when they are freed */

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
		lower(&best,
		      ticks_of(gen(PUT, pool, 1, 2000 + 100 * i), 100, 1));
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
			lower(&put_best,
			      ticks_of(gen(PUT, pool, 1, 0), FEW, 1));
			CHECK_OP(stats().lz4_pages, ==, FEW);
			lower(&get_best,
			      ticks_of(gen(GET, pool, 1, 0), FEW, 1));
		}
		put_sum += put_best;
		get_sum += get_best;
	}
	printf("put-lz4 %.0f\nget-lz4 %.0f\n", put_sum / nr, get_sum / nr);
	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, false);
	destroy(pool);
	close(fd);
}

/* In the hypervisor's own object, if the Makefile was given LZ4_O */
int LZ4_compress_fast_extState_fastReset(void *state, const char *src,
					 char *dst, int size, int max,
					 int acceleration)
	__attribute__((weak));

/* That object jumps to the hypervisor's thunk */
__asm__(".globl __x86_return_thunk\n__x86_return_thunk: ret");

/* LZ4's part in bench_compression() */
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
				state, (char *)page[1], out, PAGE,
				PAGE / 4 * 3, 1);

			lower(&best, __rdtsc() - start);
			CHECK(len > 0, "page %ld does not shrink", nr);
		}
		sum += best;
	}
	printf("lz4 %.0f\n", sum / nr);
	close(fd);
}

static int bench(char **args)
{
	const char *path = args[0];

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

COMMANDS = {
	{ "--bench", 1, bench },
};
