//! What the demo adds to the guest so that it can be watched: nothing that takes part.

use std::path::Path;

use crate::error::Result;
use crate::product::{enable, put};

/// Sends the daemon's journal, its progress on D-Bus and its memory to the second serial port.
const OBSERVER: &str = "\
#!/bin/sh
# One line for each thing seen: J the daemon's journal, W what `switchback watch` says, M memory.
exec >/dev/ttyS1
# The bootloader leaves the line unfinished.
echo
journalctl --follow --lines=all --identifier=switchbackd --output=cat | sed -u 's/^/J /' &
(while :; do switchback --json watch 2>/dev/null | sed -u 's/^/W /'; sleep 1; done) &
while :; do
  cgroup=/sys/fs/cgroup/switchback.slice
  read -r peak <$cgroup/memory.peak
  # Both together: the daemon, and the process that fetches while there is one.
  high=0 pss=0
  for pid in $(cat $cgroup/*/cgroup.procs $cgroup/*/*/cgroup.procs 2>/dev/null); do
    kib=$(sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/status 2>/dev/null)
    high=$((high + ${kib:-0}))
    kib=$(sed -n 's/^Pss:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/smaps_rollup 2>/dev/null)
    pss=$((pss + ${kib:-0}))
  done
  echo \"M $peak $high $pss\"
  sleep 1
done
";

const UNIT: &str = "\
[Unit]
Description=Tells the demo what happens
After=switchbackd.service

[Service]
ExecStart=/usr/lib/switchback-demo/observe
";

/// Adds the observer to a staged tree.
pub(super) fn add_observers(overlay: &Path) -> Result<()> {
    let program = overlay.join("usr/lib/switchback-demo/observe");
    put(&program, OBSERVER.as_bytes(), 0o755)?;
    let unit = overlay.join("usr/lib/systemd/system/demo-observer.service");
    put(&unit, UNIT.as_bytes(), 0o644)?;
    enable(overlay, "multi-user.target.wants", "demo-observer.service")
}
