//! Store URLs of a cluster: `cassandra://host:9042,host2:9042/keyspace`.
//!
//! In: a text. Out: nodes to begin with, and a keyspace.
//! Always: a keyspace's name is safe to stand in a statement; a password in a URL is refused unread.

use crate::StoreError;

/// Cassandra's own port.
const PORT: u16 = 9042;

/// Longest name of a keyspace that Cassandra takes.
const KEYSPACE_BYTES: usize = 48;

/// Where a cluster is, and what of it is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host:port` each, at least one.
    pub(crate) nodes: Vec<String>,
    /// `[a-z][a-z0-9_]{0,47}`.
    pub(crate) keyspace: String,
}

impl Address {
    /// Reads what stands behind `cassandra:` or `scylla:`.
    pub(crate) fn parse(rest: &str) -> Result<Self, StoreError> {
        let Some((nodes, keyspace)) = rest.strip_prefix("//").and_then(|rest| rest.rsplit_once('/')) else {
            return Err(refused("it has no keyspace"));
        };
        if nodes.contains('@') {
            return Err(refused(
                "a user and a password do not belong into it, where lists of processes and logs show it: they \
                 are settings of their own",
            ));
        }
        if !is_keyspace(keyspace) {
            return Err(refused(
                "a keyspace is a lower-case letter and up to 47 lower-case letters, digits and _",
            ));
        }
        let nodes = nodes.split(',').map(node).collect::<Result<_, _>>()?;
        Ok(Self {
            nodes,
            keyspace: keyspace.to_owned(),
        })
    }
}

fn is_keyspace(name: &str) -> bool {
    name.len() <= KEYSPACE_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`, with its port.
fn node(text: &str) -> Result<String, StoreError> {
    let bad = || refused("a node is written host:9042, several with commas between them");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']').ok_or_else(bad)?;
            inside.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (&text[..inside.len() + 2], behind)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?,
        None if port.is_empty() => PORT,
        None => return Err(bad()),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if host.is_empty() || !host.chars().all(fits) {
        return Err(bad());
    }
    Ok(format!("{host}:{port}"))
}

fn refused(why: &str) -> StoreError {
    StoreError::Refused(format!(
        "a store URL of a cluster is written cassandra://host:9042,host2:9042/keyspace: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_a_port_of_their_own_or_the_usual_one() {
        let address = Address::parse("//a,b.example:19042,[::1],[fe80::2]:7/carillon_1").unwrap();
        assert_eq!(
            address.nodes,
            ["a:9042", "b.example:19042", "[::1]:9042", "[fe80::2]:7"]
        );
        assert_eq!(address.keyspace, "carillon_1");
    }

    #[test]
    fn what_is_no_node_or_no_keyspace_is_refused() {
        for bad in [
            "",
            "//",
            "//a",
            "a/k",
            "//a/",
            "///k",
            "//a/K",
            "//a/1k",
            "//a/k k",
            "//a/k;",
            "//a,/k",
            "//a:x/k",
            "//a:0/k",
            "//a:1:2/k",
            "//[::1/k",
            "//[x]/k",
            "//a b/k",
            "//a/k?x=1",
        ] {
            let error = Address::parse(bad).unwrap_err();
            assert!(matches!(error, StoreError::Refused(_)), "{bad}: {error}");
        }
        assert!(Address::parse(&format!("//a/{}", "k".repeat(49))).is_err());
        assert!(Address::parse(&format!("//a/{}", "k".repeat(48))).is_ok());
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = Address::parse("//user:hidden-thing@a/k").unwrap_err().to_string();
        assert!(
            error.contains("settings") && !error.contains("hidden-thing"),
            "{error}"
        );
    }
}
