# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Jobs for scripts/boot; for scripts that have sourced lib.sh
#
#   payload DIR FILE... <INIT	DIR becomes what a guest sees as /payload:
#			these files and directories, and INIT as the program
#			that it runs
#   run_job NAME DIR OPTION...	boot that guest with these options of
#			scripts/boot, as the step NAME; its console's log is
#			that of the step with .console behind it. Removes DIR.
#			The status is 0: what the job has said tells how it
#			went, see tap.sh
#   static_tmemctl DIR	tools/tmemctl becomes DIR/tmemctl, for the image, whose
#			libraries may be older than this host's
#   $COMPLAINTS		what no kernel should say, and
#   $XEN_COMPLAINTS	no hypervisor, as regular expressions

# shellcheck disable=SC2034 # for the scripts
XEN_COMPLAINTS='Assertion|Panic on CPU|Xen BUG|Xen WARN|Xen call trace'
# shellcheck disable=SC2034 # for the scripts
COMPLAINTS='\<BUG\>|WARNING:|Oops|Call Trace|KASAN|UBSAN|'
COMPLAINTS+='INFO: (possible|task|rcu|trying)|general protection|Kernel panic|'
COMPLAINTS+='possible recursive|inconsistent lock|suspicious RCU|'
COMPLAINTS+='held lock freed|unreferenced object'

payload()
{
	local dir=$1

	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	# Files of ours are symbolic links in the tree
	[ $# -eq 0 ] || cp -rL "$@" "$dir"
	cat >"$dir/init"
	chmod +x "$dir/init"
}

run_job()
{
	step "$1" scripts/boot --payload "$2" \
		--log "$BUILD/log/$1.log.console" "${@:3}" || :
	rm -rf "$2"
}

static_tmemctl()
{
	make -C tools/tmemctl O="$1" LDFLAGS=-static
}
