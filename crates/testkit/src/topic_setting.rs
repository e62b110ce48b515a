//! A setting of a topic, changed as an operator might by mistake.
//!
//! In: a broker, a topic, a name, a value. Out: the setting, set. Always: one request written by hand
//! (`IncrementalAlterConfigs`, version 0), because the product's own administrator takes nothing away.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Kafka's number of `IncrementalAlterConfigs`.
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
/// Kafka's number of topics among resources.
const TOPIC: u8 = 2;
/// Kafka's number of setting a value.
const SET: u8 = 0;
/// Longest answer that is read.
const ANSWER: usize = 64 * 1024;

/// Sets it through the first of these brokers that answers.
///
/// # Errors
/// When none does, or the last one refuses.
pub async fn set(brokers: &str, topic: &str, name: &str, value: &str) -> io::Result<()> {
    let mut outcome = Err(io::ErrorKind::NotConnected.into());
    for broker in brokers.split(',') {
        outcome = match timeout(PATIENCE, ask(broker, &request(topic, name, value))).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn request(topic: &str, name: &str, value: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(INCREMENTAL_ALTER_CONFIGS.to_be_bytes());
    body.extend(0_i16.to_be_bytes());
    body.extend(7_i32.to_be_bytes());
    text(&mut body, "testkit");
    body.extend(1_i32.to_be_bytes());
    body.push(TOPIC);
    text(&mut body, topic);
    body.extend(1_i32.to_be_bytes());
    text(&mut body, name);
    body.push(SET);
    text(&mut body, value);
    // Not only to be validated.
    body.push(0);
    body
}

async fn ask(broker: &str, body: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(broker).await?;
    stream.write_all(&(body.len() as u32).to_be_bytes()).await?;
    stream.write_all(body).await?;
    let length = stream.read_u32().await? as usize;
    let mut answer = vec![0; length.min(ANSWER)];
    stream.read_exact(&mut answer).await?;
    // Correlation, throttle time, one response, its error.
    match answer.get(12..14) {
        Some([0, 0]) => Ok(()),
        error => Err(io::Error::other(format!("Kafka says {error:?}"))),
    }
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text.as_bytes());
}
