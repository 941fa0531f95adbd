// SPDX-License-Identifier: GPL-2.0
/*
 * Two vCPUs at once
 */
#include "abi_test.h"

static void make_pools(void *arg)
{
	long *ids = arg;
	int i;

	for (i = 0; i < 8; i++) {
		meet();
		ids[i] = try_pool(i & 1 ? PERSISTENT : EPHEMERAL, 0, 0);
	}
}

/* T13: two vCPUs make the first pools of a domain at once */
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
			/* No put that was under way has stored a page since */
			s = stats();
			CHECK_OP(s.eph_pages + s.pers_pages, ==, 0);
		}
		stop = true;
		finish(&w);
		note("%d pools; %ld gets hit, %ld puts found no pool", i,
		     (long)hits, (long)no_pool);
	}
}

static void destroy_slowly(void *arg)
{
	ready = 1;
	CHECK_OP(destroy(*(int *)arg), ==, 1);
	ready = 2;
}

/* T12, for the shared pool behind an id */
static void join_of_a_dying_shared_pool_makes_a_new_one(void)
{
	int round, during = 0, nr = MANY / 4;
	struct xen_sysctl_tmem_op op;

	CHECK_OP(authorise(1, 2, true), ==, 0);
	for (round = 0; round < 6 || (!during && round < 1000); round++) {
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
		destroy(i % MAX_POOLS);		/* of either vCPU */
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

/* A get hits or misses, but never sees half of a put for the same handle */
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

	/* There is room for MANY persistent pages only without frames */
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
	note("%ld pages in %.3f s, with %ld ticks; the other vCPU waited for "
	     "%.3f s at most", nr, t, irqs, worst);
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

TESTS = {
	TEST(ON | PV, pools_made_at_once_are_distinct),
	TEST(ON, pool_can_go_while_it_is_used),
	TEST(ON, join_of_a_dying_shared_pool_makes_a_new_one),
	TEST(ON, two_vcpus_may_destroy_one_anothers_pools),
	TEST(ON | PV, same_handle_on_two_vcpus_is_never_torn),
	TEST(ON, object_of_1e5_pages_is_dropped_in_steps),
	TEST(ON, pool_of_1e5_pages_is_dropped_in_steps),
};
