//! Programs of this workspace that run inside guests.

use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::error::{Error, IoContext as _, Result};

/// The target that guests run.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the static `guest-init`; the path of the program.
///
/// # Errors
/// The build failed, with the compiler's words.
pub(crate) fn build_guest_init() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    // Its own target directory: other flags in the shared one would rebuild everything twice,
    // and a caller that is itself run by cargo holds the lock of the shared one.
    let target = workspace.join("target/qemu/guest-init");
    Run::new("cargo")
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "guest-init",
            "--target",
            TARGET,
        ])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(workspace)
        .check()?;
    Ok(target.join(TARGET).join("release/guest-init"))
}

/// The shared libraries and the loader that `program` needs, as absolute paths on this host.
///
/// # Errors
/// A library is missing on this host, or `program` cannot be examined.
pub(crate) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let bytes = std::fs::read(program).io("read", program)?;
    // Scripts and static programs have no interpreter segment; ldd fails on the first.
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(Vec::new());
    }
    let listed = match Run::new("ldd").arg(program).text() {
        Ok(listed) => listed,
        Err(Error::Command { stderr, .. }) if stderr.contains("not a dynamic executable") => {
            return Ok(Vec::new());
        }
        Err(why) => return Err(why),
    };
    parse_ldd(&listed).map_err(|why| Error::Malformed {
        path: program.to_owned(),
        why,
    })
}

fn parse_ldd(listed: &str) -> Result<Vec<PathBuf>, String> {
    let mut libraries = Vec::new();
    for line in listed.lines() {
        if line.contains("not found") {
            return Err(format!(
                "a library is missing on this host: {}",
                line.trim()
            ));
        }
        // `libc.so.6 => /lib/…/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`; the kernel's
        // own `linux-vdso.so.1` has no path.
        libraries.extend(
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::parse_ldd;
    use std::path::PathBuf;

    #[test]
    fn ldd_output_names_files_and_gaps() {
        let listed = "\tlinux-vdso.so.1 (0x0001)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x0002)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x0003)\n";
        assert_eq!(
            parse_ldd(listed).unwrap(),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
        assert!(parse_ldd("\tlibzstd.so.1 => not found\n").is_err());
        assert_eq!(
            parse_ldd("\tstatically linked\n").unwrap(),
            Vec::<PathBuf>::new()
        );
    }
}
