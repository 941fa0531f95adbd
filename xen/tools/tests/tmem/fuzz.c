// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzing: arguments that nobody has thought of.  Two vCPUs issue operations
 * of three kinds, in random order, and several in one multicall:
 *
 *  own	for pools 0 to 5.  Each vCPU has an ephemeral and a persistent one of
 *	these to itself, and knows what is there.  A third pool is shared with
 *	the other vCPU; its pages tell under what handle they were put.  Only
 *	frames may be wrong, and fields that Xen ignores.
 *  wild	anything, but not for these pools.  It must return what the ABI
 *	allows for the command.
 *  hot	an op, and pages, that the other vCPU changes at the same time.
 *
 * Or one vCPU does that, and the other one does the same with controls.
 *
 * An op that changes may become a get, which writes.  So every frame that a
 * wild or hot op names, and that Xen accepts for a get, is one of our own
 * pages that have no other use.
 *
 *	abi_test --fuzz SECONDS SEED	the same as the tests, with one seed
 *				after the other, for that long
 */
#include "abi_test.h"

enum { EPH, PERS, COMMON, KINDS, OWN_IDS = 2 * KINDS };
enum { OBJECTS = 8, INDEXES = 32, HANDLES = OBJECTS * INDEXES };
enum { BATCH = 4, TAKEN = 16, WILD_PAGE = 2 * BATCH };

struct step {
	struct tmem_raw_op op;
	int kind;		/* of the own pool; KINDS if it is wild */
	int handle, page;
	bool bad;		/* is the frame? */
	uint64_t seed;		/* of the page */
};

static struct fuzzer {
	char memory[(BATCH + 1) * PAGE];	/* what Xen reads and writes */
	struct multicall_entry call[BATCH];
	uint64_t random;
	double end;
	int cpu;
	atomic_long puts;	/* number of the last page */
	uint64_t has[PERS + 1][HANDLES];	/* the page's seed, or 0 */
	long ops, hits, controls;
} __attribute__((aligned(PAGE))) fuzzers[2];

static char fuzz_stats[2 * PAGE];
static struct xen_sysctl hot_control;
static struct tmem_raw_op hot;
static uint64_t bad_frame[MAX_BAD];
static uint64_t safe_frame[MAX_BAD + TAKEN + TMEM_RAW_PAGES];
static int nr_bad, nr_safe;
static bool controls_are_fuzzed;
static long last_mfn;

static uint64_t rnd(struct fuzzer *f, uint64_t below)
{
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return (f->random * 0x2545f4914f6cdd1d >> 16) % below;
}

#define PICK(f, array) ((array)[rnd(f, ARRAY_SIZE(array))])

/* A number at which an off-by-one or an overflow would show, or any number */
static uint64_t odd(struct fuzzer *f)
{
	static const uint64_t edges[] = { 0, 1, 15, 16, 17, 63, 255, 4095,
		4096, 0x7fff, 0xffff, 0x7fffffff, 1ULL << 31, ~0u, 1ULL << 32,
		~0ULL >> 12, 1ULL << 52, ~0ULL >> 10, 1ULL << 63 };
	uint64_t edge = PICK(f, edges);

	switch (rnd(f, 4)) {
	case 0:
		return edge;
	case 1:
		return -edge;
	case 2:
		return edge ^ 1ULL << rnd(f, 64);
	default:
		return rnd(f, 1ULL << 32) << 32 | rnd(f, 1ULL << 32);
	}
}

/*
 * Pages tell what they are.  Each word is there 2^shift times: with 0 a page
 * is incompressible, with 4 it can be compressed, and with 9 it repeats one
 * word.
 */
static unsigned int fuzz_shift(uint64_t seed)
{
	static const unsigned int shift[] = { 0, 4, 9 };

	return shift[(seed >> 12) % 3];
}

static uint64_t fuzz_seed(struct fuzzer *f, int kind, int handle)
{
	f->puts++;
	return (uint64_t)f->puts << 12 | f->cpu << 11 | kind << 8 | handle;
}

static void fuzz_fill(int p, uint64_t seed)
{
	unsigned int i, shift = fuzz_shift(seed);

	for (i = 0; i < WORDS; i++)
		page[p][i] = word(seed, i >> shift);
}

static bool fuzz_holds(int p, uint64_t seed)
{
	unsigned int i, shift = fuzz_shift(seed);

	for (i = 0; i < WORDS; i++)
		if (page[p][i] != word(seed, i >> shift))
			return false;
	return true;
}

static struct step own_step(struct fuzzer *f, int nr, uint32_t cmd, int kind,
			    int handle, bool bad)
{
	struct step s = { .kind = kind, .handle = handle, .bad = bad,
			  .page = f->cpu * BATCH + nr };
	int obj = handle / INDEXES, i = handle % INDEXES;

	s.op = (struct tmem_raw_op){
		.cmd = cmd, .pool_id = f->cpu * KINDS + kind,
		.oid = { obj & 1 ? ~0ULL : 0, obj & 2 ? 1ULL << 63 : 0,
			 obj & 4 ? 1 : 0 },
		.index = i & 1 ? ~0u - i : (1u << i) >> 1,
		.tmem_offset = odd(f), .pfn_offset = odd(f), .len = odd(f),
		.cmfn = bad ? bad_frame[rnd(f, nr_bad)] : frame[s.page] };
	if (cmd == PUT) {
		s.seed = fuzz_seed(f, kind, handle);
		fuzz_fill(s.page, s.seed);
	} else {
		fill(s.page, JUNK);
	}
	return s;
}

static struct step any_own_step(struct fuzzer *f, int nr)
{
	static const uint32_t cmds[] = { PUT, PUT, PUT, GET, GET, GET, GET,
					 FLUSH_PAGE };
	uint32_t cmd = rnd(f, 64) ? PICK(f, cmds) :
		       rnd(f, 2) ? FLUSH_OBJECT : XCHG;

	return own_step(f, nr, cmd, rnd(f, KINDS), rnd(f, HANDLES),
			!rnd(f, 16));
}

/* Does no harm, also if parts of it get into another op */
static struct tmem_raw_op wild_op(struct fuzzer *f)
{
	static const uint32_t cmds[] = { NEW_POOL, NEW_POOL, DESTROY_POOL, PUT,
		PUT, PUT, PUT, PUT, GET, GET, GET, GET, FLUSH_PAGE, FLUSH_PAGE,
		FLUSH_OBJECT };
	static const uint32_t kinds[] = { EPHEMERAL, PERSISTENT, SHARED };
	struct tmem_raw_op op = {
		.cmd = rnd(f, 8) ? PICK(f, cmds) : odd(f),
		.pool_id = rnd(f, 8) ? OWN_IDS + rnd(f, MAX_POOLS - OWN_IDS) :
			   odd(f),
		.oid = { rnd(f, 4) ? rnd(f, 8) : odd(f),
			 rnd(f, 8) ? 5 : odd(f), rnd(f, 8) ? 0 : odd(f) },
		.index = rnd(f, 4) ? rnd(f, 256) : odd(f),
		.tmem_offset = odd(f), .pfn_offset = odd(f), .len = odd(f),
		.cmfn = safe_frame[rnd(f, nr_safe)] };

	if ((uint32_t)op.pool_id < OWN_IDS)
		op.pool_id += OWN_IDS;
	if (op.cmd == NEW_POOL && rnd(f, 4)) {
		op.uuid[0] = 5;		/* authorised */
		op.flags = rnd(f, 8) ? PICK(f, kinds) : odd(f);
	}
	return op;
}

static struct step wild_step(struct fuzzer *f)
{
	struct step s = { .op = wild_op(f), .kind = KINDS };

	if (s.op.cmd == PUT && !rnd(f, 4))
		s.op.cmfn = rnd(f, last_mfn);	/* Xen only reads it */
	return s;
}

static bool is_frozen(long ret)
{
	return ret == -EFROZEN && controls_are_fuzzed;
}

/* The return values of docs/misc/tmem.pandoc, section 1.3 */
static bool may_return(uint32_t cmd, int32_t pool, long ret)
{
	switch (cmd) {
	case CONTROL:
	case AUTH:
	case RESTORE_NEW:
		return ret == -EOPNOTSUPP;
	case NEW_POOL:
		return (ret >= OWN_IDS && ret < MAX_POOLS) || ret == -EPERM ||
		       ret == -ENOMEM;
	case DESTROY_POOL:
		return ret == 0 || ret == 1;
	}
	if (ret == -ENODEV)
		return true;
	if ((uint32_t)pool >= MAX_POOLS)
		return false;
	switch (cmd) {
	case PUT:
		return ret == 1 || ret == -ENOMEM || ret == -ENOSPC ||
		       ret == -EFAULT || is_frozen(ret);
	case GET:
		return ret == 1 || ret == 0 || ret == -EEMPTY ||
		       ret == -EFAULT;
	case FLUSH_PAGE:
	case FLUSH_OBJECT:
		return ret == 1 || is_frozen(ret);
	default:
		return ret == -ENOSYS;
	}
}

/* A page of the common pool was put under this handle, by either vCPU */
static void check_common(const struct step *s)
{
	uint64_t seed = page[s->page][0] * 0xf1de83e19937733d / 512;

	CHECK((int)(seed & 0x7ff) == (COMMON << 8 | s->handle) &&
	      (long)(seed >> 12) <= fuzzers[seed >> 11 & 1].puts &&
	      fuzz_holds(s->page, seed), "shared: wrong contents, seed %#lx",
	      seed);
}

static void check_get(struct fuzzer *f, const struct step *s, long ret)
{
	uint64_t *has = &f->has[s->kind % COMMON][s->handle];
	int i;

	CHECK(s->bad ? ret <= 0 : ret != -EFAULT, "get: %ld", ret);
	if (ret == 1) {
		f->hits++;
		if (s->kind == COMMON)
			return check_common(s);
		CHECK(*has && fuzz_holds(s->page, *has),
		      "get: wrong contents, handle %d", s->handle);
	} else {
		CHECK(holds(s->page, JUNK), "a miss has written to the page");
	}
	if (s->kind == EPH && ret != -EFAULT)
		*has = 0;	/* it was the only copy; or has been evicted */
	if (s->kind != PERS)
		return;
	CHECK(ret == 1 || ret == -EFAULT || !*has, "%ld: page %d is lost", ret,
	      s->handle);
	for (i = 0; ret == -EEMPTY && i < HANDLES; i++)
		CHECK(!f->has[PERS][i], "empty, and page %d?", i);
}

static void check_step(struct fuzzer *f, const struct step *s, long ret)
{
	uint64_t *has = f->has[s->kind % COMMON];

	CHECK(may_return(s->op.cmd, s->op.pool_id, ret),
	      "command %u, pool %d: %ld", s->op.cmd, s->op.pool_id, ret);
	if (s->kind == KINDS)
		return;
	CHECK(ret != -ENODEV, "pool %d is gone", s->op.pool_id);
	switch (s->op.cmd) {
	case PUT:
		CHECK(s->bad == (ret == -EFAULT), "put: %ld", ret);
		if (s->kind != COMMON)
			has[s->handle] = ret == 1 ? s->seed : 0;
		break;
	case GET:
		check_get(f, s, ret);
		break;
	case FLUSH_PAGE:
		if (s->kind != COMMON)
			has[s->handle] = 0;
		break;
	case FLUSH_OBJECT:
		if (s->kind != COMMON)
			memset(&has[s->handle / INDEXES * INDEXES], 0,
			       INDEXES * sizeof(*has));
		break;
	}
}

/* Anywhere in a page, or half of it in the next page */
static void *place(struct fuzzer *f, char *memory, size_t size)
{
	return memory +
	       (rnd(f, 4) ? size + rnd(f, PAGE - 3 * size) :
			    PAGE - 1 - rnd(f, size));
}

static void fuzz_batch(struct fuzzer *f)
{
	int i, nr = rnd(f, 2) ? 1 : 1 + rnd(f, BATCH);
	struct step step[BATCH];

	for (i = 0; i < nr; i++) {
		void *at = place(f, f->memory + i * PAGE,
				 sizeof(step[i].op));

		step[i] = rnd(f, 3) ? any_own_step(f, i) : wild_step(f);
		memcpy(at, &step[i].op, sizeof(step[i].op));
		f->call[i] = (struct multicall_entry){
			.op = __HYPERVISOR_tmem_op,
			.args = { (uintptr_t)at } };
	}
	if (nr == 1)
		f->call[0].result = hyper_at((void *)f->call[0].args[0]);
	else
		CHECK_OP(xen_call(__HYPERVISOR_multicall, (uintptr_t)f->call,
				  nr), ==, 0);
	for (i = 0; i < nr; i++)
		check_step(f, &step[i], (int)f->call[i].result);
	f->ops += nr;
}

/* The hot op many times, or a wild one for several pages in a row */
static void fuzz_many(struct fuzzer *f, bool is_hot)
{
	struct tmem_raw_call c = { .op = wild_op(f), .at = (uintptr_t)&hot,
				   .use_at = is_hot, .nr = is_hot ? 64 : 1,
				   .step = 1 };
	uint32_t cmd, i;

	if (!is_hot && c.op.cmd == PUT)
		c.nr += rnd(f, 16) ? rnd(f, 64) : rnd(f, 4096);
	calls(&c);
	f->ops += c.nr;
	for (cmd = i = 0; cmd <= XCHG; cmd++)
		i += may_return(cmd, OWN_IDS, c.ret);
	CHECK(is_hot ? i : may_return(c.op.cmd, c.op.pool_id, c.ret),
	      "command %u, pool %d: %ld", c.op.cmd, c.op.pool_id, (long)c.ret);
}

static struct xen_sysctl_tmem_op wild_control(struct fuzzer *f)
{
	static const uint32_t cmds[] = {
		XEN_SYSCTL_TMEM_OP_THAW, XEN_SYSCTL_TMEM_OP_FREEZE,
		XEN_SYSCTL_TMEM_OP_FLUSH, XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE,
		XEN_SYSCTL_TMEM_OP_SET_AUTH, XEN_SYSCTL_TMEM_OP_GET,
		XEN_SYSCTL_TMEM_OP_SET, XEN_SYSCTL_TMEM_OP_SET,
		XEN_SYSCTL_TMEM_OP_GET_AUTH };
	static const uint16_t domids[] = { 0, 0, 0, 0, 1, 0x7ff0, 0x7fff,
					   XEN_SYSCTL_TMEM_ALL };
	struct xen_sysctl_tmem_op op = {
		.cmd = rnd(f, 8) ? PICK(f, cmds) : odd(f),
		.domid = rnd(f, 8) ? PICK(f, domids) : odd(f),
		.pools = odd(f),
		.flags = rnd(f, 8) ? (1u << rnd(f, 5)) >> 1 : odd(f),
		.weight = odd(f), .nr = rnd(f, 2) ? rnd(f, 20) : odd(f),
		.cap = rnd(f, 2) ? ~0ULL : rnd(f, 2) ? rnd(f, 65536) : odd(f),
		.min = rnd(f, 2) ? 0 : odd(f),
		.kib = rnd(f, 2) ? rnd(f, 1024) : odd(f),
		.uuid = { rnd(f, 2) ? 5 : odd(f), rnd(f, 2) ? 5 : odd(f) } };

	if (op.cmd == XEN_SYSCTL_TMEM_OP_SET)
		op.mask = rnd(f, 8) ? rnd(f, 16) : odd(f);
	else
		op.mask = rnd(f, 8) ? 0 : odd(f);
	set_xen_guest_handle(op.stats, rnd(f, 4) ?
		place(f, fuzz_stats, sizeof(struct xen_sysctl_tmem_stats)) :
		PICK(f, bad_pointers));
	return op;
}

static bool control_may_return(const struct xen_sysctl_tmem_op *op, long ret)
{
	static const struct { uint32_t cmd; int ret[5]; } known[] = {
		/* The rest of ret[] is 0, which each may return */
		{ XEN_SYSCTL_TMEM_OP_THAW, { -ESRCH } },
		{ XEN_SYSCTL_TMEM_OP_FREEZE, { -ESRCH } },
		{ XEN_SYSCTL_TMEM_OP_FLUSH, { 0 } },
		{ XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE, { 0 } },
		{ XEN_SYSCTL_TMEM_OP_GET,
		  { -EINVAL, -ESRCH, -ENOENT, -EFAULT } },
		{ XEN_SYSCTL_TMEM_OP_SET,
		  { -EINVAL, -ERANGE, -ESRCH, -ENOENT } },
		{ XEN_SYSCTL_TMEM_OP_SET_AUTH,
		  { -EINVAL, -ESRCH, -ENOENT, -ENOSPC } },
		{ XEN_SYSCTL_TMEM_OP_GET_AUTH, { -EINVAL, -ESRCH, -ENOENT } },
	};
	int i, j;

	if (op->mask && op->cmd != XEN_SYSCTL_TMEM_OP_SET)
		return ret == -EINVAL;
	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].cmd == op->cmd)
			break;
	if (i == ARRAY_SIZE(known))
		return ret == -EOPNOTSUPP;
	for (j = 0; j < ARRAY_SIZE(known[i].ret); j++)
		if (known[i].ret[j] == ret)
			return true;
	return false;
}

static void fuzz_control(struct fuzzer *f)
{
	uint32_t good = XEN_SYSCTL_INTERFACE_VERSION;
	struct xen_sysctl sysctl = {
		.cmd = XEN_SYSCTL_tmem_op,
		.interface_version = rnd(f, 16) ? good : odd(f),
		.u.tmem_op = wild_control(f) };
	void *at = place(f, f->memory, sizeof(sysctl));
	bool bad = !rnd(f, 16);
	long ret;

	memcpy(at, &sysctl, sizeof(sysctl));
	if (bad)
		at = PICK(f, bad_pointers);
	ret = xen_call(__HYPERVISOR_sysctl, (uintptr_t)at, 0);
	CHECK(bad ? ret == -EFAULT : sysctl.interface_version != good ?
	      ret == -EACCES : control_may_return(&sysctl.u.tmem_op, ret),
	      "control %u: %ld", sysctl.u.tmem_op.cmd, ret);
	ret = xen_call(__HYPERVISOR_sysctl, (uintptr_t)&hot_control, 0);
	CHECK(ret <= 0 && ret > -EEMPTY, "control: %ld", ret);
	f->controls += 2;
}

static void write_one(struct fuzzer *f, void *to, const void *from,
		      size_t size)
{
	size_t at = rnd(f, size / 8) * 8;
	uint64_t val;

	memcpy(&val, from + at, 8);
	*(volatile uint64_t *)(to + at) = val;
}

/* Over what the other vCPU is using at the same time */
static void scribble(struct fuzzer *f)
{
	struct xen_sysctl_tmem_op control = wild_control(f);
	struct tmem_raw_op op = wild_op(f);
	uint64_t odds[WORDS];
	int i, p;

	for (i = 0; i < (int)WORDS; i++)
		odds[i] = odd(f);
	for (i = 0; i < 256; i++) {
		write_one(f, &hot, &op, sizeof(op));
		write_one(f, &hot_control.u, &control, sizeof(control));
		p = WILD_PAGE + rnd(f, TMEM_RAW_PAGES - WILD_PAGE);
		write_one(f, page[p], odds, sizeof(odds));
	}
}

static void fuzz_operations(void *arg)
{
	struct fuzzer *f = arg;

	while (now() < f->end) {
		switch (rnd(f, 16)) {
		case 0:
			CHECK_OP(hyper_at(PICK(f, bad_pointers)), ==, -EFAULT);
			f->ops++;
			break;
		case 1:
			scribble(f);
			break;
		case 2:
			fuzz_many(f, rnd(f, 2));
			break;
		default:
			fuzz_batch(f);
		}
	}
}

static void fuzz_controls(void *arg)
{
	struct fuzzer *f = arg;

	while (now() < f->end) {
		fuzz_control(f);
		if (!rnd(f, 16))
			scribble(f);
	}
}

/* After this, there is all that Xen keeps for later pools */
static void fuzz_prepare(uint64_t seed)
{
	int i;

	use_everything(true);
	for (i = 0; i < MAX_POOLS; i++)
		MUST_PUT(new_pool(EPHEMERAL | (i & 1)), 1, 1, 1);
	for (i = 0; i < MAX_POOLS; i++)
		CHECK_OP(destroy(i), ==, 1);

	hot_control.cmd = XEN_SYSCTL_tmem_op;
	hot_control.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	memset(fuzzers, 0, sizeof(fuzzers));
	for (i = 0; i < 2; i++) {
		fuzzers[i].cpu = i;
		fuzzers[i].random = word(seed + 1, i) | 1;
	}
}

static void fuzz_pools(void)
{
	static const uint64_t uuids[] = { 0x7368617265, 5 };
	int i;

	for (i = 0; i < ARRAY_SIZE(uuids); i++)
		CHECK_OP(authorise(uuids[i], 5, true), ==, 0);
	for (i = 0; i < 2; i++) {
		CHECK_OP(new_pool(EPHEMERAL), ==, i * KINDS + EPH);
		CHECK_OP(new_pool(PERSISTENT), ==, i * KINDS + PERS);
		CHECK_OP(try_pool(SHARED, uuids[0], 5), ==,
			 i * KINDS + COMMON);
	}
}

/* Each persistent page that was put and not flushed is there */
static void fuzz_look(struct fuzzer *f)
{
	int i;

	for (i = 0; i < HANDLES; i++) {
		struct step s = own_step(f, 0, GET, PERS, i, false);

		check_step(f, &s, hyper(s.op));
	}
}

/* Xen may write to any safe frame, or refuses to */
static void fuzz_frames(const xen_pfn_t *taken)
{
	int i;

	nr_bad = bad_frames(bad_frame);
	last_mfn = max_mfn();
	memcpy(safe_frame, bad_frame, sizeof(bad_frame));
	memcpy(&safe_frame[nr_bad], taken, TAKEN * sizeof(*taken));
	nr_safe = nr_bad + TAKEN;
	for (i = WILD_PAGE; i < TMEM_RAW_PAGES; i++) {
		fill(i, i);
		safe_frame[nr_safe++] = frame[i];
	}
	SYS(ioctl(raw, TMEM_RAW_PGD, &safe_frame[nr_safe++]));
}

static void fuzz_both(double seconds, bool controls)
{
	uint32_t before = console_bytes(), bytes;
	struct worker w[2];
	int i;

	controls_are_fuzzed = controls;
	scribble(&fuzzers[0]);
	for (i = 0; i < 2; i++) {
		fuzzers[i].end = now() + seconds;
		w[i] = start(i, controls && !i ? fuzz_controls :
						 fuzz_operations, &fuzzers[i]);
	}
	for (i = 0; i < 2; i++)
		finish(&w[i]);
	for (i = 0; i < 2; i++)
		fuzz_look(&fuzzers[i]);

	bytes = console_bytes() - before;
	note("%ld and %ld operations, %ld and %ld hits, %ld controls, "
	     "%u bytes in the log", fuzzers[0].ops, fuzzers[1].ops,
	     fuzzers[0].hits, fuzzers[1].hits, fuzzers[0].controls, bytes);
	for (i = controls; i < 2; i++) {
		CHECK_OP(fuzzers[i].ops, >, seconds * 500);
		CHECK_OP(fuzzers[i].hits, >, seconds * 50);
	}
	CHECK(!controls || fuzzers[0].controls > seconds * 500, "too slow");
	CHECK_OP(bytes, <, 8192 + seconds * 100);
}

static void fuzz(double seconds, uint64_t seed, bool controls)
{
	struct xen_sysctl_tmem_stats before, after;
	static xen_pfn_t taken[TAKEN];
	long heap, own = tot_pages();
	struct worker w;
	int pool;

	note("seed %lu", seed);
	fuzz_prepare(seed);
	before = stats();
	heap = settled_free_pages();

	CHECK_OP(take_memory(taken, TAKEN), ==, TAKEN);
	fuzz_frames(taken);
	fuzz_pools();
	set_client(XEN_SYSCTL_TMEM_SET_COMPRESS, true);
	fuzz_both(seconds, controls);

	clean();
	give_memory(taken, TAKEN);
	after = stats();
	CHECK_OP(after.meta_bytes, ==, before.meta_bytes);
	CHECK_OP(after.used_bytes, ==, before.used_bytes);
	CHECK_OP(after.pers_bytes, ==, 0);
	CHECK_OP(after.raw_pages + after.lz4_pages, ==, 0);
	CHECK_OP(tot_pages(), ==, own);
	CHECK_OP(settled_free_pages(), ==, heap);
	pool = new_pool(EPHEMERAL);
	w = start(1, use_object, &pool);	/* nothing blocks it */
	finish(&w);
}

static void fuzzed_operations_do_no_harm(void)
{
	fuzz(12, 1, false);
}

static void fuzzed_controls_do_no_harm(void)
{
	fuzz(12, 2, true);
}

static int fuzz_long(char **args)
{
	double end = now() + atof(args[0]);
	uint64_t nr = strtoull(args[1], NULL, 0);
	long i, ops = 0, controls = 0, hits = 0;

	on_cpu(0);
	for (; now() < end; nr++) {
		clean();
		fuzz(20, nr, nr & 1);
		for (i = 0; i < 2; i++) {
			ops += fuzzers[i].ops;
			hits += fuzzers[i].hits;
			controls += fuzzers[i].controls;
		}
	}
	note("operations %ld hits %ld controls %ld", ops, hits, controls);
	printf("ok 1 - random_calls_do_no_harm\n");
	return 0;
}

TESTS = {
	TEST(ON, fuzzed_operations_do_no_harm),
	TEST(ON, fuzzed_controls_do_no_harm),
};

COMMANDS = {
	{ "--fuzz", 2, fuzz_long },
};
