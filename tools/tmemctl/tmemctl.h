/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tmemctl - watch and control the transcendent memory of a Xen host
 *
 *	main.c		the command line: options, and the values of arguments
 *	commands.c	what each command does
 *	show.c		what is printed: tables, JSON
 *	top.c		the screen of top
 *	terminal.c	... and how a terminal becomes one; progress; signals
 *	xen.c		the transport to the Xen hypervisor below
 *	fake.c		a transport to nowhere, for test.py
 *
 * A client is a domain or a shared pool.  A command asks the hypervisor about
 * one client per call.  See tmemctl(8) for what the commands do and for the
 * exit statuses.
 */
#ifndef TMEMCTL_H
#define TMEMCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __XEN_PUBLIC_SYSCTL_H__
/*
 * What tmem_sysctl.h needs of Xen's other headers.  xen.c includes those; all
 * else has to build without them.
 */
#define uint64_aligned_t		uint64_t __attribute__((aligned(8)))
#define XEN_GUEST_HANDLE_64(name)	__guest_handle_64_##name
#define DEFINE_XEN_GUEST_HANDLE(name)					\
	typedef union { name *p; uint64_aligned_t q; } XEN_GUEST_HANDLE_64(name)
#endif
#include "tmem_sysctl.h"

_Static_assert(sizeof(struct xen_sysctl_tmem_op) == 72, "ABI");

/* Exit statuses, as in the manual */
enum {
	OK,
	FAILED,		/* for a reason that has no status of its own */
	USAGE,		/* the command line is wrong */
	NO_TMEM,	/* there is nothing to control, or not from here */
	NOT_FOUND,	/* no such domain, shared pool or authorisation */
};

#define NONE		UINT64_MAX	/* no limit, or it is not known */
#define PAGE_KIB	4

/*
 * A domain's memory in KiB, without what it has in tmem: what it owns, what it
 * may own together with its persistent pages, and what the toolstack asks it to
 * own
 */
struct memory {
	uint64_t now, max, target;
};

/* How tmemctl reaches a hypervisor.  A program has one */
struct transport {
	const char *device;		/* what open() opens, for messages */
	unsigned int version;		/* of the interface, for messages */

	/* Return: 0 or an errno */
	int (*open)(void);
	/* One call; @stats may be NULL.  Return: 0 or an errno */
	int (*control)(struct xen_sysctl_tmem_op *op,
		       struct xen_sysctl_tmem_stats *stats);
	/* Return: 0 or an errno, ESRCH if the domain is gone */
	int (*memory_of)(unsigned int domid, struct memory *m);
	/* Whether domains have names here at all */
	bool (*has_names)(void);
	/* Return: the name, to be freed, or NULL */
	char *(*name_of)(unsigned int domid);
	/*
	 * Ask a domain to bring its persistent pages back and to put no more,
	 * or no longer ask it.  Return: 0 or an errno; ENOTCONN: it cannot be
	 * asked from here
	 */
	int (*drain)(unsigned int domid, bool on);
	void (*close)(void);
};

extern const struct transport transport;

#define NR_CLIENTS	1024
#define NAME_LEN	64
#define UUID_LEN	36

struct client {
	struct xen_sysctl_tmem_op op;
	struct xen_sysctl_tmem_stats stats;
	struct memory memory;		/* of a domain */
	/* A domain's may be empty; a shared pool's is its uuid */
	char name[NAME_LEN];
};

/* All clients at one moment */
struct sample {
	struct client clients[NR_CLIENTS];
	int n;
	uint64_t freeable;		/* KiB */
	double time;			/* as of now(); 0: there was none */
};

static inline bool is_pool(const struct client *c)
{
	return c->op.flags & XEN_SYSCTL_TMEM_SHARED;
}

/* main.c */
extern bool json;			/* --json */
extern const char *to_remove;		/* --remove UUID */
extern uint32_t number;			/* --number N, or 0 */

__attribute__((noreturn, format(printf, 2, 3)))
void die(int status, const char *fmt, ...);

/* Each ends the program if the text is none; @what names it in the message */
void uuid_of(const char *what, uint64_t uuid[2], const char *s);
uint64_t size_of(const char *what, const char *s, bool may_be_none);
uint32_t number_of(const char *what, const char *s);
double seconds_of(const char *what, const char *s);

bool parse_uuid(uint64_t uuid[2], const char *s);

/* commands.c */
struct command {
	const char *name, *arguments, *help;
	int (*run)(int argc, char **argv);
};

extern const struct command commands[];	/* up to one without a name */

/* show.c */
#define SIZE_COLS	6		/* of what print_size() prints */

void print_uuid(char text[UUID_LEN + 1], const uint64_t uuid[2]);
void print_size(uint64_t kib);
void show_table(const struct client *c, int n);
void show_json(const struct client *c, int n);

/* top.c */
void show_top(const struct sample *new, const struct sample *old,
	      double seconds, bool screen);

/* terminal.c */
enum event { TIME, RESIZED, STOP };

double now(void);
void catch_signals(void);
__attribute__((noreturn)) void end_by_signal(void);
void show_progress(const char *who, uint64_t kib);
void screen_on(void);
void screen_off(void);			/* ends a line of progress, too */
void screen_size(int *rows, int *columns);
enum event wait_until(double time);

#endif /* TMEMCTL_H */
