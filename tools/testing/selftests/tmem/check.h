/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What must be true.  A file that includes this has fail_at(file, line, format,
 * ...), which ends the test, and <errno.h> and <string.h>.
 */
#ifndef TMEM_CHECK_H
#define TMEM_CHECK_H

#define fail(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

/* CHECK(condition, format, ...) */
#define CHECK(cond, ...) do { if (!(cond)) fail(__VA_ARGS__); } while (0)

#define CHECK_OP(a, op, b) do {						\
	long a_ = (a), b_ = (b);					\
									\
	if (!(a_ op b_))						\
		fail("%s is %ld, expected %s %ld (%s)", #a, a_, #op, b_, #b); \
} while (0)

/* The value of a system call that must work */
#define SYS(call) ({							\
	long ret_ = (long)(call);					\
									\
	if (ret_ == -1)							\
		fail("%s: %s", #call, strerror(errno));			\
	ret_;								\
})

#endif /* TMEM_CHECK_H */
