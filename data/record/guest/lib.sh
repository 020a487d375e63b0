#!/bin/bash
# shellcheck disable=SC1091,SC2046
# What the jobs of all workloads share: reports to the serial console, phases, units of time.
#
# Timed phases last a number of units (UNIT seconds, from job.conf); the others last as long as their work.
# Each phase reports to the serial console: @@ TIME start|summary|stop|stat NAME ...
set -u
. /root/job.conf
export LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
exec 3> /dev/ttyS0
mkdir -p /var/log/job

report() { echo "@@ $(date -u +%Y-%m-%dT%H:%M:%S.%6NZ) $*" >&3; }
units() { awk -v n="$1" -v unit="$UNIT" 'BEGIN { s = int(n * unit + 0.5); print s < 1 ? 1 : s }'; }
idle() { sleep "$(units "$1")"; }
trim() { sync && fstrim -v /; }
apt() { apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 --no-install-recommends "$@"; }

phase() {       # phase NAME "what it does" function [arguments]
    local name=$1 about=$2 status=0 summary
    shift 2
    report start "$name" "$about"
    "$@" > "/var/log/job/$name.log" 2>&1 || status=$?
    [ $status = 0 ] || tail -n 5 "/var/log/job/$name.log" >&3
    report stop "$name" "status=$status"
    summary=$(grep -E '^(tps|latency average|summary:)|trimmed' "/var/log/job/$name.log" | tail -n 6 | tr '\n' ';')
    [ -z "$summary" ] || report summary "$name" "$summary"
    report stat "$name" $(cat /sys/block/vda/stat)
}

# The disk is idle from here to the power button, but for what the shutdown itself writes.
finish() {
    report "done"
    systemctl poweroff
}

# -- paced recordings: a unit is one represented hour ----------------------------------------------------

# The kernel's and ext4's timers run in real time, and cannot be slowed down by the time scale; what is dirty
# is at least not kept for represented hours: 2 s are 12 represented minutes at 360.
begin_represented_time() {
    sysctl -q vm.dirty_expire_centisecs=200 vm.dirty_writeback_centisecs=100
    mount -o remount,commit=2 /
    REPRESENTED_ZERO=$EPOCHREALTIME
    report represented-from "$REPRESENTED_FROM"
}

until_hour() {  # until_hour N: sleep until so many represented hours have passed since the beginning
    sleep "$(awk -v zero="$REPRESENTED_ZERO" -v now="$EPOCHREALTIME" -v n="$1" -v unit="$UNIT" \
             'BEGIN { s = zero + n * unit - now; print (s > 0 ? s : 0) }')"
}

# event NAME "what" command...: run it, note in the console when it began and how it ended
event() {
    local name=$1 about=$2 status=0
    shift 2
    report event "$name" "$about"
    "$@" || { status=$?; report event "$name" "failed, status=$status"; }
    return $status
}
