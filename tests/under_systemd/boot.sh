#!/bin/bash
# Boots systemd in namespaces over a copy-on-write view of this host, for test_under_systemd.py. Arguments: the folder
# with the copy of whd (becomes /opt/whd) and its probe, whose output goes to a file there; the cgroup to live in.
#
# Everything is mounted in namespaces of its own and goes away with the last process. /proc/sys and /sys are read-only,
# and what could reach the host's clock or modules is dropped, as systemd-nspawn does.
set -euo pipefail
stage=$1 cgroup=$2

if [[ ${3-} != inside ]]; then
  echo $$ >"$cgroup/cgroup.procs"
  exec unshare --mount --pid --fork --kill-child --ipc --uts --net --cgroup --propagation private "$0" "$stage" "$cgroup" inside
fi

root=$stage/root
mount -t tmpfs -o mode=755 none "$stage/space"
mkdir "$stage/space/upper" "$stage/space/work"
mount -t overlay -o "lowerdir=/,upperdir=$stage/space/upper,workdir=$stage/space/work" none "$root"
mount -t proc proc "$root/proc"
for path in sys sysrq-trigger; do
  [[ -e $root/proc/$path ]] || continue
  mount --bind "$root/proc/$path" "$root/proc/$path"
  mount -o remount,bind,ro "$root/proc/$path"
done
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 none "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 none "$root/dev/shm"
mount -t tmpfs -o mode=755 none "$root/run"
mount -t tmpfs -o mode=1777 none "$root/tmp"
mkdir -p "$root/opt/whd" "$root/run/probe"
mount --bind "$stage/whd" "$root/opt/whd"
mount --bind "$stage/probe" "$root/run/probe"
cat >"$root/etc/systemd/system/probe.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/opt/whd/bin/python -I /run/probe/probe.py
StandardOutput=file:/run/probe/log
StandardError=inherit
ExecStopPost=/bin/systemctl exit --no-block
UNIT
cat >"$root/etc/systemd/system/probe.target" <<'UNIT'
[Unit]
Requires=basic.target
After=basic.target
Wants=probe.service
UNIT
cd "$root"
pivot_root . .
umount -l .
cd /
exec env -i container=whd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-syslog --inh-caps=-all \
  /lib/systemd/systemd --unit=probe.target --log-target=console --show-status=no
