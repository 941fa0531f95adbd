// SPDX-License-Identifier: GPL-2.0
/*
 * Transcendent memory in this kernel's own RAM.
 *
 * The backend for machines without a hypervisor that offers one: the engine
 * (lib/tmem) runs inside this kernel, with this kernel as its only client.
 * What is gained is compression: a page of cache or of swap takes a third or
 * less of its size.  What is lost if it does not compress is little, because
 * two things bound it:
 *
 * - all that the engine takes, data and metadata, is limited to
 *   tmem_ram.max_percent of the memory; a put at the limit evicts the oldest
 *   ephemeral page, or is refused;
 * - a shrinker gives ephemeral pages back in step with the page cache, when
 *   memory is short.
 *
 *
 *	Giving memory back
 *
 * The unit is the frame.  A page takes a part of one, and zsmalloc frees a
 * group of frames (a zspage) when the last page in it has gone; so some
 * evictions free nothing and others a lot.  Reclaim needs to know what really
 * came free: if it believes that it makes progress, and finds no free page, it
 * calls the OOM killer, because its own estimate of what is reclaimable counts
 * the LRU lists only.
 *
 * - The shrinker counts frames, and evicts until as many as it was asked for
 *   have come free.
 * - An OOM notifier does the same when the system has no memory, before a
 *   process is killed.  It has the last word: all ephemeral pages go first.
 * - When none is left, persistent pages are written to the swap device,
 *   where each has its slot.  A workqueue does that.  A task that reclaims
 *   memory for itself starts it when no swap slot is free, so that reclaim
 *   cannot swap out; the notifier in any case.  The notifier waits, but not for
 *   ever: the I/O may need the very memory that is waited for.
 *
 * The shrinker knows no nodes: zsmalloc does not tell on which node a page's
 * memory is, and the engine cannot evict from one node.  A page is stored on
 * the node of the CPU that evicts it, which is the page's own for kswapd.
 *
 * What eviction would give back is counted in KReclaimable, and so in
 * MemAvailable; all of it on one node, for the same reason.
 *
 *
 * The engine's walks are bounded per call.  Here they are simply continued:
 * flush_object and destroy_pool may sleep.
 */

#define pr_fmt(fmt) "tmem: ram: " fmt

#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/swap.h>
#include <linux/tmem.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "../lib/tmem/engine.h"

/* Less is of no use: the pools alone would fill it */
#define TMEM_RAM_MIN_PAGES	256UL

/* What is given back before the OOM killer is asked again, in frames */
#define TMEM_RAM_OOM_FRAMES	1024UL

/* How many pages are dropped for a frame at most: they may take much less */
#define TMEM_RAM_PAGES_PER_FRAME	64UL

/* How long the OOM killer waits for persistent pages to be written */
#define TMEM_RAM_OOM_WAIT	(10 * HZ)

/* How long no pages are written after a write that did not help */
#define TMEM_RAM_PAUSE		(10 * HZ)

/* How far KReclaimable may be from the truth, in frames */
#define TMEM_RAM_COUNT_BATCH	32L

static struct tme_host tmem_ram_host;
static struct tme_client tmem_ram_client;
static bool tmem_ram_up;		/* the two are initialised */

static struct workqueue_struct *tmem_ram_wq;
static DECLARE_WAIT_QUEUE_HEAD(tmem_ram_written);
static atomic_t tmem_ram_writes_begun;	/* calls of tmem_ram_write() */
static atomic_t tmem_ram_writes_ended;	/* and returns from it */
/* In jiffies; no write begins before this time */
static unsigned long tmem_ram_pause = INITIAL_JIFFIES;

static unsigned int tmem_ram_max_percent = 20;
static bool tmem_ram_compress = true;

static unsigned long tmem_ram_limit(void)
{
	return mult_frac(totalram_pages(), tmem_ram_max_percent, 100);
}

/* Count what eviction would give back as reclaimable */
static void tmem_ram_account(void)
{
	static atomic_long_t counted;
	long now, old;

	/*
	 * Repeat until stable: a caller that overwrites a newer count with an
	 * older one looks again, and corrects it.
	 */
	for (;;) {
		now = tme_freeable(&tmem_ram_host);
		old = atomic_long_read(&counted);
		if (abs(now - old) < TMEM_RAM_COUNT_BATCH)
			return;
		old = atomic_long_xchg(&counted, now);
		mod_node_page_state(NODE_DATA(first_online_node),
				    NR_KERNEL_MISC_RECLAIMABLE, now - old);
	}
}

/*
 * Evict until @nr frames have come free, or @left pages are dropped, or there
 * are none.  Counts @left down.  Returns how many frames have come free.  That
 * does not include descriptors: they are parts of slabs, and reclaim itself
 * counts the slabs that come free.
 */
static unsigned long tmem_ram_evict(unsigned long nr, unsigned long *left)
{
	unsigned long done;
	long bytes = 0;

	while (*left && bytes < (long)(nr * PAGE_SIZE)) {
		done = tme_evict(&tmem_ram_host, min(*left, SWAP_CLUSTER_MAX),
				 &bytes);
		if (!done)
			break;
		bytes -= done * tme_port_cache_size(PORT_PAGE);
		*left -= done;
		cond_resched();
	}
	tmem_ram_account();
	return bytes > 0 ? bytes / PAGE_SIZE : 0;
}

static unsigned long tmem_ram_frames(bool persistent)
{
	return tme_client_frames(&tmem_ram_client, persistent);
}

/* Back below the limit, as far as ephemeral pages can do that */
static void tmem_ram_trim(void)
{
	unsigned long limit = tmem_ram_limit();

	tme_host_set_limit(&tmem_ram_host, limit);
	while (tmem_ram_frames(false) + tmem_ram_frames(true) > limit &&
	       tme_evict(&tmem_ram_host, SWAP_CLUSTER_MAX, NULL))
		cond_resched();
	tmem_ram_account();
}

/*
 * Write persistent pages to their slots on the swap device until
 * TMEM_RAM_OOM_FRAMES have come free.  A task that wants memory may be in the
 * middle of I/O, or hold the lock of a page; this work does not.  It ends soon
 * enough for the freezer, which waits for it.
 */
static void tmem_ram_write(struct work_struct *work)
{
	unsigned long before = tmem_ram_frames(true), freed = 0;
	unsigned long start = jiffies, left = tmem_persistent_pages();
	int done = 0, moved = 0;

	atomic_inc(&tmem_ram_writes_begun);
	while (left && freed < TMEM_RAM_OOM_FRAMES &&
	       time_before(jiffies, start + (freed ? HZ : TMEM_RAM_OOM_WAIT))) {
		done = tmem_write_out(&left);
		if (done < 0)
			break;
		moved += done;
		/* Puts at the same time may take what has come free */
		freed = max(freed, before - min(before, tmem_ram_frames(true)));
		wake_up_all(&tmem_ram_written);
	}
	/* Not again soon if a write failed, or what is left cannot be moved */
	if (done < 0 || (!moved && tmem_persistent_pages()))
		WRITE_ONCE(tmem_ram_pause, jiffies + TMEM_RAM_PAUSE);
	atomic_inc(&tmem_ram_writes_ended);
	wake_up_all(&tmem_ram_written);
}

static DECLARE_WORK(tmem_ram_work, tmem_ram_write);

static bool tmem_ram_may_write(void)
{
	return tmem_persistent_pages() &&
	       time_after_eq(jiffies, READ_ONCE(tmem_ram_pause));
}

/*
 * Have persistent pages written, and wait until frames have come free, or a run
 * of the work that began after we asked has ended.  Returns how many frames
 * have come free.
 */
static unsigned long tmem_ram_write_out(void)
{
	unsigned long before = tmem_ram_frames(true), now;
	int begun = atomic_read(&tmem_ram_writes_begun);

	if (!tmem_ram_may_write())
		return 0;
	queue_work(tmem_ram_wq, &tmem_ram_work);
	if (!wait_event_timeout(tmem_ram_written,
				tmem_ram_frames(true) < before ||
				atomic_read(&tmem_ram_writes_ended) - begun > 0,
				TMEM_RAM_OOM_WAIT))
		WRITE_ONCE(tmem_ram_pause, jiffies + TMEM_RAM_PAUSE);
	now = tmem_ram_frames(true);
	return now < before ? before - now : 0;
}

static int max_percent_set(const char *val, const struct kernel_param *kp)
{
	unsigned int percent;
	int ret;

	ret = kstrtouint(val, 0, &percent);
	if (ret || percent < 1 || percent > 90) {
		pr_err("max_percent=%.*s is not a number from 1 to 90; it stays %u\n",
		       (int)strcspn(val, "\n"), val, tmem_ram_max_percent);
		return -EINVAL;
	}
	tmem_ram_max_percent = percent;
	if (tmem_ram_up)
		tmem_ram_trim();
	return 0;
}

static const struct kernel_param_ops max_percent_ops = {
	.set = max_percent_set,
	.get = param_get_uint,
};

module_param_cb(max_percent, &max_percent_ops, &tmem_ram_max_percent, 0644);
MODULE_PARM_DESC(max_percent, "The most it may take of the memory (1-90, default 20)");

static int compress_set(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	if (!ret && tmem_ram_up)
		tme_client_set_compress(&tmem_ram_client, tmem_ram_compress);
	return ret;
}

static const struct kernel_param_ops compress_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = compress_set,
	.get = param_get_bool,
};

module_param_cb(compress, &compress_ops, &tmem_ram_compress, 0644);
MODULE_PARM_DESC(compress, "Compress pages that are put from now on (default Y)");

/* What it holds now: read-only parameters, one for each of these */
enum tmem_ram_gauge { GAUGE_EPHEMERAL, GAUGE_PERSISTENT, GAUGE_USED };

static int gauge_get(char *buf, const struct kernel_param *kp)
{
	struct tme_stats stats = {};
	u64 val = 0;

	if (tmem_ram_up)
		tme_client_stats(&tmem_ram_client, &stats);
	switch ((enum tmem_ram_gauge)(long)kp->arg) {
	case GAUGE_EPHEMERAL:
		val = stats.eph_pages;
		break;
	case GAUGE_PERSISTENT:
		val = stats.pers_pages;
		break;
	case GAUGE_USED:
		val = stats.used_bytes;
		break;
	}
	return sysfs_emit(buf, "%llu\n", val);
}

static const struct kernel_param_ops gauge_ops = {
	.get = gauge_get,
};

module_param_cb(ephemeral_pages, &gauge_ops, (void *)GAUGE_EPHEMERAL, 0444);
MODULE_PARM_DESC(ephemeral_pages, "Pages that precache has here now");
module_param_cb(persistent_pages, &gauge_ops, (void *)GAUGE_PERSISTENT, 0444);
MODULE_PARM_DESC(persistent_pages, "Pages that preswap has here now");
module_param_cb(used_bytes, &gauge_ops, (void *)GAUGE_USED, 0444);
MODULE_PARM_DESC(used_bytes, "Memory taken now, with metadata");

static int tmem_ram_new_pool(u32 flags)
{
	return tme_new_pool(&tmem_ram_client, flags);
}

static int tmem_ram_destroy_pool(int pool)
{
	int ret;

	while ((ret = tme_destroy_pool(&tmem_ram_client, pool)) == -EAGAIN)
		cond_resched();
	tmem_ram_account();
	return ret;
}

static int tmem_ram_put_page(int pool, const struct tmem_oid *oid, u32 index,
			     struct page *page)
{
	void *src = kmap_local_page(page);
	int ret;

	/* A balloon may have changed how much memory there is */
	tme_host_set_limit(&tmem_ram_host, tmem_ram_limit());
	ret = tme_put(&tmem_ram_client, pool, oid->oid, index, src);
	kunmap_local(src);
	tmem_ram_account();
	return ret;
}

static int tmem_ram_get_page(int pool, const struct tmem_oid *oid, u32 index,
			     struct page *page)
{
	void *dst = kmap_local_page(page);
	int ret = tme_get(&tmem_ram_client, pool, oid->oid, index, dst);

	kunmap_local(dst);
	tmem_ram_account();
	return ret;
}

static int tmem_ram_flush_page(int pool, const struct tmem_oid *oid, u32 index)
{
	int ret = tme_flush_page(&tmem_ram_client, pool, oid->oid, index);

	tmem_ram_account();
	return ret == -ENOENT ? 0 : ret;
}

static int tmem_ram_flush_object(int pool, const struct tmem_oid *oid)
{
	int ret;

	while ((ret = tme_flush_object(&tmem_ram_client, pool, oid->oid)) ==
	       -EAGAIN)
		cond_resched();
	tmem_ram_account();
	return ret == -ENOENT ? 0 : ret;
}

static const struct tmem_ops tmem_ram_ops = {
	.name = "ram",
	.new_pool = tmem_ram_new_pool,
	.destroy_pool = tmem_ram_destroy_pool,
	.put_page = tmem_ram_put_page,
	.get_page = tmem_ram_get_page,
	.flush_page = tmem_ram_flush_page,
	.flush_object = tmem_ram_flush_object,
};

/*
 * Should reclaim have persistent pages written?  Only where it cannot swap out
 * for want of slots: it stops when none is free, and MGLRU when fewer than 64
 * (MIN_LRU_BATCH) are.  (The number can be negative during swapoff.)  And only
 * for a task that reclaims because it must, not for kswapd.
 */
static bool tmem_ram_should_write(void)
{
	return (current->flags & (PF_MEMALLOC | PF_KSWAPD)) == PF_MEMALLOC &&
	       get_nr_swap_pages() < 64 && tmem_ram_may_write();
}

/*
 * A compressed page is as expensive to read again as any, but gives back only a
 * part of a page: the better pages compress, the longer they stay.
 */
static unsigned long tmem_ram_count(struct shrinker *shrinker,
				    struct shrink_control *sc)
{
	unsigned long frames = tme_freeable(&tmem_ram_host);

	if (!frames && tmem_ram_should_write())
		frames = tmem_ram_frames(true);
	return frames ?: SHRINK_EMPTY;
}

static unsigned long tmem_ram_scan(struct shrinker *shrinker,
				   struct shrink_control *sc)
{
	unsigned long left = sc->nr_to_scan * TMEM_RAM_PAGES_PER_FRAME;
	unsigned long freed = tmem_ram_evict(sc->nr_to_scan, &left);

	if (!freed && !tme_evictable(&tmem_ram_host) &&
	    tmem_ram_should_write()) {
		queue_work(tmem_ram_wq, &tmem_ram_work);
		return sc->nr_to_scan;	/* as scanned, not as deferred */
	}
	/* Reclaim goes on without this number: it counts only slab itself */
	mm_account_reclaimed_pages(freed);
	return freed ?: SHRINK_STOP;
}

/*
 * @freed is where all notifiers add what they have given back, in pages.  The
 * caller then tries again, even if the memory is of no use to it, as that of
 * another node.  While tasks go on putting pages, that could last for ever.  So
 * calls that come within a second of one another evict no more pages, all
 * together, than there were at the first one.  oom_lock is held.
 */
static int tmem_ram_oom(struct notifier_block *nb, unsigned long unused,
			void *freed)
{
	static unsigned long left, last = INITIAL_JIFFIES - 2 * HZ;

	if (time_after(jiffies, last + HZ))
		left = tme_evictable(&tmem_ram_host);
	last = jiffies;
	*(unsigned long *)freed += tmem_ram_evict(TMEM_RAM_OOM_FRAMES, &left) ?:
				   tmem_ram_write_out();
	return NOTIFY_OK;
}

static struct notifier_block tmem_ram_oom_nb = {
	.notifier_call = tmem_ram_oom,
};

static int __init tmem_ram_init(void)
{
	unsigned long limit = tmem_ram_limit();
	struct shrinker *shrinker;
	int ret = -ENOMEM;

	/* With plain `tmem`, a hypervisor that has registered is better */
	if (!tmem_wanted("ram") || tmem_ready())
		return -ENODEV;
	if (limit < TMEM_RAM_MIN_PAGES) {
		pr_err("max_percent=%u of the memory is %lu pages, at least %lu are needed; not used\n",
		       tmem_ram_max_percent, limit, TMEM_RAM_MIN_PAGES);
		return -ENOMEM;
	}

	shrinker = shrinker_alloc(0, "tmem_ram");
	if (!shrinker)
		return -ENOMEM;
	tmem_ram_wq = alloc_workqueue("tmem_ram", WQ_MEM_RECLAIM | WQ_UNBOUND |
				      WQ_FREEZABLE, 1);
	if (!tmem_ram_wq)
		goto free_shrinker;
	ret = tme_host_init(&tmem_ram_host);
	if (ret)
		goto destroy_wq;
	ret = tme_client_init(&tmem_ram_host, &tmem_ram_client);
	if (ret)
		goto destroy_host;
	tme_client_set_compress(&tmem_ram_client, tmem_ram_compress);
	tmem_ram_up = true;

	ret = tmem_register_ops(&tmem_ram_ops);
	if (ret)
		goto destroy_client;

	shrinker->count_objects = tmem_ram_count;
	shrinker->scan_objects = tmem_ram_scan;
	shrinker->batch = SWAP_CLUSTER_MAX;
	/* The same part as of the LRU lists; the default is double */
	shrinker->seeks = 2 * DEFAULT_SEEKS;
	shrinker_register(shrinker);
	register_oom_notifier(&tmem_ram_oom_nb);
	pr_info("at most %lu pages, %u %% of the memory%s\n", limit,
		tmem_ram_max_percent,
		tmem_ram_compress ? ", compressed" : "");
	return 0;

destroy_client:
	tmem_ram_up = false;
	while (tme_client_destroy(&tmem_ram_client) == -EAGAIN)
		cond_resched();
destroy_host:
	tme_host_destroy(&tmem_ram_host);
destroy_wq:
	destroy_workqueue(tmem_ram_wq);
free_shrinker:
	shrinker_free(shrinker);
	return ret;
}

/* Built in: after a hypervisor's backend, before file systems are mounted */
late_initcall(tmem_ram_init);

MODULE_DESCRIPTION("Transcendent memory in this kernel's own RAM");
MODULE_LICENSE("GPL");
