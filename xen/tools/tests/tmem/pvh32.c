// SPDX-License-Identifier: GPL-2.0
/*
 * pvh32 - hypercall 38 from a 32-bit guest
 *
 * The kernel of a PVH domain, with one CPU, no paging and no libraries.  It is
 * there for one thing: in 32 bits struct tmem_op ends after 52 bytes, and the
 * hypervisor has to translate it.  Its messages go to the hypervisor's
 * console; the last one is "pvh32: passed", or the line that failed.
 */
#include <stdint.h>

enum { NEW_POOL = 1, DESTROY_POOL, PUT = 4, GET, FLUSH_PAGE, FLUSH_OBJECT };
enum { PERSISTENT = 1 };
enum { EFAULT = 14, ENODEV = 19, ENOSYS = 38 };
enum { SCHED_OP = 29, TMEM_OP = 38 };
enum { SHUTDOWN = 2 };	/* a command of SCHED_OP */

#define PAGE	4096

struct tmem_op {
	uint32_t cmd;
	int32_t pool;
	union {
		struct {
			uint64_t uuid[2];
			uint32_t flags;
			uint32_t arg1;
		};
		uint64_t oid[3];
	};
	uint32_t index;
	uint32_t tmem_offset;
	uint32_t pfn_offset;
	uint32_t len;
	uint32_t cmfn;
} __attribute__((packed));
_Static_assert(sizeof(struct tmem_op) == 52, "");

/* Tells the loader where to enter: XEN_ELFNOTE_PHYS32_ENTRY */
asm(".pushsection .note.Xen, \"\", @note\n"
    ".long 4, 4, 18\n"
    ".asciz \"Xen\"\n"
    ".long start\n"
    ".popsection\n"
    ".globl start\n"
    "start: mov $stack + 4096, %esp\n"
    "call main\n"
    "1: hlt\n"
    "jmp 1b\n");

static __attribute__((used, aligned(PAGE))) char stack[PAGE];
static __attribute__((aligned(PAGE))) char hypercall_page[PAGE];
static __attribute__((aligned(PAGE))) uint32_t from[PAGE / 4], to[PAGE / 4];
static __attribute__((aligned(PAGE))) char two_pages[2 * PAGE];

static int hypercall(int nr, uint32_t arg1, uint32_t arg2)
{
	int ret;

	asm volatile("call *%[at]"
		     : "=a" (ret), "+b" (arg1), "+c" (arg2)
		     : [at] "0" (hypercall_page + nr * 32) : "edx", "memory");
	return ret;
}

static void print(const char *s)
{
	while (*s)
		asm volatile("outb %b0, %w1" : : "a" (*s++), "d" (0xe9));
}

static __attribute__((noreturn)) void end(void)
{
	static const uint32_t poweroff;

	for (;;)
		hypercall(SCHED_OP, SHUTDOWN, (uint32_t)&poweroff);
}

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define CHECK(expr) do {						\
	if (!(expr)) {							\
		print("pvh32: line " STRING(__LINE__) ": " #expr "\n");	\
		end();							\
	}								\
} while (0)

static int call(uint32_t cmd, int pool, uint64_t oid, uint32_t index,
		void *page)
{
	struct tmem_op op = {
		.cmd = cmd, .pool = pool, .oid = { 1, oid, oid << 32 },
		.index = index, .cmfn = (uint32_t)page / PAGE,
	};

	return hypercall(TMEM_OP, (uint32_t)&op, 0);
}

static int new_pool(uint32_t flags)
{
	struct tmem_op op = { .cmd = NEW_POOL, .flags = flags | 1 << 24 };

	return hypercall(TMEM_OP, (uint32_t)&op, 0);
}

static void fill(uint32_t *page, uint32_t seed)
{
	uint32_t i;

	for (i = 0; i < PAGE / 4; i++)
		page[i] = seed + i * 2654435761u;
}

static int holds(const uint32_t *page, uint32_t seed)
{
	uint32_t i;

	for (i = 0; i < PAGE / 4; i++)
		if (page[i] != seed + i * 2654435761u)
			return 0;
	return 1;
}

static void pages_come_back(int pool, int persistent)
{
	uint32_t i;

	/* A page that stays: a get from an empty pool would return -1001 */
	CHECK(call(PUT, pool, 99, 99, from) == 1);
	for (i = 0; i < 64; i++) {
		fill(from, i);
		CHECK(call(PUT, pool, i / 8, ~i, from) == 1);
	}
	for (i = 0; i < 64; i++) {
		fill(to, ~0);
		CHECK(call(GET, pool, i / 8, ~i, to) == 1);
		CHECK(holds(to, i));
		CHECK(call(GET, pool, i / 8, ~i, to) == persistent);
		CHECK(call(GET, pool, i / 8, i, to) == 0);
	}
	CHECK(call(FLUSH_PAGE, pool, 0, ~0, 0) == 1);
	CHECK(call(GET, pool, 0, ~0, to) == 0);
	CHECK(call(FLUSH_OBJECT, pool, 1, 0, 0) == 1);
	CHECK(call(GET, pool, 1, ~8, to) == 0);
}

/* Xen reads nothing behind these 52 bytes */
static void op_is_52_bytes(int pool)
{
	struct tmem_op *op;
	uint32_t end_of_memory;

	/* Find the highest page: no address above it can be read */
	for (end_of_memory = (uint32_t)two_pages; ; end_of_memory += PAGE)
		if (hypercall(TMEM_OP, end_of_memory, 0) == -EFAULT)
			break;
	op = (void *)(end_of_memory - sizeof(*op));
	*op = (struct tmem_op){ .cmd = GET, .pool = pool, .oid = { 7 },
				.cmfn = (uint32_t)to / PAGE };
	CHECK(hypercall(TMEM_OP, (uint32_t)op, 0) == 0);
	CHECK(hypercall(TMEM_OP, (uint32_t)op + 1, 0) == -EFAULT);
}

__attribute__((used)) void main(void)
{
	uint32_t base, signature, msr, pages, persistent, ephemeral;

	for (base = 0x40000000; ; base += 0x100) {
		asm volatile("cpuid" : "=b" (signature) : "a" (base)
			     : "ecx", "edx");
		if (signature == 0x566e6558)	/* "XenV" */
			break;
	}
	asm volatile("cpuid" : "=a" (pages), "=b" (msr) : "0" (base + 2)
		     : "ecx", "edx");
	asm volatile("wrmsr" : : "c" (msr), "a" (hypercall_page), "d" (0)
		     : "memory");

	persistent = new_pool(PERSISTENT);
	ephemeral = new_pool(0);
	CHECK(persistent < 16 && ephemeral < 16 && persistent != ephemeral);
	pages_come_back(ephemeral, 0);
	pages_come_back(persistent, 1);
	op_is_52_bytes(persistent);

	CHECK(call(99, persistent, 1, 1, to) == -ENOSYS);
	CHECK(call(GET, 15, 1, 1, to) == -ENODEV);
	CHECK(call(PUT, persistent, 1, 1, (void *)0xfffff000) == -EFAULT);
	CHECK(hypercall(TMEM_OP, 0xfffffff0, 0) == -EFAULT);
	CHECK(call(DESTROY_POOL, ephemeral, 0, 0, 0) == 1);
	CHECK(call(GET, ephemeral, 0, 0, to) == -ENODEV);
	print("pvh32: passed\n");
	end();
}
