//! ApiVersions: what this broker understands.
//!
//! In: a client's first request, in any version. Out: the table of versions. Always: a version that is not known
//! is answered in version 0 with an error and the table, so that the client can ask again (KIP-511).

use kafka_protocol::{
    ResponseError,
    messages::{ApiVersionsResponse, api_versions_response::ApiVersion},
};

use super::OK;
use crate::{
    connection::Answer,
    protocol::{Incoming, ProtocolError, SUPPORTED, supported},
};

pub(super) fn api_versions(request: &Incoming) -> Result<Answer, ProtocolError> {
    let known =
        supported(request.api as i16).is_some_and(|(_, low, high)| (low..=high).contains(&request.version));
    let table = SUPPORTED.iter().map(|(api, low, high)| {
        ApiVersion::default()
            .with_api_key(*api as i16)
            .with_min_version(*low)
            .with_max_version(*high)
    });
    let code = if known {
        OK
    } else {
        ResponseError::UnsupportedVersion.code()
    };
    let body = ApiVersionsResponse::default()
        .with_error_code(code)
        .with_api_keys(table.collect());
    let version = if known { request.version } else { 0 };
    Ok(Answer {
        frame: Some(request.answer_as(&body, version)?),
        memory: None,
    })
}
