// SPDX-License-Identifier: GPL-2.0
/*
 * A host that keeps the lowest 128 MiB for devices, and has two NUMA nodes
 */
#include "abi_test.h"

/* Puts do not use up low memory, but evict when there is no other left */
static void low_memory_is_kept_for_devices(void)
{
	enum { NR = 8192 };
	static xen_pfn_t mfns[NR];
	int i, pool = new_pool(EPHEMERAL);
	uint32_t index = fill_memory(pool);

	CHECK_OP(hyper_many(gen(PUT, pool, 1, index), 10000), ==, 10000);
	/* An object per page: slabs grow faster than eviction empties them */
	for (i = 0; i < 1000; i++)
		MUST_PUT(pool, 100 + i, 0, 1);
	CHECK_OP(reservation(XENMEM_increase_reservation, mfns, NR,
			     XENMEMF_address_bits(27)), ==, NR);
	give_memory(mfns, NR);
}

/*
 * Pages that repeat a word take memory only for their metadata.  The reserve
 * that tmem leaves to others is smaller than the low memory: what protects
 * that is only that it is low.
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

	note("%ld low pages, %ld of %d pages put, %ld are there, %ld evicted",
	     low, done, PUTS, pages, evicted);
	CHECK_OP(low, >, (long)physinfo().total_pages / 128 + LEFT);
	CHECK_OP(pages, >, 101 * LEFT / 2);
	CHECK_OP(evicted, >, 101 * LEFT);
	CHECK_OP(kept, ==, low);
}

/* Memory of each node that is free or can be evicted.  Return: the sum */
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

/* A toolstack that chooses a node for a domain counts what can be evicted */
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
		/* All that tmem took on this node counts as free */
		CHECK_OP(labs((long)(empty[i] - node[i])), <, 2048);
	}
}

/*
 * What is evicted need not be on that node: all of it would have to go,
 * perhaps for nothing.
 */
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

/* What sysctl_page_offline, ..._online or ..._query says of the frame */
static uint32_t page_offline(uint32_t cmd, xen_pfn_t mfn)
{
	uint32_t *status = shared_page + 2048;
	struct xen_sysctl_page_offline_op op = {
		.cmd = cmd, .start = mfn, .end = mfn };

	set_xen_guest_handle(op.status, status);
	CHECK_OP(sysctl_call(XEN_SYSCTL_page_offline_op, &op, sizeof(op)),
		 ==, 0);
	return *status;
}

static bool is_offlined(xen_pfn_t mfn)
{
	return page_offline(sysctl_query_page_offline, mfn) &
	       PG_OFFLINE_STATUS_OFFLINED;
}

/*
 * A page that is in use goes offline when it comes back to the heap.  A page
 * that tmem has used must go there, and not to the next put; a CPU keeps other
 * pages as before.
 */
static void pages_of_tmem_go_offline(void)
{
	enum { NR = 2048, EXTRA = 16000 };
	static xen_pfn_t mfns[NR], extra[EXTRA];
	int full = new_pool(EPHEMERAL), pool = new_pool(EPHEMERAL);
	long heap = settled_free_pages(), nr;
	uint64_t evicted;
	int i, used = 0;

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

TESTS = {
	TEST(DMA, low_memory_is_kept_for_devices),
	TEST(DMA, low_memory_is_kept_from_metadata),
	TEST(DMA, nodes_have_what_the_host_has),
	TEST(DMA, allocation_on_one_node_evicts_nothing),
	/* The last one: after it, Xen frees pages the slow way */
	TEST(DMA, pages_of_tmem_go_offline),
};
