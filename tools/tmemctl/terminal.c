// SPDX-License-Identifier: GPL-2.0
/*
 * The screen of top, a line of progress, and the signals that end either
 */
#define _GNU_SOURCE	/* ppoll() */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "tmemctl.h"

static struct termios terminal;
static bool screen, progress;
static sigset_t before;			/* what was blocked before... */
static const sigset_t *unblocked;	/* ...is, while this waits */
static volatile sig_atomic_t stop;

/* In seconds, from some moment on */
double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void on_signal(int sig)
{
	if (sig != SIGWINCH)
		stop = sig;
}

/* From now on they wait for wait_until(), which so misses none */
void catch_signals(void)
{
	static const int signals[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH
	};
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t blocked;
	size_t i;

	sigemptyset(&blocked);
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		sigaddset(&blocked, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &before);
	unblocked = &before;
}

/* As if the signal had not been caught, so that a script ends, too */
void end_by_signal(void)
{
	screen_off();
	signal(stop, SIG_DFL);
	raise(stop);
	sigprocmask(SIG_SETMASK, &before, NULL);
	abort();
}

/* Only on a terminal */
void show_progress(const char *who, uint64_t kib)
{
	progress = isatty(1);
	if (!progress)
		return;
	printf("\r%s: persistent:", who);
	print_size(kib);
	printf("\033[K");
	fflush(stdout);
}

void screen_off(void)
{
	if (progress)
		printf("\n");
	progress = false;
	fflush(stdout);
	if (!screen)
		return;
	screen = false;
	printf("\033[?25h\033[?7h\033[?1049l");	/* cursor, wrapping, screen */
	fflush(stdout);
	tcsetattr(0, TCSANOW, &terminal);
}

void screen_on(void)
{
	struct termios raw;

	catch_signals();
	tcgetattr(0, &terminal);
	screen = true;
	atexit(screen_off);
	raw = terminal;
	raw.c_lflag &= ~(ICANON | ECHO);
	/* A program that ctrl-Z stops cannot restore the terminal */
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;
	tcsetattr(0, TCSANOW, &raw);
	printf("\033[?1049h\033[?7l\033[?25l");
}

void screen_size(int *rows, int *columns)
{
	struct winsize size = { 0 };

	ioctl(1, TIOCGWINSZ, &size);
	*rows = size.ws_row ?: 24;
	*columns = size.ws_col ?: 80;
}

/* Any key but q ends the wait, too: TIME */
enum event wait_until(double time)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	double left = time - now();
	struct timespec timeout = { 0 };
	char key;
	int n;

	if (left > 0) {
		timeout.tv_sec = left;
		timeout.tv_nsec = (left - timeout.tv_sec) * 1e9;
	}
	n = ppoll(&in, screen, &timeout, unblocked);
	if (stop)
		return STOP;
	if (n < 0)
		return RESIZED;
	if (n > 0 && (read(0, &key, 1) != 1 || key == 'q'))
		return STOP;
	return TIME;
}
