#!/bin/bash
# Inside the machine of run.sh, as a service with a delegated group. A line for each check, then the sum.
cd "$(dirname "$0")/../.." || exit 1
readonly dev=$PWD/build/dev/bin release=$PWD/build/release/bin units=$PWD/packaging/systemd
exec >/out/log 2>&1
passed=0 failed=0
check() {  # WHAT STATUS
  if [[ $2 -eq 0 ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  echo "$([[ $2 -eq 0 ]] && echo passed || echo FAILED): $1" >>/out/result
}
echo "Linux $(uname -r), $(systemctl --version | head -n 1), control groups: $(cat /sys/fs/cgroup/cgroup.controllers)" >>/out/result

for user in leeward leeward-functions; do useradd -r -s /usr/sbin/nologin "$user"; done
ln -s "$release/leeward" /usr/local/bin/leeward
cp "$units/leeward-functions.service" /etc/systemd/system/
systemctl daemon-reload
systemctl start leeward-functions
python3 tests/vm/function_host.py
check "leeward-functions.service: a function runs, is limited, and is told to be out of memory" $?
systemctl stop leeward-functions
[[ ! -e /sys/fs/cgroup/system.slice/leeward-functions.service ]]
check "leeward-functions.service: nothing is left of it" $?
journalctl -u leeward-functions --no-pager

# What instances in images need, under the agent's own unit: its tests in the agent's place.
mkdir -p /etc/leeward /etc/systemd/system/leeward-agent.service.d
touch /etc/leeward/leeward.yaml
echo 'ASAN_OPTIONS=detect_leaks=0' >/etc/leeward/site.env
cp "$units/leeward-agent-images.conf" /etc/systemd/system/leeward-agent.service.d/
printf '[Service]\nStandardOutput=append:/out/log\nStandardError=inherit\nTimeoutStartSec=300\n' \
  >/etc/systemd/system/leeward-agent.service.d/vm.conf
for name in compute_own_root compute_image; do
  sed -e "s#^ExecStart=.*#ExecStart=$dev/unit_${name}_test#" -e 's/^Restart=.*/Restart=no/' -e 's/^Type=.*/Type=oneshot/' \
    -e '/^RestartSec/d;/^After/d;/^Wants/d' "$units/leeward-agent.service" >/etc/systemd/system/leeward-agent.service
  systemctl daemon-reload
  systemctl start leeward-agent
  check "leeward-agent.service with images.conf: unit_${name}_test" $?
done

cd /tmp || exit 1
for name in base_cgroup compute_keeper compute_supervisor functions_sandbox; do
  timeout 400 "$dev/unit_${name}_test"
  check "control groups v2: unit_${name}_test" $?
done
echo "$passed passed, $failed failed" >>/out/result
sync
systemctl poweroff --force --force
