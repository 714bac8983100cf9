//! What OpenDAL says, as an error of a store. Its text is not passed on: it can quote the request. The code that S3 gave is.

use std::error::Error;

use crate::endpoints::{ErrorKind, StoreError};

/// The error of a store.
pub(super) fn of(doing: String, error: &opendal::Error) -> StoreError {
    if let Some(known) = error.source().and_then(|source| source.downcast_ref::<StoreError>()) {
        return known.clone();
    }
    let code = code(error.message());
    let kind = match code.unwrap_or_default() {
        "SignatureDoesNotMatch"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "ExpiredToken"
        | "RequestTimeTooSkewed"
        | "AuthorizationHeaderMalformed"
        | "NotSignedUp" => ErrorKind::Credentials,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => ErrorKind::Denied,
        "QuotaExceeded"
        | "StorageFull"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "InsufficientStorage"
        | "EntityTooLarge"
        | "ServiceQuotaExceeded" => ErrorKind::Full,
        "NoSuchBucket" | "PermanentRedirect" | "InvalidBucketName" => ErrorKind::Fatal,
        "BadDigest" | "InvalidDigest" | "IncompleteBody" => ErrorKind::Retryable,
        _ => match error.kind() {
            opendal::ErrorKind::NotFound => ErrorKind::NotFound,
            opendal::ErrorKind::PermissionDenied => ErrorKind::Denied,
            opendal::ErrorKind::AlreadyExists | opendal::ErrorKind::ConditionNotMatch => ErrorKind::Exists,
            opendal::ErrorKind::RateLimited => ErrorKind::Retryable,
            _ if error.is_temporary() => ErrorKind::Retryable,
            _ => ErrorKind::Fatal,
        },
    };
    let why = match (code, error.kind()) {
        (Some(code), _) => format!("S3 answers {code}"),
        (None, kind) => format!("S3 answers without a code ({kind})"),
    };
    StoreError::new(kind, doing, why)
}

/// The same for a stream that is being read.
pub(super) fn of_read(doing: String, error: &std::io::Error) -> StoreError {
    let inner: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    match inner.and_then(|inner| inner.downcast_ref::<opendal::Error>()) {
        Some(error) => of(doing, error),
        None => StoreError::new(ErrorKind::Retryable, doing, "the connection broke"),
    }
}

/// The code in the text of an answer, as OpenDAL prints it. Only what looks like one.
fn code(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("code: \"")?;
    let (code, _) = rest.split_once('"')?;
    let plain = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_the_text_stays_behind() {
        let message = "S3Error { code: \"SignatureDoesNotMatch\", message: \"hunter2\", resource: \"/x\" }";
        let error = opendal::Error::new(opendal::ErrorKind::PermissionDenied, message);
        let error = of("read x".into(), &error);
        assert_eq!(error.kind(), ErrorKind::Credentials);
        let told = format!("{error} {error:?}");
        assert!(told.contains("SignatureDoesNotMatch") && !told.contains("hunter2"), "{told}");
        assert_eq!(code("code: \"\u{1b}[31m\""), None);
    }
}
