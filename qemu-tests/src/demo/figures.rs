//! What was measured in the guest.

use serde_json::{Map, Value};

/// Memory of the daemon, as its own cgroup and process say.
#[derive(Debug, Default, Clone)]
pub(super) struct Figures {
    /// Highest peak of the cgroup, in bytes.
    pub(super) cgroup_peak: u64,
    /// Highest resident set, in KiB.
    pub(super) resident_peak_kib: u64,
    /// Lowest proportional set size seen, in KiB: the daemon at rest.
    pub(super) idle_pss_kib: Option<u64>,
    /// Everything else.
    pub(super) other: Map<String, Value>,
}

impl Figures {
    /// Takes in `CGROUP_PEAK RESIDENT_PEAK PSS`.
    pub(super) fn memory(&mut self, text: &str) {
        let numbers: Vec<u64> = text
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [peak, resident, pss] = numbers.as_slice() else {
            return;
        };
        self.cgroup_peak = self.cgroup_peak.max(*peak);
        self.resident_peak_kib = self.resident_peak_kib.max(*resident);
        if *pss > 0 {
            self.idle_pss_kib = Some(self.idle_pss_kib.map_or(*pss, |known| known.min(*pss)));
        }
    }

    /// As they go into the report.
    pub(super) fn to_map(&self) -> Map<String, Value> {
        let mut map = self.other.clone();
        map.insert("daemon_cgroup_peak_bytes".into(), self.cgroup_peak.into());
        map.insert(
            "daemon_resident_peak_kib".into(),
            self.resident_peak_kib.into(),
        );
        if let Some(pss) = self.idle_pss_kib {
            map.insert("daemon_idle_pss_kib".into(), pss.into());
        }
        map
    }
}
