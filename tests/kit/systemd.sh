#!/usr/bin/env bash
# Run a command under a real systemd that lives in its own namespaces (root needed; Debian's package systemd).
#   systemd.sh FOLDER COMMAND [ARG ...]     FOLDER stays visible inside at its own path, whatever else is new there
# Inside: PID 1 is systemd, /run and /tmp are new, /etc and /var are the machine's own seen through an overlay, so that
# units and state written there are gone afterwards. The network is the machine's own.
# Exit status: the command's. The whole world ends with the command, or after SYSTEMD_SH_SECONDS (default 120).
set -eu
seconds=${SYSTEMD_SH_SECONDS:-120}
keep=$1; shift
world=$(mktemp -d)
boot= init=
finish() {  # killing PID 1 of a namespace ends everything in it
  [ -z "$init" ] || kill -9 "$init" 2>/dev/null || true
  [ -z "$boot" ] || { kill "$boot" 2>/dev/null || true; wait "$boot" 2>/dev/null || true; }
  rm -rf "$world"
}
trap finish EXIT

cat >"$world/boot" <<'BOOT'
set -eu
if ! mountpoint -q /; then  # a chroot: a mount of the same root first, as propagation belongs to mounts
  mkdir "$1/root" && mount --rbind / "$1/root"
  exec chroot "$1/root" bash "$0" "$@"
fi
mount --make-rprivate /
scratch=$1/scratch; keep=$2
mkdir "$scratch"; mount -t tmpfs tmpfs "$scratch"
for d in etc var; do
  mkdir -p "$scratch/$d/upper" "$scratch/$d/work"
  mount -t overlay overlay -o "lowerdir=/$d,upperdir=$scratch/$d/upper,workdir=$scratch/$d/work" "/$d"
done
mkdir /keep-$$ && mount --bind "$keep" /keep-$$
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/lock
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p "$keep" && mount --move /keep-$$ "$keep" && rmdir /keep-$$
mount --make-rshared /  # LoadCredential's mounts must reach the units
exec env -i container=namespaces PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=0
BOOT

timeout "$seconds" unshare --kill-child --fork --pid --mount-proc --mount --uts --ipc --cgroup --propagation unchanged \
  bash "$world/boot" "$world" "$keep" >"$world/log" 2>&1 &
boot=$!
for _ in $(seq 150); do
  child=$(pgrep -P "$boot" -x unshare || true)
  init=$(pgrep -P "${child:-0}" -x systemd || true)
  [ -n "$init" ] && [ "$(nsenter -t "$init" -a -r -w systemctl is-system-running 2>/dev/null)" = running ] && break
  sleep 0.2
done
[ -n "$init" ] || { echo "systemd did not start:" >&2; cat "$world/log" >&2; exit 1; }
rc=0
nsenter -t "$init" -a -r -w "$@" || rc=$?
exit "$rc"
