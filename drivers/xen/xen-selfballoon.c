// SPDX-License-Identifier: GPL-2.0
/*
 * Self-ballooning: a domain gives up the memory that it does not need, and
 * takes it back when it does.
 *
 * A kernel fills all memory that it has with page cache.  What it really needs
 * is far less most of the time.  The toolstack cannot see how much; the kernel
 * can.  So the kernel moves the balloon's target by itself, between a floor and
 * a ceiling.  The ceiling is the target that the toolstack, or the
 * administrator, has set last: `xl mem-set` goes on working.
 *
 * With transcendent memory below (precache), the clean pages that leave are
 * still near.  That is what makes it safe to give up a lot.
 *
 *
 *	How much is needed
 *
 * All memory that is in use and cannot be dropped, plus what is in preswap,
 * plus room to grow: what processes were promised (Committed_AS), but not more
 * than a quarter of what is in use, because many promises are never claimed;
 * plus what the page allocator wants to be free; plus an eighth, at least 16
 * MiB, for the page cache.  Plus a correction, `trim`.  selfballoon_need()
 * counts what is left when the droppable is subtracted from all.  So memory of
 * drivers, slabs and page tables is in it, which is in no list of its own.
 *
 *
 *	How it moves
 *
 * Down: slowly, and only while nobody feels it.  The brakes are the time that
 * tasks wait for memory (PSI), pages that were read from the disk again soon
 * after they were dropped, and pages read from a swap device.  Pages that came
 * back from precache or preswap do not count: a copy costs a microsecond.  A
 * step has two parts.  First memory is reclaimed, without swapping; then the
 * target is lowered by what is free.  So the balloon itself need not wait for
 * reclaim, and does not take what somebody else is about to use.
 *
 * Up: at once, by all that is missing, to a goal and never "a bit more than
 * now".  There are four occasions:
 *
 *	a look (each second while anything moves, else every five): the need has
 *		grown, or a brake has found something, which raises trim
 *	kswapd runs: the need is counted again
 *	a task reclaims memory itself (direct reclaim): up to the ceiling.  With
 *		many cgroups the shrinker hears of a part of that; a look counts
 *		all of it
 *	the OOM killer is about to kill: up to the ceiling, and it waits for the
 *		balloon, 100 ms at most
 *
 * trim decays by 1/32 with each look that finds nothing.  It stops to grow when
 * the domain has grown in four looks, and each of them still found something:
 * then more memory is no cure.  It may be a cgroup at its own limit, or a file
 * that is larger than all memory.
 *
 *
 *	Who sets the target
 *
 * balloon_set_new_target() asks xen_selfballoon_target() what the target is to
 * be.  Its callers outside of this file thereby set the ceiling.  This file
 * calls it with SELFBALLOON_AGAIN, which leaves the ceiling alone.  Two callers
 * at the same time may store their results in the other order; the next look
 * sets the target again.
 *
 *
 *	When the balloon cannot grow
 *
 * The hypervisor refuses more memory when the host has none, or when the domain
 * owns all that it may.  Pages in preswap are memory that the domain owns.  So
 * while the balloon does not grow, pages are brought back from preswap into
 * free memory, some at a time, and each of them makes room for one more.  If
 * not even one finds memory, because their cgroups are at their limits, they
 * are written to the swap device.  Puts are stopped until the balloon has used
 * the room.  This is done whether self-ballooning is on or not.  The balloon
 * thread sleeps for an hour after four failures, unless its target changes:
 * each look changes it by a page.
 *
 *
 *	Suspend
 *
 * Pages in preswap must come back before (xen_tmem_suspend()), and need memory.
 * So xen_selfballoon_hold() stops to give up any, and if there are such pages
 * takes as much as is allowed, until xen_selfballoon_release().
 */

#define pr_fmt(fmt) "xen_selfballoon: " fmt

#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/oom.h>
#include <linux/psi.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>
#include <linux/swap.h>
#include <linux/tmem.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <xen/balloon.h>
#include <xen/selfballoon.h>
#include <xen/tmem.h>
#include <xen/xen.h>

#define MIB(n)			((unsigned long)(n) << (20 - PAGE_SHIFT))
#define KIB(pages)		((pages) << (PAGE_SHIFT - 10))

/* A target that leaves the ceiling alone */
#define SELFBALLOON_AGAIN	ULONG_MAX

/* Looks: while something moves, at rest, and while the balloon cannot grow */
#define SELFBALLOON_MOVING	HZ
#define SELFBALLOON_REST	(5 * HZ)
#define SELFBALLOON_STUCK	(32 * HZ)

/* Tasks wait so many thousandths of the time: give nothing up; take more */
#define SELFBALLOON_STALL	1
#define SELFBALLOON_PRESSURE	10

/* One page of so many that is read again at each look is nothing */
#define SELFBALLOON_NOISE	8192

/* So old may the sum of waiting be: psi_avgs_work() adds it up each 2 s */
#define SELFBALLOON_PSI_AGE	(2200 * NSEC_PER_MSEC)

/* Looks in which growing was of no use, after which it ends */
#define SELFBALLOON_FUTILE	4

/* Part of the surplus that is given up at a look, and what is not worth it */
#define SELFBALLOON_DOWN	24
#define SELFBALLOON_LEAST	MIB(1)

/* Pages that are brought back from preswap at a time: at most, and at least */
#define SELFBALLOON_BATCH	1024
#define SELFBALLOON_FEW		64

/**
 * struct selfballoon - what is wanted
 * @ceiling: pages that the domain may have; who sets it is said above
 * @floor: pages that it never goes below by itself
 * @goal: pages that it wants; ULONG_MAX for all it may have
 * @trim: pages that it needs beyond what is counted
 * @futile: looks in a row that have raised trim
 */
struct selfballoon {
	unsigned long ceiling;
	unsigned long floor;
	unsigned long goal;
	unsigned long trim;
	unsigned int futile;
};

/**
 * struct selfballoon_look - what a look has found
 * @current_pages: pages that the domain has
 * @need: pages that it needs, without trim
 * @missed: pages read again from a disk since the last look
 * @stall: time that tasks have waited for memory since then, in thousandths
 * @short_of_memory: a task has reclaimed memory itself since then
 */
struct selfballoon_look {
	unsigned long current_pages;
	unsigned long need;
	unsigned long missed;
	unsigned int stall;
	bool short_of_memory;
};

static bool selfballoon_enabled;	/* parameter */
static bool selfballoon_ready;		/* the boot's own ballooning is over */
static unsigned int selfballoon_holds;	/* under the lock */
static bool selfballoon_short;		/* see struct selfballoon_look */
static bool selfballoon_forget;		/* what was counted before */
static unsigned int selfballoon_pokes;	/* odd: the target is a page less */

static DEFINE_SPINLOCK(selfballoon_lock);	/* also taken in reclaim */
static struct selfballoon selfballoon = {	/* under the lock */
	.ceiling = ULONG_MAX,
	.goal = ULONG_MAX,
};

static struct workqueue_struct *selfballoon_wq;
static void selfballoon_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(selfballoon_dwork, selfballoon_work);

static bool selfballoon_is_ready(void)
{
	/* Pairs with the release in xen_selfballoon_init() */
	return smp_load_acquire(&selfballoon_ready);
}

/* Does it move by itself? */
static bool selfballoon_active(void)
{
	return READ_ONCE(selfballoon_enabled) && selfballoon_is_ready();
}

/* Look after @delay, or before if that was planned */
static void selfballoon_look_in(unsigned long delay)
{
	if (!selfballoon_is_ready())
		return;
	if (!delayed_work_pending(&selfballoon_dwork) ||
	    time_before(jiffies + delay, selfballoon_dwork.timer.expires))
		mod_delayed_work(selfballoon_wq, &selfballoon_dwork, delay);
}

/**
 * xen_selfballoon_target() - what is the balloon's target to be?
 * @target: pages that the toolstack or the administrator wants
 *
 * Only balloon_set_new_target() asks.
 *
 * Context: any but interrupt.
 * Return: pages, at most @target.
 */
unsigned long xen_selfballoon_target(unsigned long target)
{
	struct selfballoon *b = &selfballoon;
	bool new = target != SELFBALLOON_AGAIN;

	spin_lock(&selfballoon_lock);
	if (new)
		b->ceiling = target;
	target = b->ceiling;
	if (target == ULONG_MAX)	/* nobody has said yet */
		target = balloon_stats.target_pages;
	if (selfballoon_active())
		target = min(target, b->goal);
	target -= min(target, selfballoon_pokes & 1);
	spin_unlock(&selfballoon_lock);
	if (new)
		selfballoon_look_in(SELFBALLOON_MOVING);
	return target;
}

/* Raises the goal to this, at least.  The target changes, or is tried again */
static void selfballoon_grow(unsigned long goal)
{
	struct selfballoon *b = &selfballoon;

	spin_lock(&selfballoon_lock);
	b->goal = max(b->goal, goal);
	selfballoon_pokes++;
	spin_unlock(&selfballoon_lock);
	balloon_set_new_target(SELFBALLOON_AGAIN);
	selfballoon_look_in(SELFBALLOON_MOVING);
}

/* How many pages is the balloon to take back that it has?  Not the last one. */
static unsigned long selfballoon_missing(void)
{
	unsigned long target = READ_ONCE(balloon_stats.target_pages);
	unsigned long now = READ_ONCE(balloon_stats.current_pages);

	/* Otherwise others have what it lacks: grants are mapped there */
	if (!balloon_stats.balloon_low && !balloon_stats.balloon_high)
		return 0;
	return target > now + 1 ? target - now : 0;
}

/* Until it has taken some of it.  Returns how many pages */
static unsigned long selfballoon_wait(void)
{
	unsigned long before = READ_ONCE(balloon_stats.current_pages), now;
	unsigned long end = jiffies + HZ / 10;

	do {
		if (!selfballoon_missing())
			break;
		schedule_timeout_uninterruptible(1);
		now = READ_ONCE(balloon_stats.current_pages);
	} while (now <= before && time_before(jiffies, end));
	now = READ_ONCE(balloon_stats.current_pages);
	return now - min(now, before);
}

/*
 * How many pages does this kernel need, of those that a domain is said to have?
 * That is more than the page allocator knows of.
 */
static unsigned long selfballoon_need(void)
{
	unsigned long total = totalram_pages(), anon, used, ahead;
	unsigned long droppable, swapped = xen_tmem_pages();

	/* What is on a disk is needed when it is read again */
	anon = swapped + global_node_page_state(NR_ACTIVE_ANON) +
	       global_node_page_state(NR_INACTIVE_ANON) +
	       global_node_page_state(NR_UNEVICTABLE);
	/* Slabs are full of holes: half of what could be reclaimed */
	droppable = global_zone_page_state(NR_FREE_PAGES) +
		    global_node_page_state(NR_ACTIVE_FILE) +
		    global_node_page_state(NR_INACTIVE_FILE) +
		    global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B) / 2;
	used = total - min(total, droppable) + swapped;
	ahead = vm_memory_committed();
	ahead = min(ahead - min(ahead, anon), used / 4);
	return used + ahead + totalreserve_pages + max(MIB(16), used / 8) +
	       balloon_stats.current_pages - min(balloon_stats.current_pages,
						 total);
}

/*
 * What does a domain want that has found this?  Changes trim, and nothing else.
 * Returns pages: more than it has, as much, or less, of which it should give up
 * a part.
 */
static unsigned long selfballoon_want(struct selfballoon *b,
				      const struct selfballoon_look *look)
{
	bool missed = look->missed > look->current_pages / SELFBALLOON_NOISE;
	bool hurts = missed || look->stall >= SELFBALLOON_PRESSURE;
	unsigned long want;

	if (look->short_of_memory) {
		b->trim = b->ceiling - min(b->ceiling, look->need);
	} else if (hurts && b->futile < SELFBALLOON_FUTILE) {
		b->trim += look->missed;
		if (look->stall >= SELFBALLOON_PRESSURE)
			b->trim += look->current_pages / 64;
		b->futile++;
	} else if (!hurts && look->stall < SELFBALLOON_STALL) {
		b->trim -= DIV_ROUND_UP(b->trim, 32);
		b->futile = 0;
	}
	b->trim = min(b->trim, b->ceiling);

	want = max(look->need + b->trim, b->floor);
	if (want < look->current_pages &&
	    (hurts || look->stall >= SELFBALLOON_STALL))
		want = look->current_pages;
	return min(want, b->ceiling);
}

/* What has been counted since boot; times in nanoseconds */
struct selfballoon_sums {
	unsigned long refaults, hits, misses, swapins, allocstalls;
	u64 stall, time;
};

static void selfballoon_sum(struct selfballoon_sums *sums)
{
#ifdef CONFIG_VM_EVENT_COUNTERS
	static unsigned long events[NR_VM_EVENT_ITEMS];
	int zone;

	all_vm_events(events);
	for (zone = 0; zone < MAX_NR_ZONES; zone++)
		sums->allocstalls += events[ALLOCSTALL_NORMAL - ZONE_NORMAL +
					    zone];
#ifdef CONFIG_PRECACHE
	sums->hits = events[PRECACHE_GET];
	sums->misses = events[PRECACHE_GET_MISS];
#endif
	sums->swapins = events[PSWPIN];
#endif
	sums->refaults = global_node_page_state(WORKINGSET_REFAULT_FILE);
#ifdef CONFIG_PSI
	sums->stall = READ_ONCE(psi_system.total[PSI_AVGS][PSI_MEM_SOME]);
#endif
	sums->time = ktime_get_ns();
}

/*
 * Page cache that was read again from a disk.  A hit may be of a page that had
 * been forgotten altogether, and then hides a refault; so look at the misses,
 * too.
 */
static unsigned long selfballoon_missed(const struct selfballoon_sums *now,
					const struct selfballoon_sums *last)
{
	unsigned long refaults = now->refaults - last->refaults;
	unsigned long hits = now->hits - last->hits;
	unsigned long misses = now->misses - last->misses;

	return max(refaults - min(refaults, hits), min(refaults, misses));
}

/* Thousandths of the time.  The sum stands still between two additions */
static unsigned int selfballoon_stall(const struct selfballoon_sums *now,
				      bool forget)
{
	static unsigned int stall;
	static u64 sum, time;
	u64 passed = now->time - time;

	if (!forget && now->stall == sum && passed < SELFBALLOON_PSI_AGE)
		return stall;
	stall = forget ? 0 : div64_u64((now->stall - sum) * 1000,
				       max(passed, 1));
	sum = now->stall;
	time = now->time;
	return stall;
}

/* Only the worker looks */
static void selfballoon_look(struct selfballoon_look *look)
{
	bool forget = xchg(&selfballoon_forget, false);
	static struct selfballoon_sums last;
	struct selfballoon_sums now = { };

	selfballoon_sum(&now);
	*look = (struct selfballoon_look){
		.current_pages = balloon_stats.current_pages,
		.need = selfballoon_need(),
		.stall = selfballoon_stall(&now, forget),
		.short_of_memory = xchg(&selfballoon_short, false),
	};
	if (!forget) {
		look->missed = selfballoon_missed(&now, &last) +
			       now.swapins - last.swapins;
		look->short_of_memory |= now.allocstalls != last.allocstalls;
	}
	last = now;
}

/* Up to @nr pages are free that nobody needs: reclaim as many as are not */
static unsigned long selfballoon_make_free(unsigned long nr)
{
	unsigned long keep = totalreserve_pages + MIB(4), spare;
	int again = 1;

	for (;;) {
		spare = global_zone_page_state(NR_FREE_PAGES);
		spare -= min(spare, keep);
		if (spare >= nr || !again--)
			return min(spare, nr);
		try_to_free_mem_cgroup_pages(root_mem_cgroup, nr - spare,
					     GFP_KERNEL,
					     MEMCG_RECLAIM_PROACTIVE, NULL);
	}
}

/* Moves the goal, unless it was raised meanwhile.  Is there more to be done? */
static bool selfballoon_move(void)
{
	struct selfballoon *b = &selfballoon;
	unsigned long want, goal, before;
	struct selfballoon_look look;

	selfballoon_look(&look);
	spin_lock(&selfballoon_lock);
	want = selfballoon_want(b, &look);
	before = b->goal;
	spin_unlock(&selfballoon_lock);

	goal = look.current_pages;
	if (want > goal)
		goal = want;
	else if (goal - want >= SELFBALLOON_LEAST)
		goal -= selfballoon_make_free(DIV_ROUND_UP(goal - want,
							   SELFBALLOON_DOWN));

	spin_lock(&selfballoon_lock);
	if (b->goal == before && !READ_ONCE(selfballoon_short))
		b->goal = goal;
	spin_unlock(&selfballoon_lock);
	balloon_set_new_target(SELFBALLOON_AGAIN);
	if (goal < look.current_pages && !total_swap_pages)
		pr_warn_once("memory was given up, and there is no swap device: processes are killed if the host cannot give it back at once; add swap of the size of this domain's memory\n");
	return goal != look.current_pages;
}

/*
 * At rest what is in preswap comes back, a twentieth of it at a time, once it
 * has not grown for three looks.  Room for it is counted in the need.
 */
static void selfballoon_unswap(void)
{
	static unsigned long held;
	static int inertia;
	unsigned long now = xen_tmem_pages(), nr;

	if (now > held)
		inertia = 3;
	else if (inertia)
		inertia--;
	held = now;
	nr = min(now, max(now / 20, SELFBALLOON_FEW));
	/* They keep their slots, and reclaim needs some to swap out others */
	if (nr && !inertia && get_nr_swap_pages() >= SELFBALLOON_FEW &&
	    selfballoon_make_free(nr) == nr)
		xen_tmem_bring_back(nr, false);
}

/* Room that a balloon of @missing pages less than it should have can use */
static void selfballoon_make_room(unsigned long missing)
{
	unsigned long held = xen_tmem_pages(), room;

	room = min3(missing, held, SELFBALLOON_BATCH);
	room = max(selfballoon_make_free(room), min(room, SELFBALLOON_FEW));
	xen_tmem_bring_back(room, false);
	if (xen_tmem_pages() >= held)
		xen_tmem_bring_back(room, true);
}

/*
 * The balloon has not reached its target.  If it does not even move, make room
 * for it and let it try again.  Returns when to look next.
 */
static unsigned long selfballoon_push(unsigned long missing, bool held)
{
	static unsigned long last, last_ceiling, next, delay;
	unsigned long ceiling = READ_ONCE(selfballoon.ceiling);
	unsigned long now = balloon_stats.current_pages;
	static bool was_held;
	bool room;

	if (now != last || ceiling != last_ceiling || held != was_held) {
		last = now;
		last_ceiling = ceiling;
		was_held = held;
		delay = held ? SELFBALLOON_MOVING / 10 : SELFBALLOON_MOVING;
		next = jiffies + delay;
		return delay;
	}
	if (time_before(jiffies, next))
		return next - jiffies;
	/* While it is held, the task that holds it brings back all of them */
	room = !held && xen_tmem_pages();
	if (room) {
		tmem_stop();
		selfballoon_make_room(missing);
	}
	selfballoon_grow(0);
	delay = selfballoon_wait() ? SELFBALLOON_MOVING / 10 :
				     min(2 * delay, SELFBALLOON_STUCK);
	if (room)
		tmem_resume();
	next = jiffies + delay;
	return delay;
}

static bool selfballoon_held(void)
{
	bool held;

	spin_lock(&selfballoon_lock);
	held = selfballoon_holds;
	spin_unlock(&selfballoon_lock);
	return held;
}

static void selfballoon_work(struct work_struct *work)
{
	unsigned long delay = MAX_JIFFY_OFFSET, missing;
	bool held = selfballoon_held();

	/* A target of before may have been stored last */
	balloon_set_new_target(SELFBALLOON_AGAIN);
	missing = selfballoon_missing();
	if (missing)
		delay = selfballoon_push(missing, held);
	if (selfballoon_active() && !held) {
		if (selfballoon_move()) {
			delay = min(delay, SELFBALLOON_MOVING);
		} else {
			selfballoon_unswap();
			delay = min(delay, SELFBALLOON_REST);
		}
	}
	if (delay != MAX_JIFFY_OFFSET)
		selfballoon_look_in(delay);
}

/* What was counted until now does not matter, nor what was wanted */
static void selfballoon_begin(void)
{
	struct selfballoon *b = &selfballoon;

	spin_lock(&selfballoon_lock);
	b->goal = balloon_stats.current_pages;
	spin_unlock(&selfballoon_lock);
	WRITE_ONCE(selfballoon_short, false);
	WRITE_ONCE(selfballoon_forget, true);
	balloon_set_new_target(SELFBALLOON_AGAIN);
	selfballoon_look_in(1);
}

/**
 * xen_selfballoon_hold() - give up no memory, and take what a suspend needs
 *
 * Until as many calls of xen_selfballoon_release().  If pages have to come back
 * from preswap, that is all that is allowed.  Returns when it has come, or no
 * more comes, or after 5 s; it may go on to come.
 *
 * Context: process, may sleep.
 */
void xen_selfballoon_hold(void)
{
	unsigned long end = jiffies + 5 * HZ;

	spin_lock(&selfballoon_lock);
	selfballoon_holds++;
	spin_unlock(&selfballoon_lock);
	if (!selfballoon_is_ready() || !xen_tmem_pages())
		return;
	selfballoon_grow(ULONG_MAX);
	selfballoon_look_in(1);
	while (selfballoon_wait() && time_before(jiffies, end))
		;
}

/**
 * xen_selfballoon_release() - undo one xen_selfballoon_hold()
 *
 * Context: process.
 */
void xen_selfballoon_release(void)
{
	spin_lock(&selfballoon_lock);
	selfballoon_holds--;
	spin_unlock(&selfballoon_lock);
	if (selfballoon_is_ready())
		selfballoon_begin();
}

/*
 * Memory is reclaimed: grow.  There is nothing here to be reclaimed; this is
 * only where a task is told of it.
 */
static unsigned long selfballoon_count(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	static unsigned long last = INITIAL_JIFFIES;

	/* If enough is free, somebody does it for another reason */
	if (!selfballoon_active() || READ_ONCE(selfballoon_short) ||
	    global_zone_page_state(NR_FREE_PAGES) > totalreserve_pages)
		return 0;
	if (!(current->flags & PF_KTHREAD)) {
		WRITE_ONCE(selfballoon_short, true);
		selfballoon_grow(ULONG_MAX);
	} else if (current_is_kswapd() &&
		   time_after(jiffies, READ_ONCE(last) + HZ / 10)) {
		WRITE_ONCE(last, jiffies);
		selfballoon_grow(selfballoon_need());
	}
	return 0;
}

static unsigned long selfballoon_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	return SHRINK_STOP;
}

/* Also when it is off: the balloon may be on its way to a higher target */
static int selfballoon_oom(struct notifier_block *nb, unsigned long unused,
			   void *freed)
{
	WRITE_ONCE(selfballoon_short, true);
	selfballoon_grow(ULONG_MAX);
	*(unsigned long *)freed += selfballoon_wait();
	return NOTIFY_OK;
}

static struct notifier_block selfballoon_oom_nb = {
	.notifier_call = selfballoon_oom,
};

static int selfballoon_set_enabled(const char *val,
				   const struct kernel_param *kp)
{
	int ret;

	/* On the command line: xen_selfballoon_init() looks at the rest */
	if (selfballoon_is_ready() && xen_initial_domain())
		return -EPERM;
	if (system_state >= SYSTEM_RUNNING && !selfballoon_is_ready())
		return -ENODEV;
	ret = param_set_bool(val, kp);
	if (!ret && selfballoon_is_ready())
		selfballoon_begin();
	return ret;
}

static const struct kernel_param_ops selfballoon_enabled_ops = {
	.set = selfballoon_set_enabled,
	.get = param_get_bool,
};
module_param_cb(enabled, &selfballoon_enabled_ops, &selfballoon_enabled, 0644);
MODULE_PARM_DESC(enabled, "give up memory that is not needed (default: no)");

/* Numbers of pages are shown, and given, in KiB */
static int selfballoon_get_kib(char *buf, const struct kernel_param *kp)
{
	unsigned long pages = READ_ONCE(*(unsigned long *)kp->arg);

	if (pages == ULONG_MAX)
		return sysfs_emit(buf, "max\n");
	return sysfs_emit(buf, "%lu\n", KIB(pages));
}

static int selfballoon_set_floor(const char *val, const struct kernel_param *kp)
{
	unsigned long kib, ceiling = READ_ONCE(selfballoon.ceiling);
	int ret = kstrtoul(val, 0, &kib);

	if (!ret && ceiling != ULONG_MAX && kib > KIB(ceiling))
		ret = -ERANGE;
	if (ret) {
		pr_err("floor_kb=%s: valid are numbers from 0 to ceiling_kb\n",
		       val);
		return ret;
	}
	WRITE_ONCE(selfballoon.floor, kib >> (PAGE_SHIFT - 10));
	return 0;
}

static const struct kernel_param_ops selfballoon_floor_ops = {
	.set = selfballoon_set_floor,
	.get = selfballoon_get_kib,
};
module_param_cb(floor_kb, &selfballoon_floor_ops, &selfballoon.floor, 0644);
MODULE_PARM_DESC(floor_kb, "never go below this by itself (default: from the size of the domain)");

static int selfballoon_set_nothing(const char *val,
				   const struct kernel_param *kp)
{
	return -EPERM;
}

static const struct kernel_param_ops selfballoon_show_ops = {
	.set = selfballoon_set_nothing,
	.get = selfballoon_get_kib,
};
module_param_cb(ceiling_kb, &selfballoon_show_ops, &selfballoon.ceiling, 0444);
module_param_cb(goal_kb, &selfballoon_show_ops, &selfballoon.goal, 0444);
module_param_cb(trim_kb, &selfballoon_show_ops, &selfballoon.trim, 0444);

/*
 * What a domain of this size never goes below by itself.  By experience with
 * the self-ballooning of Linux 2.6.38 to 5.2.
 */
static unsigned long selfballoon_floor(unsigned long pages)
{
	if (pages < MIB(64))
		return MIB(16) + pages / 2;
	if (pages < MIB(512))
		return MIB(40) + pages / 8;
	return MIB(88) + pages / 32;
}

/* After balloon_wait_finish(), which must see its target reached */
static int __init xen_selfballoon_init(void)
{
	struct selfballoon *b = &selfballoon;
	struct shrinker *shrinker;

	if (!xen_domain())
		return 0;
	if (xen_initial_domain() && selfballoon_enabled) {
		pr_warn("not for dom0, which all others depend on\n");
		selfballoon_enabled = false;
	}
	selfballoon_wq = alloc_workqueue("xen_selfballoon",
					 WQ_UNBOUND | WQ_FREEZABLE, 1);
	if (!selfballoon_wq)
		return -ENOMEM;
	shrinker = shrinker_alloc(0, "xen-selfballoon");
	if (!shrinker) {
		destroy_workqueue(selfballoon_wq);
		return -ENOMEM;
	}
	spin_lock(&selfballoon_lock);
	if (b->ceiling == ULONG_MAX)
		b->ceiling = balloon_stats.target_pages;
	if (!b->floor)
		b->floor = selfballoon_floor(b->ceiling);
	spin_unlock(&selfballoon_lock);
	/* Pairs with the acquire in selfballoon_is_ready() */
	smp_store_release(&selfballoon_ready, true);
	selfballoon_begin();
	shrinker->count_objects = selfballoon_count;
	shrinker->scan_objects = selfballoon_scan;
	shrinker_register(shrinker);
	return register_oom_notifier(&selfballoon_oom_nb);
}
late_initcall_sync(xen_selfballoon_init);

#ifdef CONFIG_XEN_SELFBALLOONING_KUNIT_TEST
#include "xen-selfballoon_kunit.c"
#endif
