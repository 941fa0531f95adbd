// SPDX-License-Identifier: GPL-2.0
/*
 * The transport to Xen: a sysctl hypercall per call, through libxencall
 *
 * It needs nothing else of the toolstack, so it runs in a dom0 whose toolstack
 * knows nothing of tmem.  Names of domains are in xenstore, if there is one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xencall.h>
#include <xenstore.h>
#include <xenstore_lib.h>
#include <xentoollog.h>
#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/sysctl.h>
#ifndef XEN_SYSCTL_tmem_op
#define XEN_SYSCTL_tmem_op	24
#endif
#include "tmemctl.h"

_Static_assert(sizeof(struct xen_sysctl_tmem_op) <=
	       sizeof(((struct xen_sysctl *)0)->u.pad), "ABI");

/* The hypervisor only writes to memory that it can reach at any time */
struct bounce {
	struct xen_sysctl sysctl;
	struct xen_sysctl_tmem_stats stats;
};

static xentoollog_logger *quiet;
static xencall_handle *xen;
static struct xs_handle *store;
static struct bounce *bounce;

static int xen_open(void)
{
	/* The caller says what is wrong, so the library need not */
	quiet = (xentoollog_logger *)
		xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
	xen = xencall_open(quiet, 0);
	if (!xen)
		return errno;
	bounce = xencall_alloc_buffer(xen, sizeof(*bounce));
	if (!bounce)
		return errno;
	/* xs_open() would wait for a xenstored that does not run */
	if (!access(xs_daemon_socket(), F_OK))
		store = xs_open(0);
	return 0;
}

static int xen_control(struct xen_sysctl_tmem_op *op,
		       struct xen_sysctl_tmem_stats *stats)
{
	struct xen_sysctl *sysctl = &bounce->sysctl;
	int ret;

	memset(bounce, 0, sizeof(*bounce));
	sysctl->cmd = XEN_SYSCTL_tmem_op;
	sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	if (stats)
		set_xen_guest_handle(op->stats, &bounce->stats);
	memcpy(&sysctl->u, op, sizeof(*op));
	ret = xencall1(xen, __HYPERVISOR_sysctl, (uintptr_t)sysctl);
	if (ret < 0)
		ret = errno;
	memcpy(op, &sysctl->u, sizeof(*op));
	if (stats)
		*stats = bounce->stats;
	return ret;
}

static bool xen_has_names(void)
{
	return store;
}

static char *xen_name_of(unsigned int domid)
{
	unsigned int len;
	char path[64];

	if (!store)
		return NULL;
	snprintf(path, sizeof(path), "/local/domain/%u/name", domid);
	return xs_read(store, XBT_NULL, path, &len);
}

static void xen_close(void)
{
	if (store)
		xs_close(store);
	xencall_free_buffer(xen, bounce);
	xencall_close(xen);
	xtl_logger_destroy(quiet);
}

const struct transport transport = {
	.device = "/dev/xen/privcmd",
	.version = XEN_SYSCTL_INTERFACE_VERSION,
	.open = xen_open,
	.control = xen_control,
	.has_names = xen_has_names,
	.name_of = xen_name_of,
	.close = xen_close,
};
