//! The protocol: which requests are understood, and how bytes become one.
//!
//! In: a frame. Out: a header and a checked body, or a refusal. Always: a length is believed only after as many
//! elements were found in the frame, because the codec reserves memory for what a length says.

pub(crate) mod shape;
mod shapes;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, ResponseHeader},
    protocol::{Decodable, Encodable, Message, StrBytes},
};

/// Requests and the versions that are answered.
///
/// Metadata and Fetch stay below topic ids. Produce is advertised from 0 because librdkafka decides from that
/// which codecs a broker knows; versions below 3 carry message sets, which no client of today sends.
pub(crate) const SUPPORTED: [(ApiKey, i16, i16); 24] = [
    (ApiKey::Produce, 0, 8),
    (ApiKey::Fetch, 4, 11),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 9),
    (ApiKey::OffsetCommit, 2, 8),
    (ApiKey::OffsetFetch, 1, 8),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::JoinGroup, 0, 7),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 6),
    (ApiKey::DeleteTopics, 1, 5),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::DescribeCluster, 0, 1),
];

/// Lowest version of Produce that carries record batches.
const PRODUCE_BATCHES: i16 = 3;

/// A request whose frame was taken apart.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
    pub(crate) body: Bytes,
}

/// Why a frame is no request. The connection is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("request key {0} is not known here")]
    Unknown(i16),
    #[error("version {1} of request key {0} is not supported")]
    Version(i16, i16),
    #[error("the bytes are no such request")]
    Malformed,
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
}

impl Incoming {
    /// Takes a frame apart. ApiVersions of any version is let through: it is how clients find out.
    pub(crate) fn parse(mut frame: Bytes) -> Result<Self, ProtocolError> {
        let key = frame.try_get_i16().map_err(|_| ProtocolError::Malformed)?;
        let version = frame.try_get_i16().map_err(|_| ProtocolError::Malformed)?;
        let correlation_id = frame.try_get_i32().map_err(|_| ProtocolError::Malformed)?;
        let (api, lowest, highest) = supported(key).ok_or(ProtocolError::Unknown(key))?;
        let lowest = if api == ApiKey::Produce {
            PRODUCE_BATCHES
        } else {
            lowest
        };
        let known = (lowest..=highest).contains(&version);
        if !known && api != ApiKey::ApiVersions {
            return Err(ProtocolError::Version(key, version));
        }
        let client_id = client_id(&mut frame).ok_or(ProtocolError::Malformed)?;
        if known && api.request_header_version(version) >= 2 {
            shape::skip_tags(&mut frame).ok_or(ProtocolError::Malformed)?;
        }
        if known {
            let mut rest: &[u8] = &frame;
            shapes::of(api)
                .and_then(|shape| shape.check(&mut rest, version))
                .ok_or(ProtocolError::Malformed)?;
        }
        Ok(Self {
            api,
            version,
            correlation_id,
            client_id,
            body: frame,
        })
    }

    /// Reads the body as a certain request.
    pub(crate) fn decode<R: Decodable>(&self) -> Result<R, ProtocolError> {
        let mut body = self.body.clone();
        R::decode(&mut body, self.version).map_err(|_| ProtocolError::Malformed)
    }

    /// Frames an answer: length, header, body.
    pub(crate) fn answer<M>(&self, body: &M) -> Result<Bytes, ProtocolError>
    where
        M: Message + Encodable,
    {
        self.answer_as(body, self.version)
    }

    /// Frames an answer in another version than was asked for.
    pub(crate) fn answer_as<M>(&self, body: &M, version: i16) -> Result<Bytes, ProtocolError>
    where
        M: Message + Encodable,
    {
        let malformed = |_| ProtocolError::Malformed;
        let header_version = self.api.response_header_version(version);
        let size = body.compute_size(version).map_err(malformed)?;
        let mut out = BytesMut::with_capacity(size + 16);
        out.extend_from_slice(&[0; 4]);
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        header.encode(&mut out, header_version).map_err(malformed)?;
        body.encode(&mut out, version).map_err(malformed)?;
        let length = i32::try_from(out.len() - 4).map_err(|_| ProtocolError::TooLarge(out.len()))?;
        out[..4].copy_from_slice(&length.to_be_bytes());
        Ok(out.freeze())
    }
}

/// The versions that are answered; `None` for a request that is not known here.
pub(crate) fn supported(key: i16) -> Option<(ApiKey, i16, i16)> {
    SUPPORTED.iter().copied().find(|(api, ..)| *api as i16 == key)
}

/// A string as the codec wants it.
pub(crate) fn text(from: impl Into<String>) -> StrBytes {
    StrBytes::from_string(from.into())
}

fn client_id(frame: &mut Bytes) -> Option<String> {
    let length = frame.try_get_i16().ok()?;
    let Ok(length) = usize::try_from(length) else {
        return Some(String::new());
    };
    if frame.len() < length {
        return None;
    }
    String::from_utf8(frame.split_to(length).to_vec()).ok()
}
