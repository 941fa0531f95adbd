/* SPDX-License-Identifier: MIT */
/*
 * Transcendent memory: the guest's side of hypercall 38.
 *
 * struct tmem_op is in xen.h.  The numbers are those of Xen's public/tmem.h,
 * and the same in all releases since 4.1; there was no tmem in 4.13 to 4.17.
 */
#ifndef __XEN_PUBLIC_TMEM_H__
#define __XEN_PUBLIC_TMEM_H__

/* struct tmem_op.cmd */
#define TMEM_NEW_POOL		1	/* u.new; the rest: u.gen */
#define TMEM_DESTROY_POOL	2
#define TMEM_PUT_PAGE		4
#define TMEM_GET_PAGE		5
#define TMEM_FLUSH_PAGE		6
#define TMEM_FLUSH_OBJECT	7

/* struct tmem_op.u.new.flags */
#define XEN_TMEM_POOL_PERSIST		1
#define XEN_TMEM_POOL_PAGESIZE_SHIFT	4	/* log2(page size) - 12 */
#define XEN_TMEM_POOL_VERSION_SHIFT	24	/* TMEM_SPEC_VERSION */

/* Ids of a domain's pools are below this */
#define XEN_TMEM_MAX_POOLS	16

/*
 * NEW_POOL returns an id, DESTROY_POOL 0 where there was no pool, and all
 * others 1 for success, 0 for a page that was not found or not taken.  An error
 * is negative: an errno, or one of these two.
 */
#define XEN_TMEM_EFROZEN	1000	/* no new pages now; flushes are done */
#define XEN_TMEM_EEMPTY		1001	/* GET: the pool has no page at all */

#endif
