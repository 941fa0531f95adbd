// SPDX-License-Identifier: GPL-2.0
/*
 * A transport to nowhere, for test.py
 *
 * It answers as Xen's tmem_control() would.  TMEMCTL_FAKE in the environment
 * says what the host is like, "KEY=N,KEY=N...":
 *
 *	domains		domains 0 to N-1 have tmem; default 2
 *	pools		there are N shared pools
 *	auth		each domain may join N shared pools
 *	free		there are N KiB of ephemeral memory
 *	nameless	no xenstored runs
 *	open		open() fails with errno N
 *	error, after	calls fail with errno ERROR, all but the first AFTER
 *	gone		domain 1 is destroyed before call N
 *	ops		with each call domain I puts and gets I*N pages more,
 *			and 3 of 4 gets are hits
 *	slow		a domain that is drained brings a page back with each
 *			N-th look; 0: only one, which it puts again
 *	reset		domain 1 counts from 0 again from call N on
 *	renamed		domain 1 is another one of that id from call N on
 *	interrupt	during call N, somebody presses ctrl-C
 *
 * TMEMCTL_FAKE_LOG names a file that gets a line for each call: the command,
 * and those fields that are not 0.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tmemctl.h"

#define MAX_AUTH	16
#define FLUSH_KIB	1024	/* what one FLUSH drops at most */

enum {
	DOMAINS, POOLS, AUTH, FREE, NAMELESS, OPEN, ERROR, AFTER, GONE, OPS,
	SLOW, RESET, RENAMED, INTERRUPT, NR
};

static char *const keys[] = {
	"domains", "pools", "auth", "free", "nameless", "open", "error",
	"after", "gone", "ops", "slow", "reset", "renamed",
	"interrupt", NULL
};

static unsigned long set[NR] = {
	[DOMAINS] = 2, [GONE] = -1ul, [SLOW] = 1, [RESET] = -1ul,
	[RENAMED] = -1ul
};
static unsigned long calls;
static int drained = -1;		/* the domain */
static unsigned long looks;		/* at it, since it was asked */
static FILE *calls_log;

static int fake_open(void)
{
	const char *env = getenv("TMEMCTL_FAKE") ?: "";
	const char *name = getenv("TMEMCTL_FAKE_LOG");
	char *copy = strdup(env), *options = copy, *value;
	int key;

	while (*options) {
		key = getsubopt(&options, keys, &value);
		if (key < 0)
			abort();
		set[key] = strtoul(value ?: "1", NULL, 10);
	}
	free(copy);
	calls_log = name ? fopen(name, "we") : NULL;
	return set[OPEN];
}

static void fake_close(void)
{
	if (calls_log)
		fclose(calls_log);
}

static void write_log(const struct xen_sysctl_tmem_op *op)
{
	static const char *const names[] = {
		[XEN_SYSCTL_TMEM_OP_THAW] = "THAW",
		[XEN_SYSCTL_TMEM_OP_FREEZE] = "FREEZE",
		[XEN_SYSCTL_TMEM_OP_FLUSH] = "FLUSH",
		[XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE] = "QUERY_FREEABLE",
		[XEN_SYSCTL_TMEM_OP_SET_AUTH] = "SET_AUTH",
		[XEN_SYSCTL_TMEM_OP_GET] = "GET",
		[XEN_SYSCTL_TMEM_OP_SET] = "SET",
		[XEN_SYSCTL_TMEM_OP_GET_AUTH] = "GET_AUTH",
	};
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{ "domid", op->domid }, { "pools", op->pools },
		{ "flags", op->flags }, { "mask", op->mask },
		{ "weight", op->weight }, { "nr", op->nr },
		{ "cap", op->cap }, { "min", op->min }, { "kib", op->kib },
	};
	char text[UUID_LEN + 1];
	size_t i;

	if (!calls_log)
		return;
	fputs(names[op->cmd], calls_log);
	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (fields[i].value)
			fprintf(calls_log, " %s=%llu", fields[i].name,
				(unsigned long long)fields[i].value);
	print_uuid(text, op->uuid);
	if (op->uuid[0] || op->uuid[1])
		fprintf(calls_log, " uuid=%s", text);
	fputc('\n', calls_log);
	fflush(calls_log);
}

/* Return: 0, or the errno that it shall fail with */
static int count_call(void)
{
	calls++;
	if (calls == set[INTERRUPT])
		raise(SIGINT);
	return calls > set[AFTER] ? set[ERROR] : 0;
}

static bool exists(unsigned int domid)
{
	return domid < set[DOMAINS] && (domid != 1 || calls < set[GONE]);
}

/* That of shared pool @nr, byte by byte: 5a 01 02 ... 0e NR */
static void uuid_of_pool(uint64_t uuid[2], unsigned int nr)
{
	unsigned char byte[16] = { 0x5a };
	int i;

	for (i = 1; i < 16; i++)
		byte[i] = i < 15 ? i : (int)nr;
	memcpy(uuid, byte, sizeof(byte));
}

/* Return: the number of the pool, @nr if it is none of the first @nr */
static unsigned int find_pool(const uint64_t uuid[2], unsigned int nr)
{
	uint64_t other[2];
	unsigned int i;

	for (i = 0; i < nr; i++) {
		uuid_of_pool(other, i);
		if (!memcmp(other, uuid, sizeof(other)))
			break;
	}
	return i;
}

/* How much a client has put, and got, since the first call */
static uint64_t ops_of(const struct xen_sysctl_tmem_op *op, uint64_t n)
{
	if (op->flags & XEN_SYSCTL_TMEM_SHARED)
		return 0;
	if (n == 1 && calls >= set[RESET])
		return set[OPS] * (calls - set[RESET]);
	return n * set[OPS] * calls;
}

static uint64_t pers_of(const struct xen_sysctl_tmem_op *op, uint64_t n)
{
	uint64_t back;

	if (op->flags & XEN_SYSCTL_TMEM_SHARED || (int)n != drained)
		return 2 * n;
	looks++;
	back = set[SLOW] ? looks / set[SLOW] : looks % 2;
	return back < 2 * n ? 2 * n - back : 0;
}

/* All numbers differ, and those of client 0 are 0 */
static int get(struct xen_sysctl_tmem_op *op,
	       struct xen_sysctl_tmem_stats *stats)
{
	uint64_t n, ops;

	if (op->flags) {
		n = op->nr;
		if (n >= set[POOLS])
			return ENOENT;
		uuid_of_pool(op->uuid, n);
		op->pools = 2;
	} else {
		while (op->domid < set[DOMAINS] && !exists(op->domid))
			op->domid++;
		n = op->domid;
		if (n >= set[DOMAINS])
			return ESRCH;
		op->pools = 1;
		op->flags = n == 2 ? XEN_SYSCTL_TMEM_FROZEN : 0;
	}
	op->flags |= n % 4 >= 2 ? XEN_SYSCTL_TMEM_COMPRESS : 0;
	op->weight = 100 + n;
	op->cap = n % 2 ? n << 20 : ~0ull;
	op->min = n << 9;
	ops = ops_of(op, n);
	*stats = (struct xen_sysctl_tmem_stats){
		.eph_pages = n, .pers_pages = pers_of(op, n),
		.raw_pages = 3 * n, .lz4_pages = 4 * n, .meta_bytes = 5 * n,
		.pers_bytes = 1023 * n << 10,
		.used_bytes = (1023 * n << 10) +
			      (9999 * n << (10 + 3 * n % 50)),
		.puts = 6 * n + ops, .put_fails = 7 * n, .gets = 8 * n + ops,
		.hits = 9 * n + ops * 3 / 4, .flushed = 10 * n,
		.evicted = 11 * n,
	};
	return 0;
}

/*
 * All numbers differ here, too.  Odd domains have room; even ones own more than
 * they may by now, but for domain 0, which has no limit and no target
 */
static int fake_memory_of(unsigned int domid, struct memory *m)
{
	uint64_t n = domid;
	int err = count_call();

	if (err)
		return err;
	if (!exists(domid))
		return ESRCH;
	*m = (struct memory){
		.now = n << 16, .max = n << (n % 2 ? 17 : 15),
		.target = n << 14,
	};
	if (!domid)
		m->max = NONE;
	if (!domid || set[NAMELESS])
		m->target = NONE;
	return 0;
}

static int auth(struct xen_sysctl_tmem_op *op)
{
	bool there = find_pool(op->uuid, set[AUTH]) < set[AUTH];

	if (!exists(op->domid))
		return ESRCH;
	if (op->cmd == XEN_SYSCTL_TMEM_OP_GET_AUTH) {
		uuid_of_pool(op->uuid, op->nr);
		return op->nr < set[AUTH] ? 0 : ENOENT;
	}
	if (op->flags)
		return there || set[AUTH] < MAX_AUTH ? 0 : ENOSPC;
	return there ? 0 : ENOENT;
}

static int flush(struct xen_sysctl_tmem_op *op)
{
	uint64_t kib = op->kib;

	/* It may take long even to find something */
	op->flags = 0;
	op->kib = 0;
	if (calls == 1)
		return 0;
	op->kib = kib < FLUSH_KIB ? kib : FLUSH_KIB;
	if (op->kib > set[FREE])
		op->kib = set[FREE];
	set[FREE] -= op->kib;
	if (op->kib == kib || !set[FREE])
		op->flags = XEN_SYSCTL_TMEM_DONE;
	return 0;
}

static int fake_control(struct xen_sysctl_tmem_op *op,
			struct xen_sysctl_tmem_stats *stats)
{
	int err = count_call();

	write_log(op);
	if (err)
		return err;
	if (op->mask && op->cmd != XEN_SYSCTL_TMEM_OP_SET)
		return EINVAL;
	switch (op->cmd) {
	case XEN_SYSCTL_TMEM_OP_GET:
		return get(op, stats);
	case XEN_SYSCTL_TMEM_OP_SET:
		if (op->flags & XEN_SYSCTL_TMEM_SHARED)
			return find_pool(op->uuid, set[POOLS]) < set[POOLS] ?
			       0 : ENOENT;
		return exists(op->domid) ? 0 : ESRCH;
	case XEN_SYSCTL_TMEM_OP_GET_AUTH:
	case XEN_SYSCTL_TMEM_OP_SET_AUTH:
		return auth(op);
	case XEN_SYSCTL_TMEM_OP_FREEZE:
	case XEN_SYSCTL_TMEM_OP_THAW:
		if (op->domid == XEN_SYSCTL_TMEM_ALL)
			return set[DOMAINS] ? 0 : ESRCH;
		return exists(op->domid) ? 0 : ESRCH;
	case XEN_SYSCTL_TMEM_OP_FLUSH:
		return flush(op);
	case XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE:
		op->kib = set[FREE];
		return 0;
	}
	return EOPNOTSUPP;
}

static int fake_drain(unsigned int domid, bool on)
{
	if (set[NAMELESS])
		return ENOTCONN;
	drained = on ? (int)domid : -1;
	if (!calls_log)
		return 0;
	fprintf(calls_log, "%s domid=%u\n", on ? "DRAIN" : "UNDRAIN", domid);
	fflush(calls_log);
	return 0;
}

static bool fake_has_names(void)
{
	return !set[NAMELESS];
}

/* One has a name that JSON has to quote, one has none */
static char *fake_name_of(unsigned int domid)
{
	char name[32];

	if (set[NAMELESS] || domid == 4)
		return NULL;
	if (domid == 3)
		return strdup("a\"b\\c\td");
	if (domid == 1 && calls >= set[RENAMED])
		return strdup("other");
	snprintf(name, sizeof(name), domid ? "guest%u" : "Domain-0", domid);
	return strdup(name);
}

const struct transport transport = {
	.device = "/dev/fake",
	.version = 0x15,
	.open = fake_open,
	.control = fake_control,
	.memory_of = fake_memory_of,
	.has_names = fake_has_names,
	.name_of = fake_name_of,
	.drain = fake_drain,
	.close = fake_close,
};
