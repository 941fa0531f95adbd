// SPDX-License-Identifier: GPL-2.0
/*
 * tmem engine: the Linux port, what does not fit in a header.
 */

#include <linux/export.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include "../engine.h"

EXPORT_SYMBOL_GPL(tme_host_init);
EXPORT_SYMBOL_GPL(tme_host_destroy);
EXPORT_SYMBOL_GPL(tme_host_set_limit);
EXPORT_SYMBOL_GPL(tme_client_init);
EXPORT_SYMBOL_GPL(tme_client_destroy);
EXPORT_SYMBOL_GPL(tme_client_set_cap);
EXPORT_SYMBOL_GPL(tme_client_set_compress);
EXPORT_SYMBOL_GPL(tme_client_stats);
EXPORT_SYMBOL_GPL(tme_new_pool);
EXPORT_SYMBOL_GPL(tme_destroy_pool);
EXPORT_SYMBOL_GPL(tme_put);
EXPORT_SYMBOL_GPL(tme_get);
EXPORT_SYMBOL_GPL(tme_flush_page);
EXPORT_SYMBOL_GPL(tme_flush_object);
EXPORT_SYMBOL_GPL(tme_evict);
EXPORT_SYMBOL_GPL(tme_evictable);
MODULE_DESCRIPTION("Transcendent memory engine");
MODULE_LICENSE("GPL");

struct kmem_cache *port_caches[PORT_CACHES];
static struct port_scratch __percpu *port_scratches;

int port_init(const size_t size[PORT_CACHES])
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
		port_caches[i] = kmem_cache_create(name[i], size[i], 0, 0,
						   NULL);
		if (!port_caches[i]) {
			port_exit();
			return -ENOMEM;
		}
	}
	return 0;
}

void port_exit(void)
{
	int i;

	for (i = 0; i < PORT_CACHES; i++) {
		kmem_cache_destroy(port_caches[i]);
		port_caches[i] = NULL;
	}
	free_percpu(port_scratches);
}

struct port_scratch *port_scratch_get(void)
{
	local_lock(&port_scratches->lock);
	return this_cpu_ptr(port_scratches);
}

void port_scratch_put(struct port_scratch *scratch)
{
	local_unlock(&port_scratches->lock);
}

int port_compress(struct port_scratch *scratch, const void *src,
		  unsigned int max)
{
	return LZ4_compress_default(src, scratch->buf, PAGE_SIZE, max,
				    scratch->work);
}

int port_decompress(const void *src, unsigned int len, void *dst)
{
	return LZ4_decompress_safe(src, dst, len, PAGE_SIZE);
}
