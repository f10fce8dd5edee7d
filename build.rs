//! Tells the linker what the released program does without.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    // An index for unwinding at run time, 100 KB of the program. It ends at a panic and unwinds nothing;
    // debuggers read the tables themselves.
    println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    // Relocations of a bit each and not of 24 bytes, 360 KB of the program. Packages are for machines like
    // the one that builds them.
    if is("CARGO_CFG_TARGET_ENV", "gnu") && glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's C library; from 2.36 on it reads packed relocations.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let (major, minor) =
        std::str::from_utf8(&output.stdout).ok()?.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
