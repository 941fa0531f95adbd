// SPDX-License-Identifier: GPL-2.0
/*
 * Commands for tests that have several domains
 *
 *	abi_test --fill KIND NR SEED	put NR pages into a pool, "ephemeral",
 *				"persistent" or "shared", the latter with uuid
 *				01000000-0000-0000-0200-000000000000; prints
 *				the pool's id, and leaves it
 *	abi_test --verify ID NR SEED	get them: each one as it was put, or
 *				not at all; prints how many of each
 *	abi_test --destroy	all pools of this domain
 *	abi_test --hog SECONDS	put ephemeral pages for that long, or "forever"
 *	abi_test --abuse SECONDS	bad pointers, and pools that go while
 *				they are full (T8)
 *
 * And in dom0:
 *
 *	abi_test --control SECONDS	every control command for every domain,
 *				while domains come and go (T15)
 *	abi_test --most DOMID SECONDS	the most memory that a domain's pages
 *				take in that time
 *	abi_test --memory DOMID	what a domain owns, and what it may own
 *	abi_test --heap		how many pages are free or dom0's, when that
 *				number has settled
 *	abi_test --soft-reset DOMID	of a domain that cannot be reset (T31)
 */
#include "abi_test.h"

/* Another domain's page, with another seed, is a wrong one */
static uint64_t seed_of(const char *seed, uint32_t index)
{
	return strtoull(seed, NULL, 0) << 32 | (index + 1);
}

static int fill_pool(char **args)
{
	const char *kind = args[0], *seed = args[2];
	uint32_t flags = !strcmp(kind, "persistent") ? PERSISTENT :
			 !strcmp(kind, "shared") ? SHARED : EPHEMERAL;
	long i, nr = atol(args[1]), done = 0, pool = try_pool(flags, 1, 2);

	CHECK(pool >= 0, "no pool: %ld", pool);
	for (i = 0; i < nr; i++)
		done += put(pool, i / 1024, i, seed_of(seed, i)) == 1;
	note("%ld of %ld pages", done, nr);
	printf("%ld\n", pool);
	return done != nr;
}

static int verify_pool(char **args)
{
	long i, nr = atol(args[1]), ret, hits = 0, wrong = 0;
	const char *seed = args[2];
	int pool = atoi(args[0]);

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

static int destroy_all(char **args)
{
	int i;

	(void)args;
	for (i = 0; i < MAX_POOLS; i++)
		destroy(i);
	return 0;
}

static double end_after(const char *seconds)
{
	return strcmp(seconds, "forever") ? now() + atof(seconds) : 1e18;
}

static int hog(char **args)
{
	double end = end_after(args[0]);
	struct tmem_raw_op op = gen(PUT, new_pool(EPHEMERAL), 0, 0);
	long done = 0;

	fill(0, 1);
	for (; now() < end; op.oid[0]++)
		done += hyper_many(op, 512);
	printf("puts %ld\n", done);
	destroy(op.pool_id);
	return 0;
}

/* The domain may well be destroyed in the middle of a call */
static int abuse(char **args)
{
	double end = end_after(args[0]);
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

static int most(char **args)
{
	double end = now() + atof(args[1]);
	uint64_t used = 0, evicted = 0;
	long samples = 0, ret = 0;
	int domid = atoi(args[0]);

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

static int memory(char **args)
{
	struct xen_domctl_getdomaininfo info = { 0 };
	domid_t id = atoi(args[0]);

	CHECK_OP(domctl_call(XEN_DOMCTL_getdomaininfo, &id, &info,
			     sizeof(info)), ==, 0);
	printf("own %lu KiB of %lu KiB\n", info.tot_pages * 4,
	       info.max_pages * 4);
	return 0;
}

/*
 * Xen cannot reset this domain, but finds that out after all else, and crashes
 * it.  Its pools are gone then, and the domain is still there.
 */
static int soft_reset(char **args)
{
	struct sched_remote_shutdown *down = shared_page;
	domid_t id = atoi(args[0]);
	long ret;

	*down = (struct sched_remote_shutdown){ id, SHUTDOWN_soft_reset };
	CHECK_OP(xen_call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown,
			  (uintptr_t)down), ==, 0);
	ret = domctl_call(XEN_DOMCTL_soft_reset, &id, NULL, 0);
	printf("soft reset %ld\n", ret);
	return ret != -EINVAL;
}

/* The sum, because dom0 takes and gives pages of the heap at any time */
static long free_or_own_pages(void)
{
	return free_pages() + tot_pages();
}

static int heap(char **args)
{
	(void)args;
	printf("%ld\n", settled(free_or_own_pages));
	return 0;
}

static int control_all(char **args)
{
	bool known[64] = { 0 };
	static const uint32_t cmds[] = {
		XEN_SYSCTL_TMEM_OP_FREEZE, XEN_SYSCTL_TMEM_OP_THAW,
		XEN_SYSCTL_TMEM_OP_GET, XEN_SYSCTL_TMEM_OP_SET,
		XEN_SYSCTL_TMEM_OP_SET_AUTH, XEN_SYSCTL_TMEM_OP_GET_AUTH };
	double end = now() + atof(args[0]);
	long domid, i, done = 0, gone = 0;

	while (now() < end) {
		for (domid = 0; domid < ARRAY_SIZE(known); domid++) {
			long before = done;

			for (i = 0; i < ARRAY_SIZE(cmds); i++) {
				struct xen_sysctl_tmem_op op = {
					.cmd = cmds[i], .domid = domid };

				set_xen_guest_handle(op.stats, stats_buf());
				/* GET may find the next domain */
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

COMMANDS = {
	{ "--fill", 3, fill_pool },
	{ "--verify", 3, verify_pool },
	{ "--destroy", 0, destroy_all },
	{ "--hog", 1, hog },
	{ "--abuse", 1, abuse },
	{ "--control", 1, control_all },
	{ "--most", 2, most },
	{ "--memory", 1, memory },
	{ "--heap", 0, heap },
	{ "--soft-reset", 1, soft_reset },
};
