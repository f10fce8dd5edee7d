//! Detects servers that some tests need; without them these tests are shown as ignored.

use std::path::Path;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(have_postgres, have_pgbouncer)");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=/usr/sbin");
    // Debian installs each version in a separate folder.
    let versions = Path::new("/usr/lib/postgresql");
    println!("cargo:rerun-if-changed={}", versions.display());
    let mut found = versions.read_dir().into_iter().flatten().filter_map(Result::ok);
    if found.any(|version| version.path().join("bin/postgres").exists()) {
        println!("cargo:rustc-cfg=have_postgres");
        if Path::new("/usr/sbin/pgbouncer").exists() {
            println!("cargo:rustc-cfg=have_pgbouncer");
        }
    }
}
