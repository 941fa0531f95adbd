// SPDX-License-Identifier: GPL-2.0
/*
 * Transcendent memory of the Xen hypervisor.
 *
 * The six operations become one hypercall.  The hypervisor copies a page out of
 * or into this domain's memory while the caller waits.
 *
 *
 *	What the hypervisor answers
 *
 * Without tmem it is -ENOSYS (not built), -ENODEV (not switched on), -EPERM or
 * -EACCES (not for this domain): then there is no backend, and no word about
 * it.
 *
 * A put that fails must leave no copy.  Xen 4.4 to 4.12 refuse a put for lack
 * of memory before they look for an older copy of the page.  So the page is
 * flushed whenever a put has failed; the interface has no way to say that this
 * is not needed.
 *
 * An operation on a pool that does not exist is -ENODEV.  For a flush that is
 * success: there is nothing to be found.
 *
 *
 *	Save, restore, migration
 *
 * The pools stay behind with the old domain.  Persistent pages have been taken
 * back before (tmem_suspend()); what is lost is only a cache.  When the domain
 * is resumed with another one's hypervisor state, make new pools; the clients
 * never learn that their pools have got other ids.
 *
 * The danger is in ids that come to life again: an operation that has looked up
 * id 0 for one file system, and meets the new pool 0 of another.  Hence the
 * order: all ids become invalid, nobody uses an old one any more (RCU), then
 * there are new pools.  A suspend that was cancelled finds its pools still
 * there, and changes nothing.
 *
 * The toolstack's clock is running meanwhile.  So it can ask for the pages some
 * time before, by the node control/tmem-drain in xenstore (`tmemctl drain`):
 * while that is there and not 0, puts are stopped and pages come back.  A
 * domain that arrives elsewhere has no such node.
 *
 *
 *	Hibernation
 *
 * After power-off no domain has the pools.  And the kernel that reads the image
 * may make pools of its own, with our ids: they cannot be told from ours.  So
 * both kernels destroy their pools beforehand.  There are none in the image,
 * only file systems that wait for theirs.
 *
 *
 *	kexec
 *
 * The next kernel cannot know this one's pools.  They are destroyed on the way
 * down, and, for a kernel that crashed, at the boot of the next.
 */

#define pr_fmt(fmt) "tmem: xen: " fmt

#include <kunit/static_stub.h>
#include <linux/cc_platform.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kexec.h>
#include <linux/kmsan-checks.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/suspend.h>
#include <linux/syscore_ops.h>
#include <linux/tmem.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <xen/interface/tmem.h>
#include <xen/interface/xen.h>
#include <xen/page.h>
#include <xen/selfballoon.h>
#include <xen/tmem.h>
#include <xen/xen.h>
#include <xen/xen-ops.h>
#include <xen/xenbus.h>
#include <asm/xen/hypercall.h>

/*
 * Our id of a pool -> xen_tmem_entry().  Changed under the mutex; read under
 * RCU, around the hypercall that uses it.
 */
static DEFINE_XARRAY_ALLOC(xen_tmem_pools);
static DEFINE_MUTEX(xen_tmem_lock);
static bool xen_tmem_hibernating;	/* under the mutex: make no pool */

#define XEN_TMEM_NO_POOL	(-1)

static int HYPERVISOR_tmem_op(struct tmem_op *op)
{
	KUNIT_STATIC_STUB_REDIRECT(HYPERVISOR_tmem_op, op);
	return _hypercall1(int, tmem_op, op);
}

static void *xen_tmem_entry(int id, u32 flags)
{
	return xa_mk_value(((unsigned long)(id + 1) << 1) |
			   (flags & TMEM_POOL_PERSISTENT));
}

static int xen_tmem_id(const void *entry)
{
	return entry ? (int)(xa_to_value(entry) >> 1) - 1 : XEN_TMEM_NO_POOL;
}

static u32 xen_tmem_flags(const void *entry)
{
	return xa_to_value(entry) & TMEM_POOL_PERSISTENT;
}

static int xen_tmem_create(u32 flags)
{
	struct tmem_op op = { .cmd = TMEM_NEW_POOL };
	unsigned long pool;
	void *entry;
	int id;

	BUILD_BUG_ON(TMEM_POOL_PERSISTENT != XEN_TMEM_POOL_PERSIST);
	op.u.new.flags = flags |
			 (PAGE_SHIFT - 12) << XEN_TMEM_POOL_PAGESIZE_SHIFT |
			 TMEM_SPEC_VERSION << XEN_TMEM_POOL_VERSION_SHIFT;
	id = HYPERVISOR_tmem_op(&op);
	/* Two pools with one id would read each other's pages */
	xa_for_each(&xen_tmem_pools, pool, entry)
		if (id >= 0 && xen_tmem_id(entry) == id)
			return -EIO;
	return id < XEN_TMEM_MAX_POOLS ? id : -EIO;
}

static int xen_tmem_destroy(int id)
{
	struct tmem_op op = { .cmd = TMEM_DESTROY_POOL, .pool_id = id };

	return HYPERVISOR_tmem_op(&op);
}

/* Whatever the hypervisor says becomes 0 or an errno */
static int xen_tmem_errno(int ret)
{
	switch (ret) {
	case 1:
		return 0;
	case 0:
	case -XEN_TMEM_EEMPTY:
		return -ENOENT;
	case -XEN_TMEM_EFROZEN:
		return -EBUSY;
	default:
		return ret < 0 && ret >= -MAX_ERRNO ? ret : -EIO;
	}
}

/* What the hypervisor says; of a pool that is not there without asking it */
static int xen_tmem_op(u32 cmd, int pool, const struct tmem_oid *oid,
		       u32 index, struct page *page)
{
	struct tmem_op op = { .cmd = cmd };
	int ret = -ENODEV;

	memcpy(op.u.gen.oid, oid->oid, sizeof(op.u.gen.oid));
	op.u.gen.index = index;

	/*
	 * The frame, too, belongs to one host: a PV domain's machine frames are
	 * others after a migration, and the old number may be anybody's.
	 */
	rcu_read_lock();
	if (page)
		set_xen_guest_handle(op.u.gen.gmfn,
				     (void *)xen_page_to_gfn(page));
	op.pool_id = xen_tmem_id(xa_load(&xen_tmem_pools, pool));
	if (op.pool_id != XEN_TMEM_NO_POOL)
		ret = HYPERVISOR_tmem_op(&op);
	rcu_read_unlock();
	return ret;
}

static int xen_tmem_flush(u32 cmd, int pool, const struct tmem_oid *oid,
			  u32 index)
{
	int ret = xen_tmem_op(cmd, pool, oid, index, NULL);

	switch (ret) {
	case 1:
	case 0:			/* there was nothing, ... */
	case -XEN_TMEM_EEMPTY:	/* ... nor is anything else */
	case -XEN_TMEM_EFROZEN:	/* flushed all the same */
	case -ENODEV:		/* there is no such pool */
	case -ENOSYS:		/* this host has no tmem at all */
		return 0;
	default:		/* whatever it means, it is not one of these */
		return xen_tmem_errno(ret);
	}
}

/* New pools for those that stayed behind */
static void xen_tmem_renew(struct work_struct *work)
{
	unsigned long pool;
	void *entry;
	int id;

	mutex_lock(&xen_tmem_lock);
	synchronize_rcu();	/* nobody uses an old id any more */
	xa_for_each(&xen_tmem_pools, pool, entry) {
		if (xen_tmem_id(entry) != XEN_TMEM_NO_POOL ||
		    xen_tmem_hibernating)
			continue;
		id = xen_tmem_create(xen_tmem_flags(entry));
		if (id < 0)
			pr_warn("no new pool (%d) after resume\n", id);
		else
			xa_store(&xen_tmem_pools, pool,
				 xen_tmem_entry(id, xen_tmem_flags(entry)),
				 GFP_KERNEL);
	}
	mutex_unlock(&xen_tmem_lock);
}

static DECLARE_WORK(xen_tmem_renew_work, xen_tmem_renew);

static int xen_tmem_new_pool(u32 flags)
{
	int id, ret;
	u32 pool;

	/* The new id may be one that was ours on another host */
	flush_work(&xen_tmem_renew_work);
	mutex_lock(&xen_tmem_lock);
	id = xen_tmem_hibernating ? XEN_TMEM_NO_POOL : xen_tmem_create(flags);
	if (id < 0 && !xen_tmem_hibernating) {
		/* Also what Xen says of a pool too many */
		ret = id == -EPERM ? -ENOSPC : xen_tmem_errno(id);
		goto out;
	}
	ret = xa_alloc(&xen_tmem_pools, &pool, xen_tmem_entry(id, flags),
		       XA_LIMIT(0, INT_MAX), GFP_KERNEL);
	if (!ret)
		ret = pool;
	else if (id != XEN_TMEM_NO_POOL)
		xen_tmem_destroy(id);
out:
	mutex_unlock(&xen_tmem_lock);
	return ret;
}

static int xen_tmem_destroy_pool(int pool)
{
	int id, ret = 0;

	mutex_lock(&xen_tmem_lock);
	id = xen_tmem_id(xa_erase(&xen_tmem_pools, pool));
	if (id != XEN_TMEM_NO_POOL)
		ret = xen_tmem_destroy(id);
	mutex_unlock(&xen_tmem_lock);
	return ret < 0 ? xen_tmem_errno(ret) : 0;
}

static int xen_tmem_put_page(int pool, const struct tmem_oid *oid, u32 index,
			     struct page *page)
{
	int ret = xen_tmem_op(TMEM_PUT_PAGE, pool, oid, index, page);

	if (ret == 1)
		return 0;
	/* See above */
	if (xen_tmem_flush(TMEM_FLUSH_PAGE, pool, oid, index))
		return -EIO;
	ret = xen_tmem_errno(ret);
	/* 0 means refused, not that something was not found */
	return ret == -ENOENT || ret == -EIO ? -ENOMEM : ret;
}

static int xen_tmem_get_page(int pool, const struct tmem_oid *oid, u32 index,
			     struct page *page)
{
	int ret = xen_tmem_errno(xen_tmem_op(TMEM_GET_PAGE, pool, oid, index,
					     page));

	if (!ret)
		kmsan_unpoison_memory(page_address(page), PAGE_SIZE);
	return ret;
}

static int xen_tmem_flush_page(int pool, const struct tmem_oid *oid, u32 index)
{
	return xen_tmem_flush(TMEM_FLUSH_PAGE, pool, oid, index);
}

static int xen_tmem_flush_object(int pool, const struct tmem_oid *oid)
{
	return xen_tmem_flush(TMEM_FLUSH_OBJECT, pool, oid, 0);
}

static const struct tmem_ops xen_tmem_ops = {
	.name = "xen",
	.new_pool = xen_tmem_new_pool,
	.destroy_pool = xen_tmem_destroy_pool,
	.put_page = xen_tmem_put_page,
	.get_page = xen_tmem_get_page,
	.flush_page = xen_tmem_flush_page,
	.flush_object = xen_tmem_flush_object,
};

/* Does one of our pools still exist?  A flush of what is never there tells. */
static bool xen_tmem_pools_are_gone(void)
{
	struct tmem_op op = { .cmd = TMEM_FLUSH_OBJECT };
	unsigned long pool;
	void *entry;
	int ret;

	memset(op.u.gen.oid, 0xff, sizeof(op.u.gen.oid));
	xa_for_each(&xen_tmem_pools, pool, entry) {
		op.pool_id = xen_tmem_id(entry);
		if (op.pool_id == XEN_TMEM_NO_POOL)
			continue;
		ret = HYPERVISOR_tmem_op(&op);
		return ret < 0 && ret != -XEN_TMEM_EFROZEN;
	}
	return false;
}

/*
 * Also after a suspend that was cancelled.  Tasks are frozen; other CPUs'
 * timers do not run yet, so do not wait for RCU here.
 */
static int xen_tmem_resume(struct notifier_block *nb, unsigned long action,
			   void *unused)
{
	unsigned long pool;
	void *entry;

	/*
	 * Replaces one value by another, which allocates nothing; unless the
	 * pool is being destroyed just now.
	 */
	if (xen_tmem_pools_are_gone())
		xa_for_each(&xen_tmem_pools, pool, entry)
			xa_cmpxchg(&xen_tmem_pools, pool, entry,
				   xen_tmem_entry(XEN_TMEM_NO_POOL,
						  xen_tmem_flags(entry)),
				   GFP_NOWAIT);
	/*
	 * Also for pools that another host had refused.  Freezable: a new id
	 * must not be from a host that the domain has left meanwhile.
	 */
	queue_work(system_freezable_wq, &xen_tmem_renew_work);
	return NOTIFY_OK;
}

/*
 * libxl gives a domain 60 s to suspend.  Freezing user space may take 20 s of
 * them, kernel threads as many, and devices some.  xen_selfballoon_hold() takes
 * 5 s at most; so long for tmem_suspend(), and then it is better to refuse than
 * to come too late.
 */
#define XEN_TMEM_DRAIN_TIMEOUT	(10 * HZ)

/* Memory first: pages come back to it */
static int xen_tmem_drain(unsigned long timeout)
{
	int ret;

	xen_selfballoon_hold();
	ret = tmem_suspend(timeout);
	if (ret)
		xen_selfballoon_release();
	return ret;
}

static void xen_tmem_undrain(void)
{
	tmem_resume();
	xen_selfballoon_release();
}

/* Only do_suspend() comes here, which xenwatch runs */
static bool xen_tmem_drained;

/**
 * xen_tmem_suspend() - this domain is to be suspended
 *
 * Its pools will stay behind.  Those of another backend are in its own memory.
 *
 * Context: process, may sleep; nothing is frozen yet.
 * Return: 0 or a negative errno, see tmem_suspend().
 */
int xen_tmem_suspend(void)
{
	int ret;

	if (xa_empty(&xen_tmem_pools))
		return 0;
	ret = xen_tmem_drain(XEN_TMEM_DRAIN_TIMEOUT);
	xen_tmem_drained = !ret;
	return ret;
}

/**
 * xen_tmem_suspend_end() - the suspend is over, or was refused
 *
 * Context: process; everything is thawed.
 */
void xen_tmem_suspend_end(void)
{
	if (xen_tmem_drained)
		xen_tmem_undrain();
	xen_tmem_drained = false;
}

/*
 * The toolstack asks for what a suspend would need, or does not any more.  Puts
 * are stopped, and memory is held, as long as it does, whether all pages can be
 * brought back or not: that goes on until it does not.
 */
static void xen_tmem_drain_early(struct work_struct *work)
{
	static bool draining;
	unsigned int wanted = 0;
	int ret = xenbus_scanf(XBT_NIL, "control", "tmem-drain", "%u", &wanted);

	/* Else nothing is known.  What is no number is not a request */
	if (ret != 1 && ret != -ENOENT && ret != -ERANGE) {
		queue_delayed_work(system_freezable_wq, to_delayed_work(work),
				   HZ);
		return;
	}
	if (wanted && !draining) {
		xen_selfballoon_hold();
		tmem_stop();
	} else if (!wanted && draining) {
		xen_tmem_undrain();
	}
	draining = wanted;
	if (draining && tmem_drain(HZ))
		queue_delayed_work(system_freezable_wq, to_delayed_work(work),
				   HZ / 10);
}

static DECLARE_DELAYED_WORK(xen_tmem_drain_work, xen_tmem_drain_early);

static void xen_tmem_drain_changed(struct xenbus_watch *watch,
				   const char *path, const char *token)
{
	mod_delayed_work(system_freezable_wq, &xen_tmem_drain_work, 0);
}

static struct xenbus_watch xen_tmem_drain_watch = {
	.node = "control/tmem-drain",
	.callback = xen_tmem_drain_changed,
};

static int xen_tmem_watch(struct notifier_block *nb, unsigned long event,
			  void *unused)
{
	int ret = register_xenbus_watch(&xen_tmem_drain_watch);

	if (ret)
		pr_warn("control/tmem-drain is not watched (%d)\n", ret);
	return NOTIFY_OK;
}

static struct notifier_block xen_tmem_xenstore_nb = {
	.notifier_call = xen_tmem_watch,
};

/**
 * xen_tmem_pages() - how much of what this domain owns is in persistent pools
 *
 * Context: any.
 * Return: number of pages.  Another backend's do not count.
 */
unsigned long xen_tmem_pages(void)
{
	return xa_empty(&xen_tmem_pools) ? 0 : tmem_persistent_pages();
}

/**
 * xen_tmem_bring_back() - make room for other memory of this domain
 * @nr: pages
 * @write: see tmem_bring_back()
 *
 * Context: as tmem_bring_back().
 * Return: as tmem_bring_back().
 */
int xen_tmem_bring_back(unsigned long nr, bool write)
{
	return tmem_bring_back(nr, write);
}

static void xen_tmem_hibernate(void)
{
	unsigned long pool;
	void *entry;
	int id;

	mutex_lock(&xen_tmem_lock);
	xen_tmem_hibernating = true;
	xa_for_each(&xen_tmem_pools, pool, entry) {
		id = xen_tmem_id(entry);
		if (id == XEN_TMEM_NO_POOL)
			continue;
		xa_store(&xen_tmem_pools, pool,
			 xen_tmem_entry(XEN_TMEM_NO_POOL,
					xen_tmem_flags(entry)), GFP_KERNEL);
		synchronize_rcu();	/* nobody uses the id any more */
		xen_tmem_destroy(id);
	}
	mutex_unlock(&xen_tmem_lock);
}

static void xen_tmem_hibernate_end(void)
{
	mutex_lock(&xen_tmem_lock);
	xen_tmem_hibernating = false;
	mutex_unlock(&xen_tmem_lock);
	xen_tmem_renew(NULL);
}

static int xen_tmem_pm_notify(struct notifier_block *nb, unsigned long action,
			      void *unused)
{
	int ret;

	switch (action) {
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		/* Whoever asked for it can interrupt it */
		ret = xen_tmem_drain(MAX_JIFFY_OFFSET);
		if (ret)
			return notifier_from_errno(ret);
		xen_tmem_hibernate();
		break;
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		xen_tmem_hibernate_end();
		xen_tmem_undrain();
		/* The request may have gone meanwhile; no watch tells */
		if (xen_domain())
			mod_delayed_work(system_freezable_wq,
					 &xen_tmem_drain_work, 0);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block xen_tmem_resume_nb = {
	.notifier_call = xen_tmem_resume,
};

/*
 * For the next kernel, which may not have tmem.  Otherwise the hypervisor does
 * it, and here it would only take swapped pages from tasks that still run.
 */
static void xen_tmem_destroy_pools(void)
{
	unsigned long pool;
	void *entry;

	if (!kexec_in_progress)
		return;
	xa_for_each(&xen_tmem_pools, pool, entry)
		if (xen_tmem_id(entry) != XEN_TMEM_NO_POOL)
			xen_tmem_destroy(xen_tmem_id(entry));
}

/* Point releases of 6.12 differ: 6.12.114 has changed the interface */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 114)
static void xen_tmem_shutdown(void *unused)
{
	xen_tmem_destroy_pools();
}

static const struct syscore_ops xen_tmem_syscore_ops = {
	.shutdown = xen_tmem_shutdown,
};

static struct syscore xen_tmem_syscore = {
	.ops = &xen_tmem_syscore_ops,
};

static void __init xen_tmem_register_shutdown(void)
{
	register_syscore(&xen_tmem_syscore);
}
#else
static struct syscore_ops xen_tmem_syscore_ops = {
	.shutdown = xen_tmem_destroy_pools,
};

static void __init xen_tmem_register_shutdown(void)
{
	register_syscore_ops(&xen_tmem_syscore_ops);
}
#endif

static int __init xen_tmem_init(void)
{
	int id, ret;

	if (!xen_domain() || !tmem_wanted("xen"))
		return -ENODEV;
	if (cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)) {
		pr_info("not used: this domain's memory is encrypted\n");
		return -ENODEV;
	}

	/* What an earlier kernel of this domain has left */
	for (id = 0; id < XEN_TMEM_MAX_POOLS; id++)
		if (xen_tmem_destroy(id) < 0)
			break;

	id = xen_tmem_create(0);
	if (id < 0) {
		if (id != -ENOSYS && id != -ENODEV && id != -EPERM &&
		    id != -EACCES)
			pr_warn("not used: no pool (%d)\n", id);
		return -ENODEV;
	}
	xen_tmem_destroy(id);

	ret = tmem_register_ops(&xen_tmem_ops);
	if (ret)
		return ret;
	xen_resume_notifier_register(&xen_tmem_resume_nb);
	register_xenstore_notifier(&xen_tmem_xenstore_nb);
	pm_notifier(xen_tmem_pm_notify, 0);
	xen_tmem_register_shutdown();
	return 0;
}
device_initcall(xen_tmem_init);

#ifdef CONFIG_XEN_TMEM_KUNIT_TEST
#include "tmem_kunit.c"
#endif
