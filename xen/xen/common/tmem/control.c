/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: sysctl 24, what the toolstack reads and sets.
 *
 * Control acts on the clients of the engine, which are domains and shared
 * pools: it reads their settings and numbers, and sets their weight, cap,
 * minimum and compression.  It freezes and thaws domains, says which of them
 * may join a shared pool, and flushes ephemeral pages of whatever client the
 * engine chooses.  It makes no pool, and puts or gets no page.
 *
 *
 *  Who may
 *
 * sysctl.c has asked the security policy whether the caller may control tmem
 * at all.  control_get() asks it about each domain.  A domain that the caller
 * may not control looks as if it were not there, like one without tmem, or
 * one that is dying: -ESRCH if it was named, otherwise it is skipped.  Shared
 * pools belong to no domain, so the first question is all that is asked.
 *
 *
 *  What stays while it is used
 *
 * A domain is found under RCU.  Its struct tmem_domain stays until
 * control_put(), and a shared pool until tmem_shared_lock is released
 * (domain.h).  Both are spinlocks that all domains share, so nothing long is
 * done inside of them.  Put, get and flush take neither.
 *
 * Operations read settings without a lock: what is set here takes effect from
 * the next one on.  To be frozen is no setting of the engine's: put and flush
 * look whether their domain is (tmem.c).
 *
 *
 *  Enumeration
 *
 * Nothing is kept between two calls.  GET has the first domain from an id on,
 * or the shared pool with a number, so a caller that goes on from the last
 * one sees each domain that was there all the time, once.  A shared pool that
 * goes gives its number to the next one: the uuid says which it is.
 *
 *
 *  Bounds
 *
 * A flush evicts a few pages at a time, and stops when there is something
 * more urgent; the caller sees how much it was, and calls again.  All else
 * takes a walk over domains, pools or uuids at most.
 */

#include <xen/guest_access.h>
#include <xen/sched.h>
#include <xen/tmem.h>
#include <xsm/xsm.h>
#include <public/sysctl.h>
#include "domain.h"

/*
 * Return: what @d has, with tmem_control_lock held until control_put(); or
 * NULL, without: it has no tmem, is dying, or is none of the caller's business
 */
static struct tmem_domain *control_get(struct domain *d)
{
    if ( xsm_tmem_control(XSM_PRIV, d) )
        return NULL;

    spin_lock(&tmem_control_lock);
    if ( d->tmem && !d->tmem->dying )
        return d->tmem;
    spin_unlock(&tmem_control_lock);

    return NULL;
}

static void control_put(void)
{
    spin_unlock(&tmem_control_lock);
}

static int control_freeze(domid_t domid, bool freeze)
{
    struct domain *d;
    struct tmem_domain *td;
    int rc = -ESRCH;

    rcu_read_lock(&domlist_read_lock);
    for_each_domain ( d )
    {
        if ( domid != XEN_SYSCTL_TMEM_ALL && domid != d->domain_id )
            continue;
        td = control_get(d);
        if ( !td )
            continue;
        write_atomic(&td->frozen, freeze);
        control_put();
        rc = 0;
    }
    rcu_read_unlock(&domlist_read_lock);

    return rc;
}

static int control_flush(struct xen_sysctl_tmem_op *op)
{
    uint64_t want = op->kib;
    long bytes = 0;

    op->flags = 0;
    /* As much as there is time for; the caller sees how much it was */
    while ( (uint64_t)max(bytes, 0L) >> 10 < want &&
            tme_evict(&tmem_host, TMEM_EVICT, &bytes) )
        if ( hypercall_preempt_check() )
            goto out;
    op->flags = XEN_SYSCTL_TMEM_DONE;
 out:
    tme_port_drain();
    tme_port_drain_others(false);
    op->kib = max(bytes, 0L) >> 10;

    return 0;
}

/* Under a lock that keeps the client */
static void get_client(struct xen_sysctl_tmem_op *op,
                       struct tme_client *client, struct tme_stats *stats)
{
    op->flags |= client->compress ? XEN_SYSCTL_TMEM_COMPRESS : 0;
    op->weight = client->weight;
    op->cap = client->cap == ULONG_MAX ? ~0ULL :
              (uint64_t)client->cap << (PAGE_SHIFT - 10);
    op->min = (uint64_t)client->min << (PAGE_SHIFT - 10);
    tme_client_stats(client, stats);
}

static int control_get_domain(struct xen_sysctl_tmem_op *op,
                              struct tme_stats *stats)
{
    struct domain *d;
    struct tmem_domain *td = NULL;
    unsigned int id;

    rcu_read_lock(&domlist_read_lock);
    for_each_domain ( d )
        if ( d->domain_id >= op->domid && (td = control_get(d)) != NULL )
            break;
    if ( td )
    {
        op->domid = d->domain_id;
        op->pools = 0;
        for ( id = 0; id < TME_MAX_POOLS; id++ )
            op->pools += tme_pool_flags(&td->client, id) >= 0;
        op->flags = td->frozen ? XEN_SYSCTL_TMEM_FROZEN : 0;
        get_client(op, &td->client, stats);
        control_put();
    }
    rcu_read_unlock(&domlist_read_lock);

    return td ? 0 : -ESRCH;
}

static int control_get_shared(struct xen_sysctl_tmem_op *op,
                              struct tme_stats *stats)
{
    unsigned int nr = op->nr;
    struct shared_pool *s;
    int rc = -ENOENT;

    spin_lock(&tmem_shared_lock);
    list_for_each_entry ( s, &tmem_shared_pools, list )
    {
        if ( nr-- )
            continue;
        op->uuid[0] = s->uuid[0];
        op->uuid[1] = s->uuid[1];
        op->pools = s->users;
        op->flags = XEN_SYSCTL_TMEM_SHARED;
        get_client(op, &s->client, stats);
        rc = 0;
        break;
    }
    spin_unlock(&tmem_shared_lock);

    return rc;
}

static int control_get_op(struct xen_sysctl_tmem_op *op)
{
    struct xen_sysctl_tmem_stats out;
    struct tme_stats stats;
    int rc;

    if ( op->flags & ~XEN_SYSCTL_TMEM_SHARED )
        return -EINVAL;

    rc = op->flags ? control_get_shared(op, &stats)
                   : control_get_domain(op, &stats);
    if ( rc )
        return rc;

    out = (struct xen_sysctl_tmem_stats){
        .eph_pages = stats.eph_pages, .pers_pages = stats.pers_pages,
        .raw_pages = stats.raw_pages, .lz4_pages = stats.lz4_pages,
        .meta_bytes = stats.meta_bytes, .used_bytes = stats.used_bytes,
        .pers_bytes = stats.pers_bytes, .puts = stats.puts,
        .put_fails = stats.put_fails, .gets = stats.gets,
        .hits = stats.hits, .flushed = stats.flushed,
        .evicted = stats.evicted,
    };

    return copy_to_guest(op->stats, &out, 1) ? -EFAULT : 0;
}

/* Under a lock that keeps the client */
static void set_client(const struct xen_sysctl_tmem_op *op,
                       struct tme_client *client)
{
    if ( op->mask & XEN_SYSCTL_TMEM_SET_WEIGHT )
        tme_client_set_weight(client, op->weight);
    if ( op->mask & XEN_SYSCTL_TMEM_SET_CAP )
        tme_client_set_cap(client, op->cap == ~0ULL ? ULONG_MAX :
                                   op->cap >> (PAGE_SHIFT - 10));
    if ( op->mask & XEN_SYSCTL_TMEM_SET_MIN )
        tme_client_set_min(client, op->min >> (PAGE_SHIFT - 10));
    if ( op->mask & XEN_SYSCTL_TMEM_SET_COMPRESS )
        tme_client_set_compress(client, op->flags & XEN_SYSCTL_TMEM_COMPRESS);
}

static int control_set_domain(const struct xen_sysctl_tmem_op *op)
{
    struct domain *d = rcu_lock_domain_by_id(op->domid);
    struct tmem_domain *td;

    if ( !d )
        return -ESRCH;
    td = control_get(d);
    if ( td )
    {
        set_client(op, &td->client);
        control_put();
    }
    rcu_unlock_domain(d);

    return td ? 0 : -ESRCH;
}

static int control_set_shared(const struct xen_sysctl_tmem_op *op)
{
    struct shared_pool *s;

    spin_lock(&tmem_shared_lock);
    s = shared_find(op->uuid);
    if ( s )
        set_client(op, &s->client);
    spin_unlock(&tmem_shared_lock);

    return s ? 0 : -ENOENT;
}

static int control_set(const struct xen_sysctl_tmem_op *op)
{
    if ( op->mask & ~(XEN_SYSCTL_TMEM_SET_WEIGHT | XEN_SYSCTL_TMEM_SET_CAP |
                      XEN_SYSCTL_TMEM_SET_MIN |
                      XEN_SYSCTL_TMEM_SET_COMPRESS) ||
         op->flags & ~(XEN_SYSCTL_TMEM_COMPRESS | XEN_SYSCTL_TMEM_SHARED) )
        return -EINVAL;
    if ( op->mask & XEN_SYSCTL_TMEM_SET_WEIGHT && !op->weight )
        return -ERANGE;

    return op->flags & XEN_SYSCTL_TMEM_SHARED ? control_set_shared(op)
                                              : control_set_domain(op);
}

/* Under tmem_control_lock */
static int set_auth(struct tmem_domain *td,
                    const struct xen_sysctl_tmem_op *op)
{
    unsigned int i = auth_find(td, op->uuid);

    if ( op->flags & XEN_SYSCTL_TMEM_AUTH )
    {
        if ( i >= TMEM_MAX_AUTH )
            return -ENOSPC;
        td->auth[i][0] = op->uuid[0];
        td->auth[i][1] = op->uuid[1];
        td->nr_auth += i == td->nr_auth;
        return 0;
    }

    if ( i == td->nr_auth )
        return -ENOENT;
    td->nr_auth--;
    memmove(td->auth[i], td->auth[i + 1],
            (td->nr_auth - i) * sizeof(td->auth[i]));

    return 0;
}

/* Under tmem_control_lock */
static int get_auth(struct tmem_domain *td, struct xen_sysctl_tmem_op *op)
{
    if ( op->nr >= td->nr_auth )
        return -ENOENT;
    op->uuid[0] = td->auth[op->nr][0];
    op->uuid[1] = td->auth[op->nr][1];

    return 0;
}

static int control_auth(struct xen_sysctl_tmem_op *op)
{
    bool set = op->cmd == XEN_SYSCTL_TMEM_OP_SET_AUTH;
    struct domain *d;
    struct tmem_domain *td;
    int rc = -ESRCH;

    if ( op->flags & ~(set ? XEN_SYSCTL_TMEM_AUTH : 0) ||
         (set && uuid_none(op->uuid)) )
        return -EINVAL;

    d = rcu_lock_domain_by_id(op->domid);
    if ( !d )
        return -ESRCH;
    td = control_get(d);
    if ( td )
    {
        rc = set ? set_auth(td, op) : get_auth(td, op);
        control_put();
    }
    rcu_unlock_domain(d);

    return rc;
}

int tmem_control(struct xen_sysctl_tmem_op *op)
{
    if ( !tmem_on )
        return -ENODEV;
    if ( op->mask && op->cmd != XEN_SYSCTL_TMEM_OP_SET )
        return -EINVAL;

    switch ( op->cmd )
    {
    case XEN_SYSCTL_TMEM_OP_THAW:
    case XEN_SYSCTL_TMEM_OP_FREEZE:
        return control_freeze(op->domid,
                              op->cmd == XEN_SYSCTL_TMEM_OP_FREEZE);

    case XEN_SYSCTL_TMEM_OP_FLUSH:
        return control_flush(op);

    case XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE:
        op->kib = (uint64_t)tmem_freeable_pages() << (PAGE_SHIFT - 10);
        return 0;

    case XEN_SYSCTL_TMEM_OP_GET:
        return control_get_op(op);

    case XEN_SYSCTL_TMEM_OP_SET:
        return control_set(op);

    case XEN_SYSCTL_TMEM_OP_SET_AUTH:
    case XEN_SYSCTL_TMEM_OP_GET_AUTH:
        return control_auth(op);

    default:
        return -EOPNOTSUPP;
    }
}

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
