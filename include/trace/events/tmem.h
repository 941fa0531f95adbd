/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM tmem

#if !defined(_TRACE_TMEM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_TMEM_H

#include <linux/tmem.h>
#include <linux/tracepoint.h>

/* One page: put, get, flush.  @ret is what the backend answered. */
DECLARE_EVENT_CLASS(tmem_page,
	TP_PROTO(int pool, const struct tmem_oid *oid, u32 index, int ret),

	TP_ARGS(pool, oid, index, ret),

	TP_STRUCT__entry(
		__field(int, pool)
		__field(u64, oid0)
		__field(u64, oid1)
		__field(u64, oid2)
		__field(u32, index)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->pool = pool;
		__entry->oid0 = oid->oid[0];
		__entry->oid1 = oid->oid[1];
		__entry->oid2 = oid->oid[2];
		__entry->index = index;
		__entry->ret = ret;
	),

	TP_printk("pool=%d oid=%llx.%llx.%llx index=%u ret=%d",
		  __entry->pool, __entry->oid0, __entry->oid1, __entry->oid2,
		  __entry->index, __entry->ret)
);

DEFINE_EVENT(tmem_page, tmem_put_page,
	TP_PROTO(int pool, const struct tmem_oid *oid, u32 index, int ret),
	TP_ARGS(pool, oid, index, ret)
);

DEFINE_EVENT(tmem_page, tmem_get_page,
	TP_PROTO(int pool, const struct tmem_oid *oid, u32 index, int ret),
	TP_ARGS(pool, oid, index, ret)
);

DEFINE_EVENT(tmem_page, tmem_flush_page,
	TP_PROTO(int pool, const struct tmem_oid *oid, u32 index, int ret),
	TP_ARGS(pool, oid, index, ret)
);

TRACE_EVENT(tmem_flush_object,
	TP_PROTO(int pool, const struct tmem_oid *oid, int ret),

	TP_ARGS(pool, oid, ret),

	TP_STRUCT__entry(
		__field(int, pool)
		__field(u64, oid0)
		__field(u64, oid1)
		__field(u64, oid2)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->pool = pool;
		__entry->oid0 = oid->oid[0];
		__entry->oid1 = oid->oid[1];
		__entry->oid2 = oid->oid[2];
		__entry->ret = ret;
	),

	TP_printk("pool=%d oid=%llx.%llx.%llx ret=%d",
		  __entry->pool, __entry->oid0, __entry->oid1, __entry->oid2,
		  __entry->ret)
);

TRACE_EVENT(tmem_new_pool,
	TP_PROTO(u32 flags, int ret),

	TP_ARGS(flags, ret),

	TP_STRUCT__entry(
		__field(u32, flags)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->flags = flags;
		__entry->ret = ret;
	),

	TP_printk("flags=%#x ret=%d", __entry->flags, __entry->ret)
);

TRACE_EVENT(tmem_destroy_pool,
	TP_PROTO(int pool, int ret),

	TP_ARGS(pool, ret),

	TP_STRUCT__entry(
		__field(int, pool)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->pool = pool;
		__entry->ret = ret;
	),

	TP_printk("pool=%d ret=%d", __entry->pool, __entry->ret)
);

#endif /* _TRACE_TMEM_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
