// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: the Linux port, what does not fit in a header.
 */

#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/sprintf.h>
#include <linux/swap.h>
#include <linux/topology.h>
#include <linux/vmstat.h>
#include "../engine.h"

MODULE_DESCRIPTION("Transcendent memory engine");
MODULE_LICENSE("GPL");

struct kmem_cache *tme_port_caches[PORT_CACHES];
EXPORT_SYMBOL_GPL(tme_port_caches);	/* tme_port_cache_size() is inline */
static struct port_scratch __percpu *port_scratches;

/* One set for all hosts: a machine has one, and tests may have another */
static DEFINE_MUTEX(port_lock);
static int port_users;

static void port_free_all(void)
{
	int i;

	for (i = 0; i < PORT_CACHES; i++) {
		kmem_cache_destroy(tme_port_caches[i]);
		tme_port_caches[i] = NULL;
	}
	free_percpu(port_scratches);
}

static int port_alloc_all(const size_t size[PORT_CACHES])
{
	static const char * const name[PORT_CACHES] = {
		[PORT_PAGE]	= "tmem_page",
		[PORT_OBJECT]	= "tmem_object",
		[PORT_NODE]	= "tmem_node",
	};
	int i, cpu;

	port_scratches = alloc_percpu(struct port_scratch);
	if (!port_scratches)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		local_lock_init(&per_cpu_ptr(port_scratches, cpu)->lock);
	for (i = 0; i < PORT_CACHES; i++) {
		tme_port_caches[i] = kmem_cache_create(name[i], size[i], 0, 0,
						       NULL);
		if (!tme_port_caches[i]) {
			port_free_all();
			return -ENOMEM;
		}
	}
	return 0;
}

/*
 * Is an ephemeral page that does not compress worth a frame?  It takes one for
 * the one that it leaves.  Where a cgroup is at its limit, and the system has
 * memory, that saves a read; where reclaim wants free memory it gains nothing.
 */
bool tme_port_keep_raw(void)
{
	struct zone *zones = NODE_DATA(numa_mem_id())->node_zones, *zone;
	const int for_all = gfp_zone(GFP_HIGHUSER_MOVABLE);

	if (current_is_kswapd())
		return false;
	/* What kswapd would be content with */
	for (zone = zones; zone < zones + MAX_NR_ZONES; zone++)
		if (managed_zone(zone) &&
		    zone_page_state(zone, NR_FREE_PAGES) >
		    high_wmark_pages(zone) + zone->lowmem_reserve[for_all])
			return true;
	return false;
}

int tme_port_init(const size_t size[PORT_CACHES])
{
	int err = 0;

	mutex_lock(&port_lock);
	if (!port_users)
		err = port_alloc_all(size);
	if (!err)
		port_users++;
	mutex_unlock(&port_lock);
	return err;
}

void tme_port_exit(void)
{
	mutex_lock(&port_lock);
	if (!--port_users)
		port_free_all();
	mutex_unlock(&port_lock);
}

struct zs_pool *tme_port_arena_create(void)
{
	static atomic_t nr;
	char name[20];

	/* zsmalloc names its caches after the pool: no two may be the same */
	snprintf(name, sizeof(name), "tmem%d", atomic_inc_return(&nr));
	return zs_create_pool(name);
}

struct port_scratch *tme_port_scratch_get(void)
{
	local_lock(&port_scratches->lock);
	return this_cpu_ptr(port_scratches);
}

void tme_port_scratch_put(struct port_scratch *scratch)
{
	local_unlock(&port_scratches->lock);
}

int tme_port_compress(struct port_scratch *scratch, const void *src,
		      unsigned int max)
{
	return LZ4_compress_default(src, scratch->buf, PAGE_SIZE, max,
				    scratch->work);
}

int tme_port_decompress(const void *src, unsigned int len, void *dst)
{
	return LZ4_decompress_safe(src, dst, len, PAGE_SIZE);
}
