/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmem engine: the Linux port.
 *
 * What the engine asks of any port (../contract.h), by Linux: slab caches for
 * metadata, pages for frames, zsmalloc for compressed slots, LZ4.
 *
 * Memory is asked for in reclaim, on behalf of a page that will be freed in
 * return.  An allocation that is smaller than that page, of metadata or of a
 * compressed slot, may use part of the reserves.  So may a frame for a
 * persistent page, or the page would stay.  But none may use all of them, as
 * reclaim itself may: one folio can bring many pages, and a slot can take
 * several.  A frame of an ephemeral page, which is only a cache, may use none.
 */
#ifndef TME_PORT_H
#define TME_PORT_H

#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/local_lock.h>
#include <linux/lz4.h>
#include <linux/math.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/zsmalloc.h>
#include "../contract.h"

extern struct kmem_cache *tme_port_caches[PORT_CACHES];

int tme_port_init(const size_t size[PORT_CACHES]);	/* may sleep */
void tme_port_exit(void);				/* may sleep */

#define PORT_GFP	(__GFP_HIGH | __GFP_NOMEMALLOC | __GFP_NORETRY | \
			 __GFP_NOWARN | __GFP_KSWAPD_RECLAIM)

#define tme_port_random(buf, len) get_random_bytes(buf, len)
#define tme_port_short()	false	/* there is a limit, and a shrinker */
#define tme_port_should_stop()	need_resched()
bool tme_port_keep_raw(void);
#define tme_port_zalloc(size)	kvzalloc(size, GFP_KERNEL)	/* may sleep */
#define tme_port_free(p)	kvfree(p)			/* may sleep */

static inline void *tme_port_cache_alloc(struct zs_pool *arena,
					 enum port_cache cache, long *bytes)
{
	void *p = kmem_cache_alloc(tme_port_caches[cache], PORT_GFP);

	if (p)
		*bytes += kmem_cache_size(tme_port_caches[cache]);
	return p;
}

static inline long tme_port_cache_size(enum port_cache cache)
{
	return kmem_cache_size(tme_port_caches[cache]);
}

static inline long tme_port_cache_free(struct zs_pool *arena,
				       enum port_cache cache, void *p)
{
	kmem_cache_free(tme_port_caches[cache], p);
	return tme_port_cache_size(cache);
}

/* A frame is a struct page */
static inline unsigned long tme_port_frame_alloc(bool pers)
{
	gfp_t gfp = pers ? PORT_GFP :
			   (PORT_GFP & ~__GFP_HIGH) | __GFP_RECLAIMABLE;

	return (unsigned long)alloc_page(gfp | __GFP_HIGHMEM);
}

static inline void tme_port_frame_free(unsigned long frame)
{
	__free_page((struct page *)frame);
}

static inline void *tme_port_frame_map(unsigned long frame)
{
	return kmap_local_page((struct page *)frame);
}

#define tme_port_frame_unmap(p)	kunmap_local(p)

/* An arena has compressed slots only: it is a zsmalloc pool */
#define port_arena		zs_pool
struct zs_pool *tme_port_arena_create(void);		/* may sleep */
#define tme_port_arena_destroy(arena) zs_destroy_pool(arena)	/* may sleep */
#define tme_port_slot_frames(arena) ((long)zs_get_total_pages(arena))
#define tme_port_slot_free(arena, slot) zs_free(arena, slot)
#define tme_port_slot_map(arena, slot) zs_map_object(arena, slot, ZS_MM_RO)
#define tme_port_slot_unmap(arena, slot) zs_unmap_object(arena, slot)

static inline unsigned long tme_port_slot_alloc(struct zs_pool *arena,
						const void *src,
						unsigned int len, bool pers)
{
	unsigned long slot = zs_malloc(arena, len, PORT_GFP | __GFP_HIGHMEM |
				       __GFP_MOVABLE);

	if (IS_ERR_VALUE(slot))
		return 0;
	memcpy(zs_map_object(arena, slot, ZS_MM_WO), src, len);
	zs_unmap_object(arena, slot);
	return slot;
}

/* A compressor's memory, one per CPU, for one task between get and put */
struct port_scratch {
	local_lock_t lock;
	char buf[PAGE_SIZE];
	char work[LZ4_MEM_COMPRESS] __aligned(8);
};

struct port_scratch *tme_port_scratch_get(void);
void tme_port_scratch_put(struct port_scratch *scratch);
int tme_port_compress(struct port_scratch *scratch, const void *src,
		      unsigned int max);		/* 0: does not fit */
int tme_port_decompress(const void *src, unsigned int len, void *dst);

#endif /* TME_PORT_H */
