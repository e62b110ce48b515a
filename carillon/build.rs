//! The build script: which commit this is.
//!
//! In: the checkout, if there is one. Out: `BUILD_COMMIT` for the binary. Always: outside a checkout the
//! commit is `unknown`, and only this crate is built again for a new commit.

use std::{path::Path, process::Command};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in [".git/HEAD", ".git/logs/HEAD"] {
        let file = root.join(file);
        if file.exists() {
            emit(&format!("cargo:rerun-if-changed={}", file.display()));
        }
    }
    emit("cargo:rerun-if-changed=build.rs");
    emit(&format!("cargo:rustc-env=BUILD_COMMIT={}", commit(&root)));
}

fn commit(root: &Path) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]
fn emit(line: &str) {
    println!("{line}");
}
