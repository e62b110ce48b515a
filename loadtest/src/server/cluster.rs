//! Roles as processes on servers that are there already.
//!
//! In: a place, and which roles. Out: running roles on topics and a schema of their own.
//! Always: topics and schema are made by the same commands that an operator uses.

use std::path::Path;

use anyhow::Result;

use super::{Server, free_port};
use crate::place::Place;

/// Partitions of the deliveries topic, on one broker as on three, so that the two can be compared.
pub const SHARDS: u16 = 64;

/// A role that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// HTTP in.
    Ingest,
    /// Stores and dispatches.
    Router,
    /// WebSocket out.
    Fanout,
}

impl Role {
    /// Its subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Router => "router",
            Self::Fanout => "fanout",
        }
    }
}

impl Server {
    /// Topics, schema and the roles, a process each.
    ///
    /// # Errors
    /// When a command fails, or a role does not become ready within a minute.
    pub async fn on(place: &Place, binary: &Path, roles: &[Role]) -> Result<Self> {
        let mut server = Self::prepare(binary).await?;
        if let Some(store) = &place.store
            && let Some((user, password)) = &store.access
        {
            server.variable("CARILLON_CASSANDRA_USER", user);
            server.variable("CARILLON_CASSANDRA_PASSWORD", password);
            // One node, as the runner starts it.
            server.variable("CARILLON_CASSANDRA_REPLICATION", "1");
        }
        let store = place.store.as_ref().map_or_else(
            || format!("sqlite:{}", server.dir.path().join("store.db").display()),
            |store| store.url.clone(),
        );
        let prefix = place.prefix();
        let kafka = ["--kafka", &place.kafka, "--topics-prefix", &prefix];
        let (replication, shards) = (place.replication().to_string(), SHARDS.to_string());
        let layout = ["--replication", &replication, "--shards", &shards];
        server
            .run(&[&["topics", "apply"], &kafka[..], &layout[..]].concat())
            .await?;
        server.run(&["store", "migrate", "--store", &store]).await?;
        let mut admins = Vec::new();
        for role in roles {
            let admin = free_port()?;
            let common = [&kafka[..], &["--store", &store, "--admin-listen", &admin]].concat();
            server.start_role(*role, place, &common)?;
            admins.push(admin);
        }
        for admin in &admins {
            server.wait_ready(admin).await?;
        }
        Ok(server)
    }

    fn start_role(&mut self, role: Role, place: &Place, common: &[&str]) -> Result<()> {
        let listen = free_port()?;
        let secret = self.secret.display().to_string();
        let serving = ["--listen", &listen, "--auth-hs256-secret-file", &secret];
        let own = match role {
            Role::Router => vec!["--router-group", place.run.as_str()],
            Role::Ingest | Role::Fanout => serving.to_vec(),
        };
        self.start(role.name(), true, &[&[role.name()], common, &own].concat())?;
        match role {
            Role::Ingest => self.ingest = listen,
            Role::Fanout => self.fanout = listen,
            Role::Router => {}
        }
        Ok(())
    }
}
