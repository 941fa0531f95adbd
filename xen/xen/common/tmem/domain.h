/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: what a domain has of it, for tmem.c and control.c.
 *
 * tmem.c acts for a domain: its hypercalls, its life, and memory that others
 * need.  control.c acts on a domain from outside, for the toolstack.
 *
 * d->tmem is set before the domain can be found, and cleared by its teardown.
 * The domain's own vCPUs use it without a lock, as none of them runs any more
 * when it goes.  Others hold tmem_control_lock, under which it is cleared, and
 * leave alone a domain whose teardown has begun.  A shared pool is there for
 * others while it is in tmem_shared_pools, under tmem_shared_lock.
 *
 * Neither of the two locks is taken inside of the other.  Those of the engine
 * are taken inside of both; td->lock, which only tmem.c takes, is taken
 * outside of tmem_shared_lock.
 */
#ifndef TMEM_DOMAIN_H
#define TMEM_DOMAIN_H

#include <xen/sched.h>
#include <xen/tmem.h>
#include "engine.h"

#define TMEM_EVICT      32      /* pages that one call of the engine evicts */
#define TMEM_MAX_AUTH   16      /* uuids that a domain may join */

struct shared_pool {
    struct tme_client client;   /* with pool 0 */
    uint64_t uuid[2];
    struct list_head list;      /* in tmem_shared_pools: can be joined */
    struct list_head sharers;
    unsigned int users;         /* sharers: entries in domains' shared[] */
};

struct sharer {
    struct list_head list;      /* in shared_pool.sharers; tmem_shared_lock */
    const struct domain *d;
};

struct tmem_domain {
    struct tme_client client;
    bool frozen;                /* no new pages */
    bool dying;                 /* under tmem_control_lock */
    bool missed[TME_MAX_POOLS]; /* the last get: a hint for the next one */
    unsigned int nr_auth;       /* under tmem_control_lock */
    uint64_t auth[TMEM_MAX_AUTH][2]; /* under tmem_control_lock */
    percpu_rwlock_t lock;       /* of shared[] */
    struct shared_pool *shared[TME_MAX_POOLS];
    struct sharer sharer[TME_MAX_POOLS];
};

extern bool tmem_on;                    /* from tmem_init() on */
extern struct tme_host tmem_host;

/*
 * Held while a domain's settings or numbers are read or set from outside of
 * it, and while it looks whether it is authorised
 */
extern spinlock_t tmem_control_lock;

/* Of the list, of its length, and of the users of all shared pools */
extern spinlock_t tmem_shared_lock;
extern struct list_head tmem_shared_pools;

static inline bool uuid_equal(const uint64_t *a, const uint64_t *b)
{
    return a[0] == b[0] && a[1] == b[1];
}

/* Says that a pool is not shared after all */
static inline bool uuid_none(const uint64_t *uuid)
{
    return (uuid[0] & uuid[1]) == ~0ULL;
}

/* Under tmem_control_lock.  Return: where in @td->auth, or nr_auth */
static inline unsigned int auth_find(const struct tmem_domain *td,
                                     const uint64_t *uuid)
{
    unsigned int i;

    for ( i = 0; i < td->nr_auth; i++ )
        if ( uuid_equal(td->auth[i], uuid) )
            break;

    return i;
}

/* Under tmem_shared_lock */
static inline struct shared_pool *shared_find(const uint64_t *uuid)
{
    struct shared_pool *s;

    list_for_each_entry ( s, &tmem_shared_pools, list )
        if ( uuid_equal(s->uuid, uuid) )
            return s;

    return NULL;
}

#endif /* TMEM_DOMAIN_H */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
