// SPDX-License-Identifier: GPL-2.0
/*
 * precache: a second chance for clean page-cache pages.
 *
 * When reclaim evicts a clean page of a file, the disk still has it, and so
 * the page is thrown away.  Often enough it is read again soon.  Precache puts
 * a copy into an ephemeral pool of transcendent memory on the way out, and asks
 * there before it asks the disk on the way in.  The backend may drop any page
 * at any moment: that costs a disk read, never correctness.  It is a victim
 * cache, and exclusive: a hit moves the page back.
 *
 *
 *	The invariant
 *
 * For an index that is NOT in the page cache, precache holds exactly what is
 * on the disk, or nothing.  While an index IS in the page cache an outdated
 * copy may exist; hence every way out of the page cache puts (overwrites it)
 * or flushes (drops it).
 *
 * tmem gives no order between operations on the same handle.  We do:
 *
 * - put, and flush of one page: folio locked, still in the xarray;
 * - get: folio locked, already in the xarray.
 *
 * So for one index they are totally ordered by the folio lock.  A page cannot
 * be got while it is being put (the index is occupied until the put is over),
 * and it cannot be put while it is being got.
 *
 * The memory of a folio that is put may still change through a reference that
 * get_user_pages() took earlier.  A writer that has one makes the folio dirty
 * before it drops the reference.  __remove_mapping() looks for both after the
 * put: it gives up if there is such a reference or if the folio is dirty, and
 * then flushes what was put.  A folio with such a reference from the start
 * stays, and is neither put nor flushed.
 *
 *
 *	Ranges
 *
 * Truncation, hole punching and direct I/O change the disk below a range of
 * indices, most of which are usually not in the page cache, some of them in
 * precache.  The range is flushed
 *
 * - after the scan that removes folios, because until a folio has been removed
 *   reclaim can put it;
 * - rounded outward, because the file system changes the rest of a partial
 *   page on the disk itself;
 * - also when the scan found nothing.
 *
 * Direct I/O scans before the write, too.  Then the disk has not changed yet,
 * and what precache has of pages that are not cached is right.  But a folio
 * that the scan removes may have an older copy below it.  So
 * invalidate_inode_pages2_range() flushes what it removes, whole folios, and
 * the code that changes the disk flushes the range afterwards.
 *
 * That is still not enough for an invalidator that does not hold the
 * invalidate_lock (direct I/O).  While it scans after the write, reclaim can
 * put an outdated folio just ahead of the scan; the scan finds nothing there; a
 * reader then inserts a new folio and gets the outdated copy; the flush comes
 * too late.  Hence the gate: an invalidator raises a counter before the scan
 * and lowers it after the flush, and a get that sees it raised is a miss.
 *
 *	reader				invalidator
 *	insert folio			raise gate
 *	smp_mb()			smp_mb()
 *	look at gate			scan, flush, lower gate
 *
 * Either the reader sees the gate, or the scan sees the folio and removes it.
 * Gates are hashed by mapping; a collision is a needless miss.
 *
 * An invalidation that began before precache came alive raised no gate.
 * __precache_invalidate_end() returns true then, and the caller scans once
 * more.
 *
 *
 *	Which inodes have pages in tmem
 *
 * A bit in mapping->flags, AS_PRECACHE, says that there may be pages that were
 * put since the inode was read in.  Without it gets and flushes need not ask
 * the backend: unlinking files that were never evicted costs nothing.  A put
 * that the backend refused leaves nothing, and so does not set it.
 *
 * The bit is set after the put and before the folio leaves the xarray.  An
 * invalidator that finds the xarray empty and then (after a read barrier) the
 * bit clear knows that there was no put.  One that comes earlier finds the
 * folio in the xarray and waits for its lock.
 *
 * The bit is cleared when the whole object is flushed, with the gate up: first
 * the bit, then the flush.
 *
 *	reclaim				invalidator
 *					raise gate, scan
 *	put				clear bit
 *	smp_mb()			smp_mb()
 *	look at bit, set it		flush object
 *	smp_mb()			lower gate
 *	remove folio
 *
 * Either the flush drops what was put, or reclaim sees the bit clear and sets
 * it again.  A second invalidator that finds the bit clear may be done before
 * the flush is.  A get that follows it still misses: the gate went up before
 * the bit was cleared, and it comes down after the flush.  A folio may also be
 * evicted in between, and its own flush is skipped because the bit is clear.  A
 * get that follows misses as well: it looks at the gate after it has inserted
 * its folio.
 *
 * Under memory pressure inodes leave memory soon after their last page, and
 * with them would go what precache has of all small files.  So an inode's
 * object stays when
 *
 * - nothing of it was in the page cache any more, so that the invariant holds
 *   for each index, and nobody can change the file until it is read in again;
 * - the inode still has a link.  When the last one is gone the object is
 *   flushed before the inode number is free, so that no other file can inherit
 *   it;
 * - precache does not refuse the file.  A file that bypasses the page cache
 *   (DAX), or has had a write error, leaves nothing behind.
 *
 * When the inode is back its bit is clear.  A filter in the super block, one
 * bit for each of many inodes, says whether there may be something from
 * earlier.  It is emptied with the pool, and otherwise only added to, so one
 * day it says yes to all.  A get then asks in vain.  Pages from earlier have
 * the same handles as new ones, so a flush of a few pages need not know which
 * they are.  A flush of the whole object notes in AS_PRECACHE_NO_OLD that
 * nothing from earlier is left.
 *
 * No reader can meet an inode that leaves memory, so its eviction needs no
 * gate.
 *
 * All this relies on the inode coming back as it has left.  After a journal was
 * aborted it may not: ext4 then switches precache off for the file system.
 *
 *
 *	Whole file systems
 *
 * One pool per super block, made at the end of fill_super and destroyed after
 * kill_sb(), when all inodes are gone.  A file system for which there is no
 * pool has to wait until another one is unmounted.
 *
 * drop_caches and remount destroy the pool, because somebody may have written
 * to the block device below, and because the memory is wanted back.  There is
 * no pool until the scan of drop_caches is over, or else an outdated page could
 * be put ahead of it into the new one.  An operation reads the pool's id once,
 * in an SRCU read section.  The pool is destroyed after its id has been
 * withdrawn and all such sections have ended.  So nothing can reach it, also
 * not by way of a new pool with the same id.  An operation that finds no pool
 * has nothing to flush: what was there is out of reach already, and what will
 * be put must still be in the xarray.  What drop_caches cannot drop from the
 * page cache, and what remount leaves in it, may be put later: for these pages
 * the page cache has the last word.  An emergency remount drops nothing,
 * because it should wait for nothing: if the device is written to after it,
 * another remount is needed before the files are read.
 *
 *
 *	When puts are refused
 *
 * A backend that has no memory to spare may go on refusing for long.  After
 * PRECACHE_PATIENCE refusals in a row, only one page of PRECACHE_RETRY is put,
 * until the backend takes one.  (A few pages that do not compress do not reach
 * that number.)  A page that is not put for that reason is treated as any other
 * that must not be put: if there may be an older copy of it, that is flushed.
 *
 *
 * File systems opt in.  They have to have blocks of the size of a page: with
 * smaller ones a page can be partly uptodate, partly written, and neither get
 * nor put could treat it as one thing.  Nor may their files have large folios:
 * truncation of one page may then remove others from the page cache, and only
 * the range is flushed.  (The folios that khugepaged makes of a file without
 * writers go as a whole when the file is opened for writing or truncated.)
 */

#define pr_fmt(fmt) "precache: " fmt

#include <linux/bitmap.h>
#include <linux/buffer_head.h>
#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/precache.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/sysfs.h>
#include <linux/tmem.h>
#include <linux/vmstat.h>
#include "tmem_paranoid.h"

/*
 * A range of more pages than this is dropped by one flush of the whole object.
 * That is cheaper than one flush per page, although it also drops pages outside
 * the range.  PRECACHE_FLUSH_OLD is for an inode of which nothing was put since
 * it was read in: there may be little to drop, or nothing, and one flush of the
 * object saves all others.
 */
#define PRECACHE_FLUSH_PAGES	256UL
#define PRECACHE_FLUSH_OLD	16UL

#define PRECACHE_GATE_BITS	8

/* After PATIENCE refusals in a row, one page of RETRY is put as a trial */
#define PRECACHE_PATIENCE	256
#define PRECACHE_RETRY		64

/* 2^n bits of filter: one for each page of memory, within reason */
#define PRECACHE_FILTER_MIN	13
#define PRECACHE_FILTER_MAX	22

/**
 * struct precache_filter - inodes, not in memory now, that may have left pages
 *	in tmem
 * @bits: the map has 2^n bits
 * @map: by hash of the inode number
 */
struct precache_filter {
	unsigned int bits;
	unsigned long map[];
};

/**
 * struct precache_fs - what precache knows of a super block
 * @sb: the super block
 * @list: in precache_list, under precache_lock
 * @pool: id of the pool; -EAGAIN while there is none, another negative errno
 *	if the backend refused one.  Changed under precache_lock, used in a read
 *	section of precache_srcu
 * @dead: a flush failed; nothing is put, got or flushed any more
 * @drops: number of drop_caches in progress, during which there is no pool;
 *	under precache_lock
 * @filter: which inodes may have left pages; NULL before the first pool
 * @refused: number of pages that were refused, or not put because of that,
 *	since the backend last took one.  It may change with each page that is
 *	evicted, and the rest seldom: so it has a cache line of its own
 *
 * Lives from fill_super until after kill_sb().  All users come through an inode
 * or a mount, which do not exist outside of that.
 */
struct precache_fs {
	struct super_block *sb;
	struct list_head list;
	int pool;
	bool dead;
	unsigned int drops;
	struct precache_filter *filter;
	unsigned int refused ____cacheline_aligned_in_smp;
};

DEFINE_STATIC_KEY_FALSE(precache_key);
EXPORT_SYMBOL_GPL(precache_key);

static bool precache_allowed __ro_after_init = true;	/* no `noprecache` */
static bool precache_puts = true;			/* sysfs: new puts */

static DEFINE_MUTEX(precache_lock);	/* precache_list, making of pools */
static LIST_HEAD(precache_list);
DEFINE_STATIC_SRCU(precache_srcu);	/* use of pools */

static struct {
	atomic_t up;
} ____cacheline_aligned_in_smp precache_gates[1 << PRECACHE_GATE_BITS];

/* Stands for the gate of an inode that leaves memory */
static atomic_t precache_no_gate;

static int __init precache_param(char *arg)
{
	precache_allowed = false;
	return 0;
}
early_param("noprecache", precache_param);

/* NULL if the file system has not opted in, or without a host: swap cache */
static struct precache_fs *precache_fs_of(struct address_space *mapping)
{
	if (!mapping->host)
		return NULL;
	/* Pairs with the release in precache_init_fs() */
	return smp_load_acquire(&mapping->host->i_sb->s_precache);
}

static atomic_t *precache_gate(struct address_space *mapping)
{
	return &precache_gates[hash_ptr(mapping, PRECACHE_GATE_BITS)].up;
}

static unsigned int precache_filter_bit(const struct precache_filter *filter,
					struct address_space *mapping)
{
	return hash_long(mapping->host->i_ino, filter->bits);
}

/* May there be pages that were put since the inode was read in ... */
static bool precache_has_new(struct address_space *mapping)
{
	/* The caller's look at the xarray comes before the look at the bit */
	smp_rmb();
	/* ... and that before the look at fs->pool, see precache_put() */
	return test_bit_acquire(AS_PRECACHE, &mapping->flags);
}

/* ... or before?  See "Which inodes have pages in tmem" above. */
static bool precache_has_old(struct precache_fs *fs,
			     struct address_space *mapping)
{
	const struct precache_filter *filter = READ_ONCE(fs->filter);

	return filter && !test_bit(AS_PRECACHE_NO_OLD, &mapping->flags) &&
	       test_bit(precache_filter_bit(filter, mapping), filter->map);
}

static struct tmem_oid precache_oid(struct address_space *mapping)
{
	return (struct tmem_oid){ { mapping->host->i_ino } };
}

/* Never look again at what is in the pool, nor put anything there */
static void precache_kill(struct precache_fs *fs, const char *why, int err)
{
	if (!READ_ONCE(fs->dead))
		pr_err("%s: %s (%d), cache disabled\n", fs->sb->s_id, why,
		       err);
	WRITE_ONCE(fs->dead, true);
}

static void precache_flush_pages(struct precache_fs *fs, int pool,
				 const struct tmem_oid *oid, pgoff_t start,
				 pgoff_t nr)
{
	int ret;

	for (; nr; nr--) {
		ret = tmem_flush_page(pool, oid, start++);
		if (ret)
			precache_kill(fs, "flush failed", ret);
		count_vm_event(PRECACHE_FLUSH);
	}
}

static void precache_flush_object(struct precache_fs *fs, int pool,
				  const struct tmem_oid *oid,
				  struct address_space *mapping, bool gated)
{
	int ret;

	if (gated && test_bit(AS_PRECACHE, &mapping->flags)) {
		clear_bit(AS_PRECACHE, &mapping->flags);
		smp_mb__after_atomic();	/* bit before flush, see above */
	}
	ret = tmem_flush_object(pool, oid);
	if (ret)
		precache_kill(fs, "flush failed", ret);
	count_vm_event(PRECACHE_FLUSH_INODE);
	/* Flush before bit: a task that sees the bit does not flush */
	smp_mb__before_atomic();
	set_bit(AS_PRECACHE_NO_OLD, &mapping->flags);
}

/* @gated: the gate of the mapping is up, and there was a scan */
static void precache_flush(struct address_space *mapping, pgoff_t start,
			   pgoff_t end, bool gated)
{
	struct precache_fs *fs = precache_fs_of(mapping);
	struct tmem_oid oid;
	int idx, pool;
	bool has_new;

	end = min_t(pgoff_t, end, U32_MAX);	/* nothing beyond is put */
	if (start > end || !fs || READ_ONCE(fs->dead))
		return;
	has_new = precache_has_new(mapping);
	if (!has_new && !precache_has_old(fs, mapping))
		return;

	oid = precache_oid(mapping);
	idx = srcu_read_lock(&precache_srcu);
	pool = READ_ONCE(fs->pool);
	if (pool < 0)
		;	/* see "Whole file systems" above */
	else if (end - start < (has_new ? PRECACHE_FLUSH_PAGES :
					  PRECACHE_FLUSH_OLD))
		precache_flush_pages(fs, pool, &oid, start, end - start + 1);
	else
		precache_flush_object(fs, pool, &oid, mapping, gated);
	srcu_read_unlock(&precache_srcu, idx);
}

/**
 * __precache_flush_range() - drop pages of a file
 * @mapping: the file
 * @start: first page
 * @end: last page, included
 *
 * May drop more than it is asked to.
 *
 * Context: process, may sleep.
 */
void __precache_flush_range(struct address_space *mapping, pgoff_t start,
			    pgoff_t end)
{
	precache_flush(mapping, start, end, false);
}

/**
 * __precache_flush_folio() - drop the pages of one folio
 * @mapping: the file, or the swap cache
 * @folio: locked
 *
 * Context: process.
 */
void __precache_flush_folio(struct address_space *mapping, struct folio *folio)
{
	__precache_flush_range(mapping, folio->index,
			       folio_next_index(folio) - 1);
}
EXPORT_SYMBOL_GPL(__precache_flush_folio);

/*
 * Files that are never in precache.
 *
 * An encrypted file's plain text stays in this kernel.  A hit in a verity file
 * would not be verified.  Swap and quota files are written below the page
 * cache.  After a write error a clean folio and the disk may differ.  Of a
 * large folio more may leave the page cache than is flushed.  What is not read
 * from a disk, like ext4's buddy cache, is not asked for again; its inode, from
 * new_inode(), has the i_mode of the inode that had this memory before.
 */
static bool precache_refuses(struct address_space *mapping)
{
	const struct inode *inode = mapping->host;

	return !S_ISREG(inode->i_mode) || IS_ENCRYPTED(inode) ||
	       IS_VERITY(inode) || IS_SWAPFILE(inode) || IS_NOQUOTA(inode) ||
	       dax_mapping(mapping) || mapping_large_folio_support(mapping) ||
	       !mapping->a_ops->read_folio ||
	       test_bit(AS_NO_PRECACHE, &mapping->flags) ||
	       READ_ONCE(mapping->wb_err);
}

static bool precache_may_put(const struct precache_fs *fs,
			     struct address_space *mapping,
			     struct folio *folio)
{
	return READ_ONCE(precache_puts) && !READ_ONCE(fs->dead) &&
	       READ_ONCE(fs->pool) >= 0 &&
	       folio_test_uptodate(folio) && !folio_test_dirty(folio) &&
	       !folio_test_writeback(folio) && !folio_test_private(folio) &&
	       !folio_contain_hwpoisoned_page(folio) &&
	       folio_next_index(folio) - 1 <= U32_MAX &&
	       !mapping_exiting(mapping) && !precache_refuses(mapping);
}

/*
 * Is it too early for another put?  See "When puts are refused" above.  When
 * CPUs count at the same time, one may not count: the number is only a hint.
 */
static bool precache_backs_off(struct precache_fs *fs)
{
	unsigned int refused = READ_ONCE(fs->refused);

	if (refused < PRECACHE_PATIENCE || refused % PRECACHE_RETRY == 0)
		return false;
	WRITE_ONCE(fs->refused, refused + 1);
	return true;
}

static void precache_count_refused(struct precache_fs *fs, bool refused)
{
	unsigned int nr = READ_ONCE(fs->refused);

	if (refused)
		WRITE_ONCE(fs->refused, nr + 1);
	else if (nr)	/* seldom: many CPUs look at it */
		WRITE_ONCE(fs->refused, 0);
}

static void precache_put(struct precache_fs *fs, struct address_space *mapping,
			 struct folio *folio)
{
	struct tmem_oid oid = precache_oid(mapping);
	int idx = srcu_read_lock(&precache_srcu);
	int ret, pool = READ_ONCE(fs->pool);
	bool any = false;
	long i;

	for (i = 0; pool >= 0 && i < folio_nr_pages(folio); i++) {
		ret = tmem_put_page(pool, &oid, folio->index + i,
				    folio_page(folio, i));
		count_vm_event(ret ? PRECACHE_PUT_FAIL : PRECACHE_PUT);
		if (ret == -EIO)
			precache_kill(fs, "put failed", ret);
		precache_count_refused(fs, ret);
		any |= !ret;
	}
	srcu_read_unlock(&precache_srcu, idx);
	if (!any)
		return;

	smp_mb();	/* put before bit, see precache_flush_object() */
	if (!test_bit(AS_PRECACHE, &mapping->flags))
		set_bit(AS_PRECACHE, &mapping->flags);
	smp_mb();	/* bit before removal, see precache_has_new() */
}

/**
 * __precache_evict() - a folio is about to leave the page cache
 * @mapping: the file, or the swap cache, of which nothing is put
 * @folio: locked, unmapped, still in the xarray
 * @reclaimed: memory is being reclaimed; otherwise the folio leaves for
 *	another reason: it is dropped, stolen, poisoned
 *
 * Puts the folio, if it may be put, or else flushes what there is.
 *
 * Context: process, in reclaim.
 * Return: true if there are other references to the folio, so that it must
 * stay, and nothing was done.
 */
bool __precache_evict(struct address_space *mapping, struct folio *folio,
		      bool reclaimed)
{
	struct precache_fs *fs = precache_fs_of(mapping);

	if (!fs)
		return false;
	/* __remove_mapping() finds that, too, but only after a copy or flush */
	if (folio_ref_count(folio) != 1 + folio_nr_pages(folio))
		return true;
	if (reclaimed && precache_may_put(fs, mapping, folio) &&
	    !precache_backs_off(fs))
		precache_put(fs, mapping, folio);
	else
		__precache_flush_folio(mapping, folio);
	return false;
}

/**
 * __precache_get() - fill a folio
 * @folio: locked, in the xarray, not uptodate, without buffers; the file
 *	system knows that all of it is on the disk
 * @block: where, in pages
 * @failed: the file system is not intact any more: its files may not be on the
 *	disk as they are in memory.  Nothing is put or got from now on
 *
 * Context: process, may sleep.
 * Return: true when the folio now has what the disk has, and may be marked
 * uptodate; false when it must be read, and its contents are unspecified.
 */
bool __precache_get(struct folio *folio, sector_t block, bool failed)
{
	struct address_space *mapping = folio->mapping;
	struct precache_fs *fs = precache_fs_of(mapping);
	struct tmem_oid oid = precache_oid(mapping);
	bool hit = false;
	int idx, pool;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_ONCE_FOLIO(folio_test_uptodate(folio), folio);

	if (fs && failed)
		precache_kill(fs, "file system failed", -EIO);
	if (!fs || folio_test_large(folio) || folio->index > U32_MAX ||
	    precache_refuses(mapping) ||
	    !(precache_has_new(mapping) || precache_has_old(fs, mapping)))
		return false;

	smp_mb();	/* insertion before gate, see "Ranges" above */
	if (atomic_read(precache_gate(mapping)))
		return false;
	smp_rmb();	/* a flush that fails does so before its gate is down */
	if (READ_ONCE(fs->dead))
		return false;

	idx = srcu_read_lock(&precache_srcu);
	pool = READ_ONCE(fs->pool);
	if (pool >= 0) {
		hit = !tmem_get_page(pool, &oid, folio->index, &folio->page) &&
		      tmem_paranoid_disk(pool, &oid, folio, block);
		count_vm_event(hit ? PRECACHE_GET : PRECACHE_GET_MISS);
	}
	srcu_read_unlock(&precache_srcu, idx);
	if (hit)
		flush_dcache_folio(folio);
	return hit;
}
EXPORT_SYMBOL_GPL(__precache_get);

/**
 * __precache_mapping() - may precache hold pages of this file, now or later?
 * @mapping: the file
 *
 * For callers that skip an invalidation because nothing is cached.
 *
 * Context: any.
 * Return: false when the file system has not opted in.
 */
bool __precache_mapping(struct address_space *mapping)
{
	return precache_fs_of(mapping);
}

/* An inode leaves memory: see "Which inodes have pages in tmem" above. */
static bool precache_keep(struct address_space *mapping)
{
	struct precache_fs *fs = precache_fs_of(mapping);
	struct precache_filter *filter;

	if (!fs || !mapping_exiting(mapping))
		return false;
	/* After umount there are no gets, and the pool goes as a whole */
	if (!(fs->sb->s_flags & SB_ACTIVE))
		return true;
	if (!mapping->host->i_nlink || precache_refuses(mapping))
		return false;
	if (!precache_has_new(mapping))
		return true;
	filter = READ_ONCE(fs->filter);
	if (!filter)
		return false;
	set_bit(precache_filter_bit(filter, mapping), filter->map);
	return true;
}

/**
 * __precache_invalidate_begin() - a scan of the page cache begins
 * @mapping: the file
 *
 * Context: process.
 * Return: what __precache_invalidate_end() must be given; NULL for a file
 * system without precache.
 */
atomic_t *__precache_invalidate_begin(struct address_space *mapping)
{
	atomic_t *gate;

	if (!precache_fs_of(mapping))
		return NULL;
	if (mapping_exiting(mapping)) {
		/* Keep nothing that may be outdated below a cached page */
		if (READ_ONCE(mapping->nrpages))
			precache_exclude(mapping);
		return &precache_no_gate;
	}

	gate = precache_gate(mapping);
	atomic_inc(gate);
	smp_mb__after_atomic();	/* gate before scan, see "Ranges" above */
	return gate;
}

/**
 * __precache_invalidate_end() - a scan of the page cache has ended
 * @mapping: the file
 * @gate: from the beginning; NULL if precache was not alive then
 * @start: first page of the range, rounded outward
 * @end: last page, included
 *
 * Flushes the range, or keeps what there is of an inode that leaves memory.
 *
 * Context: process, may sleep.
 * Return: true when precache came alive after the scan had begun, and the
 * caller must do all of it once more.
 */
bool __precache_invalidate_end(struct address_space *mapping, atomic_t *gate,
			       pgoff_t start, pgoff_t end)
{
	bool gated = gate && gate != &precache_no_gate;

	if (!precache_keep(mapping))
		precache_flush(mapping, start, end, gated);
	if (gated) {
		smp_mb__before_atomic();	/* flush before gate */
		atomic_dec(gate);
	}
	return !gate && precache_fs_of(mapping);
}

/**
 * precache_exclude() - never put pages of this file
 * @mapping: the file
 *
 * For contents that do not come from blocks of their own, such as inline data.
 * Holds until the inode leaves memory.
 *
 * Context: any.
 */
void precache_exclude(struct address_space *mapping)
{
	set_bit(AS_NO_PRECACHE, &mapping->flags);
}
EXPORT_SYMBOL_GPL(precache_exclude);

/**
 * precache_forget_copy() - a write that copied too little counts as no write
 * @mapping: the file
 * @folio: locked, not uptodate; a part of the write may be in it
 *
 * If the write began at the start of the block and had the block read, the
 * folio would be uptodate and clean now, and not what the disk has.  Let its
 * next user, which mostly is the second attempt of this write, read the block
 * again.
 *
 * A block that is new, and so dirty, is written as it is; and while a block is
 * being written it must not be read: it might come back as it was before.  Then
 * exclude the file.  With the folio locked no writeback can begin.
 *
 * The folio has one buffer, see precache_init_fs().  Not for blocks in a
 * journal: they may be dirty without saying so here.
 *
 * Context: any; also before there is a backend, which may come later.
 */
void precache_forget_copy(struct address_space *mapping, struct folio *folio)
{
	struct buffer_head *bh = folio_buffers(folio);

	if (!bh || buffer_dirty(bh) || !precache_fs_of(mapping))
		return;
	if (folio_test_writeback(folio))
		precache_exclude(mapping);
	else
		clear_buffer_uptodate(bh);
}

static struct precache_filter *precache_new_filter(void)
{
	unsigned int bits = clamp(ilog2(totalram_pages()), PRECACHE_FILTER_MIN,
				  PRECACHE_FILTER_MAX);
	struct precache_filter *filter;

	filter = kvzalloc(struct_size(filter, map, BITS_TO_LONGS(1UL << bits)),
			  GFP_KERNEL);
	if (filter)
		filter->bits = bits;
	return filter;
}

/* Return: false if there should be a pool now, and none could be made */
static bool precache_new_pool(struct precache_fs *fs)
{
	int pool = -ENOMEM;

	lockdep_assert_held(&precache_lock);
	if (!precache_enabled() || !precache_puts || fs->pool >= 0 ||
	    fs->drops || fs->dead)
		return true;
	if (!fs->filter) {
		/* Pairs with the address dependency in precache_has_old() */
		smp_store_release(&fs->filter, precache_new_filter());
	}
	if (fs->filter)
		pool = tmem_new_pool(0);
	if (pool >= 0)
		tmem_paranoid_name(pool, fs->sb->s_id);
	else if (pool != fs->pool)
		pr_warn_ratelimited("%s: no pool (%d), mounted without precache\n",
				    fs->sb->s_id, pool);
	/* Pairs with the barriers in precache_put(): the filter comes first */
	smp_store_release(&fs->pool, pool);
	return pool >= 0;
}

/* Make pools for those that have none, oldest first */
static void precache_new_pools(void)
{
	struct precache_fs *fs;

	list_for_each_entry(fs, &precache_list, list)
		if (!precache_new_pool(fs))
			break;
}

/**
 * precache_drop_begin() - all clean pages of a file system will be dropped
 * @sb: super block, with s_umount held
 *
 * Drops whatever has been put, and refuses puts until precache_drop_end().
 *
 * Context: process, may sleep.
 */
void precache_drop_begin(struct super_block *sb)
{
	struct precache_fs *fs = sb->s_precache;
	int pool;

	if (!fs)
		return;
	mutex_lock(&precache_lock);
	fs->drops++;
	pool = fs->pool;
	if (pool >= 0) {
		WRITE_ONCE(fs->pool, -EAGAIN);
		synchronize_srcu(&precache_srcu);
		tmem_destroy_pool(pool);
		/*
		 * Not earlier: a flush that does nothing because the filter is
		 * empty must not leave a page that a get can still find.  A bit
		 * that precache_keep() sets now may be lost.  It stands for
		 * pages of the pool that is gone: there is no other until
		 * precache_lock is free.
		 */
		bitmap_zero(fs->filter->map, 1UL << fs->filter->bits);
	}
	mutex_unlock(&precache_lock);
}

/**
 * precache_drop_end() - the pages have been dropped
 * @sb: super block, with s_umount held
 *
 * Context: process, may sleep.
 */
void precache_drop_end(struct super_block *sb)
{
	struct precache_fs *fs = sb->s_precache;

	if (!fs)
		return;
	mutex_lock(&precache_lock);
	fs->drops--;
	precache_new_pools();	/* also after a drop that got none */
	mutex_unlock(&precache_lock);
}

/**
 * precache_drop_fs() - drop whatever has been put of a file system
 * @sb: super block, with s_umount held
 *
 * For callers that drop nothing from the page cache.
 *
 * Context: process, may sleep.
 */
void precache_drop_fs(struct super_block *sb)
{
	precache_drop_begin(sb);
	precache_drop_end(sb);
}

/**
 * precache_init_fs() - a file system opts in
 * @sb: super block; nothing can fail any more, no file has been read
 *
 * While puts are switched off this does nothing, so that a file system can be
 * mounted without precache.
 *
 * From now on all code that changes the disk below the page cache has to flush
 * the range, after the change.  invalidate_inode_pages2_range() does not do
 * that: it flushes only the folios that it removes.
 *
 * Context: process, may sleep; end of fill_super.
 */
void precache_init_fs(struct super_block *sb)
{
	struct precache_fs *fs;

	if (!tmem_wanted(NULL) || !precache_allowed ||
	    !READ_ONCE(precache_puts))
		return;
	if (sb->s_blocksize != PAGE_SIZE) {
		pr_info("%s: block size %lu is not the page size %lu, mounted without precache\n",
			sb->s_id, sb->s_blocksize, PAGE_SIZE);
		return;
	}

	fs = kzalloc(sizeof(*fs), GFP_KERNEL);
	if (!fs)
		return;
	fs->sb = sb;
	fs->pool = -EAGAIN;

	mutex_lock(&precache_lock);
	list_add_tail(&fs->list, &precache_list);
	precache_new_pool(fs);
	/* Pairs with the acquire in precache_fs_of() */
	smp_store_release(&sb->s_precache, fs);
	mutex_unlock(&precache_lock);
}
EXPORT_SYMBOL_GPL(precache_init_fs);

/**
 * precache_destroy_fs() - a file system is gone
 * @sb: super block, after kill_sb(): no inode is left
 *
 * Context: process, may sleep.
 */
void precache_destroy_fs(struct super_block *sb)
{
	struct precache_fs *fs = sb->s_precache;

	if (!fs)
		return;

	mutex_lock(&precache_lock);
	list_del(&fs->list);
	if (fs->pool >= 0)
		tmem_destroy_pool(fs->pool);
	precache_new_pools();
	mutex_unlock(&precache_lock);
	sb->s_precache = NULL;
	kvfree(fs->filter);
	kfree(fs);
}

/**
 * precache_backend_ready() - there is a backend now
 *
 * Makes the pools of the file systems that have opted in already.  The key
 * comes first: a put must not happen before all invalidators look at it.
 *
 * Context: process, may sleep; once.
 */
void precache_backend_ready(void)
{
	if (!precache_allowed)
		return;

	mutex_lock(&precache_lock);
	static_branch_enable(&precache_key);
	precache_new_pools();
	mutex_unlock(&precache_lock);
}

static ssize_t precache_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(precache_puts));
}

static ssize_t precache_store(struct kobject *kobj,
			      struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	bool on;
	int ret = kstrtobool(buf, &on);

	if (ret)
		return ret;
	mutex_lock(&precache_lock);
	WRITE_ONCE(precache_puts, on);
	precache_new_pools();	/* there may be none since a drop_caches */
	mutex_unlock(&precache_lock);
	return count;
}

static struct kobj_attribute precache_attr = __ATTR_RW(precache);

static int __init precache_sysfs_init(void)
{
	return sysfs_create_file(tmem_kobj, &precache_attr.attr);
}
device_initcall(precache_sysfs_init);
