# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests that run in guests, as TAP; for scripts that have sourced lib.sh
#
#   asked=(TEST...)	only these are to be run; none: all
#   choose TEST...	a guest has these: sets $chosen, those of them that are
#			to be run
#   tap ok|"not ok" NAME	one line
#   tap_of_guest NAME LOG WHERE TEST...	what the job of guest NAME, whose output
#			is LOG, has said of these tests, each name with WHERE
#			behind it; and one line more, that the guest lived and
#			nobody complained
#   tap_end		"1..N"; 0 if all was ok. Dies when a test that was asked
#			for is not there

asked=() chosen=() known=" " tap_nr=0 tap_failed=0

choose()
{
	local test

	known+="$* "
	chosen=()
	for test; do
		if [[ ${#asked[@]} -eq 0 ||
		      " ${asked[*]} " == *" $test "* ]]; then
			chosen+=("$test")
		fi
	done
}

tap()
{
	tap_nr=$((tap_nr + 1))
	echo "$1 $tap_nr - $2"
	[ "$1" = ok ] || tap_failed=$((tap_failed + 1))
}

tap_of_guest()
{
	local name=$1 log=$2 where=$3 line test seen=" "

	shift 3
	while read -r line; do
		case $line in
		'#'*) echo "$line" ;;
		*) tap "${line%% [0-9]*}" "${line#* - }$where"
		   seen+="${line#* - } " ;;
		esac
	done < <(grep -aE '^(#|(not )?ok [0-9]+ - )' "$log")
	for test; do
		[[ $seen == *" $test "* ]] ||
			tap "not ok" "$test$where # the guest ended before"
	done
	if grep -a '^boot: ' "$log"; then
		tap "not ok" "${name}_does_not_complain"
	else
		tap ok "${name}_does_not_complain"
	fi
}

tap_end()
{
	local test

	for test in "${asked[@]}"; do
		[[ $known == *" $test "* ]] || die "there is no test '$test'"
	done
	echo "1..$tap_nr"
	[ $tap_failed -eq 0 ]
}
