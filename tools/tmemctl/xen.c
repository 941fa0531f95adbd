// SPDX-License-Identifier: GPL-2.0
/*
 * The transport to Xen: a sysctl hypercall per call, through libxencall
 *
 * It needs nothing else of the toolstack, so it runs in a dom0 whose toolstack
 * knows nothing of tmem.  Names of domains, and how much memory they are to
 * have, are in xenstore, if there is one, and that is also how to ask a guest.
 */
#include <errno.h>
#include <inttypes.h>
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
	xen_domctl_getdomaininfo_t info;
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

/* Issue what is in the bounce buffer.  Return: 0 or an errno */
static int call(uint32_t cmd)
{
	bounce->sysctl.cmd = cmd;
	bounce->sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	return xencall1(xen, __HYPERVISOR_sysctl,
			(uintptr_t)&bounce->sysctl) < 0 ? errno : 0;
}

static int xen_control(struct xen_sysctl_tmem_op *op,
		       struct xen_sysctl_tmem_stats *stats)
{
	int err;

	memset(bounce, 0, sizeof(*bounce));
	if (stats)
		set_xen_guest_handle(op->stats, &bounce->stats);
	memcpy(&bounce->sysctl.u, op, sizeof(*op));
	err = call(XEN_SYSCTL_tmem_op);
	memcpy(op, &bounce->sysctl.u, sizeof(*op));
	if (stats)
		*stats = bounce->stats;
	return err;
}

/* What xenstore has of a domain is there */
static const char *path_of(unsigned int domid, const char *node)
{
	static char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u/%s", domid, node);
	return path;
}

/* Return: what is there, to be freed, or NULL */
static char *read_node(unsigned int domid, const char *node)
{
	unsigned int len;

	return store ? xs_read(store, XBT_NULL, path_of(domid, node), &len) :
		       NULL;
}

static int xen_memory_of(unsigned int domid, struct memory *m)
{
	struct xen_sysctl_getdomaininfolist *list =
		&bounce->sysctl.u.getdomaininfolist;
	const xen_domctl_getdomaininfo_t *info = &bounce->info;
	char *target;
	int err;

	memset(bounce, 0, sizeof(*bounce));
	list->first_domain = domid;
	list->max_domains = 1;
	set_xen_guest_handle(list->buffer, &bounce->info);
	err = call(XEN_SYSCTL_getdomaininfolist);
	if (err)
		return err;
	if (!list->num_domains || info->domain != domid)
		return ESRCH;
	m->now = info->tot_pages * PAGE_KIB;
	/* What Xen gives dom0 without a limit on the command line */
	m->max = info->max_pages == UINT32_MAX ? NONE :
		 info->max_pages * PAGE_KIB;
	target = read_node(domid, "memory/target");
	if (!target || sscanf(target, "%" SCNu64, &m->target) != 1)
		m->target = NONE;
	free(target);
	return 0;
}

static bool xen_has_names(void)
{
	return store;
}

static char *xen_name_of(unsigned int domid)
{
	return read_node(domid, "name");
}

/* The guest may read what is below control, as libxl has made it so */
static int xen_drain(unsigned int domid, bool on)
{
	const char *path = path_of(domid, "control/tmem-drain");

	if (!store)
		return ENOTCONN;
	if (on)
		return xs_write(store, XBT_NULL, path, "1", 1) ? 0 : errno;
	return xs_rm(store, XBT_NULL, path) || errno == ENOENT ? 0 : errno;
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
	.memory_of = xen_memory_of,
	.has_names = xen_has_names,
	.name_of = xen_name_of,
	.drain = xen_drain,
	.close = xen_close,
};
