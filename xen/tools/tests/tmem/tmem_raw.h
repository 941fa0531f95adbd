/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/tmem_raw: hypercall 38 with any argument.  See tmem_raw.c */
#ifndef TMEM_RAW_H
#define TMEM_RAW_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TMEM_RAW_PAGES	16	/* pages that can be mapped */

/**
 * struct tmem_raw_op - what hypercall 38 takes, byte for byte
 * @uuid, @flags: for NEW_POOL; the same bytes as @oid
 */
struct tmem_raw_op {
	__u32 cmd;
	__s32 pool_id;
	union {
		struct {
			__u64 uuid[2];
			__u32 flags;
			__u32 arg1;
		};
		__u64 oid[3];
	};
	__u32 index;
	__u32 tmem_offset;
	__u32 pfn_offset;
	__u32 len;
	__u64 cmfn;
};

/**
 * struct tmem_raw_call - issue the hypercall
 * @op: what the hypervisor is given
 * @at: the address that the hypervisor is given instead of that of @op
 * @use_at: whether @at is used
 * @nr: how many times
 * @step: what is added to the index after each time
 * @ret: out: what the last one returned
 * @ones: out: how many returned 1
 * @ticks: out: how long all of it took, by the TSC
 */
struct tmem_raw_call {
	struct tmem_raw_op op;
	__u64 at;
	__u32 use_at;
	__u32 nr;
	__u32 step;
	__u32 pad;
	__s64 ret;
	__u64 ones;
	__u64 ticks;
};

/**
 * struct tmem_raw_hypercall - issue any other hypercall
 * @nr: which
 * @arg: its arguments; what they point to has to be present
 * @ret: out: what it returned
 */
struct tmem_raw_hypercall {
	__u64 nr;
	__u64 arg[2];
	__s64 ret;
};

#define TMEM_RAW_CALL	_IOWR('T', 0, struct tmem_raw_call)
/* in: number of a page; out: its frame, as the hypervisor names it */
#define TMEM_RAW_FRAME	_IOWR('T', 1, __u64)
/* out: the frame of this process's top page table */
#define TMEM_RAW_PGD	_IOR('T', 2, __u64)
/* in: how many times to copy page 0 to page 1; out: ticks */
#define TMEM_RAW_COPY	_IOWR('T', 3, __u64)
#define TMEM_RAW_HYPERCALL	_IOWR('T', 4, struct tmem_raw_hypercall)

#endif
