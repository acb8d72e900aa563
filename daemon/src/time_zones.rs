//! The time zone of this machine, and the others of its database.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use switchback_calendar::Zones;

/// The largest file of the database has 4 KiB.
const LIMIT: u64 = 64 * 1024;

/// `/etc/localtime` and `/usr/share/zoneinfo`, read at each question: the zone may be changed while the
/// daemon runs.
#[derive(Debug, Clone)]
pub struct TimeZones {
    local: PathBuf,
    database: PathBuf,
}

impl Default for TimeZones {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl TimeZones {
    /// Those of the system whose root is there.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            local: root.join("etc/localtime"),
            database: root.join("usr/share/zoneinfo"),
        }
    }
}

impl Zones for TimeZones {
    /// UTC where there is no `/etc/localtime`, or none that can be read: as for systemd.
    fn local(&self) -> TimeZone {
        let target = std::fs::read_link(&self.local).unwrap_or_default();
        let target = target.to_string_lossy();
        let name = target.rsplit_once("zoneinfo/").map_or("", |(_, name)| name);
        read(&self.local, name).unwrap_or(TimeZone::UTC)
    }

    fn named(&self, name: &str) -> Option<TimeZone> {
        read(&self.database.join(name), name)
    }
}

fn read(path: &Path, name: &str) -> Option<TimeZone> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    TimeZone::tzif(name, &bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use switchback_calendar::Calendar;

    use super::*;

    #[test]
    fn zones_are_those_of_the_machine() {
        let root = tempfile::tempdir().unwrap();
        let zones = TimeZones::at(root.path());
        assert_eq!(zones.local(), TimeZone::UTC);
        assert_eq!(zones.named("Europe/Berlin"), None);

        // Berlin's clock, without its history.
        let database = root.path().join("usr/share/zoneinfo");
        std::fs::create_dir_all(database.join("Europe")).unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        let berlin = database.join("Europe/Berlin");
        std::fs::write(&berlin, tzif("CET-1CEST,M3.5.0,M10.5.0/3")).unwrap();
        symlink(&berlin, root.path().join("etc/localtime")).unwrap();
        assert_eq!(zones.local().iana_name(), Some("Europe/Berlin"));
        assert_eq!(zones.named("Europe"), None);
        let local = Calendar::parse("02:00", &zones).unwrap();
        let named = Calendar::parse("02:00 Europe/Berlin", &zones).unwrap();
        let winter = "2026-11-29T00:00:00Z".parse().unwrap();
        let two = "2026-11-29T01:00:00Z".parse().unwrap();
        assert_eq!(local.next_after(winter), Some(two));
        assert_eq!(named.next_after(winter), Some(two));

        std::fs::write(&berlin, "not a zone").unwrap();
        assert_eq!(zones.local(), TimeZone::UTC);
    }

    /// A file of the second version without a single change: only the rule at its end counts.
    fn tzif(rule: &str) -> Vec<u8> {
        let header = |counts: [u32; 6]| {
            let mut bytes = b"TZif2".to_vec();
            bytes.extend([0; 15]);
            bytes.extend(counts.into_iter().flat_map(u32::to_be_bytes));
            bytes
        };
        // One type: one hour east, no daylight saving, its name at 0; the name.
        let body = [&3600_i32.to_be_bytes()[..], &[0, 0], b"CET\0"].concat();
        let counts = [0, 0, 0, 0, 1, 4];
        let mut bytes = [header(counts), body.clone(), header(counts), body].concat();
        bytes.extend(format!("\n{rule}\n").bytes());
        bytes
    }
}
