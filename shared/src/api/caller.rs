//! The caller, as API Gateway authenticated it.

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

/// The caller of a request. What is not known is `None`, as on one machine without an API Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Caller {
    /// The ARN of the IAM user or assumed role that signed the request.
    pub(super) arn: Option<String>,
    /// API Gateway's id of the request, which is also in its access log.
    pub(super) request_id: Option<String>,
}

impl Caller {
    /// Returns the caller of a request.
    ///
    /// Only API Gateway writes the request context, so it contains nothing that a caller sends.
    pub(super) fn of(request: &Request) -> Self {
        match request.request_context_ref().cloned() {
            Some(RequestContext::ApiGatewayV1(context)) => Self {
                arn: context.identity.user_arn,
                request_id: context.request_id,
            },
            Some(RequestContext::ApiGatewayV2(context)) => Self {
                arn: context.authorizer.and_then(|by| by.iam?.user_arn),
                request_id: context.request_id,
            },
            Some(_) | None => Self::default(),
        }
    }
}
