// SPDX-License-Identifier: GPL-2.0
/*
 * What tmem takes from the heap, and what it leaves there
 */
#include "abi_test.h"

void use_everything(bool compress)
{
	int i, j, pool[4];

	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, compress);
	for (i = 0; i < 4; i++)
		pool[i] = new_pool(EPHEMERAL | (i & 1));
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 3; j++) {
			/* Random, one word, and compressible */
			fill(0, j == 1 ? 0 : 1);
			if (j == 2)
				memset(page[0], 'x', PAGE / 2);
			CHECK_OP(hyper_many(gen(PUT, pool[i], j, 0), 1000), ==,
				 1000);
			CHECK_OP(hyper_many(gen(PUT, pool[i], 1000 + j, 0),
					    100), ==, 100);
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

/* T30, and the heap is exactly as before */
static void numbers_and_memory_return_to_what_they_were(void)
{
	struct xen_sysctl_tmem_stats s, before;
	long i, nr;

	/* After this, there is all that Xen keeps for later pools */
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

/* Put ephemeral pages until the oldest ones go.  Return: the next index */
long fill_memory(int pool)
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

/* From @index on, until pages are evicted again.  Return: the next index */
uint32_t refill_memory(int pool, uint32_t index)
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

/* How many pages puts leave to others */
long reserve(void)
{
	long part = physinfo().total_pages / 128;

	return part < 512 ? 512 : part;
}

/* As reservation(), for one piece of 2^@order pages */
static long extent(int cmd, xen_pfn_t *mfn, int order, uint32_t flags)
{
	struct xen_memory_reservation *res = shared_page;

	*res = (struct xen_memory_reservation){
		.nr_extents = 1, .extent_order = order, .mem_flags = flags,
		.domid = DOMID_SELF };
	set_xen_guest_handle(res->extent_start, mfn);
	return xen_call(__HYPERVISOR_memory_op, cmd, (uintptr_t)res);
}

/*
 * Others may use up the reserve that puts leave to them.  Later puts fill it
 * again, with pieces that are larger than single pages.
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
		CHECK_OP(hyper_many(gen(PUT, pool, 1, index), 2 * nr),
			 ==, 2 * nr);
		index += 2 * nr;
		note("%ld puts evicted %ld; %ld of %ld pages are free", 2 * nr,
		     (long)stats().evicted - evicted, free_pages(), reserve());
		CHECK_OP(free_pages(), >, reserve() - 64);
		/* A put evicts one page more, and only until it is filled */
		CHECK_OP((long)stats().evicted - evicted, <=,
			 2 * nr + reserve() + 256);
		evicted = stats().evicted;
		CHECK_OP(extent(XENMEM_increase_reservation, &mfn, ORDER, 0),
			 ==, 1);
		CHECK_OP(extent(XENMEM_decrease_reservation, &mfn, ORDER, 0),
			 ==, 1);
		CHECK_OP(extent(XENMEM_increase_reservation, &mfn, 0,
				XENMEMF_address_bits(BITS)), ==, 1);
		CHECK_OP(extent(XENMEM_decrease_reservation, &mfn, 0, 0),
			 ==, 1);
		CHECK_OP((long)stats().evicted, ==, evicted);
		give_memory(mfns, nr);
		index = refill_memory(pool, index);
	}
}

/* A claim takes free memory, and leaves the reserve to others */
static void claim_leaves_the_reserve(void)
{
	long room = max_pages() - tot_pages();
	int pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);

	CHECK_OP(claim(max_pages()), ==, 0);
	note("%ld pages are free, %ld claimed", free_pages(), room);
	CHECK_OP(free_pages(), >=, room + reserve() - 64);
	CHECK_OP(claim(0), ==, 0);
	/* If memory does not suffice for both, the claim comes first */
	refill_memory(pool, index);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, ~0ULL);
	CHECK_OP(freeable_kib(), ==, 0);
	CHECK_OP(free_pages(), <, reserve() + 1024);
	CHECK_OP(claim(tot_pages() + 1024), ==, 0);
}

/*
 * New event channels take memory under a lock of the domain's.  When the heap
 * is empty, they evict, and take no other lock for that.
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
				  EVTCHNOP_alloc_unbound, (uintptr_t)alloc),
			 ==, 0);
		ports[i] = alloc->port;
		took += stats().evicted != evicted;
	}
	end_taking();
	while (i--) {
		struct evtchn_close *close = shared_page;

		close->port = ports[i];
		CHECK_OP(xen_call(__HYPERVISOR_event_channel_op,
				  EVTCHNOP_close, (uintptr_t)close), ==, 0);
	}
	note("%d of %d event channels evicted", took, NR);
	CHECK_OP(took, >, 0);
}

TESTS = {
	TEST(ON, numbers_and_memory_return_to_what_they_were),
	TEST(ON, put_into_full_memory_evicts),
	TEST(ON, reserve_comes_back),
	TEST(ON, claim_leaves_the_reserve),
	TEST(ON, event_channels_come_when_the_heap_is_empty),
};
