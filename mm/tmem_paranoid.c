// SPDX-License-Identifier: GPL-2.0
/*
 * Transcendent memory: believe nobody.
 *
 * A debug option.  Whatever the core passes between clients and backend is
 * written down: for each handle a checksum of the page that was put last, or
 * that there must be none, and what was done with the handle lately, and by
 * which task.  Each hit is compared with that.
 *
 *
 *	What is a mistake
 *
 * - A hit that does not have the checksum of the last put.
 * - A hit when there must be no page: after a flush, after a put that failed,
 *   after an exclusive get.  A flush that failed may have left the page, but
 *   then the client must not ask.
 * - A persistent pool that has lost a page.
 * - A hit of precache that is not what the disk has.
 *
 * Each of them is a WARN, and all that is known of the handle.  The hit becomes
 * a miss, or if the pool is persistent an error: no wrong byte gets further.
 *
 *
 *	What runs at the same time
 *
 * Clients order operations on a handle, but for flushes of objects and ranges:
 * those may run beside a put or a get of the same handle, and either may come
 * first.  So operations are numbered when they begin and when they are written
 * down, and a flush says nothing about a put that ended after the flush began,
 * nor about a get that began before the flush ended.
 *
 * The memory of a page of precache may change while it is put.  Then it does
 * not leave the page cache, and what was put is flushed before a get can find
 * it: it does no harm that the checksum is of neither state.
 *
 *
 *	When the disk may differ
 *
 * A hit is compared with the block that the file system would have read
 * instead, as it is on the disk now.  What could write there?
 *
 * - Writeback of this index: not while the folio is locked and not uptodate,
 *   and what was put was neither dirty nor under writeback.
 * - Another file that is given the block: that takes the invalidate_lock, or
 *   this folio's lock.
 * - A direct write to this file does not wait for a folio that comes into the
 *   page cache after the write has begun.  That is a race which direct I/O is
 *   allowed to lose.  But it is counted until its end, and its end does wait
 *   for this folio.  So if none is counted after the block was read, none has
 *   written.
 * - The journal, with data=journal: the block gets the data only when they are
 *   checkpointed.  Until then the buffer is dirty or belongs to a transaction,
 *   and jbd2_journal_try_to_free_buffers() leaves it, so that reclaim leaves
 *   the folio.  What has been put is on the disk.
 * - A program that writes to the device below: it has to drop caches.  Tests
 *   that write there switch the comparison off (tmem_paranoid/disk).
 *
 * What is not compared is counted.
 */

#define pr_fmt(fmt) "tmem: " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/highmem.h>
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tmem.h>
#include <linux/xarray.h>
#include <linux/xxhash.h>
#include "tmem_paranoid.h"

#define PARANOID_EVENTS		6
#define PARANOID_HASH_BITS	10
#define PARANOID_HANDLES	32768	/* that are remembered, at most */
#define PARANOID_NAME		32

enum paranoid_op {
	PARANOID_PUT, PARANOID_GET, PARANOID_FLUSH_PAGE, PARANOID_FLUSH_OBJECT,
};

static const char * const paranoid_ops[] = {
	"put", "get", "flush_page", "flush_object",
};

struct paranoid_event {
	u64 time;
	char comm[TASK_COMM_LEN];
	s16 ret;
	u16 cpu;
	u8 op;
};

/**
 * struct paranoid_handle - what is known of one page
 * @sum: of the page that was put last
 * @stamp: when @gone was changed last
 * @gone: there must be no page
 * @nr_events: how many there were; the last ones are in @events, a ring
 * @events: what happened
 */
struct paranoid_handle {
	u64 sum;
	u64 stamp;
	bool gone;
	unsigned int nr_events;
	struct paranoid_event events[PARANOID_EVENTS];
};

/* An object that has handles: index -> struct paranoid_handle */
struct paranoid_object {
	struct hlist_node node;
	int pool;
	struct tmem_oid oid;
	struct xarray handles;
};

/* All of this; a leaf, taken with interrupts on or off */
static DEFINE_SPINLOCK(paranoid_lock);
static DEFINE_HASHTABLE(paranoid_objects, PARANOID_HASH_BITS);
static unsigned int paranoid_cursor;	/* the bucket to make room in */

static atomic64_t paranoid_clock;
static DEFINE_XARRAY(paranoid_names);	/* pool -> what it is for */

/* /sys/kernel/debug/tmem_paranoid */
static atomic_t paranoid_handles;	/* remembered now */
static atomic_t paranoid_compared;	/* hits that were compared */
static atomic_t paranoid_unknown;	/* hits of which nothing was known */
static atomic_t paranoid_disk_compared;
static atomic_t paranoid_disk_skipped;
static atomic_t paranoid_mistakes;
static bool paranoid_disk = true;

/* An operation begins, or is written down */
u64 tmem_paranoid_start(void)
{
	return atomic64_inc_return(&paranoid_clock);
}

static u64 paranoid_sum(struct page *page)
{
	void *addr = kmap_local_page(page);
	u64 sum = xxh64(addr, PAGE_SIZE, 0);

	kunmap_local(addr);
	return sum;
}

static u32 paranoid_hash(int pool, const struct tmem_oid *oid)
{
	return jhash(oid, sizeof(*oid), pool);
}

static struct paranoid_object *paranoid_find(int pool,
					     const struct tmem_oid *oid)
{
	struct paranoid_object *obj;

	hash_for_each_possible(paranoid_objects, obj, node,
			       paranoid_hash(pool, oid))
		if (obj->pool == pool && !memcmp(&obj->oid, oid, sizeof(*oid)))
			return obj;
	return NULL;
}

static void paranoid_forget(struct paranoid_object *obj)
{
	struct paranoid_handle *h;
	unsigned long index;

	xa_for_each(&obj->handles, index, h) {
		kfree(h);
		atomic_dec(&paranoid_handles);
	}
	xa_destroy(&obj->handles);
	hash_del(&obj->node);
	kfree(obj);
}

/* Forget all that is known of one object; the buckets take turns */
static void paranoid_make_room(void)
{
	struct hlist_head *head;
	int i;

	for (i = 0; i < HASH_SIZE(paranoid_objects); i++) {
		head = &paranoid_objects[paranoid_cursor++ %
					 HASH_SIZE(paranoid_objects)];
		if (hlist_empty(head))
			continue;
		paranoid_forget(hlist_entry(head->first, struct paranoid_object,
					    node));
		return;
	}
}

/* NULL when there is no memory */
static struct paranoid_handle *paranoid_add(int pool,
					    const struct tmem_oid *oid,
					    u32 index)
{
	struct paranoid_handle *h;
	struct paranoid_object *obj;

	if (atomic_read(&paranoid_handles) >= PARANOID_HANDLES)
		paranoid_make_room();
	obj = paranoid_find(pool, oid);
	if (!obj) {
		obj = kzalloc(sizeof(*obj), GFP_NOWAIT | __GFP_NOWARN);
		if (!obj)
			return NULL;
		obj->pool = pool;
		obj->oid = *oid;
		xa_init(&obj->handles);
		hash_add(paranoid_objects, &obj->node,
			 paranoid_hash(pool, oid));
	}
	h = xa_load(&obj->handles, index);
	if (h)
		return h;
	h = kzalloc(sizeof(*h), GFP_NOWAIT | __GFP_NOWARN);
	if (h && xa_err(xa_store(&obj->handles, index, h,
				 GFP_NOWAIT | __GFP_NOWARN))) {
		kfree(h);
		h = NULL;
	}
	if (h)
		atomic_inc(&paranoid_handles);
	return h;
}

static void paranoid_note(struct paranoid_handle *h, enum paranoid_op op,
			  int ret)
{
	struct paranoid_event *e;

	e = &h->events[h->nr_events++ % PARANOID_EVENTS];
	e->time = local_clock();
	e->cpu = raw_smp_processor_id();
	e->op = op;
	e->ret = ret;
	memcpy(e->comm, current->comm, sizeof(e->comm));
}

/* @h is a copy, or NULL if nothing is known */
static void paranoid_mistake(const char *what, int pool,
			     const struct tmem_oid *oid, u32 index,
			     const struct paranoid_handle *h)
{
	const struct paranoid_event *e;
	char name[PARANOID_NAME] = "?";
	const char *known;
	unsigned int i;

	xa_lock(&paranoid_names);
	known = xa_load(&paranoid_names, pool);
	if (known)
		strscpy(name, known);
	xa_unlock(&paranoid_names);

	atomic_inc(&paranoid_mistakes);
	WARN(1, "tmem: pool %d (%s), object %llu/%llu/%llu, index %u: %s\n",
	     pool, name, oid->oid[0], oid->oid[1], oid->oid[2], index, what);
	if (!h)
		return;
	i = h->nr_events > PARANOID_EVENTS ? h->nr_events - PARANOID_EVENTS : 0;
	for (; i < h->nr_events; i++) {
		e = &h->events[i % PARANOID_EVENTS];
		pr_err("  %llu us: %s = %d, cpu %u, %.*s\n",
		       div_u64(e->time, NSEC_PER_USEC), paranoid_ops[e->op],
		       e->ret, e->cpu, TASK_COMM_LEN, e->comm);
	}
}

/* A put has returned @ret */
void tmem_paranoid_put(int pool, const struct tmem_oid *oid, u32 index,
		       struct page *page, int ret)
{
	u64 sum = ret ? 0 : paranoid_sum(page);
	struct paranoid_handle *h;
	unsigned long flags;

	spin_lock_irqsave(&paranoid_lock, flags);
	h = paranoid_add(pool, oid, index);
	if (h) {
		h->sum = sum;
		h->gone = ret;
		h->stamp = tmem_paranoid_start();
		paranoid_note(h, PARANOID_PUT, ret);
	}
	spin_unlock_irqrestore(&paranoid_lock, flags);
}

/* A get has returned @ret.  Returns what its caller shall see */
int tmem_paranoid_get(u64 start, int pool, bool persistent,
		      const struct tmem_oid *oid, u32 index, struct page *page,
		      int ret)
{
	u64 sum = ret ? 0 : paranoid_sum(page);
	struct paranoid_handle *h = NULL, copy;
	struct paranoid_object *obj;
	const char *what = NULL;
	unsigned long flags;

	spin_lock_irqsave(&paranoid_lock, flags);
	obj = paranoid_find(pool, oid);
	if (obj)
		h = xa_load(&obj->handles, index);
	if (!ret)
		atomic_inc(h ? &paranoid_compared : &paranoid_unknown);
	if (h) {
		paranoid_note(h, PARANOID_GET, ret);
		if (ret && persistent && !h->gone)
			what = "is lost";
		else if (!ret && h->gone && h->stamp < start)
			what = "is back, though it was dropped";
		else if (!ret && h->sum != sum)
			what = "is not what was put";
		copy = *h;
		if (!ret && !persistent) {
			h->gone = true;
			h->stamp = tmem_paranoid_start();
		}
	}
	spin_unlock_irqrestore(&paranoid_lock, flags);

	if (!what)
		return ret;
	paranoid_mistake(what, pool, oid, index, &copy);
	return persistent ? -EIO : -ENOENT;
}

static void paranoid_flush(struct paranoid_handle *h, enum paranoid_op op,
			   u64 start, int ret)
{
	paranoid_note(h, op, ret);
	if (!h->gone && h->stamp < start) {
		h->gone = true;
		h->stamp = tmem_paranoid_start();
	}
}

/* A flush of a page has returned */
void tmem_paranoid_flush_page(u64 start, int pool, const struct tmem_oid *oid,
			      u32 index, int ret)
{
	struct paranoid_handle *h;
	struct paranoid_object *obj;
	unsigned long flags;

	spin_lock_irqsave(&paranoid_lock, flags);
	obj = paranoid_find(pool, oid);
	h = obj ? xa_load(&obj->handles, index) : NULL;
	if (h)
		paranoid_flush(h, PARANOID_FLUSH_PAGE, start, ret);
	spin_unlock_irqrestore(&paranoid_lock, flags);
}

/* A flush of an object has returned */
void tmem_paranoid_flush_object(u64 start, int pool,
				const struct tmem_oid *oid, int ret)
{
	struct paranoid_handle *h;
	struct paranoid_object *obj;
	unsigned long index, flags;

	spin_lock_irqsave(&paranoid_lock, flags);
	obj = paranoid_find(pool, oid);
	if (obj)
		xa_for_each(&obj->handles, index, h)
			paranoid_flush(h, PARANOID_FLUSH_OBJECT, start, ret);
	spin_unlock_irqrestore(&paranoid_lock, flags);
}

/* A pool is to be destroyed, and its id may come again */
void tmem_paranoid_destroy_pool(int pool)
{
	struct paranoid_object *obj;
	struct hlist_node *next;
	unsigned int bucket;

	for (bucket = 0; bucket < HASH_SIZE(paranoid_objects); bucket++) {
		spin_lock_irq(&paranoid_lock);
		hlist_for_each_entry_safe(obj, next, &paranoid_objects[bucket],
					  node)
			if (obj->pool == pool)
				paranoid_forget(obj);
		spin_unlock_irq(&paranoid_lock);
	}
	kfree(xa_erase(&paranoid_names, pool));
}

/* Name what a pool is for; only a report of a mistake shows it */
void tmem_paranoid_name(int pool, const char *name)
{
	char *copy = kzalloc(PARANOID_NAME, GFP_KERNEL);

	if (!copy)
		return;
	strscpy(copy, name, PARANOID_NAME);
	kfree(xa_store(&paranoid_names, pool, copy, GFP_KERNEL));
}

/**
 * tmem_paranoid_disk() - does precache have what the disk has?
 * @pool: its pool
 * @oid: the file
 * @folio: a hit; locked, in the page cache, not uptodate
 * @block: where on the disk it should be, in pages
 *
 * Context: process, may sleep; must not wait for the file system.
 * Return: false if it has something else.
 */
bool tmem_paranoid_disk(int pool, const struct tmem_oid *oid,
			struct folio *folio, sector_t block)
{
	struct inode *inode = folio->mapping->host;
	struct paranoid_handle *h = NULL, copy;
	struct page *page = NULL;
	struct paranoid_object *obj;
	unsigned long flags;
	struct bio_vec bvec;
	bool same = true;
	struct bio bio;
	int ret;

	if (READ_ONCE(paranoid_disk) && inode->i_sb->s_bdev)
		page = alloc_page(GFP_NOFS | __GFP_NOWARN);
	if (!page) {
		atomic_inc(&paranoid_disk_skipped);
		return true;
	}

	bio_init(&bio, inode->i_sb->s_bdev, &bvec, 1, REQ_OP_READ);
	bio.bi_iter.bi_sector = block << (PAGE_SHIFT - SECTOR_SHIFT);
	__bio_add_page(&bio, page, PAGE_SIZE, 0);
	ret = submit_bio_wait(&bio);
	bio_uninit(&bio);
	/* After the read: see above */
	if (ret || atomic_read(&inode->i_dio_count)) {
		atomic_inc(&paranoid_disk_skipped);
	} else {
		atomic_inc(&paranoid_disk_compared);
		same = !memcmp_pages(page, &folio->page);
	}
	__free_page(page);
	if (same)
		return true;

	spin_lock_irqsave(&paranoid_lock, flags);
	obj = paranoid_find(pool, oid);
	if (obj)
		h = xa_load(&obj->handles, folio->index);
	if (h)
		copy = *h;
	spin_unlock_irqrestore(&paranoid_lock, flags);
	paranoid_mistake("is not what the disk has", pool, oid, folio->index,
			 h ? &copy : NULL);
	return false;
}

static int __init tmem_paranoid_init(void)
{
	struct dentry *dir = debugfs_create_dir("tmem_paranoid", NULL);

	debugfs_create_atomic_t("handles", 0400, dir, &paranoid_handles);
	debugfs_create_atomic_t("compared", 0400, dir, &paranoid_compared);
	debugfs_create_atomic_t("unknown", 0400, dir, &paranoid_unknown);
	debugfs_create_atomic_t("disk_compared", 0400, dir,
				&paranoid_disk_compared);
	debugfs_create_atomic_t("disk_skipped", 0400, dir,
				&paranoid_disk_skipped);
	debugfs_create_atomic_t("mistakes", 0400, dir, &paranoid_mistakes);
	debugfs_create_bool("disk", 0600, dir, &paranoid_disk);
	return 0;
}
late_initcall(tmem_paranoid_init);
