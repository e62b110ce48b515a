//! The process under load and under `kill -9`: what was answered 202 is there, once and in order.

use std::{sync::Arc, time::Duration};

use carillon_client::{Api, Connection};
use carillon_fixtures::eventually;
use carillon_testkit::{
    installation::Installation,
    journal::{Journal, Place},
    load::{KeepingListener, NumberedPublisher},
};
use parking_lot::Mutex;

/// How often the process is killed; `KILLS=10 make kill` for the long form.
const KILLS: u32 = 3;
const TENANTS: [&str; 2] = ["tenant-a", "tenant-b"];

fn kills() -> u32 {
    #[allow(clippy::disallowed_methods, reason = "a test's own setting")]
    std::env::var("KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(KILLS)
}

fn places(tenant: &str) -> Vec<Place> {
    ["alerts", "orders"]
        .iter()
        .map(|c| (tenant.parse().unwrap(), c.parse().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_minus_nine_at_random_loses_nothing_that_was_answered_202() {
    let installation = Installation::new(env!("CARGO_BIN_EXE_carillon"), &[]);
    let mut running = installation.start();
    installation.ready().await;
    let token = |tenant: &str| {
        let data = installation.data_dir().display().to_string();
        let scope = "publish read read:tenant listen";
        let arguments = [
            "token",
            "mint",
            "--data-dir",
            &data,
            "--tenant",
            tenant,
            "--sub",
            "u1",
            "--scope",
            scope,
        ];
        installation.run(&arguments).trim().to_owned()
    };
    let tokens: Vec<String> = TENANTS.iter().map(|t| token(t)).collect();
    let journal = Arc::new(Mutex::new(Journal::default()));
    let (mut publishers, mut listeners) = (Vec::new(), Vec::new());
    for (tenant, token) in TENANTS.iter().zip(&tokens) {
        let places = places(tenant);
        listeners.push((
            KeepingListener::start(&installation.url(), token, &places).await,
            places.clone(),
        ));
        for place in places {
            let journal = Arc::clone(&journal);
            let pause = Duration::from_millis(1);
            publishers.push(NumberedPublisher::start(
                &installation.url(),
                token,
                place,
                journal,
                pause,
            ));
        }
    }
    for n in 0..kills() {
        let before = journal.lock().ids().count();
        let count = || async { journal.lock().ids().count() };
        eventually("publishing goes on", count, |now| *now > before + 50).await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..1000))).await;
        running.kill();
        running = installation.start();
        installation.ready().await;
        println!("kill {}: {} accepted so far", n + 1, journal.lock().ids().count());
    }
    for publisher in publishers {
        publisher.stop().await;
    }
    for (listener, places) in listeners {
        let received = listener.drain(&journal, &places).await;
        let figures = journal.lock().check(&places, &received);
        println!("{}: {figures:?}", places[0].0);
        assert!(figures.clean(), "{figures:?}\n{}", installation.output());
    }
    every_id_is_readable(&installation, &journal, &tokens).await;
    assert_eq!(running.terminate(), Some(0), "{}", installation.output());
}

async fn every_id_is_readable(installation: &Installation, journal: &Mutex<Journal>, tokens: &[String]) {
    for (tenant, token) in TENANTS.iter().zip(tokens) {
        let api = Api::new(&Connection::new(&installation.url()).unwrap().with_token(token)).unwrap();
        let ids: Vec<_> = journal
            .lock()
            .ids()
            .filter(|(t, _)| t.as_str() == *tenant)
            .map(|(_, id)| id)
            .collect();
        for id in &ids {
            let readable = || async { api.notification(*id).await.is_ok() };
            eventually("readable", readable, |yes| *yes).await;
        }
        println!("{tenant}: {} ids answered 202, all readable", ids.len());
    }
}
