//! Roles as processes of a test: they take what their test tells them, and end with it, however it ends.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use carillon_fixtures::eventually;
use carillon_testkit::stack::RoleProcess;

/// Set for the run of this test that is killed: the directory of its role.
const HELD_IN: &str = "RUNNER_TEST_HOLDS_A_ROLE_IN";

const CONFIGURATION: &str = r#"
kafka = "127.0.0.1:1"
store = "sqlite:store.db"
admin_listen = "127.0.0.1:0"
[log]
format = "json"
"#;

/// A role that waits for its Kafka, which never comes.
async fn waiting_role(dir: &Path) -> RoleProcess {
    std::fs::write(dir.join("carillon.toml"), CONFIGURATION).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_carillon"));
    RoleProcess::start(binary, dir, "router", &["router"]).await
}

/// Whether the process of this id is our role and runs. What has ended has no command line, even unburied.
fn is_our_role(id: u32, dir: &Path) -> bool {
    let read = |file: &str| std::fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
    let line = String::from_utf8_lossy(&read("cmdline")).into_owned();
    let at = std::fs::read_link(format!("/proc/{id}/cwd"));
    line.starts_with(concat!(env!("CARGO_BIN_EXE_carillon"), "\0router")) && at.is_ok_and(|at| at == dir)
}

async fn goes(id: u32, dir: &Path) {
    eventually("the role goes", || async { is_our_role(id, dir) }, |runs| !runs).await;
}

/// This test binary once more, with nothing but the test of this name, and the id of the role that it holds.
fn runner(test: &str, dir: &Path) -> (Child, u32) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HELD_IN, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let id = lines.find_map(|line| line.unwrap().strip_prefix("the role is ")?.parse().ok());
    (child, id.expect("the runner names its role"))
}

#[tokio::test]
async fn a_killed_test_leaves_no_role_behind() {
    if let Some(dir) = std::env::var_os(HELD_IN) {
        let role = waiting_role(Path::new(&dir)).await;
        println!("\nthe role is {}", role.pid().unwrap());
        // Until we are killed. Should the test that started us go first, our standard input ends.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let (mut child, id) = runner("runner::a_killed_test_leaves_no_role_behind", &dir);
    assert!(is_our_role(id, &dir));
    // SIGKILL: no code of the runner's runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    goes(id, &dir).await;
}

#[tokio::test]
async fn a_role_is_terminated_with_its_code_starts_again_and_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let mut role = waiting_role(&dir).await;
    let first = role.pid().unwrap();
    assert!(is_our_role(first, &dir));
    assert_eq!(role.terminate().await, Some(0), "{}", role.log());
    assert!(role.pid().is_none() && !is_our_role(first, &dir));

    role.restart().await;
    let second = role.pid().unwrap();
    assert!(is_our_role(second, &dir) && role.unmet().await.is_some());
    role.kill();
    assert!(role.pid().is_none() && !is_our_role(second, &dir));

    role.restart().await;
    let third = role.pid().unwrap();
    drop(role);
    assert!(!is_our_role(third, &dir));
}
