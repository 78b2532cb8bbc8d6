//! Who calls, as API Gateway authenticated it.

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

/// Who makes a request. What is not known is `None`, as on one machine, where no API Gateway is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Caller {
    /// The ARN of the IAM user or assumed role that signed the request.
    pub(super) arn: Option<String>,
    /// API Gateway's id of the request, which its access log has too.
    pub(super) request_id: Option<String>,
}

impl Caller {
    /// Who makes this request. Only API Gateway writes the request context: nothing that a caller
    /// sends can be in it.
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
