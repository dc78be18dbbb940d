#!/bin/bash
# What needs a machine of its own: Leeward's units under systemd, and control groups v2 without v1 beside it.
#
#   ./dev vm        as root; about ten minutes, most of them to make the machine the first time
#
# A Debian 12 of the packages that leeward needs (mmdebstrap), in QEMU without hardware help, so that it also runs inside
# a virtual machine. It reads this checkout over 9p and writes its results to build/vm/out. Needs the Debian packages
# mmdebstrap and qemu-system-x86, which `./dev setup` does not install, and both builds (./dev build, ./dev build release).
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly here=$PWD vm=$PWD/build/vm seconds=1500
for tool in mmdebstrap qemu-system-x86_64; do
  command -v "$tool" >/dev/null || { echo "vm: $tool is missing: apt-get install --no-install-recommends mmdebstrap qemu-system-x86" >&2; exit 1; }
done
for binary in build/release/bin/leeward build/dev/bin/unit_functions_sandbox_test; do
  [[ -x $binary ]] || { echo "vm: $binary is missing: ./dev build; ./dev build release" >&2; exit 1; }
done
mkdir -p "$vm"
rm -rf "$vm/out" && mkdir "$vm/out"

# The packages that the binaries' libraries are of.
libraries() {
  ldd build/release/bin/leeward build/dev/bin/unit_functions_sandbox_test | awk '/=>/ { print $3 }' |
    xargs -n1 readlink -f | sort -u | xargs -n1 dpkg -S 2>/dev/null | cut -d: -f1 | sort -u | paste -sd,
}

if [[ ! -d $vm/root/boot ]]; then
  rm -rf "$vm/root"
  mmdebstrap --variant=minbase --include="systemd-sysv,dbus,udev,kmod,linux-image-amd64,procps,python3,busybox-static,$(libraries)" \
    bookworm "$vm/root" /etc/apt/sources.list.d/*.sources
  mkdir -p "$vm/root/out"
  printf '%s\n' '/dev/vda / ext4 rw 0 1' 'tmpfs /tmp tmpfs mode=1777 0 0' \
    "checkout $here 9p trans=virtio,ro,version=9p2000.L,msize=262144 0 0" \
    'out /out 9p trans=virtio,rw,version=9p2000.L,msize=262144 0 0' >"$vm/root/etc/fstab"
  mkdir -p "$vm/root$here" "$vm/root/etc/systemd/system/default.target.wants"
  printf '9p\n9pnet_virtio\n' >"$vm/root/etc/modules-load.d/9p.conf"
  ln -sf /dev/null "$vm/root/etc/systemd/system/serial-getty@ttyS0.service"
  printf '[Unit]\nAfter=multi-user.target\n[Service]\nType=exec\nDelegate=yes\nExecStart=%s/tests/vm/inside.sh\n' "$here" \
    >"$vm/root/etc/systemd/system/inside.service"
  ln -sf ../inside.service "$vm/root/etc/systemd/system/default.target.wants/inside.service"
fi
rm -f "$vm/disk" && truncate -s 4G "$vm/disk" && mke2fs -q -t ext4 -d "$vm/root" "$vm/disk"

timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 4096 -smp 2 -nographic -no-reboot -monitor none \
  -kernel "$vm"/root/boot/vmlinuz-* -initrd "$vm"/root/boot/initrd.img-* \
  -append "root=/dev/vda rw console=ttyS0 systemd.unified_cgroup_hierarchy=1 loglevel=3" \
  -drive "file=$vm/disk,if=virtio,format=raw" \
  -fsdev "local,id=c,path=$here,security_model=none,readonly=on" -device virtio-9p-pci,fsdev=c,mount_tag=checkout \
  -fsdev "local,id=o,path=$vm/out,security_model=none" -device virtio-9p-pci,fsdev=o,mount_tag=out \
  >"$vm/console" 2>&1 </dev/null || true
[[ -s $vm/out/result ]] || { echo "vm: it came to no result; its console: $vm/console" >&2; exit 1; }
cat "$vm/out/result"
tail -n 1 "$vm/out/result" | grep -qE '^[1-9][0-9]* passed, 0 failed$'
