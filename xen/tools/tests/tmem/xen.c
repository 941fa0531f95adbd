// SPDX-License-Identifier: GPL-2.0
/*
 * Other hypercalls than tmem's: control, memory, domains
 */
#include "abi_test.h"

/* Locked: Xen reads and writes it, and would not fault it in */
void *shared_page;

long xen_call(uint64_t op, uint64_t arg1, uint64_t arg2)
{
	struct tmem_raw_hypercall h = { .nr = op, .arg = { arg1, arg2 } };

	SYS(ioctl(raw, TMEM_RAW_HYPERCALL, &h));
	return h.ret;
}

long sysctl_call(uint32_t cmd, void *u, size_t len)
{
	struct xen_sysctl *sysctl = shared_page;
	long ret;

	memset(sysctl, 0, sizeof(*sysctl));
	sysctl->cmd = cmd;
	sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	memcpy(&sysctl->u, u, len);
	ret = xen_call(__HYPERVISOR_sysctl, (uintptr_t)sysctl, 0);
	memcpy(u, &sysctl->u, len);
	return ret;
}

struct xen_sysctl_tmem_stats *stats_buf(void)
{
	return shared_page + 2048;
}

long control(struct xen_sysctl_tmem_op *op)
{
	return sysctl_call(XEN_SYSCTL_tmem_op, op, sizeof(*op));
}

long control_cmd(uint32_t cmd, int domid)
{
	struct xen_sysctl_tmem_op op = { .cmd = cmd, .domid = domid };

	return control(&op);
}

struct xen_sysctl_tmem_stats stats(void)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_GET };

	set_xen_guest_handle(op.stats, stats_buf());
	CHECK_OP(control(&op), ==, 0);
	CHECK_OP(op.domid, ==, 0);
	return *stats_buf();
}

void set_client(uint32_t mask, uint64_t value)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_SET,
					 .mask = mask };

	if (mask == XEN_SYSCTL_TMEM_SET_CAP)
		op.cap = value;
	else if (mask == XEN_SYSCTL_TMEM_SET_MIN)
		op.min = value;
	else if (mask == XEN_SYSCTL_TMEM_SET_WEIGHT)
		op.weight = value;
	else if (mask == XEN_SYSCTL_TMEM_SET_COMPRESS)
		op.flags = value ? XEN_SYSCTL_TMEM_COMPRESS : 0;
	CHECK_OP(control(&op), ==, 0);
}

/* May this domain join the shared pool? */
long authorise(uint64_t lo, uint64_t hi, bool may)
{
	struct xen_sysctl_tmem_op op = {
		.cmd = XEN_SYSCTL_TMEM_OP_SET_AUTH,
		.flags = may ? XEN_SYSCTL_TMEM_AUTH : 0, .uuid = { lo, hi } };

	return control(&op);
}

/* Return: how many pages the only shared pool has; negative without one */
long shared_pages(void)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_GET,
					 .flags = XEN_SYSCTL_TMEM_SHARED };
	long ret;

	set_xen_guest_handle(op.stats, stats_buf());
	ret = control(&op);
	return ret ?: (long)stats_buf()->eph_pages;
}

/* Settings and numbers of the shared pool.  Return: 0, or -ENOENT */
long get_shared(uint64_t lo, uint64_t hi, struct xen_sysctl_tmem_op *op)
{
	uint32_t nr;
	long ret;

	for (nr = 0;; nr++) {
		*op = (struct xen_sysctl_tmem_op){
			.cmd = XEN_SYSCTL_TMEM_OP_GET,
			.flags = XEN_SYSCTL_TMEM_SHARED, .nr = nr };
		set_xen_guest_handle(op->stats, stats_buf());
		ret = control(op);
		if (ret || (op->uuid[0] == lo && op->uuid[1] == hi))
			return ret;
	}
}

struct xen_sysctl_tmem_stats shared_stats(uint64_t lo, uint64_t hi)
{
	struct xen_sysctl_tmem_op op;

	CHECK_OP(get_shared(lo, hi, &op), ==, 0);
	return *stats_buf();
}

long flush_kib(uint64_t kib)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_FLUSH,
					 .kib = kib };

	CHECK_OP(control(&op), ==, 0);
	return op.kib;
}

long freeable_kib(void)
{
	struct xen_sysctl_tmem_op op = {
		.cmd = XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE };

	CHECK_OP(control(&op), ==, 0);
	return op.kib;
}

struct xen_sysctl_physinfo physinfo(void)
{
	struct xen_sysctl_physinfo info = { 0 };

	CHECK_OP(sysctl_call(XEN_SYSCTL_physinfo, &info, sizeof(info)), ==, 0);
	return info;
}

/* Of the heap.  physinfo() counts what tmem would give up as free, too */
long free_pages(void)
{
	return physinfo().free_pages - freeable_kib() / 4;
}

/*
 * Pages that CPUs keep come back soon, but not at once.  A call on a CPU gives
 * back what that one keeps, so visit those that we have.  Return: the number
 * when it does not change any more.
 */
long settled(long (*pages)(void))
{
	long cpu, nr = -1, last, same = 0;

	for (cpu = sysconf(_SC_NPROCESSORS_ONLN) - 1; cpu >= 0; cpu--) {
		on_cpu(cpu);
		flush_kib(0);
	}
	while (same < 100) {
		last = nr;
		flush_kib(0);
		nr = pages();
		same = nr == last ? same + 1 : 0;
	}
	return nr;
}

long settled_free_pages(void)
{
	return settled(free_pages);
}

long max_mfn(void)
{
	return physinfo().max_mfn;
}

/* Bytes that Xen has ever written to its console */
uint32_t console_bytes(void)
{
	struct xen_sysctl_readconsole rc = { .incremental = 1 };

	set_xen_guest_handle(rc.buffer, (char *)stats_buf());
	do {
		rc.count = 1024;
		CHECK_OP(sysctl_call(XEN_SYSCTL_readconsole, &rc, sizeof(rc)),
			 ==, 0);
	} while (rc.count);
	return rc.index;
}

long tot_pages(void)
{
	domid_t *self = shared_page;

	*self = DOMID_SELF;
	return xen_call(__HYPERVISOR_memory_op, XENMEM_current_reservation,
			(uintptr_t)self);
}

long max_pages(void)
{
	domid_t *self = shared_page;

	*self = DOMID_SELF;
	return xen_call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation,
			(uintptr_t)self);
}

/* @args: what the command takes and returns; NULL if that is nothing */
long domctl_call(uint32_t cmd, domid_t *domid, void *args, size_t len)
{
	struct xen_domctl *domctl = shared_page;
	long ret;

	*domctl = (struct xen_domctl){
		.cmd = cmd, .domain = *domid,
		.interface_version = XEN_DOMCTL_INTERFACE_VERSION };
	if (args)
		memcpy(&domctl->u, args, len);
	ret = xen_call(__HYPERVISOR_domctl, (uintptr_t)domctl, 0);
	if (args)
		memcpy(args, &domctl->u, len);
	*domid = domctl->domain;
	return ret;
}

void set_max_pages_of(domid_t domid, long nr)
{
	struct xen_domctl_max_mem mem = { .max_memkb = nr * 4 };

	CHECK_OP(domctl_call(XEN_DOMCTL_max_mem, &domid, &mem, sizeof(mem)),
		 ==, 0);
}

void set_max_pages(long nr)
{
	set_max_pages_of(0, nr);
}

/*
 * Take memory from the heap, which is then this domain's though its kernel
 * does not know, or give it back.  Return: how many pages of @nr.
 */
long reservation(int cmd, xen_pfn_t *mfns, long nr, uint32_t flags)
{
	struct xen_memory_reservation *res = malloc(sizeof(*res));
	long ret;

	*res = (struct xen_memory_reservation){
		.nr_extents = nr, .mem_flags = flags,
		.domid = DOMID_SELF };
	set_xen_guest_handle(res->extent_start, mfns);
	ret = xen_call(__HYPERVISOR_memory_op, cmd, (uintptr_t)res);
	free(res);
	return ret;
}

long take_memory(xen_pfn_t *mfns, long nr)
{
	return reservation(XENMEM_increase_reservation, mfns, nr, 0);
}

void give_memory(xen_pfn_t *mfns, long nr)
{
	CHECK_OP(reservation(XENMEM_decrease_reservation, mfns, nr, 0),
		 ==, nr);
}

/* Frames that a test has taken for itself */
static xen_pfn_t *extra;
static long nr_extra, old_max_pages;

void begin_taking(void)
{
	extra = mmap(NULL, MOST * sizeof(*extra), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(extra != MAP_FAILED, "mmap: %s", strerror(errno));
	old_max_pages = max_pages();
	set_max_pages(MOST);
}

/* Return: how many pages, less than @nr when there are no more */
long take_extra(long nr, uint32_t flags)
{
	long got = 1, sum = 0;

	while (sum < nr && got) {
		got = nr - sum < 256 ? nr - sum : 256;
		CHECK_OP(nr_extra + got, <=, MOST);
		got = reservation(XENMEM_increase_reservation,
				  extra + nr_extra, got, flags);
		CHECK_OP(got, >=, 0);
		nr_extra += got;
		sum += got;
	}
	return sum;
}

void give_extra(long nr)
{
	nr_extra -= nr;
	give_memory(extra + nr_extra, nr);
}

void end_taking(void)
{
	give_extra(nr_extra);
	set_max_pages(old_max_pages);
}

/* Promise a domain @nr pages; with 0 none any more.  Return: 0 or an error */
long claim_for(domid_t domid, unsigned long nr)
{
	struct xen_memory_reservation *res = shared_page;

	*res = (struct xen_memory_reservation){
		.nr_extents = nr, .domid = domid };
	return xen_call(__HYPERVISOR_memory_op, XENMEM_claim_pages,
			(uintptr_t)res);
}

long claim(unsigned long nr)
{
	return claim_for(0, nr);
}

/* No pools, and default settings */
void clean(void)
{
	struct xen_sysctl_tmem_op op = { .cmd = XEN_SYSCTL_TMEM_OP_GET_AUTH };
	int i;

	for (i = 0; i < MAX_POOLS; i++)
		destroy(i);
	if (control_cmd(XEN_SYSCTL_TMEM_OP_THAW, 0))
		return;		/* off, none, or not dom0 */
	for (i = 0; !control(&op); i++) {
		CHECK(i < MAX_POOLS, "an authority does not go");
		CHECK_OP(authorise(op.uuid[0], op.uuid[1], false), ==, 0);
	}
	set_client(XEN_SYSCTL_TMEM_SET_CAP, ~0ULL);
	set_client(XEN_SYSCTL_TMEM_SET_MIN, 0);
	set_client(XEN_SYSCTL_TMEM_SET_WEIGHT, 100);
	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, false);
	CHECK_OP(claim(0), ==, 0);
	CHECK_OP(stats().eph_pages + stats().pers_pages, ==, 0);
	CHECK_OP(shared_pages(), ==, -ENOENT);
	CHECK_OP(freeable_kib(), ==, 0);
}
