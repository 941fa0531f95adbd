// SPDX-License-Identifier: GPL-2.0
/*
 * Memory for others: flushes, allocations and claims take ephemeral pages
 */
#include "abi_test.h"

/*
 * A flush that has given nothing back need not be at the end.  These pages
 * have only metadata, and one step of a flush drops fewer of them (32) than
 * share a page of it.
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
	/* A flush of nothing is done at once, and drops nothing */
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

/* The last resort: frames that another CPU keeps for its next puts */
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
	note("%ld pages of %ld, and %ld more after %d tries", got, heap, more,
	     tries);
	CHECK_OP(got + more, >=, heap + 16);
}

/*
 * A flush has other CPUs give back what they keep.  They do so after it has
 * returned, by themselves: the one that keeps frames makes no call here.
 */
static void flush_brings_back_what_other_cpus_keep(void)
{
	int pool = new_pool(EPHEMERAL);
	long heap = settled_free_pages(), kept;
	struct worker w;
	double end;

	fill(0, 1);
	w = start(1, keep_frames, &pool);
	finish(&w);
	kept = heap - free_pages();
	note("CPU 1 keeps %ld pages", kept);
	CHECK_OP(kept, >=, 16);
	flush_kib(0);		/* on CPU 0 */
	end = now() + 10;
	while (free_pages() < heap && now() < end)
		sched_yield();
	CHECK_OP(free_pages(), >=, heap);
}

/* T28: Xen says how much memory is freeable, and that much can be had */
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

/* T16: flushes and allocations do not wait for each other, and both succeed */
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
	note("%d times, while %ld KiB were flushed", i, (long)flushed);
}

static void allocation_takes_ephemeral_pages(void)
{
	enum { NR = 8192 };
	static xen_pfn_t mfns[NR];
	int pool = new_pool(EPHEMERAL);
	uint64_t evicted;
	long rest;

	fill_memory(pool);
	/* The allocation wants more than is kept free for others */
	rest = free_pages();
	CHECK_OP(rest, <, NR);
	evicted = stats().evicted;
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	/* Metadata is memory, too: up to 5 % need not be pages */
	CHECK_OP(stats().evicted - evicted, >=, (NR - rest) * 95 / 100);
	give_memory(mfns, NR);
}

/* Claimed memory is there when it is wanted, and others still get some */
static void claimed_memory_is_free(void)
{
	long room = max_pages() - tot_pages(), id;
	int pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);
	uint64_t evicted;

	CHECK_OP(free_pages(), <, room);
	CHECK_OP(claim(max_pages()), ==, 0);
	CHECK_OP(free_pages(), >=, room);
	/* Others still get memory, but not what is claimed */
	id = try_pool(EPHEMERAL, 0, 0);
	CHECK_OP(id, >=, 0);
	CHECK_OP(hyper_many(gen(PUT, pool, 1, index), 1000), ==, 1000);
	CHECK_OP(free_pages(), >=, room);
	CHECK_OP(claim(0), ==, 0);

	/* A domain's minimum cannot be claimed */
	CHECK_OP(hyper_many(gen(PUT, pool, 1, index + 1000), 20000),
		 ==, 20000);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, ~0ULL);
	evicted = stats().evicted;
	CHECK_OP(freeable_kib(), ==, 0);
	CHECK_OP(claim(max_pages()), ==, -ENOMEM);
	CHECK_OP(stats().evicted, ==, evicted);
	/* Nothing is evicted if that would not be enough */
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
		.max_vcpus = 1, .max_evtchn_port = 1023,
		.max_grant_frames = -1, .max_maptrack_frames = -1,
		.grant_opts = XEN_DOMCTL_GRANT_version(1),
		.arch.emulation_flags = XEN_X86_EMU_LAPIC };
	domid_t id = 0;

	CHECK_OP(domctl_call(XEN_DOMCTL_createdomain, &id, &new, sizeof(new)),
		 ==, 0);
	set_max_pages_of(id, max);
	return id;
}

static void destroy_domain(domid_t id)
{
	CHECK_OP(domctl_call(XEN_DOMCTL_destroydomain, &id, NULL, 0), ==, 0);
}

/* The first domain from this id on.  Return: 0 when there is none */
static domid_t next_domain(domid_t id)
{
	struct xen_domctl_getdomaininfo info = { 0 };

	return domctl_call(XEN_DOMCTL_getdomaininfo, &id, &info,
			   sizeof(info)) ? 0 : id;
}

/*
 * A domain that is dead stays as long as something refers to it, here a domain
 * whose target it is.  Nothing would take back what it claims now.
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
 * A client is the first to evict from, but its oldest pages free no memory:
 * each shares its page of metadata with many younger ones.  Then another
 * client has to give.
 */
static void reclaim_skips_clients_that_free_nothing(void)
{
	enum { PER_PAGE = 101, TINY = 8000 * PER_PAGE, NR = 4096 };
	static xen_pfn_t mfns[NR];
	int i, shared, pool = new_pool(EPHEMERAL);

	CHECK_OP(authorise(1, 1, true), ==, 0);
	shared = try_pool(SHARED, 1, 1);
	CHECK_OP(shared, ==, 1);
	fill(0, 0);
	CHECK_OP(hyper_many(gen(PUT, shared, 1, 0), TINY), ==, TINY);
	/* In a shared pool, a page that is got becomes the youngest */
	for (i = 0; i < TINY; i += PER_PAGE)
		CHECK_OP(hyper_many(gen(GET, shared, 1, i), PER_PAGE - 1), ==,
			 PER_PAGE - 1);
	fill_memory(pool);
	set_client(XEN_SYSCTL_TMEM_SET_WEIGHT, 1 << 30);
	CHECK_OP(free_pages(), <, NR);
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	give_memory(mfns, NR);
}

/* An allocation that would fail all the same evicts nothing */
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
					     1, XENMEMF_address_bits(13)),
				 ==, 0);
		CHECK_OP(stats().evicted, ==, evicted);
		if (!full)
			fill_memory(pool);
	}
}

/* These frames had words of seed 1 */
void check_scrubbed(int pool, const xen_pfn_t *mfns, int nr)
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

/* A domain that gets the memory of an old page does not see its contents */
static void memory_of_pages_is_scrubbed(void)
{
	enum { NR = 8192 };
	static xen_pfn_t mfns[NR];
	int pool = new_pool(EPHEMERAL);

	fill_memory(pool);	/* then all that becomes free was a page */
	CHECK_OP(destroy(pool), ==, 1);
	CHECK_OP(take_memory(mfns, NR), ==, NR);
	check_scrubbed(new_pool(EPHEMERAL), mfns, NR);
	give_memory(mfns, NR);
}

TESTS = {
	TEST(ON, flush_says_when_it_is_done),
	TEST(ON, kept_frames_are_given_up),
	TEST(ON, flush_brings_back_what_other_cpus_keep),
	TEST(ON, freeable_memory_is_told_and_comes),
	TEST(ON, flush_and_allocation_do_not_wait_for_each_other),
	TEST(ON, allocation_takes_ephemeral_pages),
	TEST(ON, claimed_memory_is_free),
	TEST(ON, dying_domain_claims_nothing),
	TEST(ON, reclaim_gives_memory_where_it_was_asked_for),
	TEST(ON, reclaim_skips_clients_that_free_nothing),
	TEST(ON, hopeless_allocations_evict_nothing),
	TEST(ON, memory_of_pages_is_scrubbed),
};
