/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: hypercall 38, and where Xen meets the engine.
 *
 * A domain is a client of the engine.  It puts copies of pages into pools and
 * gets them back, and can neither address nor map what is there: all of it is
 * memory of the hypervisor (port.h).  The engine (engine.c, the same source as
 * in Linux and in the tests in user space) keeps the pages, knows the limits,
 * and chooses what to evict.  This file is about the guest's arguments, about
 * what a domain may have, and about giving memory back to the heap.  What the
 * toolstack reads and sets is in control.c.
 *
 *
 *  Guest memory
 *
 * A page is named by frame: MFN for PV, GFN for others.  It is referenced for
 * as long as the copy takes; to write there also takes a reference as writable
 * type, so a page table is refused, and marks it dirty for migration before
 * the references are gone.  All this comes first, but for a look whether there
 * is anything to get: a frame is bad only where it is wanted.  Nothing has
 * changed when an argument is bad, but that a put that fails, for whatever
 * reason, has dropped the older copy.  A page that has been paged out, or has
 * to get its own copy of what it shares with others, is not bad: the call is
 * issued again until it is there.
 *
 * Another vCPU may write to the page while it is copied.  That is the guest's
 * own business, except that a compressor must not see its input change: it
 * gets a copy.
 *
 *
 *  Shared pools
 *
 * A shared pool is named by a uuid, and is for the domains that were
 * authorised for it.  It is a client of the engine by itself, with one pool:
 * it belongs to none of its sharers, has its own weight, and is evicted from
 * as any other, whichever of them leave.  To join is to communicate with all
 * sharers, so the security policy is asked about each of them.
 *
 * A domain that joins gets one of its own pool ids.  The engine gives out ids,
 * so behind this one there is an empty private pool, and tmem_domain.shared[]
 * says where operations go instead.  An entry there is one user of the shared
 * pool; a domain may have several.  Entries are written under the domain's
 * lock, and an operation holds it for reading; that touches nothing that
 * another CPU uses, and operations on private pools do not even do that.
 *
 * The last entry stays until all pages are gone, so that the guest, or its
 * teardown, knows what it has to go on with.  But the pool cannot be found any
 * more: a domain that joins in this time makes a new one.
 *
 *
 *  What a domain may have
 *
 * Ephemeral pages: whatever is free, for they go as soon as the memory is
 * needed elsewhere.  Persistent pages and their metadata: counted together
 * with tot_pages against max_pages, under page_alloc_lock.  A put is counted
 * first and then checked; assign_pages() checks first and then counts.  Both
 * look at the sum inside of the lock: the one that comes second sees the
 * other.  Persistent pages are in no image of a domain that is saved, so while
 * there are any the domain cannot suspend.
 *
 *
 *  Memory for others
 *
 * tmem takes memory from the heap as other code does, but stops where less
 * than a reserve is left (tmem_heap_is_short()), and then evicts for what it
 * takes.  While others have taken of that, puts evict two pages for one
 * (port.c).  An allocation that fails asks tmem_reclaim() and tries again,
 * outside of the heap's lock.  Evicted frames go back to the heap the normal
 * way, which scrubs them, and knows about zones and stale TLB entries.
 *
 *
 *  Bounds
 *
 * One call of the engine takes well below a millisecond.  Dropping an object,
 * a pool or a domain takes many, with a look for something more urgent after
 * each; the op structure is only read, so to issue it again is to go on.
 */

#include <xen/guest_access.h>
#include <xen/hypercall.h>
#include <xen/init.h>
#include <xen/param.h>
#include <xen/sched.h>
#include <xen/tmem.h>
#include <xen/vm_event.h>
#include <xsm/xsm.h>
#include <asm/mem_paging.h>
#include <asm/mem_sharing.h>
#include <asm/p2m.h>
#include <asm/paging.h>
#include <public/tmem.h>
#ifdef CONFIG_COMPAT
#include <compat/tmem.h>
#endif
#include "domain.h"

static bool __initdata opt_tmem;
boolean_param("tmem", opt_tmem);

#define TMEM_MAX_SHARED 16      /* of a host */

bool __read_mostly tmem_on;
struct tme_host tmem_host;

DEFINE_SPINLOCK(tmem_control_lock);
DEFINE_SPINLOCK(tmem_shared_lock);
LIST_HEAD(tmem_shared_pools);
static unsigned int nr_shared;          /* in tmem_shared_pools */

static DEFINE_PERCPU_RWLOCK_GLOBAL(tmem_rwlock);

/*
 * Persistent pages
 */

unsigned int tmem_persistent_pages(const struct domain *d)
{
    return d->tmem ? tme_client_frames(&d->tmem->client, true) : 0;
}

/*
 * Persistent pages would not come with a domain that is saved: it must not
 * suspend before it has brought them back.  Most kernels that use tmem do not
 * know that.  One that puts while it suspends may lose what it puts.
 */
bool tmem_holds_pages(struct domain *d)
{
    bool holds;

    spin_lock(&tmem_control_lock);
    holds = tmem_persistent_pages(d);
    spin_unlock(&tmem_control_lock);

    return holds;
}

/*
 * What a domain does not own just now because it was paged out, or is shared
 * with others, it gets back some time: the room for that is not for persistent
 * pages.
 */
static bool room_is_lent(const struct domain *d)
{
    return mem_paging_enabled(d) || mem_sharing_is_fork(d) ||
           (is_hvm_domain(d) && mem_sharing_enabled(d));
}

/* After a put that took memory for good, or another did: was it too much? */
static bool over_max_pages(struct domain *d)
{
    bool over;

    spin_lock(&d->page_alloc_lock);
    over = domain_tot_pages(d) + tmem_persistent_pages(d) > d->max_pages;
    spin_unlock(&d->page_alloc_lock);

    return over;
}

/*
 * Shared pools
 */

static bool authorised(struct tmem_domain *td, const uint64_t *uuid)
{
    bool found;

    spin_lock(&tmem_control_lock);
    found = auth_find(td, uuid) < td->nr_auth;
    spin_unlock(&tmem_control_lock);

    return found;
}

/* Nobody uses it.  Return: 0, or -EAGAIN when there is more to do */
static int shared_destroy(struct shared_pool *s)
{
    int rc = tme_client_destroy(&s->client);

    if ( !rc )
        xfree(s);

    return rc;
}

/* Without a user, and not yet in the list.  Return: NULL without memory */
static struct shared_pool *shared_new(const uint64_t *uuid)
{
    struct shared_pool *s = xzalloc(struct shared_pool);

    if ( !s || tme_client_init(&tmem_host, &s->client) )
    {
        xfree(s);
        return NULL;
    }
    INIT_LIST_HEAD(&s->list);
    INIT_LIST_HEAD(&s->sharers);
    s->uuid[0] = uuid[0];
    s->uuid[1] = uuid[1];
    if ( tme_new_pool(&s->client, TME_POOL_SHARED) < 0 )
    {
        shared_destroy(s);      /* it is empty: that takes one call */
        return NULL;
    }

    return s;
}

/* Sharers talk to one another: may this domain to all that are there? */
static bool may_share(const struct domain *d, const struct shared_pool *s)
{
    const struct sharer *sharer;

    list_for_each_entry ( sharer, &s->sharers, list )
        if ( xsm_tmem_share(d, sharer->d) || xsm_tmem_share(sharer->d, d) )
            return false;

    return true;
}

/*
 * One user more, of the pool that is there, or else of @new, which may be
 * NULL.
 * Return: which of them; NULL: neither; -EACCES: the policy forbids it
 */
static struct shared_pool *shared_use(struct sharer *sharer,
                                      const uint64_t *uuid,
                                      struct shared_pool *new)
{
    struct shared_pool *s;

    spin_lock(&tmem_shared_lock);
    s = shared_find(uuid);
    if ( !s && new && nr_shared < TMEM_MAX_SHARED )
    {
        s = new;
        list_add_tail(&s->list, &tmem_shared_pools);
        nr_shared++;
    }
    if ( s && !may_share(sharer->d, s) )
        s = ERR_PTR(-EACCES);
    else if ( s )
    {
        list_add_tail(&sharer->list, &s->sharers);
        s->users++;
    }
    spin_unlock(&tmem_shared_lock);

    return s;
}

/* Return: the id; -EACCES; or an error of the engine's */
static int shared_join(struct domain *d, const uint64_t *uuid)
{
    struct tmem_domain *td = d->tmem;
    struct shared_pool *s, *new = NULL;
    struct sharer *sharer;
    int id, rc = 0;

    percpu_write_lock(tmem_rwlock, &td->lock);
    id = tme_new_pool(&td->client, 0);
    if ( id < 0 )
        goto out;

    sharer = &td->sharer[id];
    sharer->d = d;
    s = shared_use(sharer, uuid, NULL);
    if ( !s )
    {
        /* It takes a while to make one: not under tmem_shared_lock */
        new = shared_new(uuid);
        rc = new ? -ENOSPC : -ENOMEM;
        s = shared_use(sharer, uuid, new);
        if ( new && s != new )
            shared_destroy(new);        /* as above */
    }
    if ( IS_ERR(s) )
    {
        rc = PTR_ERR(s);
        s = NULL;
    }
    td->shared[id] = s;
    if ( !s )
    {
        /*
         * It is empty, and this is enough.  Or the guest has guessed the id
         * and put there already, and then it has to destroy the rest itself
         */
        tme_destroy_pool(&td->client, id);
        id = rc;
    }

 out:
    percpu_write_unlock(tmem_rwlock, &td->lock);

    return id;
}

/*
 * Return: 0, and what is behind the id is private; -EAGAIN: call again.  As a
 * guest may never do that, the pages have to stay evictable until they are
 * gone: first the pool, then the client.
 */
static int shared_leave(struct tmem_domain *td, unsigned int id)
{
    struct shared_pool *s;
    bool last = false;
    int rc = 0;

    percpu_write_lock(tmem_rwlock, &td->lock);
    s = td->shared[id];
    if ( s )
    {
        spin_lock(&tmem_shared_lock);
        last = s->users == 1;
        if ( !last )
        {
            list_del(&td->sharer[id].list);
            s->users--;
        }
        else if ( !list_empty(&s->list) )
        {
            list_del_init(&s->list);
            nr_shared--;
        }
        spin_unlock(&tmem_shared_lock);

        if ( last )
        {
            rc = tme_destroy_pool(&s->client, 0);
            if ( rc != -EAGAIN )
                rc = shared_destroy(s);
        }
        if ( !rc )
            td->shared[id] = NULL;
    }
    percpu_write_unlock(tmem_rwlock, &td->lock);

    return rc;
}

/* What pool_get() does when the id is shared, or was a moment ago */
static noinline struct tme_client *pool_get_shared(struct tmem_domain *td,
                                                   struct shared_pool **s,
                                                   uint32_t *pool)
{
    percpu_read_lock(tmem_rwlock, &td->lock);
    if ( *s )
    {
        *pool = 0;
        return &(*s)->client;
    }
    percpu_read_unlock(tmem_rwlock, &td->lock);

    return &td->client;
}

/* do_op() has refused what is too large */
static inline uint32_t pool_id(const struct tmem_op *op)
{
    return tme_clamp(op->pool_id, TME_MAX_POOLS);
}

/*
 * The client that has what is behind the pool id, if anything, and the id
 * there, both good until pool_put().  A look just before an id becomes shared
 * finds the private pool behind it.
 */
static inline struct tme_client *pool_get(struct tmem_domain *td,
                                          uint32_t *pool)
{
    struct shared_pool **s = &td->shared[*pool];

    return likely(!ACCESS_ONCE(*s)) ? &td->client
                                    : pool_get_shared(td, s, pool);
}

static void pool_put(struct tmem_domain *td, const struct tme_client *client)
{
    if ( client != &td->client )
        percpu_read_unlock(tmem_rwlock, &td->lock);
}

/*
 * The operations
 */

/* Return: the id or an error, the hypercall's own */
static long new_pool(struct domain *d, const struct tmem_op *op)
{
    struct tmem_domain *td = d->tmem;
    uint32_t flags = op->u.creat.flags;
    uint32_t kind = flags & (TMEM_POOL_PERSIST | TMEM_POOL_SHARED);
    bool shared = kind == TMEM_POOL_SHARED && !uuid_none(op->u.creat.uuid);
    int id = -EACCES;

    if ( (flags >> TMEM_POOL_VERSION_SHIFT) != TMEM_SPEC_VERSION ||
         ((flags >> TMEM_POOL_PAGESIZE_SHIFT) & TMEM_POOL_PAGESIZE_MASK) !=
         PAGE_SHIFT - 12 ||
         (flags & ~(TMEM_POOL_VERSION_MASK << TMEM_POOL_VERSION_SHIFT |
                    TMEM_POOL_PAGESIZE_MASK << TMEM_POOL_PAGESIZE_SHIFT |
                    TMEM_POOL_PERSIST | TMEM_POOL_SHARED)) ||
         kind == (TMEM_POOL_PERSIST | TMEM_POOL_SHARED) ||
         (kind == TMEM_POOL_PERSIST && room_is_lent(d)) )
        return -EPERM;

    if ( shared && authorised(td, op->u.creat.uuid) )
        id = shared_join(d, op->u.creat.uuid);
    if ( id == -EACCES )
    {
        /* Its own pool, as the ABI has it: the guest cannot tell */
        if ( shared )
            gprintk(XENLOG_WARNING,
                    "tmem: shared pool %*phN: not authorised, made private\n",
                    (int)sizeof(op->u.creat.uuid), op->u.creat.uuid);
        id = tme_new_pool(&td->client, kind & TMEM_POOL_PERSIST);
    }

    return id == -ENOSPC ? -EPERM : id == -EDQUOT ? -ENOMEM : id;
}

/* Return: 0, -EAGAIN, or -EINVAL when there is no such pool */
static int drop_pool(struct tmem_domain *td, uint32_t pool)
{
    bool shared;
    int rc;

    if ( pool >= TME_MAX_POOLS )
        return -EINVAL;
    pool = tme_clamp(pool, TME_MAX_POOLS);

    /* Under the lock: the pool behind an id that is shared has to stay */
    percpu_read_lock(tmem_rwlock, &td->lock);
    shared = td->shared[pool];
    rc = shared ? -EAGAIN : tme_destroy_pool(&td->client, pool);
    percpu_read_unlock(tmem_rwlock, &td->lock);
    if ( shared )
        shared_leave(td, pool);

    return rc;
}

static int destroy_pool(struct tmem_domain *td, uint32_t pool)
{
    int rc = drop_pool(td, pool);

    return rc == -EINVAL ? 0 : rc ?: 1;
}

/* May it be written to?  If so, referenced as writable type, too */
static inline bool guest_page_writable(struct page_info *page, p2m_type_t t)
{
    /* Perhaps log-dirty; neither another domain's nor write-protected */
    return !p2m_is_discard_write(t) && !p2m_is_foreign(t) &&
           t != p2m_ioreq_server && get_page_type(page, PGT_writable_page);
}

static noinline int p2m_page_get(struct domain *d, uint64_t gfn, bool write,
                                 struct page_info **page)
{
    p2m_type_t t;
    int rc = check_get_page_from_gfn(d, _gfn(gfn), !write, &t, page);

    if ( rc )
        return rc == -EAGAIN ? rc : -EFAULT;
    if ( write && !guest_page_writable(*page, t) )
    {
        put_page(*page);
        return -EFAULT;
    }

    return 0;
}

/*
 * Reference a page of the domain that calls, to read it or also to write.  The
 * frames of a PV domain are what they are, and cost less.
 * Return: 0; -EFAULT; -EAGAIN when the hypercall has to be issued again
 */
static inline int guest_page_get(struct domain *d, uint64_t gfn, bool write,
                                 struct page_info **page)
{
    if ( unlikely(paging_mode_translate(d)) )
        return p2m_page_get(d, gfn, write, page);

    *page = get_page_from_gfn(d, gfn, NULL, P2M_ALLOC);
    if ( unlikely(!*page) )
        return -EFAULT;
    if ( write && unlikely(!guest_page_writable(*page, p2m_ram_rw)) )
    {
        put_page(*page);
        return -EFAULT;
    }

    return 0;
}

/* What put_page_op() does once it has the page */
static int put_copy(struct tmem_domain *td, struct tme_client *client,
                    uint32_t pool, const struct tmem_op *op,
                    struct page_info *page)
{
    const uint64_t *oid = op->u.gen.oid.oid;
    uint32_t index = op->u.gen.index;
    const void *src;
    int rc;

    /* What is not there would be new */
    if ( unlikely(read_atomic(&td->frozen)) )
    {
        rc = tme_flush_page(client, pool, oid, index);
        if ( rc )
            return rc == -ENOENT ? -EFROZEN : rc;
    }

    src = port_map(page);
    rc = tme_put(client, pool, oid, index, src);
    port_unmap(src);

    return rc;
}

static int put_page_op(struct domain *d, const struct tmem_op *op)
{
    struct tmem_domain *td = d->tmem;
    const uint64_t *oid = op->u.gen.oid.oid;
    uint32_t pool = pool_id(op), index = op->u.gen.index;
    struct tme_client *client;
    struct page_info *page;
    int rc = guest_page_get(d, op->u.gen.cmfn, false, &page);

    if ( rc == -EAGAIN )
        return rc;
    client = pool_get(td, &pool);
    if ( rc )
    {
        if ( tme_flush_page(client, pool, oid, index) == -EINVAL )
            rc = -EINVAL;
    }
    else
    {
        rc = put_copy(td, client, pool, op, page);
        put_page(page);
    }

    /* If this is not the pool that it was any more, the page is gone, too */
    if ( !rc && tme_pool_flags(client, pool) == TME_POOL_PERSISTENT &&
         (over_max_pages(d) || room_is_lent(d)) )
    {
        tme_flush_page(client, pool, oid, index);
        rc = -ENOMEM;
    }
    pool_put(td, client);

    return rc;
}

/* A get that finds nothing says whether there is nothing at all */
static inline int get_value(struct tme_client *client, uint32_t pool, int rc)
{
    return rc == -ENOENT && tme_pool_empty(client, pool) ? -EEMPTY : rc;
}

/* Is there a page to get? */
static inline int lookup(struct tmem_domain *td, const struct tmem_op *op,
                         uint32_t pool)
{
    struct tme_client *client = pool_get(td, &pool);
    int rc = tme_lookup(client, pool, op->u.gen.oid.oid, op->u.gen.index);

    rc = get_value(client, pool, rc);
    pool_put(td, client);

    return rc;
}

static inline int get_copy(struct tmem_domain *td, const struct tmem_op *op,
                           uint32_t pool, void *dst)
{
    struct tme_client *client = pool_get(td, &pool);
    int rc = tme_get(client, pool, op->u.gen.oid.oid, op->u.gen.index, dst);

    rc = get_value(client, pool, rc);
    pool_put(td, client);

    return rc;
}

/*
 * A page of the guest costs more than a look whether there is anything to get,
 * but not if there is: so look where the last get from this pool has missed.
 * May wait for the guest's page: not between pool_get() and pool_put().
 */
static int get_page_op(struct domain *d, const struct tmem_op *op)
{
    uint32_t pool = pool_id(op);
    bool *missed = &d->tmem->missed[pool];
    struct page_info *page;
    void *dst;
    int rc;

    if ( ACCESS_ONCE(*missed) )
    {
        rc = lookup(d->tmem, op, pool);
        if ( rc )
            return rc;
        ACCESS_ONCE(*missed) = false;
    }

    rc = guest_page_get(d, op->u.gen.cmfn, true, &page);
    /* It matters only where there is something to get */
    if ( unlikely(rc) )
        return rc == -EAGAIN ? rc : lookup(d->tmem, op, pool) ?: rc;

    dst = port_map(page);
    rc = get_copy(d->tmem, op, pool, dst);
    port_unmap(dst);
    if ( unlikely(paging_mode_log_dirty(d)) &&
         rc != -ENOENT && rc != -EEMPTY && rc != -EINVAL )
        paging_mark_dirty(d, page_to_mfn(page));
    put_page_and_type(page);
    if ( unlikely(rc) )
        ACCESS_ONCE(*missed) = true;

    return rc;
}

static int flush_op(struct tmem_domain *td, const struct tmem_op *op)
{
    const uint64_t *oid = op->u.gen.oid.oid;
    uint32_t pool = pool_id(op);
    struct tme_client *client = pool_get(td, &pool);
    int rc;

    if ( op->cmd == TMEM_FLUSH_PAGE )
        rc = tme_flush_page(client, pool, oid, op->u.gen.index);
    else
        rc = tme_flush_object(client, pool, oid);
    pool_put(td, client);

    /* Not to find it is as good */
    if ( rc && rc != -ENOENT )
        return rc;
    return read_atomic(&td->frozen) ? -EFROZEN : 0;
}

/* What the ABI calls what the engine, or one of the above, has returned */
static int guest_value(int rc)
{
    if ( likely(!rc) )
        return 1;

    switch ( rc )
    {
    case -ENOENT:
        return 0;
    case -EDQUOT:
        return -ENOMEM;
    case -EINVAL:
        return -ENODEV;
    default:
        return rc;
    }
}

/* Return: the hypercall's value, or -EAGAIN when it has to be issued again */
static int do_op(struct domain *d, const struct tmem_op *op)
{
    struct tmem_domain *td = d->tmem;

    if ( likely((uint32_t)op->pool_id < TME_MAX_POOLS) )
        switch ( op->cmd )
        {
        case TMEM_PUT_PAGE:
            return guest_value(put_page_op(d, op));

        case TMEM_GET_PAGE:
            return guest_value(get_page_op(d, op));

        case TMEM_FLUSH_PAGE:
        case TMEM_FLUSH_OBJECT:
            return guest_value(flush_op(td, op));
        }

    switch ( op->cmd )
    {
    case 0:     /* was TMEM_CONTROL */
    case TMEM_AUTH:
    case TMEM_RESTORE_NEW:
        return -EOPNOTSUPP;

    case TMEM_NEW_POOL:
        return new_pool(d, op);

    case TMEM_DESTROY_POOL:
        return destroy_pool(td, op->pool_id);

    default:
        return tme_pool_flags(&td->client, op->pool_id) < 0 ? -ENODEV
                                                            : -ENOSYS;
    }
}

static int may_op(const struct domain *d)
{
    return d->tmem ? xsm_tmem_op(XSM_HOOK) : -ENODEV;
}

static long run_op(const struct tmem_op *op, XEN_GUEST_HANDLE_PARAM(void) uop)
{
    int rc;

    while ( (rc = do_op(current->domain, op)) == -EAGAIN )
        if ( hypercall_preempt_check() )
            return hypercall_create_continuation(__HYPERVISOR_tmem_op, "h",
                                                 uop);
    return rc;
}

long do_tmem_op(XEN_GUEST_HANDLE_PARAM(void) uop)
{
    struct tmem_op op;
    int rc = may_op(current->domain);

    if ( rc )
        return rc;
    if ( copy_from_guest(&op, guest_handle_cast(uop, tmem_op_t), 1) )
        return -EFAULT;

    return run_op(&op, uop);
}

#ifdef CONFIG_COMPAT

CHECK_tmem_oid;

int compat_tmem_op(XEN_GUEST_HANDLE_PARAM(void) uop)
{
    struct compat_tmem_op cop;
    struct tmem_op op;
    enum XLAT_tmem_op_u u = XLAT_tmem_op_u_gen;
    int rc = may_op(current->domain);

    if ( rc )
        return rc;
    if ( raw_copy_from_guest(&cop, uop.p, sizeof(cop)) )
        return -EFAULT;
    if ( cop.cmd == TMEM_NEW_POOL )
        u = XLAT_tmem_op_u_creat;
    XLAT_tmem_op(&op, &cop);

    return run_op(&op, uop);
}

#endif /* CONFIG_COMPAT */

/*
 * Domains
 */

int tmem_init_domain(struct domain *d)
{
    struct tmem_domain *td;
    int rc;

    if ( !tmem_on || is_system_domain(d) )
        return 0;

    td = xzalloc(struct tmem_domain);
    if ( !td )
        return -ENOMEM;
    rc = tme_client_init(&tmem_host, &td->client);
    if ( rc )
    {
        xfree(td);
        return rc;
    }
    percpu_rwlock_resource_init(&td->lock, tmem_rwlock);
    d->tmem = td;

    return 0;
}

/*
 * What the domain had until now belongs to nobody.  None of its vCPUs runs.
 * Return: 0 or -ERESTART
 */
int tmem_soft_reset(struct domain *d)
{
    unsigned int id;

    if ( !d->tmem )
        return 0;

    for ( id = 0; id < TME_MAX_POOLS; id++ )
        while ( drop_pool(d->tmem, id) == -EAGAIN )
            if ( general_preempt_check() )
                return -ERESTART;

    return 0;
}

/* No vCPU of @d runs any more.  Return: 0 or -ERESTART */
int tmem_teardown(struct domain *d)
{
    struct tmem_domain *td = d->tmem;
    int rc;

    if ( !td )
        return 0;

    spin_lock(&tmem_control_lock);
    td->dying = true;
    spin_unlock(&tmem_control_lock);

    rc = tmem_soft_reset(d);
    if ( rc )
        return rc;
    while ( tme_client_destroy(&td->client) )
        if ( general_preempt_check() )
            return -ERESTART;
    spin_lock(&tmem_control_lock);
    d->tmem = NULL;
    spin_unlock(&tmem_control_lock);
    /*
     * Nobody is in tmem_persistent_pages(): its callers look under
     * page_alloc_lock whether the domain is dying, and domain_kill() has held
     * that lock since.
     */
    xfree(td);
    tme_port_drain();
    tme_port_drain_others(false);

    return 0;
}

/*
 * Memory for others
 */

#define TMEM_RECLAIM    256     /* pages, if others need as many */

/* May be called under any lock, the heap's too */
unsigned long tmem_freeable_pages(void)
{
    return tmem_on ? tme_freeable(&tmem_host) : 0;
}

/*
 * How many of these are on @node, or on any if that is negative?  That is not
 * counted, so it is taken to be as large a part as of all that tmem has
 */
unsigned long tmem_freeable_pages_on(int node)
{
    if ( !tmem_on || node >= MAX_NUMNODES )
        return 0;

    return tme_port_part(tmem_freeable_pages(),
                         node < 0 ? NUMA_NO_NODE : node);
}

/*
 * An allocation of 2^@order pages has failed.  Return: true when there is more
 * memory now.
 *
 * May be called under locks of the caller's, but not the heap's.
 */
bool tmem_reclaim(unsigned int order)
{
    /* Callers rarely want one page only: free 256 KiB or more */
    long want = max(PAGE_SIZE << order, 64L << PAGE_SHIFT), bytes = 0;
    unsigned int tries = 1024 / TMEM_EVICT;

    /* Callers can do without a superpage: not all cache for a chance of it */
    if ( !tmem_on || order >= 9 )
        return false;

    while ( tries-- &&
            (bytes < want || (bytes < TMEM_RECLAIM << PAGE_SHIFT &&
                              tmem_heap_is_short(1UL << order))) )
        if ( !tme_evict(&tmem_host, TMEM_EVICT, &bytes) )
            break;
    /* The last resort: what other CPUs keep */
    if ( bytes < want )
        tme_port_drain_others(false);

    return tme_port_drain() || bytes > 0;
}

/*
 * A page that is in use and has no owner has been marked to go offline.  It
 * does so when it comes to the heap, and if it is tmem's it has to come there
 * once it is free.
 */
void tmem_page_goes_offline(void)
{
    if ( tmem_on )
        tme_port_look_at_pages();
}

static int __init cf_check tmem_init(void)
{
    if ( !opt_tmem )
        return 0;

    if ( tme_host_init(&tmem_host) )
        printk(XENLOG_ERR "tmem: no memory, off\n");
    else
    {
        printk(XENLOG_INFO "tmem: on\n");
        tmem_on = true;
    }

    return 0;
}
presmp_initcall(tmem_init);

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
