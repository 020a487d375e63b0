#!/bin/bash
# shellcheck disable=SC1091,SC2046,SC2086
# A server that nobody uses. Cron and systemd do what they do in any hour; the jobs of the night are started once,
# because an hour has no night.
. /root/lib.sh

nightly() {     # what the daily timers and /etc/cron.daily would run
    local unit status=0
    for unit in man-db.service logrotate.service dpkg-db-backup.service e2scrub_reap.service systemd-tmpfiles-clean.service; do
        systemctl start $unit || status=$?
        sleep 5
    done
    run-parts --report /etc/cron.daily || status=$?
    return $status
}

weekly() {
    systemctl start fstrim.service && journalctl -q -u fstrim.service -o cat | grep trimmed
    journalctl -q --rotate --vacuum-size=8M
}

report stat boot $(cat /sys/block/vda/stat)
phase idle-first  "idle: journal, timers, a health check each minute, sysstat each ten"  idle $FIRST
phase nightly     "the daily timers and cron jobs: man-db, logrotate, dpkg, tmpfiles"     nightly
phase idle-second "as idle-first"                                                        idle $SECOND
phase weekly      "fstrim.service, the journal rotated"                                  weekly
phase idle-last   "as idle-first"                                                        idle $LAST
finish
