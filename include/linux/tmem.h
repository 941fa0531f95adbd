/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Transcendent memory: the interface between its clients and its backend.
 *
 * A client (precache, preswap) names a page by a handle, {pool, object, index},
 * and asks for it to be copied out of or into its own memory.  A backend (the
 * hypervisor, or an engine inside this kernel) keeps the copies.  The client
 * never addresses them.  Theory of operation: Documentation/mm/tmem.rst.
 */
#ifndef _LINUX_TMEM_H
#define _LINUX_TMEM_H

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/types.h>

struct page;

/**
 * struct tmem_oid - names an object (a file, a stretch of a swap device)
 * @oid: three words whose meaning only the client knows
 *
 * Opaque to the backend, which compares all 192 bits.
 */
struct tmem_oid {
	u64 oid[3];
};

/* Pool flags; the values are those of the hypercall ABI. */
#define TMEM_POOL_PERSISTENT	BIT(0)	/* never dropped by the backend */

/**
 * struct tmem_ops - what a backend does; exactly six operations
 * @name: what `tmem=` selects and /sys/kernel/mm/tmem/backend shows
 * @new_pool: Make a pool.  @flags is 0 for an ephemeral pool, whose pages the
 *	backend may drop at any moment, or TMEM_POOL_PERSISTENT.  Called in
 *	process context, may sleep.  Returns the pool's id, 0 or more; -ENOSPC
 *	when no id is left; another negative errno.
 * @destroy_pool: Drop all pages of a pool and forget its id.  Called in process
 *	context, may sleep; no other operation on this pool runs.  Returns 0
 *	or a negative errno.
 * @put_page: Copy @page into the pool, over an older copy under the same
 *	handle if there is one.  The copy is complete on return; @page may be
 *	reused at once.  A put that fails leaves **no** copy, new or old.
 *	Called in process context, in reclaim: may not wait for memory or I/O.
 *	Returns 0; -ENOMEM or another negative errno when the page was refused;
 *	-EIO when an older copy may be left, which is as fatal for an ephemeral
 *	pool as a flush that fails.
 * @get_page: Copy a page out of the pool, into @page.  A hit in an ephemeral
 *	pool removes the copy (the cache is exclusive); a hit in a persistent
 *	pool leaves it.  @page is unspecified after an error.  Called in
 *	process context.  Returns 0; -ENOENT when there is no such page; another
 *	negative errno.
 * @flush_page: Drop one page.  When it returns, no get can find the page.
 *	Called in any context but interrupt: spinlocks may be held and
 *	interrupts off, but no lock that an interrupt handler takes, so that
 *	the backend's locks need not be safe against interrupts.  Returns 0,
 *	also when there was no such page.  An error is fatal for the pool: the
 *	client never uses what is in it again.
 * @flush_object: Drop all pages of an object.  Called in process context, may
 *	sleep.  Returns as @flush_page.
 *
 * A backend gives no order between operations on the same handle that run at
 * the same time.  The client does: precache by the folio lock and the xarray,
 * preswap by ownership of the swap slot.
 */
struct tmem_ops {
	const char *name;
	int (*new_pool)(u32 flags);
	int (*destroy_pool)(int pool);
	int (*put_page)(int pool, const struct tmem_oid *oid, u32 index,
			struct page *page);
	int (*get_page)(int pool, const struct tmem_oid *oid, u32 index,
			struct page *page);
	int (*flush_page)(int pool, const struct tmem_oid *oid, u32 index);
	int (*flush_object)(int pool, const struct tmem_oid *oid);
};

#ifdef CONFIG_TMEM
/* For backends */
bool tmem_wanted(const char *name);
int tmem_register_ops(const struct tmem_ops *ops);
int tmem_suspend(unsigned long timeout);
void tmem_stop(void);
void tmem_resume(void);
unsigned long tmem_persistent_pages(void);
int tmem_drain(unsigned long timeout);
int tmem_bring_back(unsigned long nr, bool write);
int tmem_write_out(unsigned long *left);

/* For clients: trace, inject faults, call the backend */
bool tmem_ready(void);
int tmem_new_pool(u32 flags);
void tmem_destroy_pool(int pool);
int tmem_put_page(int pool, const struct tmem_oid *oid, u32 index,
		  struct page *page);
int tmem_get_page(int pool, const struct tmem_oid *oid, u32 index,
		  struct page *page);
int tmem_flush_page(int pool, const struct tmem_oid *oid, u32 index);
int tmem_flush_object(int pool, const struct tmem_oid *oid);

extern struct kobject *tmem_kobj;	/* /sys/kernel/mm/tmem */
#else
static inline void tmem_stop(void) { }
static inline void tmem_resume(void) { }
#endif

#endif /* _LINUX_TMEM_H */
