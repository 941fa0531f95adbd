// SPDX-License-Identifier: GPL-2.0
/*
 * kexec KERNEL COMMANDLINE - go on with another kernel, at once
 *
 * Nothing is synced, and no process is asked to end.
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int kernel;

	if (argc != 3) {
		fprintf(stderr, "usage: kexec KERNEL COMMANDLINE\n");
		return 2;
	}
	kernel = open(argv[1], O_RDONLY);
	if (kernel < 0 ||
	    syscall(SYS_kexec_file_load, kernel, -1, strlen(argv[2]) + 1,
		    argv[2], (unsigned long)KEXEC_FILE_NO_INITRAMFS)) {
		perror("kexec");
		return 1;
	}
	reboot(LINUX_REBOOT_CMD_KEXEC);
	perror("kexec");
	return 1;
}
