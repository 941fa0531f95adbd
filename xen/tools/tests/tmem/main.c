// SPDX-License-Identifier: GPL-2.0
/*
 * abi_test - well-formed and hostile calls of hypercall 38
 *
 *	abi_test [TEST...]	all tests of set "on", or these; TAP
 *	abi_test --list SET	names of the tests of a set: on, off, none,
 *				dma, pv or hvm
 *	abi_test --COMMAND ...	see workers.c, fuzz.c and bench.c
 *
 * It needs root, tmem_raw.ko in the current directory, and a domain in which
 * nothing else uses tmem: the tests know how many pools there are.  Set "on"
 * wants dom0, two vCPUs, a max_pages somewhat above what dom0 has, and 500 MiB
 * that are free; "off" a hypervisor without "tmem" on its command line; "none"
 * one that has never heard of it; "dma" one that keeps the lowest 128 MiB for
 * devices, and has two NUMA nodes; "pv" and "hvm" a domain without privileges.
 *
 * Each test is a process with a time limit, and passes by returning.  It
 * begins without pools and with default settings, and must leave no page
 * behind.
 *
 * T and a number is one of the defects of Xen's old tmem:
 *
 *  T1 guests could issue control commands	T17 reclaim ignored zones
 *  T2 pool ids were not checked		T18 old copy after a failed put
 *  T3 control of a domain without tmem		T19 leaving froze a shared pool
 *  T4 control buffers were not checked		T20 weights worked backwards
 *  T5 bad frames				T21 no get while migrating
 *  T6 offsets and lengths overflowed		T22-T26 save and restore
 *  T7 lock kept after a bad frame		T27 control overran its buffer
 *  T8 bad pointer to the op			T28 freeable memory told as 0
 *  T9 the log could be flooded			T29 short put leaked old data
 *  T10 half removed page after a bad frame	T30 counters ran away
 *  T11 metadata in the guest's own pages	T31 kexec leaked pools
 *  T12 pool destroyed while in use		T32 unknown flags, speculation
 *  T13 two clients of one domain
 *  T14 freed pool kept its id
 *  T15 control of a dying domain
 *  T16 flush and allocation deadlocked
 *
 * T20, T21, and what T8, T15 and T31 say of a domain's end, need a second
 * domain: workers.c is for that.  What T22-T26 and T29 were about does not
 * exist now.
 */
#include "abi_test.h"
#include <sys/wait.h>

#define TEST_SECONDS	240	/* emulation, assertions, and slack */

static const char *const set_names[] = {
	"on", "off", "none", "dma", "pv", "hvm"
};

/* The linker's names for the ends of TESTS and COMMANDS of all files */
extern const struct test __start_abi_tests[], __stop_abi_tests[];
extern const struct command __start_abi_commands[], __stop_abi_commands[];

static bool run_test(const struct test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = SYS(fork());
	if (!pid) {
		alarm(TEST_SECONDS);
		SYS(mlockall(MCL_CURRENT | MCL_FUTURE));
		on_cpu(0);
		clean();
		test->run();
		clean();
		exit(0);
	}
	SYS(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		note("FAILED: ended by signal %d%s", WTERMSIG(status),
		     WTERMSIG(status) == SIGALRM ? " (took too long)" : "");
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static int run_tests(int argc, char **argv)
{
	const struct test *test;
	int i, nr = 0, bad = 0;

	for (test = __start_abi_tests; test < __stop_abi_tests; test++) {
		double t = now();
		bool ok;

		for (i = 1; i < argc; i++)
			if (!strcmp(argv[i], test->name))
				break;
		if (argc > 1 ? i == argc : !(test->sets & ON))
			continue;
		ok = run_test(test);
		note("%s: %.1f s", test->name, now() - t);
		printf("%sok %d - %s\n", ok ? "" : "not ", ++nr, test->name);
		bad += !ok;
	}
	printf("1..%d\n", nr);
	return bad != 0;
}

static int list(const char *set)
{
	const struct test *test;
	int i;

	for (i = 0; i < ARRAY_SIZE(set_names); i++)
		if (!strcmp(set, set_names[i]))
			break;
	for (test = __start_abi_tests; test < __stop_abi_tests; test++)
		if (test->sets & 1u << i)
			puts(test->name);
	return 0;
}

int main(int argc, char **argv)
{
	const struct command *cmd;

	setlinebuf(stdout);
	if (argc == 3 && !strcmp(argv[1], "--list"))
		return list(argv[2]);
	open_all();
	SYS(mlockall(MCL_CURRENT | MCL_FUTURE));
	for (cmd = __start_abi_commands; cmd < __stop_abi_commands; cmd++)
		if (argc == 2 + cmd->nr_args && !strcmp(argv[1], cmd->name))
			return cmd->run(&argv[2]);
	return run_tests(argc, argv);
}
