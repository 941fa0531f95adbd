/* SPDX-License-Identifier: MIT */
/******************************************************************************
 * tmem_sysctl.h
 *
 * Control of transcendent memory, a part of sysctl.h for the Xen tools.
 */

#ifndef __XEN_PUBLIC_TMEM_SYSCTL_H__
#define __XEN_PUBLIC_TMEM_SYSCTL_H__

/* sysctl.h and xen.h have come before */

/*
 * XEN_SYSCTL_tmem_op
 *
 * Control of transcendent memory.  Until Xen 4.12 the same number had other
 * commands; those that are the same have the same number, and none is used
 * again with another meaning.  -ENODEV: tmem is not switched on.
 */
#define XEN_SYSCTL_TMEM_OP_THAW             0   /* new pages again */
#define XEN_SYSCTL_TMEM_OP_FREEZE           1   /* no new pages */
#define XEN_SYSCTL_TMEM_OP_FLUSH            2   /* drop ephemeral pages */
#define XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE   8   /* how much is ephemeral? */
#define XEN_SYSCTL_TMEM_OP_SET_AUTH        11   /* shared pools for a domain */
#define XEN_SYSCTL_TMEM_OP_GET             40   /* next domain from domid on */
#define XEN_SYSCTL_TMEM_OP_SET             41   /* settings of a domain */
#define XEN_SYSCTL_TMEM_OP_GET_AUTH        42   /* number nr of a domain's */

#define XEN_SYSCTL_TMEM_ALL            0xffff   /* THAW, FREEZE: all domains */

/* struct xen_sysctl_tmem_op.flags */
#define XEN_SYSCTL_TMEM_FROZEN         (1u << 0)   /* OUT for GET */
/* IN for SET, OUT for GET */
#define XEN_SYSCTL_TMEM_COMPRESS       (1u << 1)
/*
 * IN for GET and SET, OUT for GET: it is about a shared pool: for GET number
 * nr, for SET the one called uuid.  -ENOENT: there is none
 */
#define XEN_SYSCTL_TMEM_SHARED         (1u << 2)
/*
 * IN for SET_AUTH: the domain may join the pool called uuid, otherwise may
 * not, but stays if it has.  -ENOSPC: too many; -ENOENT: was not authorised
 */
#define XEN_SYSCTL_TMEM_AUTH           (1u << 3)
/*
 * OUT for FLUSH: that was all that was wanted, or there is no more.  Otherwise
 * it took too long to do in one go, even if it has given nothing back yet
 */
#define XEN_SYSCTL_TMEM_DONE           (1u << 4)

/* struct xen_sysctl_tmem_op.mask: what SET changes */
#define XEN_SYSCTL_TMEM_SET_WEIGHT     (1u << 0)
#define XEN_SYSCTL_TMEM_SET_CAP        (1u << 1)
#define XEN_SYSCTL_TMEM_SET_MIN        (1u << 2)
#define XEN_SYSCTL_TMEM_SET_COMPRESS   (1u << 3)

/* Since the domain was created, or, where it says so, now */
struct xen_sysctl_tmem_stats {
    uint64_t eph_pages, pers_pages;     /* now */
    uint64_t raw_pages, lz4_pages;      /* now; the rest repeat one word */
    uint64_t meta_bytes;                /* now */
    uint64_t used_bytes, pers_bytes;    /* now; all of it, and persistent */
    uint64_t puts, put_fails, gets, hits, flushed, evicted;
};
typedef struct xen_sysctl_tmem_stats xen_sysctl_tmem_stats_t;
DEFINE_XEN_GUEST_HANDLE(xen_sysctl_tmem_stats_t);

struct xen_sysctl_tmem_op {
    uint32_t cmd;           /* IN: XEN_SYSCTL_TMEM_OP_* */
    uint16_t domid;         /* IN; OUT for GET */
    uint16_t pools;         /* OUT for GET: pools, or users of a shared pool */
    uint32_t flags;         /* XEN_SYSCTL_TMEM_*; otherwise 0 */
    uint32_t mask;          /* IN for SET; otherwise 0 */
    uint32_t weight;        /* 1 or more, default 100 */
    uint32_t nr;            /* IN for GET_AUTH, GET of shared pools: from 0 */
    uint64_aligned_t cap;   /* KiB, ~0: none */
    uint64_aligned_t min;   /* KiB */
    uint64_aligned_t kib;   /* IN and OUT for FLUSH, OUT for QUERY_FREEABLE */
    XEN_GUEST_HANDLE_64(xen_sysctl_tmem_stats_t) stats; /* OUT for GET */
    /*
     * IN for SET_AUTH and SET, OUT for GET_AUTH and GET: the bytes of the
     * uuid, as a guest gives them for TMEM_NEW_POOL.  All ones is none
     */
    uint64_aligned_t uuid[2];
};
typedef struct xen_sysctl_tmem_op xen_sysctl_tmem_op_t;
DEFINE_XEN_GUEST_HANDLE(xen_sysctl_tmem_op_t);

#endif /* __XEN_PUBLIC_TMEM_SYSCTL_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
