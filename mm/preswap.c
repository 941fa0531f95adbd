// SPDX-License-Identifier: GPL-2.0
/*
 * preswap: swapping to transcendent memory.
 *
 * A page on its way to a swap device is put into a persistent pool instead,
 * synchronously, by a copy.  The backend may refuse: then the page goes on to
 * zswap or to the disk, as ever.  What the backend took it keeps until it is
 * told otherwise.  So preswap is not a device of its own with a size of its
 * own; it fronts all swap devices, and one bit per swap slot tells
 * where the slot's contents are.
 *
 *
 *	The invariants
 *
 * Bit set: tmem holds the only authoritative copy of the slot, or else a newer
 *	one is in the swap cache.  The block on the device is garbage, and may
 *	even be an earlier tenant's data.  The zeromap bit is clear, and zswap
 *	has no entry, which its shrinker could write out later.
 *	If the page cannot be got from tmem it is lost: the folio stays not
 *	uptodate, and whoever faults on it gets SIGBUS.  It is never read from
 *	the device.
 * Bit clear: nothing of that slot is left in tmem.
 * Slot free: bit clear.
 * preswap_pages: the number of bits set.
 *
 *
 *	Who may change a bit
 *
 * Only the owner of the slot's SWAP_HAS_CACHE:
 *
 * - swap_writepage() sets it (or clears it, when tmem refuses or the page has
 *   become a page of zeros), with the folio locked in the swap cache;
 * - swap-in clears it, with the folio locked in the swap cache;
 * - preswap_shrink clears it, with the folio locked in the swap cache;
 * - the freeing of a slot clears it, when its count is 0 and its folio has left
 *   the swap cache, but before the slot can be allocated again.  This is
 *   done as early as possible, where zswap drops its entry too, outside of the
 *   device's lock; swap_range_free() looks once more, so that a bit can never
 *   survive its slot.
 *
 * Neighbours in the same word belong to others, hence atomic bit operations
 * only; as in the zeromap, mm/page_io.c.
 *
 * Readers (swap-in) own SWAP_HAS_CACHE too.  There are two exceptions.
 * Readahead looks at the bits of slots that it does not own, which is a hint.
 * Swap-in of a large folio must not find a range of slots partly here and
 * partly there.  It refuses ranges with a bit set when it looks for a suitable
 * order, and looks again when it has become the owner of the range: in between
 * a page can be swapped in and out by others and be put.
 *
 *
 *	A get takes the page out
 *
 * Two copies of a page would cost twice its memory, and most pages that are
 * swapped in are written to before they are swapped out again.  So when a folio
 * is swapped in, its page leaves tmem: the folio is marked dirty, the bit is
 * cleared, the page flushed.  All of that happens while the folio is locked in
 * the swap cache.
 *
 * A folio that bypasses the swap cache (do_swap_page() with a device that is
 * memory) leaves the copy.  Its slot is freed next, and the page with it.  Or,
 * when the fault is given up, the slot stays, and the copy is still needed.
 *
 *
 *	Getting pages back: preswap_shrink
 *
 * Slot by slot: find a bit, bring the page into the swap cache, **mark it
 * dirty** (else reclaim could drop it and leave garbage on the device as the
 * only copy), clear the bit, flush.  The slot stays allocated, page tables are
 * not touched, and the folio will be written to the device if memory is needed.
 * Puts are refused meanwhile, or the folio would come straight back.
 *
 * The folio must not take memory that its cgroup, or the system, then lacks.
 * So we reclaim nothing for it.  Nor must it be stuck: when the last swap slot
 * has gone, reclaim does not look at anonymous memory any more, not even at
 * folios that have a slot.  So where memory is short, or more than half of the
 * slots are in use, the page is written to the device at once: each slot has
 * its block there.  The folio for that is charged over the limit, as reclaim's
 * own allocations are.  At most a batch of such folios is under way.  They are
 * reclaimed when they have been written, as those of MADV_PAGEOUT are.  If a
 * write fails no other is tried.  Before a suspend there is little time: then
 * we do reclaim, and write only where there is still no memory.
 *
 * A backend whose pages are memory of this kernel does the same when the system
 * has no memory: tmem_write_out().
 *
 * A backend whose pages will not be there after a suspend does the same down to
 * zero, before anything is frozen: the bits would be, as part of this memory.
 * Who can be where, then?
 *
 * - A user's task in reclaim ends its store before it freezes.  A kernel thread
 *   that does not freeze can be anywhere in it, and find itself after the
 *   resume: between the put and the bit, with another pool.  So a store notes
 *   how often puts were stopped.  When that has changed it takes back what it
 *   did, still with the folio locked: nobody relies on the bits yet.
 * - A load, and preswap_shrink, hold the lock of a folio whose slot has a bit
 *   set: preswap_suspend() waits for them.
 * - A task that frees a slot, and a load that has got its page, have cleared
 *   the bit and may flush in the new pool.  Nobody puts there: the slot is not
 *   free before, and the folio is locked.
 *
 *	store				stop
 *	note stops			raise stopped
 *	smp_rmb()			smp_mb()
 *	look at stopped			raise stops
 *	put, set bits			smp_mb()
 *	smp_mb()			look for bits, bring pages back
 *	look at stopped and stops
 *
 * Either the store sees that it was stopped, or who stopped it sees the bits,
 * and waits for the folio.
 */

#define pr_fmt(fmt) "preswap: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kobject.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/preswap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/sysfs.h>
#include <linux/tmem.h>
#include <linux/vmstat.h>
#include <linux/writeback.h>
#include <linux/zswap.h>
#include "internal.h"
#include "swap.h"
#include "tmem_paranoid.h"

/*
 * A swap device is cut into objects of 16 MiB, so that the backend can tell
 * (and lock) different parts of it apart.
 */
#define PRESWAP_OBJECT_SHIFT	12

/* Passes over all devices without success before preswap_shrink gives up */
#define PRESWAP_SHRINK_RETRIES	8

DEFINE_STATIC_KEY_FALSE(preswap_key);

static bool preswap_allowed __ro_after_init = true;	/* no `nopreswap` */
static bool preswap_puts = true;			/* sysfs: new puts */
static bool preswap_dead;		/* a flush failed: no new puts */
static atomic_t preswap_stopped;	/* by so many: no new puts */
static atomic_t preswap_stops;		/* and so often until now */
static int preswap_pool = -1;		/* set when all hooks are alive */
static atomic_long_t preswap_nr;	/* number of bits set */
static unsigned long preswap_limit = ULONG_MAX;	/* sysfs: this many at most */

static int __init preswap_param(char *arg)
{
	preswap_allowed = false;
	return 0;
}
early_param("nopreswap", preswap_param);

/* A slot's device.  The unit test has devices of its own. */
VISIBLE_IF_KUNIT struct swap_info_struct *preswap_si(swp_entry_t entry)
{
	KUNIT_STATIC_STUB_REDIRECT(preswap_si, entry);
	return swp_swap_info(entry);
}

/* zswap's copy of the slot is outdated now, and its shrinker would write it */
VISIBLE_IF_KUNIT void preswap_drop_zswap(swp_entry_t entry)
{
	KUNIT_STATIC_STUB_REDIRECT(preswap_drop_zswap, entry);
	if (!zswap_never_enabled())
		zswap_invalidate(entry);
}

static struct tmem_oid preswap_oid(swp_entry_t entry)
{
	return (struct tmem_oid){ {
		swp_type(entry), swp_offset(entry) >> PRESWAP_OBJECT_SHIFT, 0,
	} };
}

static u32 preswap_index(swp_entry_t entry)
{
	return swp_offset(entry) & (BIT(PRESWAP_OBJECT_SHIFT) - 1);
}

static swp_entry_t preswap_entry(swp_entry_t entry, int i)
{
	return swp_entry(swp_type(entry), swp_offset(entry) + i);
}

/*
 * What could not be flushed is never read, because its bit is clear.  But it
 * stays in the backend.  Do not add to it.
 */
static void preswap_flush_failed(int err)
{
	pr_err_once("flush failed (%d), no more pages are put\n", err);
	WRITE_ONCE(preswap_dead, true);
}

/**
 * preswap_pages() - how much of the swap is in tmem
 *
 * Context: any.
 * Return: number of pages.
 */
unsigned long preswap_pages(void)
{
	return atomic_long_read(&preswap_nr);
}

/**
 * __preswap_test() - is any of these slots in tmem?
 * @entry: first slot; its device is pinned
 * @nr: number of slots
 *
 * Context: any.
 * Return: true if at least one is.
 */
bool __preswap_test(swp_entry_t entry, int nr)
{
	unsigned long *map = preswap_si(entry)->preswap_map;
	unsigned long start = swp_offset(entry);

	return map && find_next_bit(map, start + nr, start) < start + nr;
}

/**
 * __preswap_skip_readahead() - is reading this slot ahead of no use?
 * @entry: the slot; its device may be going away
 *
 * A page in tmem is as near as it can be; bringing it in early only costs
 * memory.
 *
 * Context: any.
 * Return: true if it is in tmem.
 */
bool __preswap_skip_readahead(swp_entry_t entry)
{
	struct swap_info_struct *si = get_swap_device(entry);
	bool ret;

	if (!si)
		return false;
	ret = __preswap_test(entry, 1);
	put_swap_device(si);
	return ret;
}

/* Clear the bits of slots, and drop their pages.  Returns how many had one */
static int preswap_drop(swp_entry_t entry, int nr)
{
	unsigned long *map = preswap_si(entry)->preswap_map;
	struct tmem_oid oid;
	int i, ret, dropped = 0;

	if (!map)
		return 0;

	for (i = 0; i < nr; i++, entry = preswap_entry(entry, 1)) {
		/* Nobody else changes this bit; look first, most are clear */
		if (!test_bit(swp_offset(entry), map))
			continue;
		clear_bit(swp_offset(entry), map);
		oid = preswap_oid(entry);
		ret = tmem_flush_page(preswap_pool, &oid, preswap_index(entry));
		if (ret)
			preswap_flush_failed(ret);
		dropped++;
	}
	if (dropped)
		atomic_long_sub(dropped, &preswap_nr);
	return dropped;
}

/**
 * __preswap_invalidate() - drop the contents of slots that are not needed
 * @entry: first slot; the caller owns its SWAP_HAS_CACHE
 * @nr: number of slots
 *
 * Context: any but interrupt; may be called with spinlocks held and interrupts
 * off.
 */
void __preswap_invalidate(swp_entry_t entry, int nr)
{
	int dropped = preswap_drop(entry, nr);

	if (dropped)
		count_vm_events(PRESWAP_FLUSH, dropped);
}

static bool preswap_may_put(void)
{
	return READ_ONCE(preswap_puts) && READ_ONCE(preswap_pool) >= 0 &&
	       !READ_ONCE(preswap_dead) && !atomic_read(&preswap_stopped);
}

/*
 * Is there room for @nr pages more?  Tasks that ask at the same time can exceed
 * the limit by a folio each.  A put over older copies counts as if it was new.
 */
static bool preswap_has_room(int nr)
{
	unsigned long limit = READ_ONCE(preswap_limit);

	return limit == ULONG_MAX || preswap_pages() + nr <= limit;
}

/**
 * preswap_stop() - put no more, until as many calls of preswap_resume()
 *
 * Several may shrink or suspend at the same time.
 *
 * Context: any.
 */
void preswap_stop(void)
{
	atomic_inc(&preswap_stopped);
	smp_mb__after_atomic();	/* before it is counted */
	atomic_inc(&preswap_stops);
	smp_mb__after_atomic();	/* pairs with the last in __preswap_store() */
}

/**
 * __preswap_store() - swap a folio out to tmem
 * @folio: locked, in the swap cache
 *
 * All of the folio or none of it.
 *
 * Context: process, in reclaim.
 * Return: true when tmem has the folio, and nobody else has anything of it;
 * false when it must go elsewhere, and then tmem has nothing of it, not even
 * from an earlier swap-out to the same slots.
 */
bool __preswap_store(struct folio *folio)
{
	unsigned long *map = preswap_si(folio->swap)->preswap_map;
	int nr = folio_nr_pages(folio);
	int stops = atomic_read(&preswap_stops);
	swp_entry_t entry;
	struct tmem_oid oid;
	int i;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_swapcache(folio), folio);

	if (!map)
		return false;
	smp_rmb();	/* pairs with the first one in preswap_stop() */
	if (!preswap_may_put() || !preswap_has_room(nr))
		goto refused;

	for (i = 0; i < nr; i++) {
		entry = preswap_entry(folio->swap, i);
		oid = preswap_oid(entry);
		if (tmem_put_page(preswap_pool, &oid, preswap_index(entry),
				  folio_page(folio, i))) {
			count_vm_events(PRESWAP_PUT_FAIL, nr);
			goto refused;
		}
		if (!test_and_set_bit(swp_offset(entry), map))
			atomic_long_inc(&preswap_nr);
		preswap_drop_zswap(entry);
		cond_resched();
	}
	smp_mb();	/* see "Getting pages back" above */
	if (!preswap_may_put() || atomic_read(&preswap_stops) != stops)
		goto refused;
	count_vm_events(PRESWAP_PUT, nr);
	return true;

refused:
	preswap_drop(folio->swap, nr);
	return false;
}

/*
 * Copy a folio out of tmem, and leave it there.  Returns as __preswap_load()
 * does.
 */
static bool preswap_read(struct folio *folio)
{
	swp_entry_t entry = folio->swap;
	struct tmem_oid oid = preswap_oid(entry);
	int ret;

	if (!__preswap_test(entry, folio_nr_pages(folio)))
		return false;
	/* do_swap_page() has looked, see "Who may change a bit" above */
	if (WARN_ON_ONCE(folio_test_large(folio)))
		return true;

	ret = tmem_get_page(preswap_pool, &oid, preswap_index(entry),
			    &folio->page);
	if (ret) {
		count_vm_event(PRESWAP_GET_FAIL);
		pr_err_ratelimited("page %lu of swap device %u is lost (%d)\n",
				   swp_offset(entry), swp_type(entry), ret);
		return true;
	}
	count_vm_event(PRESWAP_GET);
	flush_dcache_folio(folio);
	folio_mark_uptodate(folio);
	return true;
}

/**
 * __preswap_load() - swap a folio in from tmem
 * @folio: locked, not uptodate; the caller owns SWAP_HAS_CACHE of its slots
 *
 * A folio in the swap cache becomes the only copy, see "A get takes the page
 * out" above.
 *
 * Context: process, may sleep.
 * Return: false when the folio is not in tmem.  True when nobody else may be
 * asked: the folio is uptodate, or it is lost.
 */
bool __preswap_load(struct folio *folio)
{
	if (!preswap_read(folio))
		return false;
	if (folio_test_uptodate(folio) && folio_test_swapcache(folio)) {
		folio_mark_dirty(folio);
		preswap_drop(folio->swap, 1);
	}
	return true;
}

/**
 * preswap_swapon() - make the bits of a swap device
 * @si: the device, not enabled yet; @si->max slots
 *
 * With `tmem` on the command line every device has them, so that a backend may
 * come later.
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int preswap_swapon(struct swap_info_struct *si)
{
	if (!tmem_wanted(NULL) || !preswap_allowed)
		return 0;
	/* As for the zeromap, bitmap_zalloc() could not be large enough */
	si->preswap_map = kvcalloc(BITS_TO_LONGS(si->max), sizeof(long),
				   GFP_KERNEL);
	return si->preswap_map ? 0 : -ENOMEM;
}

/**
 * preswap_swapoff() - free the bits of a swap device
 * @si: the device; nobody can reach it any more, all slots are free
 *
 * All bits should be clear.  The objects are flushed all the same: the next
 * device may have the same number.
 *
 * Context: process, may sleep.
 */
void preswap_swapoff(struct swap_info_struct *si)
{
	unsigned long offset;
	struct tmem_oid oid;
	int ret;

	if (!si->preswap_map)
		return;

	WARN_ON_ONCE(!bitmap_empty(si->preswap_map, si->max));
	for (offset = 0; preswap_pool >= 0 && offset < si->max;
	     offset += BIT(PRESWAP_OBJECT_SHIFT)) {
		oid = preswap_oid(swp_entry(si->type, offset));
		ret = tmem_flush_object(preswap_pool, &oid);
		if (ret)
			preswap_flush_failed(ret);
		cond_resched();
	}
	kvfree(si->preswap_map);
	si->preswap_map = NULL;
}

/* The first slot of a device from @offset on that is in tmem, or 0 */
VISIBLE_IF_KUNIT unsigned long preswap_next(unsigned int type,
					    unsigned long offset)
{
	struct swap_info_struct *si;
	unsigned long max;

	KUNIT_STATIC_STUB_REDIRECT(preswap_next, type, offset);
	if (!swp_swap_info(swp_entry(type, 0)))
		return 0;
	/* Slot 1 always is; pins the map while we look at it */
	si = get_swap_device(swp_entry(type, 1));
	if (!si)
		return 0;
	max = si->max;
	offset = si->preswap_map ? find_next_bit(si->preswap_map, max, offset) :
				   max;
	put_swap_device(si);
	return offset < max ? offset : 0;
}

/* Folios that are being written to their slots */
struct preswap_writes {
	struct folio_batch folios;
	bool failed;		/* a write has: do not try others */
};

static void preswap_writes_init(struct preswap_writes *writes)
{
	folio_batch_init(&writes->folios);
	writes->failed = false;
}

/*
 * Wait for the folios, and reclaim them: they are clean, in the swap cache and
 * mapped nowhere.  One that has been mapped since is treated as any other.  So
 * is one that could not be written: it is dirty again, and the only copy.
 */
static void preswap_reclaim(struct preswap_writes *writes)
{
	struct folio *folio;
	LIST_HEAD(folios);

	while ((folio = folio_batch_next(&writes->folios))) {
		folio_wait_writeback(folio);
		if (!folio_mapped(folio)) {
			if (folio_test_dirty(folio) &&
			    folio_test_swapcache(folio))
				writes->failed = true;
			else if (folio_isolate_lru(folio))
				list_add(&folio->lru, &folios);
		}
		folio_put(folio);
	}
	folio_batch_reinit(&writes->folios);
	reclaim_pages(&folios);
}

/*
 * The folio of a slot in the swap cache, or NULL.  A new one is locked, and not
 * read yet.  Only PRESWAP_STAY reclaims memory for it.
 */
static struct folio *preswap_folio(swp_entry_t entry, enum preswap_how how,
				   bool *alloced)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN;

	if (how != PRESWAP_STAY)
		gfp &= ~__GFP_DIRECT_RECLAIM;
	if (how == PRESWAP_SPARE)
		gfp &= ~__GFP_RECLAIM;
	return __read_swap_cache_async(entry, gfp, get_task_policy(current),
				       NO_INTERLEAVE_INDEX, alloced, true);
}

/*
 * Move a page from tmem to its slot on the device.  @folio is new, locked and
 * not read yet, so nobody else uses the slot until it is unlocked, and it will
 * be under writeback then.  Takes over the reference: reclaim needs the last
 * one.  There is room for it in @writes.
 *
 * Returns 0 when the bit is clear, or -errno; -EPERM if the cgroup forbids it.
 */
static int preswap_write(struct folio *folio, struct preswap_writes *writes)
{
	struct writeback_control wbc = { .sync_mode = WB_SYNC_NONE };
	int ret;

	ret = -EPERM;
	if (!mem_cgroup_zswap_writeback_enabled(folio_memcg(folio)))
		goto drop;
	ret = 0;
	if (!preswap_read(folio))
		goto drop;		/* the slot has just been used anew */
	ret = -EIO;
	if (!folio_test_uptodate(folio))
		goto drop;

	count_vm_events(PRESWAP_SHRINK, preswap_drop(folio->swap, 1));
	lru_add_drain();	/* a new folio is not on its list yet */
	/* Makes it dirty if that fails */
	__swap_writepage(folio, &wbc);
	folio_batch_add(&writes->folios, folio);
	return 0;

drop:
	delete_from_swap_cache(folio);
	folio_unlock(folio);
	folio_put(folio);
	return ret;
}

/*
 * Take the page of a locked folio out of tmem: it becomes the only copy.
 * Unlocks and puts the folio.
 *
 * Returns 0 when the bit is clear, or -errno.
 */
static int preswap_keep(struct folio *folio, swp_entry_t entry)
{
	int nr = folio_nr_pages(folio), ret = -EAGAIN;

	if (!folio_test_swapcache(folio) ||
	    swp_type(folio->swap) != swp_type(entry) ||
	    swp_offset(entry) - swp_offset(folio->swap) >= nr)
		goto out;		/* the slot has just been freed */
	if (!folio_test_uptodate(folio)) {
		ret = -EIO;
		goto out;
	}
	if (__preswap_test(folio->swap, nr)) {
		folio_mark_dirty(folio);
		count_vm_events(PRESWAP_SHRINK, preswap_drop(folio->swap, nr));
	}
	ret = 0;
out:
	folio_unlock(folio);
	folio_put(folio);
	return ret;
}

/*
 * Move the page of one slot to the device, beyond any limit of memory.  A page
 * that is in the swap cache is only taken out of tmem.  No lock is waited for:
 * the task that holds it may be waiting for memory.
 */
static int preswap_push(swp_entry_t entry, struct preswap_writes *writes)
{
	unsigned int flags;
	struct folio *folio;
	bool alloced;
	int ret;

	if (writes->failed)
		return -EIO;
	flags = memalloc_noreclaim_save();
	folio = preswap_folio(entry, PRESWAP_LEAVE, &alloced);
	if (!folio) {
		ret = -ENOMEM;	/* or freed, or busy */
	} else if (alloced) {
		ret = preswap_write(folio, writes);
	} else if (folio_trylock(folio)) {
		ret = preswap_keep(folio, entry);
	} else {
		folio_put(folio);
		ret = -EBUSY;
	}
	memalloc_noreclaim_restore(flags);
	return ret;
}

/*
 * Bring the page of one slot back.  Who else is there?  Another reader of
 * the slot: we wait for his folio lock and take it from there.  Somebody who
 * frees the slot: then we find no folio, or none in the swap cache, or a bit
 * that is clear.  Swap-out of the folio: holds its lock.
 *
 * Returns 0 when the bit is clear, or -errno.
 */
VISIBLE_IF_KUNIT int preswap_pull(swp_entry_t entry, enum preswap_how how,
				  struct preswap_writes *writes)
{
	struct folio *folio;
	bool alloced;
	int ret;

	KUNIT_STATIC_STUB_REDIRECT(preswap_pull, entry, how, writes);
	folio = preswap_folio(entry, how, &alloced);
	if (!folio && how == PRESWAP_SPARE)
		return -ENOMEM;
	if (!folio) {
		ret = preswap_push(entry, writes);
		if (ret != -EPERM)
			return ret;
		how = PRESWAP_STAY;
		folio = preswap_folio(entry, how, &alloced);
		if (!folio)
			return -ENOMEM;
	}
	if (alloced && how == PRESWAP_LEAVE && mem_cgroup_swap_full(folio) &&
	    mem_cgroup_zswap_writeback_enabled(folio_memcg(folio)))
		return preswap_write(folio, writes);
	if (alloced && preswap_read(folio))
		return preswap_keep(folio, entry);
	if (alloced)
		swap_read_folio(folio, NULL);	/* used anew, see above */
	folio_lock(folio);
	return preswap_keep(folio, entry);
}

/*
 * One pass over all slots of all devices.  Each slot is tried once, so that
 * slots that cannot be brought back do not stop the others.  Returns the last
 * error; -EINTR and -ETIME at once.
 */
static int preswap_shrink_pass(unsigned long target, unsigned long deadline,
			       enum preswap_how how,
			       struct preswap_writes *writes)
{
	unsigned long offset;
	unsigned int type;
	int ret, err = 0;

	for (type = 0; type < MAX_SWAPFILES; type++) {
		for (offset = 1; preswap_pages() > target; offset++) {
			if (signal_pending(current))
				return -EINTR;
			if (time_after(jiffies, deadline))
				return -ETIME;
			cond_resched();
			offset = preswap_next(type, offset);
			if (!offset)
				break;
			ret = preswap_pull(swp_entry(type, offset), how,
					   writes);
			if (ret)
				err = ret;
			if (!folio_batch_space(&writes->folios))
				preswap_reclaim(writes);
		}
	}
	return err;
}

/*
 * Shrink to @target pages.  Bounded: gives up after @timeout, or a number of
 * passes that did not bring back a single page.
 */
static int preswap_shrink_to(unsigned long target, unsigned long timeout,
			     enum preswap_how how)
{
	unsigned long deadline = jiffies + timeout;
	struct preswap_writes writes;
	int retries = 0, ret = 0;
	unsigned long before;

	if (!preswap_enabled())
		return 0;

	preswap_writes_init(&writes);
	preswap_stop();
	while ((before = preswap_pages()) > target) {
		ret = preswap_shrink_pass(target, deadline, how, &writes);
		preswap_reclaim(&writes);
		if (ret == -EINTR || ret == -ETIME ||
		    preswap_pages() <= target || how == PRESWAP_SPARE)
			break;
		if (preswap_pages() < before) {
			retries = 0;
		} else if (++retries == PRESWAP_SHRINK_RETRIES) {
			ret = ret ?: -EBUSY;
			break;
		}
		/* Others own the slots that are left; let them finish */
		schedule_timeout_interruptible(1);
	}
	if (ret != -EINTR && preswap_pages() <= target)
		ret = 0;

	preswap_resume();
	return ret;
}

/**
 * preswap_write_out() - move some pages from tmem to the swap devices
 * @left: how many slots may be looked at, see tmem_write_out()
 *
 * Each page has its slot already, so this helps when no slot is free and
 * reclaim cannot swap out.  It goes on where it ended the last time.  A device
 * that is memory, too, as zram is, is left out.
 *
 * Context: as tmem_write_out().
 * Return: as tmem_write_out().
 */
int preswap_write_out(unsigned long *left)
{
	static unsigned long next;	/* a swp_entry_t */
	swp_entry_t entry = { READ_ONCE(next) };
	unsigned int type = swp_type(entry), passed = 0;
	unsigned long offset = swp_offset(entry);
	struct preswap_writes writes;
	int nr = 0, done = 0;
	bool ram;

	preswap_writes_init(&writes);
	while (nr < PAGEVEC_SIZE && nr < *left) {
		cond_resched();
		offset = preswap_next(type, offset + 1);
		entry = swp_entry(type, offset);
		/* Other flags may be changing; this one does not */
		ram = offset && data_race(preswap_si(entry)->flags &
					  SWP_SYNCHRONOUS_IO);
		if (offset && !ram) {
			if (!preswap_push(entry, &writes))
				done++;
			nr++;
		} else {
			type = (type + 1) % MAX_SWAPFILES;
			offset = 0;
			if (++passed > MAX_SWAPFILES)
				*left = nr;
		}
	}
	*left -= nr;
	WRITE_ONCE(next, swp_entry(type, offset).val);
	preswap_reclaim(&writes);
	return writes.failed ? -EIO : done;
}

/**
 * preswap_bring_back() - take some pages back into free memory
 * @nr: how many
 * @write: see tmem_bring_back()
 *
 * Context: as tmem_bring_back().
 * Return: as tmem_bring_back().
 */
int preswap_bring_back(unsigned long nr, bool write)
{
	unsigned long held = preswap_pages();

	return preswap_shrink_to(held - min(nr, held), MAX_JIFFY_OFFSET,
				 write ? PRESWAP_LEAVE : PRESWAP_SPARE);
}

/**
 * preswap_drain() - bring all pages back
 * @timeout: see tmem_drain().  The time is looked at between pages.
 *
 * Context: as tmem_drain().
 * Return: as tmem_drain().
 */
int preswap_drain(unsigned long timeout)
{
	return preswap_shrink_to(0, timeout, PRESWAP_STAY);
}

/**
 * preswap_suspend() - bring all pages back, and put no more
 * @timeout: see tmem_suspend().  The time is looked at between pages.
 *
 * Context: as tmem_suspend().
 * Return: as tmem_suspend().
 */
int preswap_suspend(unsigned long timeout)
{
	int ret;

	preswap_stop();
	ret = preswap_drain(timeout);
	if (ret) {
		preswap_resume();
		pr_err("suspend refused: %lu pages could not be brought back (%d)\n",
		       preswap_pages(), ret);
	}
	return ret;
}

/**
 * preswap_resume() - put again, when all who have stopped that have resumed
 *
 * Context: any.
 */
void preswap_resume(void)
{
	atomic_dec(&preswap_stopped);
}

/**
 * preswap_backend_ready() - there is a backend now
 *
 * Context: process, may sleep; once.
 */
void preswap_backend_ready(void)
{
	int pool;

	if (!preswap_allowed)
		return;

	pool = tmem_new_pool(TMEM_POOL_PERSISTENT);
	if (pool < 0) {
		pr_warn("no pool (%d)\n", pool);
		return;
	}
	tmem_paranoid_name(pool, "swap");
	static_branch_enable(&preswap_key);
	/* All hooks are alive.  Nothing must be put before they are. */
	WRITE_ONCE(preswap_pool, pool);
}

static ssize_t puts_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(preswap_puts));
}

static ssize_t puts_store(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t count)
{
	bool on;
	int ret = kstrtobool(buf, &on);

	if (ret)
		return ret;
	WRITE_ONCE(preswap_puts, on);
	return count;
}

static struct kobj_attribute preswap_attr =
	__ATTR(preswap, 0644, puts_show, puts_store);

static ssize_t preswap_pages_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", preswap_pages());
}

static struct kobj_attribute preswap_pages_attr = __ATTR_RO(preswap_pages);

static ssize_t preswap_shrink_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return preswap_pages_show(kobj, attr, buf);
}

/* The limit holds from now on, also if not all pages can be brought back */
static ssize_t preswap_shrink_store(struct kobject *kobj,
				    struct kobj_attribute *attr,
				    const char *buf, size_t count)
{
	unsigned long target = ULONG_MAX;
	int ret = 0;

	if (!sysfs_streq(buf, "max"))
		ret = kstrtoul(buf, 0, &target);
	if (ret)
		return ret;
	WRITE_ONCE(preswap_limit, target);
	ret = preswap_shrink_to(target, MAX_JIFFY_OFFSET, PRESWAP_LEAVE);
	return ret ?: (ssize_t)count;
}

static struct kobj_attribute preswap_shrink_attr = __ATTR_RW(preswap_shrink);

static ssize_t preswap_limit_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	unsigned long limit = READ_ONCE(preswap_limit);

	if (limit == ULONG_MAX)
		return sysfs_emit(buf, "max\n");
	return sysfs_emit(buf, "%lu\n", limit);
}

static struct kobj_attribute preswap_limit_attr = __ATTR_RO(preswap_limit);

static const struct attribute *preswap_attrs[] = {
	&preswap_attr.attr,
	&preswap_pages_attr.attr,
	&preswap_shrink_attr.attr,
	&preswap_limit_attr.attr,
	NULL
};

static int __init preswap_sysfs_init(void)
{
	return sysfs_create_files(tmem_kobj, preswap_attrs);
}
device_initcall(preswap_sysfs_init);
