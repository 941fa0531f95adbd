// SPDX-License-Identifier: GPL-2.0
/*
 * Transcendent memory: the core.
 *
 * Two clients (mm/precache.c, mm/preswap.c) hand pages to one backend (the
 * hypervisor through drivers/xen/tmem.c, or the engine inside this kernel
 * through mm/tmem_ram.c).  This file is what stands between them:
 *
 * - the command line: nothing happens without `tmem`;
 * - the one backend: registered once, at boot or later, never unregistered,
 *   because pages that live nowhere else may be in it;
 * - the six calls: each is traced and can be made to fail (CONFIG_FAIL_TMEM);
 * - what a backend asks of the clients: to take their pages back before a
 *   suspend, or to move some to the disk when memory is short.  No backend
 *   calls a client itself;
 * - the sysfs directory that the clients put their files into.
 *
 * Order of coming alive.  A client may be used (a file system mounted, a swap
 * device added) before there is a backend, and notes that it waits.  Then
 * tmem_register_ops() publishes the ops and tells the clients, under
 * tmem_lock: preswap first, so that it gets its pool whatever the number of
 * file systems.  Each client makes its pools, and last of all enables its
 * static key.  Until then, and for ever without a backend, each hook in the
 * kernel is a branch that is patched out.
 */

#define pr_fmt(fmt) "tmem: " fmt

#include <kunit/static_stub.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/export.h>
#include <linux/fault-inject.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/precache.h>
#include <linux/preswap.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/tmem.h>
#include <linux/xarray.h>
#include "tmem_paranoid.h"

#define CREATE_TRACE_POINTS
#include <trace/events/tmem.h>

/* `tmem`: any backend; `tmem=NAME`: this one; NULL: tmem is off */
static const char *tmem_backend_wanted __ro_after_init;

static DEFINE_MUTEX(tmem_lock);			/* serialises registration */
static const struct tmem_ops *tmem_ops;		/* set once, under tmem_lock */

static int __init tmem_param(char *arg)
{
	if (!arg)
		tmem_backend_wanted = "";
	else if (!strcmp(arg, "ram"))
		tmem_backend_wanted = "ram";
	else if (!strcmp(arg, "xen"))
		tmem_backend_wanted = "xen";
	else
		pr_err("unknown option 'tmem=%s': valid are 'tmem', 'tmem=ram' and 'tmem=xen'; tmem is off\n",
		       arg);
	return 0;
}
early_param("tmem", tmem_param);

/**
 * tmem_wanted() - did the command line ask for tmem?
 * @name: a backend's name, or NULL for any backend
 *
 * A backend asks this before it sets anything up.
 *
 * Context: any, after the command line has been parsed.
 * Return: true when `tmem`, or `tmem=` with this name, was given.
 */
bool tmem_wanted(const char *name)
{
	if (!tmem_backend_wanted)
		return false;
	return !name || !*tmem_backend_wanted ||
	       !strcmp(tmem_backend_wanted, name);
}
EXPORT_SYMBOL_GPL(tmem_wanted);

/**
 * tmem_ready() - is there a backend?
 *
 * Context: any.
 * Return: true once tmem_register_ops() has published the ops.
 */
bool tmem_ready(void)
{
	/* Pairs with the release in tmem_register_ops() */
	return smp_load_acquire(&tmem_ops);
}
EXPORT_SYMBOL_GPL(tmem_ready);

/**
 * tmem_register_ops() - become the backend
 * @ops: the six operations; must stay valid for ever
 *
 * May be called at any time after boot, with file systems mounted and swap in
 * use.  There is no way back: a module that calls this must not be unloadable.
 *
 * Context: process, may sleep.
 * Return: 0; -ENODEV when the command line did not ask for this backend;
 * -EBUSY when there already is one.
 */
int tmem_register_ops(const struct tmem_ops *ops)
{
	if (!tmem_wanted(ops->name))
		return -ENODEV;

	mutex_lock(&tmem_lock);
	if (tmem_ops) {
		mutex_unlock(&tmem_lock);
		return -EBUSY;
	}
	/* Pairs with the acquire in tmem_ready() */
	smp_store_release(&tmem_ops, ops);
	preswap_backend_ready();
	precache_backend_ready();
	pr_info("backend %s, precache %s, preswap %s\n", ops->name,
		precache_enabled() ? "on" : "off",
		preswap_enabled() ? "on" : "off");
	mutex_unlock(&tmem_lock);
	return 0;
}
EXPORT_SYMBOL_GPL(tmem_register_ops);

/**
 * tmem_suspend() - take back all persistent pages, and put no more
 * @timeout: give up after this many jiffies; MAX_JIFFY_OFFSET: never
 *
 * For a backend that will not have its pages afterwards.  Ephemeral pages stay,
 * and go on being put: to lose them costs nothing but time.  Persistent pages
 * come back into memory or go to the swap device, so call this before anything
 * is frozen.  Calls nest.
 *
 * Context: process, may sleep, also for I/O.
 * Return: 0, and then no persistent page is left, and tmem_resume() must
 * follow.  Or an errno, when pages could not be taken back; then puts go on as
 * before, and tmem_resume() must not follow.
 */
int tmem_suspend(unsigned long timeout)
{
	KUNIT_STATIC_STUB_REDIRECT(tmem_suspend, timeout);
	return preswap_suspend(timeout);
}

/**
 * tmem_stop() - put no more persistent pages
 *
 * Calls nest, with those of tmem_suspend().
 *
 * Context: any.
 */
void tmem_stop(void)
{
	KUNIT_STATIC_STUB_REDIRECT(tmem_stop);
	preswap_stop();
}

/**
 * tmem_resume() - undo one tmem_stop(), or tmem_suspend() that has succeeded
 *
 * Also when the suspend was cancelled.  Pages are put again when each has been
 * undone.
 *
 * Context: any.
 */
void tmem_resume(void)
{
	KUNIT_STATIC_STUB_REDIRECT(tmem_resume);
	preswap_resume();
}

/**
 * tmem_persistent_pages() - how many pages are in persistent pools
 *
 * Context: any.
 * Return: number of pages.
 */
unsigned long tmem_persistent_pages(void)
{
	return preswap_pages();
}
EXPORT_SYMBOL_GPL(tmem_persistent_pages);

/**
 * tmem_drain() - take back all persistent pages
 * @timeout: as of tmem_suspend()
 *
 * As tmem_suspend(), but pages may be put again.
 *
 * Context: as tmem_suspend().
 * Return: 0 or a negative errno.
 */
int tmem_drain(unsigned long timeout)
{
	KUNIT_STATIC_STUB_REDIRECT(tmem_drain, timeout);
	return preswap_drain(timeout);
}

/**
 * tmem_bring_back() - take some persistent pages back into free memory
 * @nr: how many
 * @write: write to the disk what finds no memory, or whose cgroup is at its
 *	limit; else leave it
 *
 * For a backend whose persistent pages are in the way of something else.
 * Nothing is reclaimed for them.
 *
 * Context: process, may sleep; with @write also for I/O.
 * Return: 0 when so many have come back, or all; or a negative errno.
 */
int tmem_bring_back(unsigned long nr, bool write)
{
	return preswap_bring_back(nr, write);
}

/**
 * tmem_write_out() - move some persistent pages to the disk
 * @left: how many pages may be looked at.  Counted down; 0 on return when there
 *	are no others
 *
 * For a backend whose pages are memory of this kernel, when that is short.
 *
 * Context: process, with no lock that I/O needs.  Sleeps until the pages are
 * written, and takes memory that is kept for reclaim until then.
 * Return: number of pages that have left tmem; or -EIO, when one could not be
 * written: it is in memory now, and nowhere else.
 */
int tmem_write_out(unsigned long *left)
{
	return preswap_write_out(left);
}
EXPORT_SYMBOL_GPL(tmem_write_out);

/* Fault injection: /sys/kernel/debug/fail_tmem, Documentation/mm/tmem.rst */

enum tmem_fault {
	TMEM_FAIL_PUT,
	TMEM_FAIL_PUT_DUP,
	TMEM_FAIL_GET_EPHEMERAL,
	TMEM_FAIL_GET_PERSISTENT,
	TMEM_VANISH,
	TMEM_FAIL_FLUSH_PAGE,
	TMEM_FAIL_FLUSH_OBJECT,
	TMEM_DELAY,
	TMEM_CORRUPT,
};

#ifdef CONFIG_FAIL_TMEM
static struct {
	const char *name;
	struct fault_attr attr;
} tmem_faults[] = {
	[TMEM_FAIL_PUT] = { "put", FAULT_ATTR_INITIALIZER },
	[TMEM_FAIL_PUT_DUP] = { "put_dup", FAULT_ATTR_INITIALIZER },
	[TMEM_FAIL_GET_EPHEMERAL] = { "get_ephemeral", FAULT_ATTR_INITIALIZER },
	[TMEM_FAIL_GET_PERSISTENT] = { "get_persistent",
				       FAULT_ATTR_INITIALIZER },
	[TMEM_VANISH] = { "vanish", FAULT_ATTR_INITIALIZER },
	[TMEM_FAIL_FLUSH_PAGE] = { "flush_page", FAULT_ATTR_INITIALIZER },
	[TMEM_FAIL_FLUSH_OBJECT] = { "flush_object", FAULT_ATTR_INITIALIZER },
	[TMEM_DELAY] = { "delay", FAULT_ATTR_INITIALIZER },
	[TMEM_CORRUPT] = { "corrupt", FAULT_ATTR_INITIALIZER },
};

static u32 tmem_delay_us = 1000;
static struct page *tmem_probe_page;	/* nobody looks at what is in it */

static bool tmem_should(enum tmem_fault fault)
{
	return should_fail(&tmem_faults[fault].attr, 1);
}

/* Busy: a flush of a page may not sleep */
static void tmem_delay(void)
{
	u32 us = READ_ONCE(tmem_delay_us);

	if (!tmem_should(TMEM_DELAY))
		return;
	mdelay(us / 1000);
	udelay(us % 1000);
}

/* Is it time for a put over an older copy to fail, and is this one? */
static bool tmem_should_fail_dup(int pool, const struct tmem_oid *oid,
				 u32 index)
{
	/*
	 * Nobody but the backend knows, and the way to ask is a get.  If the
	 * pool is ephemeral that takes the old copy away, as the put would.
	 */
	return READ_ONCE(tmem_faults[TMEM_FAIL_PUT_DUP].attr.probability) &&
	       tmem_probe_page &&
	       !tmem_ops->get_page(pool, oid, index, tmem_probe_page) &&
	       tmem_should(TMEM_FAIL_PUT_DUP);
}

static int __init tmem_fail_init(void)
{
	struct dentry *dir = debugfs_create_dir("fail_tmem", NULL);
	int i;

	for (i = 0; i < ARRAY_SIZE(tmem_faults); i++)
		fault_create_debugfs_attr(tmem_faults[i].name, dir,
					  &tmem_faults[i].attr);
	debugfs_create_u32("delay_us", 0600, dir, &tmem_delay_us);
	tmem_probe_page = alloc_page(GFP_KERNEL);
	return 0;
}
late_initcall(tmem_fail_init);
#else
static bool tmem_should(enum tmem_fault fault)
{
	return false;
}

static bool tmem_should_fail_dup(int pool, const struct tmem_oid *oid,
				 u32 index)
{
	return false;
}

static void tmem_delay(void)
{
}
#endif

/* Pool -> its flags, for who injects faults, and for the paranoid */
#define TMEM_DEBUG	(IS_ENABLED(CONFIG_FAIL_TMEM) || \
			 IS_ENABLED(CONFIG_TMEM_PARANOID))

static DEFINE_XARRAY(tmem_pools);

static bool tmem_persistent(int pool)
{
	return TMEM_DEBUG &&
	       xa_to_value(xa_load(&tmem_pools, pool)) & TMEM_POOL_PERSISTENT;
}

/**
 * tmem_new_pool() - make a pool
 * @flags: 0 or TMEM_POOL_PERSISTENT
 *
 * Context: process, may sleep; there is a backend.
 * Return: the pool's id or a negative errno, see struct tmem_ops.
 */
int tmem_new_pool(u32 flags)
{
	int ret = tmem_ops->new_pool(flags);

	trace_tmem_new_pool(flags, ret);
	if (TMEM_DEBUG && ret >= 0 &&
	    xa_err(xa_store(&tmem_pools, ret, xa_mk_value(flags),
			    GFP_KERNEL))) {
		tmem_destroy_pool(ret);
		return -ENOMEM;
	}
	return ret;
}

/**
 * tmem_destroy_pool() - drop a pool and all that is in it
 * @pool: its id, not used by anybody any more
 *
 * Context: process, may sleep.
 */
void tmem_destroy_pool(int pool)
{
	int ret;

	if (TMEM_DEBUG)
		xa_erase(&tmem_pools, pool); /* before the id comes back */
	tmem_paranoid_destroy_pool(pool);
	ret = tmem_ops->destroy_pool(pool);
	trace_tmem_destroy_pool(pool, ret);
	if (ret)
		pr_err("pool %d could not be destroyed: %d\n", pool, ret);
}

/**
 * tmem_put_page() - copy a page into a pool
 * @pool: the pool's id
 * @oid: object
 * @index: page of the object
 * @page: what to copy
 *
 * Context: process; see struct tmem_ops.
 * Return: 0; -EIO when an older copy may be left; another negative errno, and
 * then there is no copy, new or old.
 */
int tmem_put_page(int pool, const struct tmem_oid *oid, u32 index,
		  struct page *page)
{
	int ret;

	tmem_delay();
	if (tmem_should(TMEM_FAIL_PUT) ||
	    tmem_should_fail_dup(pool, oid, index))
		ret = tmem_ops->flush_page(pool, oid, index) ? -EIO : -ENOMEM;
	else
		ret = tmem_ops->put_page(pool, oid, index, page);
	tmem_paranoid_put(pool, oid, index, page, ret);
	trace_tmem_put_page(pool, oid, index, ret);
	return ret;
}

/**
 * tmem_get_page() - copy a page out of a pool
 * @pool: the pool's id
 * @oid: object
 * @index: page of the object
 * @page: where to copy to; unspecified after an error
 *
 * Context: process; see struct tmem_ops.
 * Return: 0, -ENOENT (not there) or another negative errno.
 */
int tmem_get_page(int pool, const struct tmem_oid *oid, u32 index,
		  struct page *page)
{
	bool persistent = tmem_persistent(pool);
	u64 start = tmem_paranoid_start();
	int ret = 0;

	tmem_delay();
	if (persistent) {
		if (tmem_should(TMEM_FAIL_GET_PERSISTENT))
			ret = -EIO;
	} else {
		if (tmem_should(TMEM_VANISH))
			tmem_ops->flush_page(pool, oid, index);
		if (tmem_should(TMEM_FAIL_GET_EPHEMERAL))
			ret = -ENOENT;
	}
	if (!ret) {
		ret = tmem_ops->get_page(pool, oid, index, page);
		if (!ret && tmem_should(TMEM_CORRUPT))
			memset_page(page, 8 * (index % (PAGE_SIZE / 8)), 0xee,
				    8);
		ret = tmem_paranoid_get(start, pool, persistent, oid, index,
					page, ret);
	}
	trace_tmem_get_page(pool, oid, index, ret);
	return ret;
}

/**
 * tmem_flush_page() - drop a page
 * @pool: the pool's id
 * @oid: object
 * @index: page of the object
 *
 * Context: any but interrupt.
 * Return: 0, also when it was not there.  After an error the caller must never
 * use what is in the pool again.
 */
int tmem_flush_page(int pool, const struct tmem_oid *oid, u32 index)
{
	u64 start = tmem_paranoid_start();
	int ret;

	tmem_delay();
	if (tmem_should(TMEM_FAIL_FLUSH_PAGE))
		ret = -EIO;
	else
		ret = tmem_ops->flush_page(pool, oid, index);
	tmem_paranoid_flush_page(start, pool, oid, index, ret);
	trace_tmem_flush_page(pool, oid, index, ret);
	return ret;
}

/**
 * tmem_flush_object() - drop all pages of an object
 * @pool: the pool's id
 * @oid: object
 *
 * Context: process, may sleep.
 * Return: as tmem_flush_page().
 */
int tmem_flush_object(int pool, const struct tmem_oid *oid)
{
	u64 start = tmem_paranoid_start();
	int ret;

	tmem_delay();
	if (tmem_should(TMEM_FAIL_FLUSH_OBJECT))
		ret = -EIO;
	else
		ret = tmem_ops->flush_object(pool, oid);
	tmem_paranoid_flush_object(start, pool, oid, ret);
	trace_tmem_flush_object(pool, oid, ret);
	return ret;
}

struct kobject *tmem_kobj;

static ssize_t backend_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%s\n", tmem_ready() ? tmem_ops->name : "none");
}

static struct kobj_attribute backend_attr = __ATTR_RO(backend);

static int __init tmem_init(void)
{
	tmem_kobj = kobject_create_and_add("tmem", mm_kobj);
	if (!tmem_kobj)
		return -ENOMEM;
	return sysfs_create_file(tmem_kobj, &backend_attr.attr);
}
subsys_initcall(tmem_init);

/* The clients and built-in backends have had their turn: say what is missing */
static int __init tmem_report(void)
{
	if (tmem_wanted(NULL) && !tmem_ready())
		pr_warn("no backend%s%s yet\n",
			*tmem_backend_wanted ? " " : "", tmem_backend_wanted);
	return 0;
}
late_initcall_sync(tmem_report);
